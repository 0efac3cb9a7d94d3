/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files as sources: pcap-in plays one, pcap-out writes one. The file is opened
 * once, before privileges are given up; regular files only, since a pipe would
 * hold up the worker that reads or writes it.
 *
 * All queue pairs write into the same file, each batch of them whole. A batch
 * that does not fit on the disk is taken back and dropped, and after RETRY_MS
 * the next one is tried.
 */
#include "netif_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "capture.h"
#include "clock.h"
#include "log.h"
#include "pcap_player.h"
#include "portutil.h"

#include "net/capture/capture_file.h"
#include "net/capture/pcapng.h"

#define RETRY_MS 1000
#define STAGE_BYTES ((size_t)80 << 10)
#define MAGIC_NS 0xa1b23c4d
#define LINKTYPE_ETHERNET 1

_Static_assert(STAGE_BYTES >= PCAPNG_PACKET_MAX(NETPORT_FRAME_MAX),
	       "any frame fits");

/* What open(2) or capture_create() returned: -errno with a line, or a
 * descriptor of a regular file. */
static int check_regular(const char *kind, const char *path, int fd,
			 struct netif_error *e)
{
	struct stat st;

	if (fd < 0 && fd != -ENXIO)
		return netif_fail(e, fd, "%s: %s: %s", kind, path,
				  capture_strerror(fd));
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	if (fd >= 0)
		close(fd);
	return netif_fail(e, -EINVAL, "%s: %s: it is no regular file", kind,
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

static int check_path(const char *kind, const struct netif_spec *spec,
		      struct netif_error *e)
{
	if (spec->arg && *spec->arg)
		return 0;
	return netif_fail(e, -EINVAL, "%s: no file: expected %s:FILE", kind,
			  kind);
}

/* ---- pcap-in ---- */

enum { IN_SPEED, IN_LOOP };
static const char *const in_keys[] = { "speed", "loop", NULL };

struct in_netif {
	struct netif source;
	int fd;
	bool timed;
	uint64_t rounds;
	char name[];
};

static struct in_netif *to_in(struct netif *s)
{
	return container_of(s, struct in_netif, source);
}

static int parse_in(const struct netif_spec *spec, bool *timed,
		    uint64_t *rounds, struct netif_error *e)
{
	const char *speed = spec->keys[IN_SPEED];
	int ret = check_path("pcap-in", spec, e);

	*rounds = 1;
	*timed = !speed || !strcmp(speed, "real");
	if (ret == 0 && !*timed && strcmp(speed, "max") != 0)
		ret = netif_fail(e, -EINVAL,
				 "pcap-in speed: '%s' is neither real nor max",
				 speed);
	if (ret == 0 && spec->keys[IN_LOOP])
		ret = netif_number(e, "pcap-in loop", spec->keys[IN_LOOP], 0,
				   UINT32_MAX, rounds);
	return ret;
}

static int in_check(const struct netif_spec *spec, struct netif_error *e)
{
	uint64_t rounds;
	bool timed;

	return parse_in(spec, &timed, &rounds, e);
}

/* An open file of its own, from the beginning: descriptors that are copies
 * share their position. */
static FILE *open_again(void *ctx)
{
	struct in_netif *in = ctx;
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", in->fd);
	return fopen(path, "re");
}

static int new_player(struct in_netif *in, struct netport **out, char *error,
		      size_t size)
{
	const struct player_config config = {
		.open = open_again,
		.ctx = in,
		.name = in->name,
		.rounds = in->rounds,
		.timed = in->timed,
	};

	return pcap_player_new(&config, out, error, size);
}

static int in_open(struct netif *s, unsigned int pair, struct netport **rx,
		   struct netport **tx)
{
	struct netport *port = NULL;
	char error[256];
	int ret;

	if (pair == 0)
		ret = new_player(to_in(s), &port, error, sizeof(error));
	else
		ret = netport_null_new(0, false, &port);
	if (ret < 0)
		return ret;
	ret = netport_null_new(0, false, tx);
	if (ret < 0)
		netport_close(port);
	else
		*rx = port;
	return ret;
}

static void in_free(struct netif *s)
{
	struct in_netif *in = to_in(s);

	close(in->fd);
	free(in);
}

static int in_new(const struct netif_spec *spec, struct netif **out,
		  struct netif_error *e)
{
	static const struct netif_ops ops = {
		.open = in_open,
		.free = in_free,
	};
	size_t name_size = strlen(spec->arg) + 1;
	struct in_netif *in;
	struct netport *trial;
	char error[256] = "";
	int ret;

	in = calloc(1, sizeof(*in) + name_size);
	if (!in)
		return -ENOMEM;
	memcpy(in->name, spec->arg, name_size);
	in->source.ops = &ops;
	in->fd = -1;
	ret = parse_in(spec, &in->timed, &in->rounds, e);
	if (ret < 0)
		goto err;
	ret = check_regular("pcap-in", in->name, open_old(in->name), e);
	if (ret < 0)
		goto err;
	in->fd = ret;
	ret = new_player(in, &trial, error, sizeof(error));
	if (ret < 0) {
		netif_fail(e, ret, "pcap-in: %s: %s", in->name,
			   *error ? error : strerror(-ret));
		goto err;
	}
	netport_close(trial);
	*out = &in->source;
	return 0;
err:
	if (in->fd >= 0)
		close(in->fd);
	free(in);
	return ret;
}

const struct netif_kind netif_pcap_in = {
	.name = "pcap-in",
	.usage = "pcap-in:FILE[,speed=real|max][,loop=N]\n"
		 "    plays a pcap or pcapng file of Ethernet frames, N times "
		 "(1; 0:\n"
		 "    without end), as they were recorded or as fast as they "
		 "are "
		 "taken;\n"
		 "    drops what it is sent",
	.keys = in_keys,
	.check = in_check,
	.new = in_new,
};

/* ---- pcap-out ---- */

enum { OUT_SNAPLEN };
static const char *const out_keys[] = { "snaplen", NULL };

/**
 * struct out_netif - the file, as its ports share it
 * @lock: for what follows
 * @size: bytes of whole records in it
 * @torn: there is a part of a batch behind those
 * @failing: why nothing can be written at the moment, -errno; 0: it can
 * @retry_ms: now_ms() of the next attempt, if @failing
 * @lost: frames since it fails
 */
struct out_netif {
	struct netif source;
	struct log_tag tag;
	int fd;
	bool pcapng;
	uint32_t snaplen;
	pthread_mutex_t lock;
	off_t size;
	bool torn;
	int failing;
	int64_t retry_ms;
	uint64_t lost;
	char name[];
};

/** struct out_port - @staged bytes of @frames records wait in @stage */
struct out_port {
	struct netport port;
	struct out_netif *out;
	unsigned int frames;
	size_t staged;
	uint8_t stage[STAGE_BYTES];
};

static struct out_netif *to_out(struct netif *s)
{
	return container_of(s, struct out_netif, source);
}

static int parse_out(const struct netif_spec *spec, uint64_t *snaplen,
		     struct netif_error *e)
{
	int ret = check_path("pcap-out", spec, e);

	*snaplen = NETPORT_FRAME_MAX;
	if (ret == 0 && spec->keys[OUT_SNAPLEN])
		ret = netif_number(e, "pcap-out snaplen",
				   spec->keys[OUT_SNAPLEN], NETPORT_ETH_MIN,
				   NETPORT_FRAME_MAX, snaplen);
	return ret;
}

static int out_check(const struct netif_spec *spec, struct netif_error *e)
{
	uint64_t snaplen;

	return parse_out(spec, &snaplen, e);
}

static int repair_locked(struct out_netif *o)
{
	if (o->torn && ftruncate(o->fd, o->size) < 0)
		return -errno;
	o->torn = false;
	return 0;
}

/* All of it, or -errno and nothing of it. */
static int append_locked(struct out_netif *o, const uint8_t *p, size_t len)
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

static void say_change(const struct out_netif *o, int was, uint64_t lost)
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

static void flush_stage(struct out_port *p)
{
	struct out_netif *o = p->out;
	int was;

	if (!p->staged)
		return;
	pthread_mutex_lock(&o->lock);
	was = o->failing;
	if (!was || now_ms() >= o->retry_ms) {
		o->failing = append_locked(o, p->stage, p->staged);
		o->retry_ms = now_ms() + RETRY_MS;
	}
	if (o->failing) {
		p->port.tx_dropped += p->frames;
		o->lost += p->frames;
	}
	say_change(o, was, o->lost);
	if (!o->failing)
		o->lost = 0;
	pthread_mutex_unlock(&o->lock);
	p->staged = p->frames = 0;
}

/* A record of the older format: time, bytes there, bytes of the frame */
static size_t make_record(uint8_t *to, const struct frame *f, size_t skip,
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
	pcapng_packet_set_time(to, (uint64_t)ts->tv_sec * NS_PER_S +
					   (uint64_t)ts->tv_nsec);
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

		if (p->staged + PCAPNG_PACKET_MAX(MIN(len, o->snaplen)) >
		    STAGE_BYTES)
			flush_stage(p);
		p->staged += (o->pcapng ? write_packet : make_record)(
			p->stage + p->staged, f, skip, len, o->snaplen, &now);
		p->frames++;
	}
	flush_stage(p);
	return n ? (int)n : -EAGAIN;
}

static void out_close(struct netport *port)
{
	free(container_of(port, struct out_port, port));
}

static int out_open(struct netif *s, unsigned int pair, struct netport **rx,
		    struct netport **tx)
{
	static const struct netport_ops ops = {
		.name = "pcap-out",
		.send = out_send,
		.recv = port_recv_none,
		.close = out_close,
	};
	struct out_port *p = calloc(1, sizeof(*p));
	int ret;

	(void)pair;
	if (!p)
		return -ENOMEM;
	p->port.ops = &ops;
	p->port.fd = -1;
	p->out = to_out(s);
	ret = netport_null_new(0, false, rx);
	if (ret < 0)
		free(p);
	else
		*tx = &p->port;
	return ret;
}

static void out_free(struct netif *s)
{
	struct out_netif *o = to_out(s);

	if (o->fd >= 0)
		close(o->fd);
	pthread_mutex_destroy(&o->lock);
	free(o);
}

static int write_head(struct out_netif *o)
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

static int out_new(const struct netif_spec *spec, struct netif **out,
		   struct netif_error *e)
{
	static const struct netif_ops ops = {
		.open = out_open,
		.free = out_free,
	};
	size_t name_size = strlen(spec->arg) + 1;
	struct out_netif *o;
	uint64_t snaplen;
	int ret;

	o = calloc(1, sizeof(*o) + name_size);
	if (!o)
		return -ENOMEM;
	memcpy(o->name, spec->arg, name_size);
	o->source.ops = &ops;
	o->fd = -1;
	pthread_mutex_init(&o->lock, NULL);
	log_tag_init(&o->tag, "pcap-out");
	o->pcapng = ends_with(o->name, ".pcapng");
	ret = parse_out(spec, &snaplen, e);
	if (ret < 0)
		goto err;
	o->snaplen = (uint32_t)snaplen;
	ret = check_regular("pcap-out", o->name, open_new(o->name), e);
	if (ret < 0)
		goto err;
	o->fd = ret;
	ret = write_head(o);
	if (ret < 0) {
		netif_fail(e, ret, "pcap-out: %s: %s", o->name, strerror(-ret));
		goto err;
	}
	*out = &o->source;
	return 0;
err:
	out_free(&o->source);
	return ret;
}

const struct netif_kind netif_pcap_out = {
	.name = "pcap-out",
	.usage = "pcap-out:FILE[,snaplen=N]\n"
		 "    writes what it is sent, N bytes of a frame; pcapng if "
		 "FILE "
		 "ends in\n"
		 "    .pcapng, else pcap; never has a frame",
	.keys = out_keys,
	.check = out_check,
	.new = out_new,
};
