/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_capture.c tests captures: libpcap and tcpdump read the files. What these
 * do not show (names of interfaces, direction, comments, statistics) is parsed
 * here.
 */
#include "check.h"

#include <fcntl.h>
#include <ftw.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/userfaultfd.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "capture.h"
#include "clock.h"
#include "log.h"
#include "pcapng.h"
#include "port_priv.h"

#define WAIT_MS 60000
#define SNAPLEN 65535
#define MAX_PACKETS 4096
#define LOTS 20000 /* frames of 1 KiB: more than buffers and a pipe hold */

struct fixture {
	char dir[32], path[64];
	pthread_mutex_t lock;
	unsigned int logged;
	char lines[2048];
};

/** struct packet - what the blocks say; pointers go into struct file */
struct packet {
	uint32_t interface, caplen, len, flags;
	uint64_t ns;
	const uint8_t *bytes;
	const char *comment[2];
	size_t comment_len[2];
};

struct file {
	uint8_t *bytes;
	size_t size, parsed;
	unsigned int sections, interfaces, packets, statistics;
	char name[8][64];
	uint64_t seen[8], dropped[8];
	struct packet packet[MAX_PACKETS];
};

/* ---- surroundings ---- */

static void on_line(void *ctx, enum log_level level, const char *line)
{
	struct fixture *f = ctx;

	(void)level;
	pthread_mutex_lock(&f->lock);
	f->logged++;
	strncat(f->lines, line, sizeof(f->lines) - strlen(f->lines) - 2);
	strcat(f->lines, "\n");
	pthread_mutex_unlock(&f->lock);
}

static bool said(struct fixture *f, const char *text)
{
	bool found;

	pthread_mutex_lock(&f->lock);
	found = strstr(f->lines, text);
	pthread_mutex_unlock(&f->lock);
	return found;
}

/* The writer says it within WAIT_MS. */
static void wait_until_said(struct fixture *f, const char *text)
{
	int64_t until = now_ms() + WAIT_MS;

	while (!said(f, text)) {
		assert_true(now_ms() < until);
		usleep(1000);
	}
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	alarm(120);
	if (!f)
		return -1;
	pthread_mutex_init(&f->lock, NULL);
	strcpy(f->dir, "/tmp/test-capture-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/file", f->dir);
	log_set_sink(on_line, f);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind,
		      struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	log_set_sink(NULL, NULL);
	nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static struct capture *start(const char *path)
{
	const struct capture_config config = { .path = path,
					       .snaplen = SNAPLEN };
	struct capture *c;

	check_ret(capture_new(&config, &c), 0);
	return c;
}

static void record(struct capture *c, unsigned int interface, const void *bytes,
		   size_t len)
{
	struct iovec iov = { (void *)bytes, len };
	const struct frame f = { .iov = &iov, .iovcnt = 1, .len = len };

	capture_frames(c, interface, CAPTURE_IN, &f, 1, 0, NULL);
}

/* ---- reading back ---- */

static uint32_t u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static void parse_options(const uint8_t *p, const uint8_t *end,
			  struct packet *packet)
{
	unsigned int comments = 0;

	while (end - p >= 4 && u32(p)) {
		uint16_t head[2];

		memcpy(head, p, 4);
		if (head[0] == 1) {
			assert_true(comments < 2);
			packet->comment[comments] = (const char *)p + 4;
			packet->comment_len[comments++] = head[1];
		} else if (head[0] == 2) {
			packet->flags = u32(p + 4);
		}
		p += 4 + (head[1] + 3) / 4 * 4;
	}
}

static void parse_block(struct file *file, const uint8_t *p, size_t len)
{
	struct packet *packet;

	switch (u32(p)) {
	case 0x0a0d0d0a:
		file->interfaces = 0; /* they are numbered anew */
		file->sections++;
		break;
	case 1:
		assert_in_range(file->interfaces, 0, 7);
		memcpy(file->name[file->interfaces++], p + 20,
		       MIN(p[18] | p[19] << 8, 63));
		break;
	case 5:
		assert_in_range(u32(p + 8), 0, file->interfaces - 1);
		memcpy(&file->seen[u32(p + 8)], p + 24, 8);
		memcpy(&file->dropped[u32(p + 8)], p + 36, 8);
		file->statistics++;
		break;
	case 6:
		if (file->packets >= MAX_PACKETS) {
			file->packets++;
			break;
		}
		packet = &file->packet[file->packets++];
		packet->interface = u32(p + 8);
		assert_in_range(packet->interface, 0, file->interfaces - 1);
		packet->ns = (uint64_t)u32(p + 12) << 32 | u32(p + 16);
		packet->caplen = u32(p + 20);
		packet->len = u32(p + 24);
		packet->bytes = p + 28;
		parse_options(p + 28 + (packet->caplen + 3) / 4 * 4,
			      p + len - 4, packet);
		break;
	default:
		fail_msg("block of type %u", u32(p));
	}
}

/* What is there of whole blocks */
static void parse(struct file *file)
{
	while (file->size - file->parsed >= 12) {
		const uint8_t *p = file->bytes + file->parsed;
		size_t len = pcapng_block_len(p);

		if (file->size - file->parsed < len)
			break;
		assert_true(len >= 12);
		assert_int_equal(u32(p + len - 4), len);
		parse_block(file, p, len);
		file->parsed += len;
	}
}

/* All that comes out of @fd until it ends */
static struct file *slurp(int fd)
{
	struct file *file = calloc(1, sizeof(*file));
	size_t room = 1 << 20;
	ssize_t n;

	assert_non_null(file);
	do {
		room *= 2;
		file->bytes = realloc(file->bytes, room);
		assert_non_null(file->bytes);
		while ((n = read(fd, file->bytes + file->size,
				 room - file->size)) > 0)
			file->size += (size_t)n;
	} while (n == 0 && file->size == room);
	close(fd);
	parse(file);
	assert_int_equal(file->parsed, file->size);
	return file;
}

static struct file *read_file(const char *path)
{
	struct file *file = slurp(check_ok(open(path, O_RDONLY | O_CLOEXEC)));

	assert_int_equal(file->sections, 1);
	return file;
}

static void free_file(struct file *file)
{
	free(file->bytes);
	free(file);
}

/* What a program says to the file, on both its outputs; the exit status */
static int run_reader(const char *command, const char *path, char *out,
		      size_t size)
{
	char line[256];
	size_t len;
	FILE *p;

	snprintf(line, sizeof(line), "%s %s 2>&1", command, path);
	p = popen(line, "re"); /* NOLINT(bugprone-command-processor) */
	assert_non_null(p);
	len = fread(out, 1, size - 1, p);
	out[len] = '\0';
	return pclose(p);
}

/* ---- what is recorded ---- */

static const uint8_t arp[60] = "\xff\xff\xff\xff\xff\xff\2\0\0\0\0\1\x8\6"
			       "\0\1\x8\0\6\4\0\1\2\0\0\0\0\1\x0a\0\0\1"
			       "\0\0\0\0\0\0\x0a\0\0\2";

static void libpcap_reads_the_frames(void **state)
{
	char header[12] = { 0 }, a[] = "0123456789abcd", b[] = "efghijk";
	struct iovec iov[] = {
		{ header, 5 }, { header + 5, 7 }, { a, 14 }, { b, 7 }
	};
	struct frame frame = { .iov = iov, .iovcnt = 4, .len = 12 + 21 };
	struct fixture *f = *state;
	struct pcap_pkthdr *h;
	const u_char *bytes;
	struct capture *c;
	pcap_t *p;

	c = start(f->path);
	check_ret(capture_add(c, "port0"), 0);
	capture_frames(c, 0, CAPTURE_IN, &frame, 1, 12, NULL);
	frame.len = 12 + 16; /* the rest is room */
	capture_frames(c, 0, CAPTURE_OUT, &frame, 1, 12, NULL);
	capture_free(c);

	p = pcap_open_offline(f->path, f->lines);
	if (!p)
		fail_msg("%s", f->lines);
	assert_int_equal(pcap_datalink(p), DLT_EN10MB);
	check_ret(pcap_next_ex(p, &h, &bytes), 1);
	assert_int_equal(h->caplen, 21);
	assert_int_equal(h->len, 21);
	assert_memory_equal(bytes, "0123456789abcdefghijk", 21);
	check_ret(pcap_next_ex(p, &h, &bytes), 1);
	assert_int_equal(h->len, 16);
	assert_memory_equal(bytes, "0123456789abcdef", 16);
	check_ret(pcap_next_ex(p, &h, &bytes), PCAP_ERROR_BREAK);
	pcap_close(p);
}

static void interfaces_and_directions_are_in_the_file(void **state)
{
	static const enum capture_dir dirs[] = { CAPTURE_UNKNOWN, CAPTURE_IN,
						 CAPTURE_OUT };
	struct fixture *f = *state;
	struct capture *c = start(f->path);
	struct file *file;
	char bytes[60] = { 0 };
	struct iovec iov = { bytes, 60 };
	struct frame frame = { .iov = &iov, .iovcnt = 1, .len = 60 };

	check_ret(capture_add(c, "left"), 0);
	check_ret(capture_add(c, "right"), 1);
	check_ret(capture_add(c, "left"), 0);
	for (unsigned int i = 0; i < 3; i++)
		capture_frames(c, i % 2, dirs[i], &frame, 1, 0, NULL);
	capture_frames(c, 2, CAPTURE_IN, &frame, 1, 0, "no such interface");
	capture_free(c);

	file = read_file(f->path);
	assert_int_equal(file->interfaces, 2);
	assert_string_equal(file->name[0], "left");
	assert_string_equal(file->name[1], "right");
	assert_int_equal(file->packets, 3);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(file->packet[i].flags, i);
		assert_int_equal(file->packet[i].interface, i % 2);
	}
	assert_int_equal(file->statistics, 2);
	assert_int_equal(file->seen[0], 2);
	assert_int_equal(file->seen[1], 1);
	assert_int_equal(file->dropped[0], 0);
	free_file(file);
}

static void a_long_frame_is_cut_at_snaplen(void **state)
{
	struct fixture *f = *state;
	const struct capture_config config = { .path = f->path, .snaplen = 20 };
	struct capture *c;
	struct file *file;

	check_ret(capture_new(&config, &c), 0);
	check_ret(capture_add(c, "port"), 0);
	record(c, 0, "0123456789012345678901234567890123456789", 40);
	capture_free(c);
	file = read_file(f->path);
	assert_int_equal(file->packet[0].caplen, 20);
	assert_int_equal(file->packet[0].len, 40);
	assert_memory_equal(file->packet[0].bytes, "01234567890123456789", 20);
	free_file(file);
}

static void assert_comment(const struct packet *p, unsigned int i,
			   const char *want)
{
	char text[256];

	assert_non_null(p->comment[i]);
	snprintf(text, sizeof(text), "%.*s", (int)p->comment_len[i],
		 p->comment[i]);
	assert_string_equal(text, want);
}

static void reason_and_header_are_comments(void **state)
{
	struct fixture *f = *state;
	const struct capture_config config = { .path = f->path,
					       .snaplen = SNAPLEN,
					       .vnet_hdr = true };
	struct {
		struct virtio_net_hdr_mrg_rxbuf header;
		char bytes[60];
	} all = { .header.hdr = { .flags = 1,
				  .gso_type = 4,
				  .hdr_len = htole16(74),
				  .gso_size = htole16(1428),
				  .csum_start = htole16(54),
				  .csum_offset = htole16(16) },
		  .header.num_buffers = htole16(2) };
	struct iovec iov = { &all, sizeof(all) };
	struct frame frame = { .iov = &iov, .iovcnt = 1, .len = sizeof(all) };
	struct capture *c;
	struct file *file;

	check_ret(capture_new(&config, &c), 0);
	check_ret(capture_add(c, "port"), 0);
	capture_frames(c, 0, CAPTURE_IN, &frame, 1, 12, "full");
	capture_frames(c, 0, CAPTURE_IN, &frame, 1, 10, NULL);
	frame.len = 3; /* shorter than the header */
	capture_frames(c, 0, CAPTURE_IN, &frame, 1, 12, "malformed");
	capture_free(c);
	file = read_file(f->path);
	assert_comment(&file->packet[0], 0, "full");
	assert_comment(&file->packet[0], 1,
		       "virtio_net_hdr: flags 0x1 gso_type 0x4 hdr_len 74 "
		       "gso_size 1428 csum_start 54 csum_offset 16 "
		       "num_buffers 2");
	assert_int_equal(file->packet[0].len, 60);
	assert_int_equal(file->packet[1].len, 62);
	assert_null(file->packet[1].comment[1]);
	assert_int_equal(file->packet[2].len, 0);
	assert_comment(&file->packet[2], 0, "malformed");
	free_file(file);
}

static void other_programs_read_it_without_complaint(void **state)
{
	static const char *const readers[][2] = {
		{ "tcpdump", "tcpdump -nn -tt -r" },
		{ "tshark", "tshark -n -r" },
		{ "capinfos", "capinfos" },
	};
	struct fixture *f = *state;
	struct capture *c = start(f->path);
	struct iovec iov = { (void *)arp, sizeof(arp) };
	struct frame frame = { .iov = &iov, .iovcnt = 1, .len = sizeof(arp) };
	char out[4096], which[64];

	capture_add(c, "one");
	capture_add(c, "two");
	capture_frames(c, 0, CAPTURE_IN, &frame, 1, 0, NULL);
	capture_frames(c, 1, CAPTURE_OUT, &frame, 1, 0, "a reason");
	capture_free(c);
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
		snprintf(which, sizeof(which), "command -v %s >",
			 readers[i][0]);
		if (run_reader(which, "/dev/null", out, sizeof(out)))
			continue;
		assert_int_equal(
			run_reader(readers[i][1], f->path, out, sizeof(out)),
			0);
		print_message("%s", out);
		assert_null(strstr(out, "ERROR"));
		assert_null(strstr(out, "truncated"));
		if (i == 0)
			assert_non_null(strstr(
				out, "ARP, Request who-has 10.0.0.2 tell "
				     "10.0.0.1, length 46"));
	}
}

static void all_frames_are_in_their_order(void **state)
{
	enum { N = 3000 };
	struct fixture *f = *state;
	struct capture *c = start(f->path);
	struct file *file;

	capture_add(c, "port");
	for (uint32_t i = 0; i < N; i++)
		record(c, 0, &i, sizeof(i));
	capture_free(c);
	file = read_file(f->path);
	assert_int_equal(file->packets, N);
	for (uint32_t i = 0; i < N; i++) {
		assert_int_equal(u32(file->packet[i].bytes), i);
		assert_true(i == 0 ||
			    file->packet[i].ns >= file->packet[i - 1].ns);
	}
	assert_true((uint64_t)time(NULL) - file->packet[0].ns / 1000000000 <
		    60);
	free_file(file);
}

static void the_longest_frames_pass(void **state)
{
	static uint8_t bytes[NETPORT_FRAME_MAX];
	struct fixture *f = *state;
	const struct capture_config config = { .path = f->path,
					       .snaplen = NETPORT_FRAME_MAX,
					       .vnet_hdr = true };
	struct iovec iov = { bytes, sizeof(bytes) };
	struct frame frame[3];
	struct capture *c;
	struct file *file;

	for (int i = 0; i < 3; i++)
		frame[i] = (struct frame){ .iov = &iov,
					   .iovcnt = 1,
					   .len = sizeof(bytes) };
	check_ret(capture_new(&config, &c), 0);
	capture_add(c, "port");
	capture_frames(c, 0, CAPTURE_OUT, frame, 3, 10, "reason");
	capture_free(c);
	file = read_file(f->path);
	assert_int_equal(file->packets, 3);
	assert_int_equal(file->packet[2].caplen, sizeof(bytes) - 10);
	free_file(file);
}

/* ---- rows of files ---- */

static struct capture *start_row(const char *path, uint64_t bytes,
				 unsigned int files)
{
	const struct capture_config config = { .path = path,
					       .snaplen = SNAPLEN,
					       .file_bytes = bytes,
					       .files = files };
	struct capture *c;

	check_ret(capture_new(&config, &c), 0);
	return c;
}

static struct file *read_numbered(const char *path, unsigned int n)
{
	char name[80];

	snprintf(name, sizeof(name), "%s.%u", path, n);
	return access(name, F_OK) == 0 ? read_file(name) : NULL;
}

static void each_file_of_a_row_is_complete(void **state)
{
	enum { BYTES = 4000, N = 200 };
	struct fixture *f = *state;
	struct capture *c = start_row(f->path, BYTES, 0);
	unsigned int n = 1;
	uint32_t next = 0;
	struct file *file;

	capture_add(c, "a");
	capture_add(c, "b");
	for (uint32_t i = 0; i < N; i++)
		record(c, 1, (uint32_t[50]){ i }, 200);
	capture_free(c);
	for (; (file = read_numbered(f->path, n)); n++) {
		assert_int_equal(file->interfaces, 2);
		assert_string_equal(file->name[1], "b");
		assert_int_equal(file->statistics, 2);
		assert_in_range(file->size, 1, BYTES);
		assert_true(file->packets > 0);
		for (unsigned int i = 0; i < file->packets; i++)
			assert_int_equal(u32(file->packet[i].bytes), next++);
		free_file(file);
	}
	assert_int_equal(next, N);
	assert_in_range(n, 10, 30);
}

static void a_row_keeps_its_last_files(void **state)
{
	struct fixture *f = *state;
	struct capture *c = start_row(f->path, 1, 3);
	struct file *file;

	capture_add(c, "a");
	for (uint32_t i = 0; i < 10; i++)
		record(c, 0, &i, sizeof(i));
	capture_free(c);
	for (unsigned int n = 1; n <= 11; n++) {
		file = read_numbered(f->path, n);
		assert_true(!!file == (n >= 8 && n <= 10));
		if (!file)
			continue;
		assert_int_equal(file->packets, 1);
		assert_int_equal(u32(file->packet[0].bytes), n - 1);
		free_file(file);
	}
}

static void a_row_stays_in_its_folder(void **state)
{
	struct fixture *f = *state;
	struct capture *c;
	char before[64], after[64];
	struct file *file;

	snprintf(before, sizeof(before), "%s/before", f->dir);
	snprintf(after, sizeof(after), "%s/after", f->dir);
	check_ret(mkdir(before, 0700), 0);
	strcat(before, "/x");
	c = start_row(before, 1, 0);
	*strrchr(before, '/') = '\0';
	check_ret(rename(before, after), 0);
	capture_add(c, "a");
	record(c, 0, "1", 1);
	record(c, 0, "2", 1);
	capture_free(c);
	strcat(after, "/x");
	file = read_numbered(after, 2);
	assert_non_null(file);
	free_file(file);
}

static void a_row_follows_no_link(void **state)
{
	struct fixture *f = *state;
	struct capture *c;
	char link[80];

	snprintf(link, sizeof(link), "%s.2", f->path);
	c = start_row(f->path, 1, 0);
	check_ret(symlink("victim", link), 0);
	capture_add(c, "a");
	record(c, 0, "1", 1);
	record(c, 0, "2", 1);
	capture_free(c);
	assert_int_equal(f->logged, 2);
	assert_non_null(strstr(f->lines, "symbolic link"));
	assert_non_null(strstr(f->lines, "the capture ends, 1 frames short"));
	snprintf(link, sizeof(link), "%s/victim", f->dir);
	check_errno(access(link, F_OK), ENOENT);
}

/* make_bad() puts something in the way of the second file of a row. */
static void row_waits_for(struct fixture *f, void (*make_bad)(const char *),
			  const char *why)
{
	struct capture *c;
	struct file *file;
	char second[80];

	snprintf(second, sizeof(second), "%s.2", f->path);
	make_bad(second);
	c = start_row(f->path, 1, 0);
	capture_add(c, "a");
	record(c, 0, "1", 1);
	record(c, 0, "2", 1);
	wait_until_said(f, why);
	check_ret(remove(second), 0);
	wait_until_said(f, "recorded again; 0 are missing");
	capture_free(c);
	assert_int_equal(f->logged, 2);
	file = read_numbered(f->path, 2);
	assert_non_null(file);
	assert_int_equal(file->packets, 1);
	free_file(file);
}

static void make_link(const char *path)
{
	check_ret(symlink("victim", path), 0);
}

static void a_row_goes_on_when_a_link_is_gone(void **state)
{
	row_waits_for(*state, make_link, "symbolic link");
}

static int fifo_reader = -1;

static void make_row_fifo(const char *path)
{
	check_ret(mkfifo(path, 0600), 0);
	fifo_reader = check_ok(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
}

static void a_row_has_no_fifo_in_it(void **state)
{
	char byte;

	row_waits_for(*state, make_row_fifo, "Invalid argument");
	check_ret(read(fifo_reader, &byte, 1), 0);
	close(fifo_reader);
}

/* ---- files that are there already ---- */

static int open_ret(const char *path)
{
	const struct capture_config config = { .path = path,
					       .snaplen = SNAPLEN };
	struct capture *c;
	int ret = capture_new(&config, &c);

	if (ret == 0)
		capture_free(c);
	return ret;
}

#define SECRET "not to be emptied"

static void make_secret(const char *path)
{
	int fd = check_ok(open(path, O_WRONLY | O_CREAT | O_EXCL, 0644));

	check_ret(write(fd, SECRET, strlen(SECRET)), strlen(SECRET));
	close(fd);
}

static void assert_secret(const char *path)
{
	char text[64] = { 0 };
	int fd = check_ok(open(path, O_RDONLY));

	check_ret(read(fd, text, sizeof(text) - 1), strlen(SECRET));
	assert_string_equal(text, SECRET);
	close(fd);
}

static void need_root(void)
{
	if (geteuid() != 0)
		skip_because("other users' files need root");
}

static void a_file_of_ours_is_emptied_a_new_one_is_private(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	struct file *file;

	umask(0);
	check_ret(open_ret(f->path), 0);
	umask(022);
	check_ret(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	check_ret(truncate(f->path, 100000), 0);
	check_ret(open_ret(f->path), 0);
	file = read_file(f->path);
	assert_int_equal(file->sections, 1);
	free_file(file);
}

static void a_link_is_not_followed(void **state)
{
	struct fixture *f = *state;
	char victim[64], nowhere[64];

	snprintf(victim, sizeof(victim), "%s/victim", f->dir);
	snprintf(nowhere, sizeof(nowhere), "%s/nowhere", f->dir);
	make_secret(victim);
	check_ret(symlink(victim, f->path), 0);
	check_ret(open_ret(f->path), -ELOOP);
	assert_secret(victim);
	check_ret(unlink(f->path), 0);
	check_ret(symlink(nowhere, f->path), 0);
	check_ret(open_ret(f->path), -ELOOP);
	check_errno(access(nowhere, F_OK), ENOENT);
}

static void
a_link_on_the_way_is_followed_where_others_cannot_write(void **state)
{
	struct fixture *f = *state;
	char folder[64], inner[128], link[64];

	snprintf(folder, sizeof(folder), "%s/folder", f->dir);
	snprintf(link, sizeof(link), "%s/link", f->dir);
	check_ret(mkdir(folder, 0700), 0);
	check_ret(symlink("./folder/../folder", link), 0);
	snprintf(inner, sizeof(inner), "%s//file", link);
	check_ret(open_ret(inner), 0);
	strcpy(inner + strlen(f->dir), "/folder/file");
	check_ret(unlink(inner), 0);
	snprintf(inner, sizeof(inner), "%s/file", link);
	check_ret(chmod(f->dir, 0770), 0);
	check_ret(open_ret(inner), -ELOOP);
	check_ret(chmod(f->dir, 01777), 0);
	check_ret(open_ret(inner), -ELOOP);
	strcpy(inner + strlen(f->dir), "/folder/file");
	check_errno(access(inner, F_OK), ENOENT);
	check_ret(open_ret(inner), 0);
	/* A circle. */
	check_ret(chmod(f->dir, 0700), 0);
	check_ret(unlink(link), 0);
	check_ret(symlink("link", link), 0);
	snprintf(inner, sizeof(inner), "%s/file", link);
	check_ret(open_ret(inner), -ELOOP);
}

static void a_file_of_another_user_is_refused(void **state)
{
	struct fixture *f = *state;
	char first[80];

	need_root();
	make_secret(f->path);
	check_ret(chown(f->path, 65534, 65534), 0);
	check_ret(open_ret(f->path), -EPERM);
	assert_secret(f->path);
	snprintf(first, sizeof(first), "%s.1", f->path);
	check_ret(rename(f->path, first), 0);
	{
		const struct capture_config config = { .path = f->path,
						       .snaplen = SNAPLEN,
						       .file_bytes = 4096 };
		struct capture *c;

		check_ret(capture_new(&config, &c), -EPERM);
	}
	assert_secret(first);
}

/* A hard link to a file of ours, made by another user. */
static void a_file_with_another_name_is_refused(void **state)
{
	struct fixture *f = *state;
	char other[64];

	snprintf(other, sizeof(other), "%s/other", f->dir);
	make_secret(other);
	check_ret(link(other, f->path), 0);
	check_ret(open_ret(f->path), -EMLINK);
	assert_secret(other);
	check_ret(unlink(other), 0);
	check_ret(open_ret(f->path), 0);
}

static void a_fifo_of_another_user_is_refused_where_others_write(void **state)
{
	struct fixture *f = *state;
	int fd;

	need_root();
	check_ret(mkfifo(f->path, 0600), 0);
	fd = check_ok(open(f->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
	check_ret(chown(f->path, 65534, 65534), 0);
	check_ret(open_ret(f->path), 0);
	check_ret(chmod(f->dir, 01777), 0);
	check_ret(open_ret(f->path), -EPERM);
	/* Its folder: /run/user/65534, say */
	check_ret(chown(f->dir, 65534, 65534), 0);
	check_ret(open_ret(f->path), 0);
	check_ret(chown(f->path, 65533, 65533), 0);
	check_ret(open_ret(f->path), -EPERM);
	check_ret(chown(f->path, 0, 0), 0);
	check_ret(open_ret(f->path), 0);
	check_ret(chown(f->dir, 0, 0), 0);
	close(fd);
}

/* As of a shell's >(...) */
static void an_open_descriptor_can_be_named(void **state)
{
	struct file *file;
	char path[32];
	int fds[2];

	(void)state;
	check_ret(pipe2(fds, O_CLOEXEC), 0);
	snprintf(path, sizeof(path), "/dev/fd/%d", fds[1]);
	check_ret(open_ret(path), 0);
	close(fds[1]);
	file = slurp(fds[0]);
	assert_int_equal(file->sections, 1);
	free_file(file);
	check_ret(open_ret(path), -EBADF);
	check_ret(open_ret("/dev/fd/"), -EISDIR);
}

/* ---- files of another process ---- */

static struct capture *go_on(struct fixture *f, int fd,
			     struct capture_mark *mark)
{
	const struct capture_given given = {
		check_ok(fcntl(fd, F_DUPFD_CLOEXEC, 0)), mark
	};
	const struct capture_config config = { .path = f->path,
					       .snaplen = SNAPLEN,
					       .given = &given };
	struct capture *c;

	check_ret(capture_new(&config, &c), 0);
	check_ret(capture_add(c, "port0"), 0);
	return c;
}

static int open_given(struct fixture *f)
{
	const struct capture_config config = { .path = f->path,
					       .snaplen = SNAPLEN };
	const struct capture_config row = { .path = f->path,
					    .snaplen = SNAPLEN,
					    .file_bytes = 1 << 20 };

	check_ret(capture_open(&row), -EINVAL);
	return check_ok(capture_open(&config));
}

/* As if the process before had been killed in the middle of a block. */
static void the_next_process_removes_a_part_of_a_block(void **state)
{
	struct capture_mark mark = { 0 };
	struct fixture *f = *state;
	struct capture *c;
	struct file *file;
	int fd;

	fd = open_given(f);
	c = go_on(f, fd, &mark);
	record(c, 0, "01234567890123456789", 20);
	capture_free(c);
	assert_int_equal(mark.used, 1);
	assert_int_equal(mark.torn, 0);
	assert_true(lseek(fd, 0, SEEK_CUR) == (off_t)mark.end);
	check_ret(write(fd, "torn", 4), 4);
	mark.torn = 1;

	c = go_on(f, fd, &mark);
	record(c, 0, "abcdefghijabcdefghij", 20);
	capture_free(c);
	close(fd);
	file = slurp(check_ok(open(f->path, O_RDONLY | O_CLOEXEC)));
	assert_int_equal(file->sections, 2);
	assert_int_equal(file->packets, 2);
	assert_memory_equal(file->packet[0].bytes, "0123456789", 10);
	assert_memory_equal(file->packet[1].bytes, "abcdefghij", 10);
	assert_int_equal(file->size, mark.end);
	free_file(file);
}

/* Its reader has got the part. */
static void a_torn_capture_to_a_pipe_ends(void **state)
{
	struct capture_mark mark = { .used = 1, .torn = 1 };
	struct fixture *f = *state;
	struct capture *c;
	int fds[2];
	char byte;

	check_ret(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	c = go_on(f, fds[1], &mark);
	close(fds[1]);
	wait_until_said(f, "the reader is gone: the capture ends");
	capture_free(c);
	check_ret(read(fds[0], &byte, 1), 0);
	close(fds[0]);
}

/* ---- readers ---- */

static int make_fifo(struct fixture *f)
{
	check_ret(mkfifo(f->path, 0600), 0);
	return check_ok(open(f->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
}

static size_t read_within(int fd, uint8_t *to, size_t room)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	check_ret(poll(&p, 1, WAIT_MS), 1);
	n = read(fd, to, room);
	assert_true(n > 0);
	return (size_t)n;
}

/* Until there are @packets of them */
static void read_live(int fd, struct file *file, unsigned int packets)
{
	while (file->packets < packets) {
		file->size += read_within(fd, file->bytes + file->size,
					  65536 - file->size);
		parse(file);
	}
}

static struct file *new_live(void)
{
	struct file *file = calloc(1, sizeof(*file));

	assert_non_null(file);
	file->bytes = malloc(65536);
	assert_non_null(file->bytes);
	return file;
}

static void a_live_reader_sees_frames_soon(void **state)
{
	struct fixture *f = *state;
	int fd = make_fifo(f);
	struct file *file = new_live();
	struct capture *c = start(f->path);

	capture_add(c, "a");
	record(c, 0, "first", 5);
	read_live(fd, file, 1);
	capture_add(c, "b"); /* while it runs */
	record(c, 1, "second", 6);
	read_live(fd, file, 2);
	assert_string_equal(file->name[1], "b");
	assert_memory_equal(file->packet[1].bytes, "second", 6);
	free_file(file);
	capture_free(c);
	close(fd);
	assert_int_equal(f->logged, 0);
}

static int start_tcpdump(int in, int out)
{
	pid_t pid = check_ok(fork());

	if (pid)
		return pid;
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	execlp("tcpdump", "tcpdump", "-l", "-nn", "-r", "-", NULL);
	_exit(127);
}

static void tcpdump_shows_frames_live(void **state)
{
	struct fixture *f = *state;
	int fd = make_fifo(f), out[2];
	char line[256] = "";
	struct capture *c;
	pid_t pid;

	if (run_reader("command -v tcpdump >", "/dev/null", line, sizeof(line)))
		skip_because("no tcpdump");
	check_ret(pipe2(out, O_CLOEXEC), 0);
	fcntl(fd, F_SETFL, 0);
	/* First: to a reader of a FIFO without a writer it has ended. */
	c = start(f->path);
	pid = start_tcpdump(fd, out[1]);
	close(out[1]);
	close(fd);
	capture_add(c, "a");
	record(c, 0, arp, sizeof(arp));
	/* While the capture goes on. */
	read_within(out[0], (uint8_t *)line, sizeof(line) - 1);
	assert_non_null(strstr(line, "ARP, Request who-has 10.0.0.2"));
	capture_free(c);
	close(out[0]);
	check_ret(waitpid(pid, NULL, 0), pid);
}

static void record_lots(struct capture *c)
{
	static const uint8_t bytes[1024];
	int64_t before = now_ms();

	for (unsigned int i = 0; i < LOTS; i++)
		record(c, 0, bytes, sizeof(bytes));
	assert_true(now_ms() - before < WAIT_MS);
}

static void *free_capture(void *arg)
{
	capture_free(arg);
	return NULL;
}

static void a_reader_that_stalls_loses_frames_and_is_told(void **state)
{
	struct fixture *f = *state;
	int fd = make_fifo(f);
	struct capture *c = start(f->path);
	struct capture_counters n;
	struct file *file;
	pthread_t t;

	capture_add(c, "a");
	record_lots(c);
	capture_read_counters(c, 0, &n);
	assert_int_equal(n.seen, LOTS);
	assert_in_range(n.dropped, LOTS / 2, LOTS - 1);
	check_ret(pthread_create(&t, NULL, free_capture, c), 0);
	fcntl(fd, F_SETFL, 0);
	file = slurp(fd);
	pthread_join(t, NULL);
	assert_int_equal(file->seen[0], LOTS);
	assert_int_equal(file->dropped[0], n.dropped);
	assert_int_equal(file->packets, LOTS - n.dropped);
	assert_true(file->statistics > 1); /* also before the end */
	free_file(file);
	assert_int_equal(f->logged, 1);
	assert_non_null(strstr(f->lines, "too fast"));
}

static void frames_are_recorded_again_after_a_stall(void **state)
{
	struct fixture *f = *state;
	int fd = make_fifo(f);
	struct capture *c = start(f->path);
	struct capture_counters before, after;
	uint8_t sink[65536];

	capture_add(c, "a");
	record_lots(c);
	capture_read_counters(c, 0, &before);
	do {
		read_within(fd, sink, sizeof(sink));
		record(c, 0, "again", 5);
		capture_read_counters(c, 0, &after);
	} while (after.dropped - before.dropped == after.seen - before.seen);
	capture_free(c);
	close(fd);
}

static void closing_does_not_wait_long_for_a_reader(void **state)
{
	struct fixture *f = *state;
	int fd = make_fifo(f);
	struct capture *c = start(f->path);
	int64_t before;

	capture_add(c, "a");
	record_lots(c);
	before = now_ms();
	capture_free(c);
	assert_in_range(now_ms() - before, 500, WAIT_MS);
	close(fd);
	assert_int_equal(f->logged, 2); /* stalled; too fast */
}

static void a_reader_that_goes_away_ends_the_capture_only(void **state)
{
	struct fixture *f = *state;
	int fd = make_fifo(f);
	struct file *file = new_live();
	struct capture *c = start(f->path);

	capture_add(c, "a");
	record(c, 0, "first", 5);
	read_live(fd, file, 1);
	free_file(file);
	close(fd);
	record_lots(c);
	capture_add(c, "b");
	record(c, 1, "nowhere", 7);
	capture_free(c);
	assert_non_null(strstr(f->lines, "file: the reader is gone: the "
					 "capture ends\n"));
	/* Perhaps too much came before that was known. */
	assert_in_range(f->logged, 1, 2);
}

static void a_disk_that_stays_full_is_two_lines(void **state)
{
	struct fixture *f = *state;
	struct capture *c = start("/dev/full");

	/* The section cannot be written. */
	capture_add(c, "a");
	record(c, 0, "first", 5);
	capture_free(c);
	assert_int_equal(f->logged, 2);
	assert_non_null(strstr(f->lines,
			       "/dev/full: No space left on device: "
			       "frames are not recorded until that is over\n"));
	assert_non_null(strstr(f->lines,
			       "/dev/full: the capture ends, 1 frames "
			       "short\n"));
}

/* Frames are recorded until one of them arrives. */
static void record_until_said(struct fixture *f, struct capture *c,
			      const char *text)
{
	int64_t until = now_ms() + WAIT_MS;

	while (!said(f, text)) {
		assert_true(now_ms() < until);
		record(c, 0, (char[1000]){ 0 }, 1000);
	}
}

/* The file has a gap, tells of it, and ends with the last frame. */
static void check_gap(struct fixture *f, struct capture *c)
{
	int64_t until = now_ms() + WAIT_MS;
	struct capture_counters before, n;
	struct file *file;

	/* The buffers may still be full. */
	do {
		assert_true(now_ms() < until);
		capture_read_counters(c, 0, &before);
		record(c, 0, "last", 4);
		capture_read_counters(c, 0, &n);
	} while (n.dropped != before.dropped);
	capture_free(c);
	file = read_file(f->path);
	assert_int_equal(file->sections, 1);
	assert_int_equal(file->seen[0], n.seen);
	assert_int_equal(file->dropped[0], n.dropped);
	assert_true(n.dropped > 0);
	assert_true(file->packets <= MAX_PACKETS);
	assert_int_equal(file->packets, n.seen - n.dropped);
	assert_memory_equal(file->packet[file->packets - 1].bytes, "last", 4);
	free_file(file);
}

/* Until the buffers are full, too. */
static void record_until_lost(struct capture *c)
{
	int64_t until = now_ms() + WAIT_MS;
	struct capture_counters n;

	do {
		assert_true(now_ms() < until);
		record(c, 0, (char[60000]){ 0 }, 60000);
		capture_read_counters(c, 0, &n);
	} while (!n.dropped);
}

static void a_capture_goes_on_at_a_higher_limit(void **state)
{
	struct rlimit old, limit;
	struct fixture *f = *state;
	struct capture *c;

	check_ret(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = 100001;
	check_ret(setrlimit(RLIMIT_FSIZE, &limit), 0);
	c = start(f->path);
	capture_add(c, "a");
	record_until_lost(c);
	wait_until_said(f, "File too large: frames are not recorded");
	check_ret(setrlimit(RLIMIT_FSIZE, &old), 0);
	wait_until_said(f, "frames are recorded again");
	check_gap(f, c);
	assert_non_null(strstr(f->lines, "missing\n"));
}

/* ENOSPC of a real file system, with a partial write before it. */
static void a_capture_goes_on_when_a_disk_has_room_again(void **state)
{
	struct fixture *f = *state;
	struct capture *c;
	struct stat st;

	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", f->dir, "tmpfs", 0, "size=200k") < 0)
		skip_because("no mount namespace");
	c = start(f->path);
	capture_add(c, "a");
	record_until_lost(c);
	wait_until_said(f, "No space left on device: frames are not recorded");
	check_ret(stat(f->path, &st), 0);
	check_ret(mount(NULL, f->dir, NULL, MS_REMOUNT, "size=100m"), 0);
	record_until_said(f, c, "frames are recorded again");
	check_gap(f, c);
	check_ret(umount2(f->dir, MNT_DETACH), 0);
}

static void a_row_goes_on_when_a_disk_has_room_again(void **state)
{
	enum { BYTES = 50000, N = 40 };
	struct fixture *f = *state;
	struct capture *c;
	struct file *file;
	unsigned int packets = 0, n = 1;

	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", f->dir, "tmpfs", 0, "size=100k") < 0)
		skip_because("no mount namespace");
	c = start_row(f->path, BYTES, 0);
	capture_add(c, "a");
	for (int i = 0; i < N; i++)
		record(c, 0, (char[9000]){ 0 }, 9000);
	wait_until_said(f, "No space left on device: frames are not recorded");
	check_ret(mount(NULL, f->dir, NULL, MS_REMOUNT, "size=100m"), 0);
	wait_until_said(f, "frames are recorded again; 0 are missing");
	capture_free(c);
	for (; (file = read_numbered(f->path, n)); n++) {
		packets += file->packets;
		assert_int_equal(file->interfaces, 1);
		assert_in_range(file->size, 1, BYTES);
		free_file(file);
	}
	assert_int_equal(packets, N);
	assert_int_equal(f->logged, 2);
	check_ret(umount2(f->dir, MNT_DETACH), 0);
}

static void a_full_disk_leaves_whole_blocks(void **state)
{
	struct rlimit old, limit;
	struct fixture *f = *state;
	struct capture *c;
	struct file *file;

	check_ret(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = 100001;
	check_ret(setrlimit(RLIMIT_FSIZE, &limit), 0);
	c = start(f->path);
	capture_add(c, "a");
	record_lots(c);
	capture_free(c);
	check_ret(setrlimit(RLIMIT_FSIZE, &old), 0);
	file = read_file(f->path);
	assert_in_range(file->size, 90000, 100001);
	assert_true(file->packets > 80);
	free_file(file);
	assert_true(f->logged >= 1);
}

static void stdout_is_a_file_too(void **state)
{
	static const char *const names[] = { "pipe", "socket" };
	int status;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct file *file;
		int fds[2];
		pid_t pid;

		if (i == 0)
			check_ret(pipe2(fds, O_CLOEXEC), 0);
		else
			check_ret(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		fflush(stdout);
		pid = check_ok(fork());
		if (pid == 0) {
			struct capture *c;

			dup2(fds[1], STDOUT_FILENO);
			close(fds[0]);
			close(fds[1]);
			c = start("-");
			capture_add(c, names[i]);
			for (int j = 0; j < 500; j++)
				record(c, 0, (char[1000]){ 1 }, 1000);
			capture_free(c);
			/* The flags are shared with our parent. */
			_exit(fcntl(1, F_GETFL) & O_NONBLOCK ? 1 : 0);
		}
		close(fds[1]);
		file = slurp(fds[0]);
		assert_int_equal(file->packets, 500);
		assert_string_equal(file->name[0], names[i]);
		free_file(file);
		check_ret(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
}

static void what_cannot_be_captured_to_is_refused(void **state)
{
	struct fixture *f = *state;
	struct capture_config config = { .path = f->path, .snaplen = SNAPLEN };
	struct capture *c;

	check_ret(mkfifo(f->path, 0600), 0);
	check_ret(capture_new(&config, &c), -ENXIO); /* no reader */
	config.path = f->dir;
	check_ret(capture_new(&config, &c), -EISDIR);
	config.path = "/nonexistent/file";
	check_ret(capture_new(&config, &c), -ENOENT);
	config.file_bytes = 1000;
	check_ret(capture_new(&config, &c), -ENOENT);
	config.path = "-";
	check_ret(capture_new(&config, &c), -EINVAL);
	config.file_bytes = 0;
	config.snaplen = 13;
	check_ret(capture_new(&config, &c), -EINVAL);
	config.snaplen = NETPORT_FRAME_MAX + 1;
	check_ret(capture_new(&config, &c), -EINVAL);
	capture_free(NULL);
}

static void interfaces_are_limited(void **state)
{
	struct fixture *f = *state;
	struct capture *c = start(f->path);
	char name[16];

	for (int i = 0; i < CAPTURE_INTERFACES; i++) {
		snprintf(name, sizeof(name), "port%d", i);
		check_ret(capture_add(c, name), i);
	}
	check_ret(capture_add(c, "one more"), -ENOSPC);
	check_ret(capture_add(c, "port7"), 7);
	capture_free(c);
}

/* ---- threads ---- */

struct thread {
	pthread_t id;
	struct capture *capture;
	struct iovec iov;
};

static void *record_thousand(void *arg)
{
	struct thread *t = arg;

	for (uint32_t i = 0; i < 1000; i++)
		record(t->capture, 0, &i, sizeof(i));
	return NULL;
}

static void threads_share_an_interface_and_time_goes_on(void **state)
{
	struct fixture *f = *state;
	struct capture *c = start(f->path);
	struct thread t[2] = { { .capture = c }, { .capture = c } };
	struct file *file;

	capture_add(c, "a");
	for (int i = 0; i < 2; i++)
		check_ret(
			pthread_create(&t[i].id, NULL, record_thousand, &t[i]),
			0);
	capture_add(c, "b");
	for (int i = 0; i < 2; i++)
		pthread_join(t[i].id, NULL);
	capture_free(c);
	file = read_file(f->path);
	assert_int_equal(file->packets, 2000);
	for (unsigned int i = 1; i < file->packets; i++)
		assert_true(file->packet[i].ns >= file->packet[i - 1].ns);
	free_file(file);
}

static void *record_iov(void *arg)
{
	struct thread *t = arg;

	record(t->capture, 0, t->iov.iov_base, t->iov.iov_len);
	return NULL;
}

/* Memory whose first page, once touched, holds the thread up. */
static int block_memory(uint8_t *page, size_t size)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd < 0)
		return -1;
	reg.range.start = (uintptr_t)page;
	reg.range.len = size;
	check_ret(ioctl(fd, UFFDIO_API, &api), 0);
	check_ret(ioctl(fd, UFFDIO_REGISTER, &reg), 0);
	return fd;
}

static void a_guest_that_blocks_its_memory_delays_no_other_guest(void **state)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *page = mmap(NULL, size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_zeropage zero = { .range = { (uintptr_t)page, size } };
	struct fixture *f = *state;
	struct file *file;
	struct uffd_msg msg;
	struct thread t;
	int fd, pipe;

	assert_ptr_not_equal(page, MAP_FAILED);
	fd = block_memory(page, size);
	if (fd < 0) {
		munmap(page, size);
		skip_because("no userfaultfd: %s", strerror(errno));
	}
	file = new_live();
	pipe = make_fifo(f);
	t.capture = start(f->path);
	capture_add(t.capture, "a");
	t.iov = (struct iovec){ page, 60 };
	check_ret(pthread_create(&t.id, NULL, record_iov, &t), 0);
	read_within(fd, (uint8_t *)&msg, sizeof(msg)); /* it is held up */
	record(t.capture, 0, "free", 4);
	read_live(pipe, file, 1);
	assert_memory_equal(file->packet[0].bytes, "free", 4);
	check_ret(ioctl(fd, UFFDIO_ZEROPAGE, &zero), 0);
	pthread_join(t.id, NULL);
	read_live(pipe, file, 2);
	assert_int_equal(file->packet[1].len, 60);
	assert_true(file->packet[1].ns > file->packet[0].ns);
	free_file(file);
	capture_free(t.capture);
	close(fd);
	close(pipe);
	munmap(page, size);
}

/* ---- ports ---- */

static void a_wrapped_port_records_what_passes(void **state)
{
	struct fixture *f = *state;
	struct capture *c = start(f->path);
	struct netport *rx, *tx, *rrx, *rtx;
	char bytes[] = "ten bytes.twelve bytes", room[100];
	struct iovec iov = { bytes, 22 }, to = { room, 100 };
	struct frame frame = { .iov = &iov, .iovcnt = 1, .len = 22 };
	struct frame got = { .iov = &to, .iovcnt = 1 };
	struct file *file;

	check_ret(capture_add(c, "a"), 0);
	check_ret(loop_port_new(&rx, &tx), 0);
	check_ret(capture_wrap(c, 0, rx, &rrx), 0);
	check_ret(capture_wrap(c, 0, tx, &rtx), 0);
	assert_int_equal(rrx->fd, rx->fd);
	assert_string_equal(rtx->ops->name, "loop");
	rtx->hdr_len = 10; /* as a device does at any time */
	check_ret(rtx->ops->send(rtx, &frame, 1), 1);
	assert_int_equal(tx->hdr_len, 10);
	check_ret(rrx->ops->recv(rrx, &got, 1), 1);
	check_ret(rrx->ops->recv(rrx, &got, 1), -EAGAIN);
	netport_close(rrx);
	check_ret(rtx->ops->send(rtx, &frame, 1), 1); /* is lost */
	assert_int_equal(rtx->tx_dropped, 1);
	netport_close(rtx);
	capture_free(c);
	file = read_file(f->path);
	assert_int_equal(file->packets, 3);
	assert_int_equal(file->packet[0].flags, PCAPNG_OUTBOUND);
	assert_int_equal(file->packet[0].len, 12);
	assert_memory_equal(file->packet[0].bytes, "twelve bytes", 12);
	assert_int_equal(file->packet[1].flags, PCAPNG_INBOUND);
	assert_int_equal(file->packet[1].len, 22);
	free_file(file);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(libpcap_reads_the_frames),
		T(interfaces_and_directions_are_in_the_file),
		T(a_long_frame_is_cut_at_snaplen),
		T(reason_and_header_are_comments),
		T(other_programs_read_it_without_complaint),
		T(all_frames_are_in_their_order),
		T(the_longest_frames_pass),
		T(each_file_of_a_row_is_complete),
		T(a_row_keeps_its_last_files),
		T(a_row_stays_in_its_folder),
		T(a_row_follows_no_link),
		T(a_row_goes_on_when_a_link_is_gone),
		T(a_row_has_no_fifo_in_it),
		T(a_file_of_ours_is_emptied_a_new_one_is_private),
		T(a_link_is_not_followed),
		T(a_link_on_the_way_is_followed_where_others_cannot_write),
		T(a_file_of_another_user_is_refused),
		T(a_file_with_another_name_is_refused),
		T(a_fifo_of_another_user_is_refused_where_others_write),
		T(an_open_descriptor_can_be_named),
		T(the_next_process_removes_a_part_of_a_block),
		T(a_torn_capture_to_a_pipe_ends),
		T(a_live_reader_sees_frames_soon),
		T(tcpdump_shows_frames_live),
		T(a_reader_that_stalls_loses_frames_and_is_told),
		T(frames_are_recorded_again_after_a_stall),
		T(closing_does_not_wait_long_for_a_reader),
		T(a_reader_that_goes_away_ends_the_capture_only),
		T(a_disk_that_stays_full_is_two_lines),
		T(a_full_disk_leaves_whole_blocks),
		T(a_capture_goes_on_at_a_higher_limit),
		T(a_capture_goes_on_when_a_disk_has_room_again),
		T(a_row_goes_on_when_a_disk_has_room_again),
		T(stdout_is_a_file_too),
		T(what_cannot_be_captured_to_is_refused),
		T(interfaces_are_limited),
		T(threads_share_an_interface_and_time_goes_on),
		T(a_guest_that_blocks_its_memory_delays_no_other_guest),
		T(a_wrapped_port_records_what_passes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
