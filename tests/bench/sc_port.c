/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sc_port.c: ports against the bare calls that they stand for.
 *
 *   port/tap/...     a session of the character device whose backend is a tap,
 *                    against write(2) and read(2) of a tap; with copied memory
 *                    those and a pread or pwrite of /proc/PID/mem for each
 *                    frame
 *   port/packet/...  the packet port against sendmmsg(2), recvmmsg(2)
 *   port/pcap/...    the pcap port against pcap_inject(3), pcap_dispatch(3);
 *                    both are called by the agent (wire.c)
 *
 * What is compared is processor time of the thread that makes the calls: the
 * daemon's worker, or the agent.
 *
 * Frames for a guest are brought into the tap's queue while the guest has no
 * buffers, so that only the way out of the queue is measured.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bareguest.h"
#include "bench.h"
#include "ringfeed.h"
#include "taps.h"
#include "threads.h"
#include "wire.h"

#define RING 1024
#define ROOM 2048
#define BATCH 64

struct tap_kind {
	bool copied, to_guest;
	unsigned int size;
};

/* One side: ours has @feed, the other @guest. */
struct tap_side {
	struct taps tap;
	struct ringfeed feed;
	struct bareguest guest;
};

static int tap_open(struct bench *b)
{
	const struct tap_kind *k = b->scenario->arg;
	struct tap_side *s = calloc(1, sizeof(*s));
	struct ringfeed_config config = {
		.path = "/dev/bench",
		.copied = k->copied,
		.to_guest = k->to_guest,
		.num = RING,
		.size = k->size,
		.room = ROOM,
	};
	int ret;

	b->priv = s;
	if (!s)
		return bench_why(b, -ENOMEM, "no memory");
	ret = taps_open(b, &s->tap, false);
	if (ret < 0)
		return ret;
	if (b->side == BENCH_OURS) {
		config.backend = s->tap.fd;
		return ringfeed_open(b, &s->feed, &config);
	}
	bench_pin(0, BENCH_CPU_BACKEND);
	s->guest.copied = k->copied;
	s->guest.num = RING;
	s->guest.room = ROOM;
	s->guest.size = k->size;
	return bareguest_open(b, &s->guest);
}

static void tap_close(struct bench *b)
{
	struct tap_side *s = b->priv;

	if (!s)
		return;
	ringfeed_close(&s->feed);
	bareguest_close(&s->guest);
	taps_close(&s->tap);
	free(s);
	b->priv = NULL;
}

/* ---- the bare calls ---- */

static int bare_failed(struct bench *b, const char *call)
{
	return bench_why(b, -EIO, "%s: %s", call,
			 errno ? strerror(errno) : "short");
}

/* A batch of frames of the guest goes out. */
static int bare_write(struct bench *b, struct tap_side *s)
{
	size_t bytes = RINGFEED_HDR + s->guest.size;

	for (unsigned int i = 0; i < BATCH; i++) {
		uint8_t *p = bareguest_buffer(&s->guest);

		if (s->guest.copied) {
			uint8_t *own = bareguest_local(&s->guest, bytes);

			if (!bareguest_read(&s->guest, own, p, bytes))
				return bare_failed(b, "pread");
			p = own;
		}
		if (write(s->tap.fd, p, bytes) != (ssize_t)bytes)
			return bare_failed(b, "write");
	}
	return 0;
}

/* The next frame of the tap; false: there is none, or errno says what. */
static bool bare_read(struct tap_side *s)
{
	size_t bytes = RINGFEED_HDR + s->guest.size;
	uint8_t *p = bareguest_buffer(&s->guest), *to = p;

	if (s->guest.copied)
		to = bareguest_local(&s->guest, bytes);
	if (read(s->tap.fd, to, bytes) != (ssize_t)bytes)
		return false;
	return !s->guest.copied || bareguest_write(&s->guest, p, to, bytes);
}

static int bare_send_slice(struct bench *b, struct tap_side *s, uint64_t ns,
			   struct bench_sample *out)
{
	uint64_t start = bench_now_ns(), cpu = threads_own_ns();
	int ret = 0;

	while (ret == 0 && out->ns < ns) {
		ret = bare_write(b, s);
		out->ops += BATCH;
		out->ns = bench_now_ns() - start;
	}
	out->cpu_ns = threads_own_ns() - cpu;
	return ret;
}

/* The queue is filled on the processor from which our side fills it too. */
static unsigned int fill(struct bench *b, struct tap_side *s)
{
	const struct tap_kind *k = b->scenario->arg;
	unsigned int n;

	if (b->side == BENCH_PEER)
		bench_pin(0, BENCH_CPU_FRONTEND);
	n = taps_fill(&s->tap, k->size, TAPS_QUEUE);
	if (b->side == BENCH_PEER)
		bench_pin(0, BENCH_CPU_BACKEND);
	return n;
}

static int bare_drain(struct bench *b, struct tap_side *s, unsigned int want,
		      struct bench_sample *out)
{
	uint64_t start = bench_now_ns(), cpu = threads_own_ns();
	unsigned int got = 0;

	while (got < want && bare_read(s))
		got++;
	out->cpu_ns = threads_own_ns() - cpu;
	out->ns = bench_now_ns() - start;
	out->ops = got;
	return got == want ? 0
			   : bench_why(b, -EIO, "%u of %u frames: %s", got,
				       want, strerror(errno));
}

/* ---- slices ---- */

static int drain_slice(struct bench *b, struct tap_side *s, uint64_t ns,
		       struct bench_sample *out)
{
	uint64_t start = bench_now_ns();

	while (bench_now_ns() - start < ns) {
		struct bench_sample one = { 0 };
		unsigned int want = fill(b, s);
		int ret;

		if (want < RING)
			return bench_why(b, -EIO,
					 "the tap's queue takes %u frames",
					 want);
		ret = b->side == BENCH_OURS
			      ? ringfeed_run(b, &s->feed, 0, want, &one)
			      : bare_drain(b, s, want, &one);
		if (ret < 0)
			return ret;
		out->ops += one.ops;
		out->ns += one.ns;
		out->cpu_ns += one.cpu_ns;
	}
	return 0;
}

static int tap_slice(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	const struct tap_kind *k = b->scenario->arg;
	struct tap_side *s = b->priv;
	int ret;

	if (k->to_guest)
		ret = drain_slice(b, s, ns, out);
	else if (b->side == BENCH_OURS)
		ret = ringfeed_run(b, &s->feed, ns, 0, out);
	else
		ret = bare_send_slice(b, s, ns, out);
	out->bytes = out->ops * k->size;
	return ret;
}

/* ---- the list ---- */

static const char *const device[] = { "--device", BENCH_DEVICE("bench"), NULL };

#define TAP(title, text, other, ...)                            \
	{                                                       \
		.name = "port/tap/" title,                      \
		.what = text,                                   \
		.op = "frame",                                  \
		.measure = BENCH_CPU,                           \
		.peer = other,                                  \
		.device = device,                               \
		.open = tap_open,                               \
		.slice = tap_slice,                             \
		.close = tap_close,                             \
		.arg = &(const struct tap_kind){ __VA_ARGS__ }, \
	}

#define TAPS(word, bytes)                                                     \
	TAP(word "/from-guest/mapped", "guest's memfd to a tap, " word " B",  \
	    "write(tap)", false, false, bytes),                               \
		TAP(word "/to-guest/mapped",                                  \
		    "a tap to guest's memfd, " word " B", "read(tap)", false, \
		    true, bytes),                                             \
		TAP(word "/from-guest/copied",                                \
		    "guest's private memory to a tap, " word " B",            \
		    "pread(/proc/PID/mem), write(tap)", true, false, bytes),  \
		TAP(word "/to-guest/copied",                                  \
		    "a tap to guest's private memory, " word " B",            \
		    "read(tap), pwrite(/proc/PID/mem)", true, true, bytes)

#define WIRE(title, text, other, ...)                            \
	{                                                        \
		.name = "port/" title,                           \
		.what = text,                                    \
		.op = "frame",                                   \
		.measure = BENCH_CPU,                            \
		.peer = other,                                   \
		.linked = true,                                  \
		.open = wire_open,                               \
		.slice = wire_slice,                             \
		.close = wire_close,                             \
		.arg = &(const struct wire_kind){ __VA_ARGS__ }, \
	}

#define WIRES(word, bytes)                                                    \
	WIRE("packet/" word "/send", "packet port to a veth, " word " B",     \
	     "sendmmsg", false, false, bytes),                                \
		WIRE("packet/" word "/receive",                               \
		     "a veth to the packet port, " word " B", "recvmmsg",     \
		     false, true, bytes),                                     \
		WIRE("pcap/" word "/send", "pcap port to a veth, " word " B", \
		     "pcap_inject", true, false, bytes),                      \
		WIRE("pcap/" word "/receive",                                 \
		     "a veth to the pcap port, " word " B", "pcap_dispatch",  \
		     true, true, bytes)

const struct scenario scenarios_port[] = {
	TAPS("64", 64),  TAPS("1500", 1500),
	WIRES("64", 64), WIRES("1500", 1500),
	{ 0 },
};
