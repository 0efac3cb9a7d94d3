/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * capture.c records frames in a pcapng file.
 *
 * capture_frames() makes the block of a frame on its own stack: this reads the
 * memory of a guest, which may block. Then it takes the lock, sets the time of
 * the blocks and copies them to the buffer that is being filled. The writer
 * swaps two buffers and writes the full one without the lock; frames that come
 * while the other one is full as well are counted and dropped.
 *
 * The writer sleeps while there is nothing to write, is woken by the first
 * block, and waits FLUSH_MS, or until the buffer has WAKE_BYTES.
 *
 * A write that fails (the disk is full) is repeated every RETRY_MS, with the
 * blocks that are left (out_write()). Meanwhile the buffers fill up, and frames
 * are dropped and counted as if the writer were slow. So a file has a gap,
 * which its statistics show, but its blocks are whole. The capture ends only
 * when the reader of a pipe is gone.
 *
 *   thread        owns                          under the lock
 *   any           its stack                     interfaces, the filling buffer
 *   writer        out, described, told, fresh,  the same
 *                 failing, before, missed, unwritten,
 *                 last_try
 *
 * Times are those of the monotonic clock plus the offset of the calendar. The
 * offset grows when the clock is set forward, and never shrinks: time stamps do
 * not follow a clock that is set back.
 */
#include "capture.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include <linux/if_ether.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "capture_out.h"
#include "clock.h"
#include "log.h"
#include "mutex.h"
#include "pcapng.h"
#include "portutil.h"

#define BUFFER_BYTES ((size_t)2 << 20) /* there are two */
#define WAKE_BYTES (BUFFER_BYTES / 4)
#define FLUSH_MS 50
#define RETRY_MS 1000
#define BATCH_BYTES ((size_t)80 << 10)
#define CLOCK_SET_NS 1000000 /* less is jitter of two readings */
#define STATISTICS_BYTES 52  /* of one interface */

_Static_assert(BATCH_BYTES >= PCAPNG_PACKET_MAX(NETPORT_FRAME_MAX),
	       "any frame fits");

struct interface {
	char name[64]; /* does not change */
	struct capture_counters counters;
};

struct buffer {
	uint8_t *bytes;
	size_t len;
};

/**
 * struct capture - a capture; see above for the threads
 * @count:  of @interfaces; also read without the lock
 * @full:   a frame did not fit since the buffers were swapped
 * @ended:  nothing is written any more
 * @offset: calendar - monotonic clock, ns
 * @drops:  of all interfaces
 * @told:   of @drops: are in the statistics of a file
 * @described: interfaces that are in the current file
 * @fresh:  the current file has no frame yet
 * @failing: -errno of the last write; 0: it succeeded
 * @before: @drops when writes began to fail
 * @missed: of @drops: while writes failed
 * @unwritten: frames that were in the buffers when the capture ended early
 * @last_try: the capture is being freed: writes are not repeated
 */
struct capture {
	struct capture_config config;
	char *path;
	struct log_tag tag;
	pthread_t writer;

	struct mutex lock;
	pthread_cond_t wake;
	struct interface interfaces[CAPTURE_INTERFACES];
	unsigned int count;
	struct buffer buffers[2], *filling;
	uint64_t drops;
	int64_t offset;
	bool stop;
	bool full, ended; /* atomic */

	struct capture_out out;
	unsigned int described;
	uint64_t told;
	bool fresh;
	int failing;
	uint64_t before, missed, unwritten;
	bool last_try;
};

static bool flag(const bool *b)
{
	return __atomic_load_n(b, __ATOMIC_RELAXED);
}

static void set_flag(bool *b, bool value)
{
	__atomic_store_n(b, value, __ATOMIC_RELAXED);
}

static uint64_t time_locked(struct capture *c) NEEDS(c->lock)
{
	uint64_t mono = now_ns();
	int64_t offset = (int64_t)(clock_ns(CLOCK_REALTIME) - mono);

	if (offset - c->offset > CLOCK_SET_NS)
		c->offset = offset;
	return mono + (uint64_t)c->offset;
}

/* ---- recording ---- */

static void describe_header(const struct frame *f, size_t hdr_len, char *text,
			    size_t size)
{
	struct virtio_net_hdr_mrg_rxbuf h = { 0 };
	size_t len = MIN(MIN(hdr_len, f->len), sizeof(h));

	frame_load(f, 0, &h, len);
	snprintf(text, size,
		 "virtio_net_hdr: flags 0x%x gso_type 0x%x hdr_len %u "
		 "gso_size %u csum_start %u csum_offset %u num_buffers %u",
		 h.hdr.flags, h.hdr.gso_type, le16toh(h.hdr.hdr_len),
		 le16toh(h.hdr.gso_size), le16toh(h.hdr.csum_start),
		 le16toh(h.hdr.csum_offset), le16toh(h.num_buffers));
}

static size_t capture_packet(const struct capture *c, const struct frame *f,
			     size_t hdr_len, struct pcapng_packet *p,
			     uint8_t *to)
{
	char header[160];
	size_t len;

	p->len = f->len > hdr_len ? f->len - (uint32_t)hdr_len : 0;
	p->caplen = (uint32_t)frame_load(f, hdr_len, pcapng_packet_data(to),
					 MIN(p->len, c->config.snaplen));
	if (c->config.vnet_hdr && hdr_len) {
		describe_header(f, hdr_len, header, sizeof(header));
		p->comment[1] = header;
	}
	len = pcapng_packet(to, p);
	p->comment[1] = NULL;
	return len;
}

/* Copies @n packets from the caller's stack to the buffer. */
static void commit(struct capture *c, unsigned int interface, uint8_t *packets,
		   size_t len, unsigned int n)
{
	struct buffer *b;
	size_t at = 0, was;
	uint64_t now;
	bool wake;

	mutex_lock(&c->lock);
	b = c->filling;
	was = b->len;
	now = time_locked(c);
	c->interfaces[interface].counters.seen += n;
	while (at < len) {
		size_t one = pcapng_block_len(packets + at);

		if (was + at + one > BUFFER_BYTES)
			break;
		pcapng_packet_set_time(packets + at, now);
		at += one;
		n--;
	}
	memcpy(b->bytes + was, packets, at);
	b->len += at;
	c->interfaces[interface].counters.dropped += n;
	c->drops += n;
	if (n)
		set_flag(&c->full, true);
	wake = was == 0 || (was < WAKE_BYTES && b->len >= WAKE_BYTES);
	mutex_unlock(&c->lock);
	if (wake)
		pthread_cond_signal(&c->wake);
}

/* Makes no blocks while they would not fit. */
static bool drop_unseen(struct capture *c, unsigned int interface,
			unsigned int n)
{
	bool full;

	if (likely(!flag(&c->full)))
		return false;
	mutex_lock(&c->lock);
	full = flag(&c->full);
	if (full) {
		c->interfaces[interface].counters.seen += n;
		c->interfaces[interface].counters.dropped += n;
		c->drops += n;
	}
	mutex_unlock(&c->lock);
	return full;
}

void capture_frames(struct capture *c, unsigned int interface,
		    enum capture_dir dir, const struct frame *frames,
		    unsigned int n, unsigned int hdr_len, const char *reason)
{
	static const enum pcapng_direction direction[] = {
		[CAPTURE_UNKNOWN] = PCAPNG_UNKNOWN,
		[CAPTURE_IN] = PCAPNG_INBOUND,
		[CAPTURE_OUT] = PCAPNG_OUTBOUND,
	};
	struct pcapng_packet packet = {
		.interface = interface,
		.direction = direction[dir],
		.comment = { reason },
	};
	uint8_t batch[BATCH_BYTES];
	unsigned int staged = 0;
	size_t len = 0;

	if (flag(&c->ended) ||
	    interface >= __atomic_load_n(&c->count, __ATOMIC_RELAXED) ||
	    drop_unseen(c, interface, n))
		return;
	for (unsigned int i = 0; i < n; i++) {
		size_t keep = MIN(frames[i].len, c->config.snaplen);

		if (len + PCAPNG_PACKET_MAX(keep) > BATCH_BYTES) {
			commit(c, interface, batch, len, staged);
			len = staged = 0;
		}
		len += capture_packet(c, &frames[i], hdr_len, &packet,
				      batch + len);
		staged++;
	}
	if (staged)
		commit(c, interface, batch, len, staged);
}

const char *capture_strerror(int error)
{
	switch (error) {
	case -EPERM:
		return "it belongs to another user, or is protected";
	case -EMLINK:
		return "it has several names (hard links)";
	case -ELOOP:
		return "there is a symbolic link, which is not followed";
	default:
		return strerror(-error);
	}
}

int capture_add(struct capture *c, const char *name)
{
	struct interface *i;
	unsigned int n;
	int ret = -ENOSPC;

	mutex_lock(&c->lock);
	for (n = 0; n < c->count; n++)
		if (!strncmp(c->interfaces[n].name, name, sizeof(i->name) - 1))
			break;
	if (n < CAPTURE_INTERFACES)
		ret = (int)n;
	if (n == c->count && ret >= 0) {
		i = &c->interfaces[n];
		strncpy(i->name, name, sizeof(i->name) - 1);
		__atomic_store_n(&c->count, n + 1, __ATOMIC_RELAXED);
	}
	mutex_unlock(&c->lock);
	pthread_cond_signal(&c->wake);
	return ret;
}

void capture_read_counters(struct capture *c, unsigned int interface,
			   struct capture_counters *out)
{
	mutex_lock(&c->lock);
	*out = c->interfaces[interface].counters;
	mutex_unlock(&c->lock);
}

/* ---- the writer ---- */

static uint64_t read_drops(struct capture *c)
{
	uint64_t drops;

	mutex_lock(&c->lock);
	drops = c->drops;
	mutex_unlock(&c->lock);
	return drops;
}

/* Waits until a write may be repeated. */
static void wait_for_retry(struct capture *c)
{
	struct timespec ts = ns_timespec(now_ns() + RETRY_MS * NS_PER_MS);

	mutex_lock(&c->lock);
	while (!c->stop)
		if (mutex_timedwait(&c->wake, &c->lock, &ts))
			break;
	c->last_try = c->stop;
	mutex_unlock(&c->lock);
}

/* After @error of a write: waits, and returns 0 if it can be repeated, or the
 * error. */
static int wait_or_end(struct capture *c, int error)
{
	/* -EPIPE and -ECANCELED: there is no reader any more. */
	if (error == -EPIPE || error == -ECANCELED || c->last_try)
		return error;
	if (error != c->failing)
		log_warn(&c->tag,
			 "%s: %s: frames are not recorded until that is over",
			 c->path, capture_strerror(error));
	if (!c->failing)
		c->before = read_drops(c);
	c->failing = error;
	wait_for_retry(c);
	return 0;
}

static void write_succeeded(struct capture *c)
{
	uint64_t gap;

	if (!c->failing)
		return;
	gap = read_drops(c) - c->before;
	c->failing = 0;
	c->missed += gap;
	log_info(&c->tag, "%s: frames are recorded again; %llu are missing",
		 c->path, (unsigned long long)gap);
}

/* @done: bytes written. An error that is returned ends the capture. */
static int out_write(struct capture *c, const uint8_t *blocks, size_t len,
		     size_t *done)
{
	size_t n;
	int ret;

	*done = 0;
	for (;;) {
		ret = capture_out_write(&c->out, blocks + *done, len - *done,
					&n);
		*done += n;
		if (ret == 0) {
			write_succeeded(c);
			return 0;
		}
		ret = wait_or_end(c, ret);
		if (ret < 0)
			return ret;
	}
}

static int write_block(struct capture *c, const uint8_t *block, size_t len)
{
	size_t done;

	return out_write(c, block, len, &done);
}

static int out_next(struct capture *c)
{
	int ret;

	while ((ret = capture_out_next(&c->out)) < 0) {
		ret = wait_or_end(c, ret);
		if (ret < 0)
			break;
	}
	return ret;
}

/* Writes the counters of interfaces; @only_news: of those that dropped frames
 */
static int write_statistics(struct capture *c, bool only_news)
{
	uint8_t block[PCAPNG_BLOCK_MAX];
	uint64_t now, drops;
	int ret = 0;

	mutex_lock(&c->lock);
	now = time_locked(c);
	drops = c->drops;
	mutex_unlock(&c->lock);
	if (only_news && drops == c->told)
		return 0;
	c->told = drops;
	for (unsigned int i = 0; i < c->described && ret == 0; i++) {
		struct capture_counters n;

		capture_read_counters(c, i, &n);
		if (only_news && !n.dropped)
			continue;
		ret = write_block(
			c, block,
			pcapng_statistics(block, i, now, n.seen, n.dropped));
	}
	return ret;
}

static int write_section(struct capture *c)
{
	uint8_t block[PCAPNG_BLOCK_MAX];
	struct utsname u = { 0 };
	char os[PCAPNG_TEXT_MAX + 1];

	uname(&u);
	snprintf(os, sizeof(os), "%s %s", u.sysname, u.release);
	c->described = 0;
	c->fresh = true;
	return write_block(c, block, pcapng_section(block, os, "uvhost"));
}

static int write_interfaces(struct capture *c, unsigned int count)
{
	uint8_t block[PCAPNG_BLOCK_MAX];
	int ret = 0;

	while (c->described < count && ret == 0) {
		const char *name = c->interfaces[c->described++].name;

		ret = write_block(
			c, block,
			pcapng_interface(block, name, c->config.snaplen));
	}
	return ret;
}

static int next_file(struct capture *c)
{
	unsigned int count = c->described;
	int ret = write_statistics(c, false);

	if (ret == 0)
		ret = out_next(c);
	if (ret == 0)
		ret = write_section(c);
	if (ret == 0)
		ret = write_interfaces(c, count);
	return ret;
}

/* Bytes of @packets that fit in the current file, statistics included */
static size_t fitting(const struct capture *c, const uint8_t *packets,
		      size_t len)
{
	uint64_t used = c->out.size + (uint64_t)STATISTICS_BYTES * c->described;
	size_t fit = 0;

	if (!c->config.file_bytes)
		return len;
	while (fit < len) {
		size_t one = pcapng_block_len(packets + fit);

		if (used + fit + one > c->config.file_bytes &&
		    (fit || !c->fresh))
			break;
		fit += one;
	}
	return fit;
}

static uint64_t count_packets(const uint8_t *packets, size_t len)
{
	uint64_t n = 0;

	for (size_t at = 0; at < len; n++)
		at += pcapng_block_len(packets + at);
	return n;
}

static int write_packets(struct capture *c, const uint8_t *packets, size_t len)
{
	int ret = 0;

	while (len && ret == 0) {
		size_t fit = fitting(c, packets, len), done = 0;

		if (fit) {
			ret = out_write(c, packets, fit, &done);
			c->fresh = false;
		} else {
			ret = next_file(c);
		}
		packets += done;
		len -= done;
	}
	c->unwritten += count_packets(packets, len);
	return ret;
}

static int write_buffer(struct capture *c, const struct buffer *b,
			unsigned int count)
{
	int ret = write_interfaces(c, count);

	if (ret < 0) {
		c->unwritten += count_packets(b->bytes, b->len);
		return ret;
	}
	ret = write_packets(c, b->bytes, b->len);
	return ret < 0 ? ret : write_statistics(c, true);
}

static void wait_for_more(struct capture *c) NEEDS(c->lock)
{
	struct timespec ts = ns_timespec(now_ns() + FLUSH_MS * NS_PER_MS);

	while (!c->stop && c->filling->len < WAKE_BYTES)
		if (mutex_timedwait(&c->wake, &c->lock, &ts))
			break;
}

/* Waits for blocks or interfaces, and swaps the buffers. Return: false if there
 * is nothing left and the capture is being freed. */
static bool collect(struct capture *c, struct buffer **got, unsigned int *count)
{
	bool more;

	mutex_lock(&c->lock);
	while (!c->stop && !c->filling->len && c->count == c->described)
		mutex_wait(&c->wake, &c->lock);
	if (c->filling->len)
		wait_for_more(c);
	*got = c->filling;
	*count = c->count;
	c->filling = &c->buffers[c->filling == &c->buffers[0]];
	c->filling->len = 0;
	set_flag(&c->full, false);
	more = (*got)->len || c->count > c->described || !c->stop;
	mutex_unlock(&c->lock);
	return more;
}

/* Nothing more will be written. */
static void end_early(struct capture *c, int error)
{
	set_flag(&c->ended, true);
	mutex_lock(&c->lock);
	c->unwritten += count_packets(c->filling->bytes, c->filling->len);
	if (c->failing)
		c->missed += c->drops - c->before;
	mutex_unlock(&c->lock);
	if (c->failing)
		log_warn(&c->tag, "%s: the capture ends, %llu frames short",
			 c->path,
			 (unsigned long long)(c->missed + c->unwritten));
	else
		log_warn(&c->tag, "%s: %s: the capture ends", c->path,
			 error == -EPIPE       ? "the reader is gone"
			 : error == -ECANCELED ? "the reader has stalled"
					       : capture_strerror(error));
}

static void *write_all(void *arg)
{
	struct capture *c = arg;
	unsigned int count;
	struct buffer *b;
	int ret;

	ret = write_section(c);
	while (ret == 0 && collect(c, &b, &count))
		ret = write_buffer(c, b, count);
	if (ret == 0)
		ret = write_statistics(c, false);
	if (ret < 0)
		end_early(c, ret);
	return NULL;
}

/* ---- making and freeing ---- */

/* The writer blocks signals: the daemon handles them, and SIGPIPE and SIGXFSZ
 * of its writes are errors like others. SIGRTMIN removes the privileges of a
 * daemon's threads (cuse/confine.c). */
static int start_writer(struct capture *c)
{
	sigset_t all, old;
	int ret;

	sigfillset(&all);
	sigdelset(&all, SIGRTMIN);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = -pthread_create(&c->writer, NULL, write_all, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret;
}

static void init_wake(struct capture *c)
{
	pthread_condattr_t attr;

	mutex_init(&c->lock);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &attr);
	pthread_condattr_destroy(&attr);
}

static void release(struct capture *c)
{
	pthread_cond_destroy(&c->wake);
	mutex_destroy(&c->lock);
	for (size_t i = 0; i < ARRAY_SIZE(c->buffers); i++)
		free(c->buffers[i].bytes);
	free(c->path);
	free(c);
}

static int allocate(struct capture *c, const struct capture_config *config)
{
	c->path = strdup(config->path);
	for (size_t i = 0; i < ARRAY_SIZE(c->buffers); i++)
		c->buffers[i].bytes = malloc(BUFFER_BYTES);
	if (!c->path || !c->buffers[0].bytes || !c->buffers[1].bytes)
		return -ENOMEM;
	c->config = *config;
	c->config.path = c->path;
	c->filling = &c->buffers[0];
	c->offset = INT64_MIN / 2;
	log_tag_init(&c->tag, "capture");
	return 0;
}

static int open_out(struct capture_out *out, const struct capture_config *c)
{
	if (!c->given)
		return capture_out_open(out, c->path, c->file_bytes, c->files);
	if (c->file_bytes)
		return -EINVAL;
	return capture_out_adopt(out, c->given->fd, c->given->mark);
}

int capture_new(const struct capture_config *config, struct capture **out)
{
	struct capture *c;
	int ret;

	if (config->snaplen < ETH_HLEN || config->snaplen > NETPORT_FRAME_MAX)
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	init_wake(c);
	ret = allocate(c, config);
	if (ret < 0)
		goto err_free;
	ret = open_out(&c->out, &c->config);
	if (ret < 0)
		goto err_free;
	ret = start_writer(c);
	if (ret < 0)
		goto err_close;
	*out = c;
	return 0;

err_close:
	if (config->given)
		c->out.fd = -1; /* the caller's */
	capture_out_close(&c->out);
err_free:
	release(c);
	return ret;
}

int capture_open(const struct capture_config *config)
{
	struct capture_out out;
	int ret, fd;

	if (config->file_bytes)
		return -EINVAL;
	ret = capture_out_open(&out, config->path, false, 0);
	if (ret < 0)
		return ret;
	fd = out.fd;
	out.fd = -1;
	capture_out_close(&out);
	return fd;
}

void capture_free(struct capture *c)
{
	if (!c)
		return;
	mutex_lock(&c->lock);
	c->stop = true;
	mutex_unlock(&c->lock);
	pthread_cond_signal(&c->wake);
	capture_out_give_up(&c->out);
	pthread_join(c->writer, NULL);
	capture_out_close(&c->out);
	if (c->drops > c->missed)
		log_warn(&c->tag, "%s: %llu frames came too fast to be written",
			 c->path, (unsigned long long)(c->drops - c->missed));
	release(c);
}

/* ---- a port that records ---- */

/**
 * struct recorder - in front of a port
 * @ops: its own, so that they can have the name of the port's
 */
struct recorder {
	struct netport port;
	struct netport_ops ops;
	struct netport *inner;
	struct capture *capture;
	unsigned int interface;
};

static struct recorder *to_recorder(struct netport *port)
{
	return container_of(port, struct recorder, port);
}

static int recorder_send(struct netport *port, const struct frame *frames,
			 unsigned int n)
{
	struct recorder *r = to_recorder(port);
	int ret;

	r->inner->hdr_len = port->hdr_len;
	ret = r->inner->ops->send(r->inner, frames, n);
	port->tx_dropped = r->inner->tx_dropped;
	port->tx_dropped_bytes = r->inner->tx_dropped_bytes;
	port->fd = r->inner->fd;
	if (ret > 0)
		capture_frames(r->capture, r->interface, CAPTURE_OUT, frames,
			       (unsigned int)ret, port->hdr_len, NULL);
	return ret;
}

static int recorder_recv(struct netport *port, struct frame *frames,
			 unsigned int n)
{
	struct recorder *r = to_recorder(port);
	int ret;

	r->inner->hdr_len = port->hdr_len;
	ret = r->inner->ops->recv(r->inner, frames, n);
	port->fd = r->inner->fd;
	if (ret > 0)
		capture_frames(r->capture, r->interface, CAPTURE_IN, frames,
			       (unsigned int)ret, port->hdr_len, NULL);
	return ret;
}

static bool recorder_has_frames(struct netport *port)
{
	struct recorder *r = to_recorder(port);

	return r->inner->ops->has_frames(r->inner);
}

static void recorder_close(struct netport *port)
{
	struct recorder *r = to_recorder(port);

	netport_close(r->inner);
	free(r);
}

int capture_wrap(struct capture *c, unsigned int interface,
		 struct netport *port, struct netport **out)
{
	struct recorder *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->ops = (struct netport_ops){
		.name = port->ops->name,
		.send = recorder_send,
		.recv = recorder_recv,
		.close = recorder_close,
	};
	if (port->ops->has_frames)
		r->ops.has_frames = recorder_has_frames;
	r->port = *port;
	r->port.ops = &r->ops;
	r->port.more_refs = 0;
	r->inner = port;
	r->capture = c;
	r->interface = interface;
	*out = &r->port;
	return 0;
}
