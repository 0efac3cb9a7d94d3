/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_channel.c tests channel.c, the descriptor between the kernel's CUSE and
 * libfuse. A socket stands for the kernel: which descriptors are accepted,
 * which messages libfuse may see, and replies that are not lost when the reader
 * is slow.
 */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <linux/fuse.h>
#include <sys/socket.h>

#include "bytes.h"
#include "channel.h"
#include "chardev.h"
#include "log.h"
#include "random.h"

#define DEADLINE_MS 60000
/* More than sockets hold; less than a reply may wait. */
#define REQUESTS_MAX 100000
#define STILL_MS 300
#define RANDOM_MESSAGES 20000
/* An operation that no character device has, but libfuse knows. */
#define UNSERVED FUSE_STATFS

struct message {
	struct fuse_in_header head;
	uint8_t body[CHANNEL_MSG_MAX];
};

static char said[4096];

static void on_line(void *ctx, enum log_level level, const char *line)
{
	size_t len = strlen(said);

	(void)ctx;
	(void)level;
	snprintf(said + len, sizeof(said) - len, "%s\n", line);
}

static void pair(int type, int fd[2])
{
	check_ok(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fd));
}

/* ---- the descriptor ---- */

static void only_a_seqpacket_socket_is_a_channel(void **state)
{
	static const int refused[] = { SOCK_STREAM, SOCK_DGRAM };
	bool real = true;
	int fd[2];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		pair(refused[i], fd);
		check_ret(channel_open(fd[0], &real), -EPROTOTYPE);
		close(fd[0]);
		close(fd[1]);
	}
	fd[0] = check_ok(open("/dev/null", O_RDWR | O_CLOEXEC));
	check_ret(channel_open(fd[0], &real), -EPROTOTYPE);
	close(fd[0]);
	check_ret(channel_open(fd[0], &real), -EBADF);
	pair(SOCK_SEQPACKET, fd);
	check_ret(channel_open(fd[0], &real), fd[0]);
	assert_false(real);
	assert_int_equal(fcntl(fd[0], F_GETFD), FD_CLOEXEC);
	close(fd[0]);
	close(fd[1]);
}

static void read_does_not_wait_and_tells_the_end(void **state)
{
	uint8_t buf[16];
	bool real;
	int fd[2];

	(void)state;
	pair(SOCK_SEQPACKET, fd);
	check_ok(channel_open(fd[0], &real));
	check_ret(channel_read(fd[0], real, buf, sizeof(buf)), -EAGAIN);
	check_ret(send(fd[1], "abc", 3, 0), 3);
	check_ret(channel_read(fd[0], real, buf, sizeof(buf)), 3);
	/* With an unread reply the end is ECONNRESET. */
	check_ret(send(fd[0], "abc", 3, 0), 3);
	close(fd[1]);
	check_ret(channel_read(fd[0], real, buf, sizeof(buf)), 0);
	close(fd[0]);
	check_ret(channel_read(fd[0], real, buf, sizeof(buf)), -EBADF);
}

/* ---- messages ---- */

/* @size: what the message says of its data, where it has such a field. */
static const struct row {
	uint32_t opcode;
	size_t body; /* bytes behind the header */
	uint32_t size;
	bool valid;
} rows[] = {
	{ CUSE_INIT, sizeof(struct cuse_init_in) - 1, 0, false },
	{ CUSE_INIT, sizeof(struct cuse_init_in), 0, true },
	{ FUSE_OPEN, sizeof(struct fuse_open_in) - 1, 0, false },
	{ FUSE_OPEN, sizeof(struct fuse_open_in), 0, true },
	{ FUSE_READ, sizeof(struct fuse_read_in) - 1, 0, false },
	{ FUSE_READ, sizeof(struct fuse_read_in), 0, true },
	{ FUSE_WRITE, sizeof(struct fuse_write_in) - 1, 0, false },
	{ FUSE_WRITE, sizeof(struct fuse_write_in), 0, true },
	{ FUSE_WRITE, sizeof(struct fuse_write_in) + 9, 10, false },
	{ FUSE_WRITE, sizeof(struct fuse_write_in) + 9, UINT32_MAX, false },
	{ FUSE_WRITE, sizeof(struct fuse_write_in) + 10, 10, true },
	{ FUSE_IOCTL, sizeof(struct fuse_ioctl_in) - 1, 0, false },
	{ FUSE_IOCTL, sizeof(struct fuse_ioctl_in), 0, true },
	{ FUSE_IOCTL, sizeof(struct fuse_ioctl_in) + 7, 8, false },
	{ FUSE_IOCTL, sizeof(struct fuse_ioctl_in) + 8, 8, true },
	{ FUSE_POLL, sizeof(struct fuse_poll_in) - 1, 0, false },
	{ FUSE_POLL, sizeof(struct fuse_poll_in), 0, true },
	{ FUSE_RELEASE, sizeof(struct fuse_release_in) - 1, 0, false },
	{ FUSE_RELEASE, sizeof(struct fuse_release_in), 0, true },
	{ FUSE_INTERRUPT, sizeof(struct fuse_interrupt_in) - 1, 0, false },
	{ FUSE_INTERRUPT, sizeof(struct fuse_interrupt_in), 0, true },
	{ UNSERVED, 0, 0, true },
};

static void set_size(struct message *m, const struct row *r)
{
	struct fuse_write_in *w = (void *)m->body;
	struct fuse_ioctl_in *i = (void *)m->body;

	if (r->opcode == FUSE_WRITE)
		w->size = r->size;
	if (r->opcode == FUSE_IOCTL)
		i->in_size = r->size;
}

/* Of exactly the message's size, so that sanitizers see a read behind it. */
static bool valid(const struct message *m, size_t len)
{
	void *copy = malloc(len);
	bool ok;

	assert_non_null(copy);
	memcpy(copy, m, len);
	ok = channel_message_check(copy, len);
	free(copy);
	return ok;
}

static void sizes_inside_a_message_fit_into_it(void **state)
{
	static struct message m;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t len = sizeof(m.head) + rows[i].body;

		memset(&m, 0, sizeof(m));
		m.head.opcode = rows[i].opcode;
		m.head.len = (uint32_t)len;
		set_size(&m, &rows[i]);
		if (valid(&m, len) != rows[i].valid)
			fail_msg("row %zu", i);
		m.head.len++;
		assert_false(valid(&m, len));
	}
	assert_false(valid(&m, sizeof(m.head) - 1));
}

static void extensions_fit_into_a_message(void **state)
{
	static struct message m;
	uint16_t units = 2;

	(void)state;
	memset(&m, 0, sizeof(m));
	m.head.opcode = UNSERVED;
	memcpy((uint8_t *)&m.head + 36, &units, sizeof(units));
	m.head.len = sizeof(m.head) + 16;
	assert_true(valid(&m, m.head.len));
	m.head.len--;
	assert_false(valid(&m, m.head.len));
}

/* ---- a device ---- */

/* libfuse, with a fault on demand */
static bool mount_fails;
struct fuse_session;
int __real_fuse_session_mount(struct fuse_session *se, const char *path);
int __wrap_fuse_session_mount(struct fuse_session *se, const char *path);

int __wrap_fuse_session_mount(struct fuse_session *se, const char *path)
{
	return mount_fails ? -1 : __real_fuse_session_mount(se, path);
}

/**
 * struct device - a chardev on a loop in a thread of its own
 * @fd:    the kernel's end
 * @ready, @ended: as the device reported them; the loop's until joined
 */
struct device {
	struct loop *loop;
	struct chardev *dev;
	pthread_t thread;
	int fd;
	int ready, ended;
	uint64_t unique;
};

static void on_ready(void *ctx, struct chardev *c, int error)
{
	struct device *d = ctx;

	(void)c;
	d->ready = error;
}

static void on_ended(void *ctx, struct chardev *c, int error)
{
	struct device *d = ctx;

	d->ended = error;
	chardev_free(c);
	loop_stop(d->loop);
}

static void *run_loop(void *arg)
{
	struct device *d = arg;

	loop_run(d->loop, DEADLINE_MS);
	return NULL;
}

static int device_new(struct device *d)
{
	struct chardev_config config = {
		.name = "test",
		.quota = { .total = 4, .user = 4, .process = 4 },
		.ready = on_ready,
		.ended = on_ended,
		.ctx = d,
	};
	int fd[2], ret;

	*d = (struct device){ .ready = 1, .ended = 1 };
	said[0] = '\0';
	pair(SOCK_SEQPACKET, fd);
	check_ret(loop_new(&d->loop), 0);
	d->fd = fd[0];
	config.fd = fd[1];
	config.session.loop = d->loop;
	ret = chardev_new(&config, &d->dev);
	if (ret < 0) {
		/* It stays the caller's. */
		check_ret(close(fd[1]), 0);
		close(fd[0]);
		loop_free(d->loop);
	}
	return ret;
}

static void send_message(struct device *d, uint32_t opcode, const void *body,
			 size_t len)
{
	static struct message m;

	memset(&m.head, 0, sizeof(m.head));
	m.head.opcode = opcode;
	m.head.len = (uint32_t)(sizeof(m.head) + len);
	m.head.unique = ++d->unique;
	if (len)
		memcpy(m.body, body, len);
	check_ret(send(d->fd, &m, m.head.len, 0), m.head.len);
}

/* One reply; its bytes behind the header. */
static size_t get_reply(struct device *d, struct fuse_out_header *head,
			void *body, size_t size)
{
	struct pollfd p = { .fd = d->fd, .events = POLLIN };
	struct iovec iov[2] = { { head, sizeof(*head) }, { body, size } };
	ssize_t n;

	check_ret(poll(&p, 1, DEADLINE_MS), 1);
	n = readv(d->fd, iov, 2);
	assert_true(n >= (ssize_t)sizeof(*head));
	assert_int_equal(head->len, n);
	return (size_t)n - sizeof(*head);
}

static void device_start(struct device *d, struct cuse_init_out *out)
{
	const struct cuse_init_in in = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.flags = CUSE_UNRESTRICTED_IOCTL,
	};
	struct {
		struct cuse_init_out out;
		char info[128];
	} reply;
	struct fuse_out_header head;

	check_ret(device_new(d), 0);
	check_ret(pthread_create(&d->thread, NULL, run_loop, d), 0);
	send_message(d, CUSE_INIT, &in, sizeof(in));
	assert_true(get_reply(d, &head, &reply, sizeof(reply)) > sizeof(*out));
	assert_int_equal(head.error, 0);
	assert_string_equal(reply.info, "DEVNAME=test");
	*out = reply.out;
}

/* The kernel's end is closed, unless it is already. */
static void device_end(struct device *d)
{
	if (d->fd >= 0)
		close(d->fd);
	pthread_join(d->thread, NULL);
	assert_int_equal(d->ready, 0);
	assert_int_equal(d->ended, 0);
	loop_free(d->loop);
}

static void the_kernel_gets_the_size_of_our_buffer(void **state)
{
	struct cuse_init_out out;
	struct device d;

	(void)state;
	device_start(&d, &out);
	/* fuse_dev_do_read(): 80 bytes of headers and max_write must fit */
	assert_in_range(out.max_write, 4096, CHANNEL_MSG_MAX - 80);
	assert_int_equal(out.flags, CUSE_UNRESTRICTED_IOCTL);
	device_end(&d);
	assert_string_equal(said, "test: the channel was closed\n");
}

static void malformed_messages_are_left_out(void **state)
{
	struct fuse_out_header head;
	struct cuse_init_out out;
	uint8_t body[64] = { 0 };
	struct device d;

	(void)state;
	device_start(&d, &out);
	send_message(&d, FUSE_READ, body, sizeof(struct fuse_read_in) - 1);
	send_message(&d, UNSERVED, NULL, 0);
	assert_int_equal(get_reply(&d, &head, body, sizeof(body)), 0);
	assert_int_equal(head.unique, d.unique);
	assert_int_equal(head.error, -ENOSYS);
	device_end(&d);
	assert_non_null(strstr(said, "malformed message"));
}

/* All that the kernel could ask of a file, and what it would not; but no open:
 * the device has nothing that a ring could be connected to. */
static uint32_t random_opcode(void)
{
	static const uint32_t served[] = { CUSE_INIT,     FUSE_READ,
					   FUSE_WRITE,    FUSE_IOCTL,
					   FUSE_POLL,     FUSE_RELEASE,
					   FUSE_INTERRUPT };
	uint32_t opcode = one_in(3) ? random_below(64)
				    : served[random_below(ARRAY_SIZE(served))];

	return opcode == FUSE_OPEN ? UNSERVED : opcode;
}

/* With sizes that fit more often than not. */
static size_t random_message(struct message *m)
{
	size_t len = sizeof(m->head) + random_below(200);

	random_fill(m, len);
	if (!one_in(8))
		memset(m->body, 0, len - sizeof(m->head));
	m->head.opcode = random_opcode();
	m->head.len = (uint32_t)(one_in(8) ? len + 1 : len);
	if (!one_in(8))
		memset((uint8_t *)&m->head + 36, 0, 4);
	for (size_t i = 0; i + 4 < 64; i += 4)
		if (one_in(4))
			memcpy(m->body + i, &(uint32_t){ random_below(200) },
			       4);
	return one_in(16) ? 1 + random_below(sizeof(m->head)) : len;
}

static void random_messages_end_nothing(void **state)
{
	static struct message m;
	struct fuse_out_header head;
	struct cuse_init_out out;
	uint8_t body[512];
	struct device d;

	(void)state;
	random_state = 1;
	device_start(&d, &out);
	for (unsigned int i = 0; i < RANDOM_MESSAGES; i++) {
		size_t len = random_message(&m);

		check_ret(send(d.fd, &m, len, 0), len);
		while (recv(d.fd, body, sizeof(body), MSG_DONTWAIT) > 0)
			;
	}
	d.unique = 0x1234567890abcdef;
	send_message(&d, UNSERVED, NULL, 0);
	do
		get_reply(&d, &head, body, sizeof(body));
	while (head.unique != d.unique);
	assert_int_equal(head.error, -ENOSYS);
	device_end(&d);
}

/* The device cannot write before we read: it has to wait, not to drop. */
static void a_full_socket_loses_no_reply(void **state)
{
	struct fuse_out_header head;
	struct cuse_init_out out;
	struct device d;
	uint8_t body[16];

	(void)state;
	device_start(&d, &out);
	/* Until the device stands still, and our own end is full as well. */
	for (int i = 0; i < REQUESTS_MAX; i++) {
		struct pollfd p = { .fd = d.fd, .events = POLLOUT };

		if (poll(&p, 1, STILL_MS) == 0)
			break;
		send_message(&d, UNSERVED, NULL, 0);
	}
	for (uint64_t u = 2; u <= d.unique; u++) {
		get_reply(&d, &head, body, sizeof(body));
		assert_int_equal(head.unique, u);
	}
	device_end(&d);
}

static void a_refusal_of_libfuse_is_logged(void **state)
{
	struct device d;

	(void)state;
	mount_fails = true;
	check_ret(device_new(&d), -EOPNOTSUPP);
	mount_fails = false;
	assert_non_null(strstr(said, "libfuse 3."));
	assert_non_null(strstr(said, "does not take the channel"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_a_seqpacket_socket_is_a_channel),
		cmocka_unit_test(read_does_not_wait_and_tells_the_end),
		cmocka_unit_test(sizes_inside_a_message_fit_into_it),
		cmocka_unit_test(extensions_fit_into_a_message),
		cmocka_unit_test(the_kernel_gets_the_size_of_our_buffer),
		cmocka_unit_test(malformed_messages_are_left_out),
		cmocka_unit_test(random_messages_end_nothing),
		cmocka_unit_test(a_full_socket_loses_no_reply),
		cmocka_unit_test(a_refusal_of_libfuse_is_logged),
	};

	signal(SIGPIPE, SIG_IGN); /* as the daemon does */
	log_set_sink(on_line, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
