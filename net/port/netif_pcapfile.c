/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netif_pcapfile.c has the kinds pcap-in, which plays a file, and pcap-out,
 * which writes one. The file is opened once, before privileges are given up;
 * only regular files, since a pipe would block the worker that reads or writes
 * it.
 *
 * All queue pairs write to the same file, each batch of frames as a whole. A
 * batch that does not fit on the disk is removed from the file and dropped, and
 * the next one is tried after RETRY_MS.
 */
#include "netif_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "capture.h"
#include "clock.h"
#include "log.h"
#include "mutex.h"
#include "pcap_player.h"
#include "portutil.h"

#include "net/capture/capture_file.h"
#include "net/capture/pcapng.h"

#define RETRY_MS 1000
#define BUFFER_BYTES ((size_t)80 << 10)
#define MAGIC_NS 0xa1b23c4d
#define LINKTYPE_ETHERNET 1

_Static_assert(BUFFER_BYTES >= PCAPNG_PACKET_MAX(NETPORT_FRAME_MAX),
	       "any frame fits");

/* @fd: of open(2) or capture_create(). Return: @fd if it is a regular file;
 * -errno with a line. */
static int check_regular(const char *kind, const char *path, int fd,
			 struct error_line *e)
{
	struct stat st;

	if (fd < 0 && fd != -ENXIO)
		return error_line(e, fd, "%s: %s: %s", kind, path,
				  capture_strerror(fd));
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	if (fd >= 0)
		close(fd);
	return error_line(e, -EINVAL, "%s: %s: it is no regular file", kind,
			  path);
}

static int open_old(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

/* With the rules of captures: mode 0600, no links (capture_file.h). */
static int open_new(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	int folder = capture_folder(path), fd;

	if (folder < 0)
		return folder;
	fd = *name ? capture_create(folder, name) : -EISDIR;
	close(folder);
	return fd;
}

/* ---- pcap-in ---- */

struct in_config {
	const char *path;
	uint64_t rounds;
	unsigned int untimed; /* in SPEEDS */
};
#define SPEEDS "real|max"

static const struct netif_key in_arg = NETIF_ARG(path, struct in_config, path);

static const struct netif_key in_keys[] = {
	NETIF_KEY("speed", choice, struct in_config, untimed,
		  .choices = SPEEDS),
	NETIF_KEY("loop", number, struct in_config, rounds, .max = UINT32_MAX),
	{ 0 },
};

/** struct in_netif - @player: to be played, with @name */
struct in_netif {
	struct netif netif;
	int fd;
	struct player_config player;
	char name[];
};

static struct in_netif *to_in(struct netif *s)
{
	return container_of(s, struct in_netif, netif);
}

/* Opens the file again: duplicates of a descriptor would share its position. */
static FILE *open_again(void *ctx)
{
	struct in_netif *in = ctx;
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", in->fd);
	return fopen(path, "re");
}

static int in_open(struct netif *s, unsigned int pair, enum netif_dir dir,
		   struct netport **out)
{
	char error[256];

	if (dir == NETIF_RX && pair == 0)
		return pcap_player_new(&to_in(s)->player, out, error,
				       sizeof(error));
	return netport_null_new(0, false, out);
}

static void in_free(struct netif *s)
{
	struct in_netif *in = to_in(s);

	if (in->fd >= 0)
		close(in->fd);
	free(in);
}

/* Opens the file, and a player for a moment, to see whether it can be played.
 */
static int in_try(struct in_netif *in, struct error_line *e)
{
	struct netport *player;
	char error[256] = "";
	int ret;

	in->fd = check_regular("pcap-in", in->name, open_old(in->name), e);
	if (in->fd < 0)
		return in->fd;
	ret = pcap_player_new(&in->player, &player, error, sizeof(error));
	if (ret < 0)
		return error_line(e, ret, "pcap-in: %s: %s", in->name,
				  *error ? error : strerror(-ret));
	netport_close(player);
	return 0;
}

static int in_new(const void *config, unsigned int queues, struct netif **out,
		  struct error_line *e)
{
	static const struct netif_ops ops = {
		.open = in_open,
		.free = in_free,
	};
	const struct in_config *c = config;
	size_t size = strlen(c->path) + 1;
	struct in_netif *in = calloc(1, sizeof(*in) + size);
	int ret;

	(void)queues;
	if (!in)
		return -ENOMEM;
	memcpy(in->name, c->path, size);
	in->netif.ops = &ops;
	in->player = (struct player_config){
		.open = open_again,
		.ctx = in,
		.name = in->name,
		.rounds = c->rounds,
		.timed = !c->untimed,
	};
	ret = in_try(in, e);
	if (ret < 0)
		in_free(&in->netif);
	else
		*out = &in->netif;
	return ret;
}

const struct netif_kind netif_pcap_in = {
	.name = "pcap-in",
	.usage = "pcap-in:FILE[,speed=" SPEEDS "][,loop=N]\n"
		 "    plays a pcap or pcapng file of Ethernet frames, N times "
		 "(1; 0:\n"
		 "    without end), as they were recorded or as fast as they "
		 "are "
		 "taken;\n"
		 "    drops what it is sent",
	.arg = &in_arg,
	.keys = in_keys,
	.defaults = &(const struct in_config){ .rounds = 1 },
	.config_size = sizeof(struct in_config),
	.new = in_new,
};

/* ---- pcap-out ---- */

struct out_config {
	const char *path;
	uint64_t snaplen;
};

static const struct netif_key out_arg =
	NETIF_ARG(path, struct out_config, path);

static const struct netif_key out_keys[] = {
	NETIF_KEY("snaplen", number, struct out_config, snaplen,
		  .min = NETPORT_ETH_MIN, .max = NETPORT_FRAME_MAX),
	{ 0 },
};

/**
 * struct out_netif - the file; its ports share it
 * @lock: of the fields below
 * @size: bytes of whole records in it
 * @torn: a part of a batch follows them
 * @failing: -errno of the last write; 0: it succeeded
 * @retry_ms: now_ms() of the next attempt, if @failing
 * @lost: frames dropped since then
 */
struct out_netif {
	struct netif netif;
	struct log_tag tag;
	int fd;
	bool pcapng;
	uint32_t snaplen;
	struct mutex lock;
	off_t size;
	bool torn;
	int failing;
	int64_t retry_ms;
	uint64_t lost;
	char name[];
};

/** struct out_port - @buffered bytes wait in @buffer: records of @frames
 * frames, which have @bytes bytes */
struct out_port {
	struct netport port;
	struct out_netif *out;
	unsigned int frames;
	uint64_t bytes;
	size_t buffered;
	uint8_t buffer[BUFFER_BYTES];
};

static struct out_netif *to_out(struct netif *s)
{
	return container_of(s, struct out_netif, netif);
}

static int repair_locked(struct out_netif *o) NEEDS(o->lock)
{
	if (o->torn && ftruncate(o->fd, o->size) < 0)
		return -errno;
	o->torn = false;
	return 0;
}

/* Appends all, or nothing and returns -errno. */
static int append_locked(struct out_netif *o, const uint8_t *p, size_t len)
	NEEDS(o->lock)
{
	size_t done = 0;
	int ret = repair_locked(o);

	if (ret < 0)
		return ret;
	while (done < len) {
		ssize_t n = pwrite(o->fd, p + done, len - done,
				   o->size + (off_t)done);
		int err = errno;

		if (n < 0 && err == EINTR)
			continue;
		if (n < 0) {
			o->torn = done > 0;
			repair_locked(o); /* or before the next batch */
			return -err;
		}
		done += (size_t)n;
	}
	o->size += (off_t)len;
	return 0;
}

static void log_change(const struct out_netif *o, int was, uint64_t lost)
{
	if (o->failing && o->failing != was)
		log_warn(&o->tag,
			 "%s: %s: frames are dropped until that is over",
			 o->name, capture_strerror(o->failing));
	else if (!o->failing && was)
		log_info(&o->tag,
			 "%s: frames are written again; %llu are "
			 "missing",
			 o->name, (unsigned long long)lost);
}

static void flush_buffer(struct out_port *p)
{
	struct out_netif *o = p->out;
	int was;

	if (!p->buffered)
		return;
	mutex_lock(&o->lock);
	was = o->failing;
	if (!was || now_ms() >= o->retry_ms) {
		o->failing = append_locked(o, p->buffer, p->buffered);
		o->retry_ms = now_ms() + RETRY_MS;
	}
	if (o->failing) {
		p->port.tx_dropped += p->frames;
		p->port.tx_dropped_bytes += p->bytes;
		o->lost += p->frames;
	}
	log_change(o, was, o->lost);
	if (!o->failing)
		o->lost = 0;
	mutex_unlock(&o->lock);
	p->buffered = p->frames = 0;
	p->bytes = 0;
}

/* A record of the pcap format: time, bytes recorded, bytes of the frame */
static size_t write_record(uint8_t *to, const struct frame *f, size_t skip,
			   uint32_t len, uint32_t snaplen,
			   const struct timespec *ts)
{
	uint32_t head[4] = { (uint32_t)ts->tv_sec, (uint32_t)ts->tv_nsec, 0,
			     len };

	head[2] = (uint32_t)frame_load(f, skip, to + sizeof(head),
				       MIN(len, snaplen));
	memcpy(to, head, sizeof(head));
	return sizeof(head) + head[2];
}

static size_t write_packet(uint8_t *to, const struct frame *f, size_t skip,
			   uint32_t len, uint32_t snaplen,
			   const struct timespec *ts)
{
	struct pcapng_packet packet = {
		.len = len,
		.direction = PCAPNG_OUTBOUND,
	};
	size_t size;

	packet.caplen = (uint32_t)frame_load(f, skip, pcapng_packet_data(to),
					     MIN(len, snaplen));
	size = pcapng_packet(to, &packet);
	pcapng_packet_set_time(to, timespec_ns(ts));
	return size;
}

static int out_send(struct netport *port, const struct frame *frames,
		    unsigned int n)
{
	struct out_port *p = container_of(port, struct out_port, port);
	const struct out_netif *o = p->out;
	size_t skip = port->hdr_len;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	for (unsigned int i = 0; i < n; i++) {
		const struct frame *f = &frames[i];
		uint32_t len = f->len > skip ? f->len - (uint32_t)skip : 0;

		if (p->buffered + PCAPNG_PACKET_MAX(MIN(len, o->snaplen)) >
		    BUFFER_BYTES)
			flush_buffer(p);
		p->buffered += (o->pcapng ? write_packet : write_record)(
			p->buffer + p->buffered, f, skip, len, o->snaplen,
			&now);
		p->frames++;
		p->bytes += len;
	}
	flush_buffer(p);
	return n ? (int)n : -EAGAIN;
}

static int out_open(struct netif *s, unsigned int pair, enum netif_dir dir,
		    struct netport **out)
{
	static const struct netport_ops ops = {
		.name = "pcap-out",
		.send = out_send,
		.recv = port_recv_none,
		.close = port_free,
	};
	struct out_port *p;

	(void)pair;
	if (dir == NETIF_RX)
		return netport_null_new(0, false, out);
	p = port_new(sizeof(*p), &ops, -1);
	if (!p)
		return -ENOMEM;
	p->out = to_out(s);
	*out = &p->port;
	return 0;
}

static void out_free(struct netif *s)
{
	struct out_netif *o = to_out(s);

	if (o->fd >= 0)
		close(o->fd);
	mutex_destroy(&o->lock);
	free(o);
}

static int write_head(struct out_netif *o) NEEDS(o->lock)
{
	const uint16_t version[2] = { 2, 4 };
	const uint32_t magic = MAGIC_NS;
	const uint32_t tail[4] = { 0, 0, o->snaplen, LINKTYPE_ETHERNET };
	uint8_t head[2 * PCAPNG_BLOCK_MAX];
	size_t len;

	if (o->pcapng) {
		len = pcapng_section(head, "Linux", "uvhost");
		len += pcapng_interface(head + len, "pcap-out", o->snaplen);
		return append_locked(o, head, len);
	}
	memcpy(head, &magic, 4);
	memcpy(head + 4, version, 4);
	memcpy(head + 8, tail, sizeof(tail));
	return append_locked(o, head, 8 + sizeof(tail));
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), n = strlen(end);

	return len >= n && !strcmp(text + len - n, end);
}

static int out_create(struct out_netif *o, struct error_line *e)
{
	int ret;

	o->fd = check_regular("pcap-out", o->name, open_new(o->name), e);
	if (o->fd < 0)
		return o->fd;
	mutex_lock(&o->lock);
	ret = write_head(o);
	mutex_unlock(&o->lock);
	return ret < 0 ? error_line(e, ret, "pcap-out: %s: %s", o->name,
				    strerror(-ret))
		       : 0;
}

static int out_new(const void *config, unsigned int queues, struct netif **out,
		   struct error_line *e)
{
	static const struct netif_ops ops = {
		.open = out_open,
		.free = out_free,
	};
	const struct out_config *c = config;
	size_t size = strlen(c->path) + 1;
	struct out_netif *o = calloc(1, sizeof(*o) + size);
	int ret;

	(void)queues;
	if (!o)
		return -ENOMEM;
	memcpy(o->name, c->path, size);
	o->netif.ops = &ops;
	mutex_init(&o->lock);
	log_tag_init(&o->tag, "pcap-out");
	o->pcapng = ends_with(o->name, ".pcapng");
	o->snaplen = (uint32_t)c->snaplen;
	ret = out_create(o, e);
	if (ret < 0)
		out_free(&o->netif);
	else
		*out = &o->netif;
	return ret;
}

const struct netif_kind netif_pcap_out = {
	.name = "pcap-out",
	.usage = "pcap-out:FILE[,snaplen=N]\n"
		 "    writes what it is sent, N bytes of a frame; pcapng if "
		 "FILE "
		 "ends in\n"
		 "    .pcapng, else pcap; never has a frame",
	.arg = &out_arg,
	.keys = out_keys,
	.defaults = &(const struct out_config){ .snaplen = NETPORT_FRAME_MAX },
	.config_size = sizeof(struct out_config),
	.new = out_new,
};
