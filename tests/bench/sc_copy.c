/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sc_copy.c: what it costs the daemon to move a frame between the guest's
 * memory and its own.
 *
 * Our side is a session of the character device with a null port, so that the
 * port costs next to nothing, and a guest that keeps its ring full
 * (ringfeed.c). The other side moves the same bytes between buffers of the same
 * layout, with nothing around them. Both are compared by processor time.
 *
 *   copy/...    memory that is private to the guest's process: against
 *               process_vm_readv/writev, 128 frames a call, which go by process
 *               id and are not used by the daemon for that reason; and against
 *               pread/pwrite of /proc/PID/mem, a call for each frame. The
 *               daemon reads small frames that lie close together in one call,
 *               so it can be cheaper than the second
 *   mapped/...  memory of a memfd, mapped: against memcpy. From the guest it
 *               is the port that copies, since the daemon does not
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "bareguest.h"
#include "bench.h"
#include "ringfeed.h"
#include "threads.h"

#define ROOM 2048
#define BIG 65536
#define BIG_ROOM (BIG + 4096)
#define BATCH 128

enum limit { LIMIT_PROCESS_VM, LIMIT_PINNED, LIMIT_MEMCPY };

struct kind {
	enum limit limit;
	bool to_guest;
	unsigned int size, num;
};

static unsigned int room_of(const struct kind *k)
{
	return k->size == BIG ? BIG_ROOM : ROOM;
}

/* ---- our side ---- */

static int ours_open(struct bench *b)
{
	const struct kind *k = b->scenario->arg;
	const struct ringfeed_config config = {
		.path = "/dev/bench",
		.copied = k->limit != LIMIT_MEMCPY,
		.to_guest = k->to_guest,
		.num = k->num,
		.size = k->size,
		.room = room_of(k),
		.backend = -1,
	};

	b->priv = calloc(1, sizeof(struct ringfeed));
	if (!b->priv)
		return bench_why(b, -ENOMEM, "no memory");
	return ringfeed_open(b, b->priv, &config);
}

static void ours_close(struct bench *b)
{
	if (b->priv)
		ringfeed_close(b->priv);
	free(b->priv);
}

/* ---- the limit ---- */

static int limit_open(struct bench *b)
{
	const struct kind *k = b->scenario->arg;
	struct bareguest *g = calloc(1, sizeof(*g));

	b->priv = g;
	if (!g)
		return bench_why(b, -ENOMEM, "no memory");
	bench_pin(0, BENCH_CPU_BACKEND);
	g->copied = k->limit != LIMIT_MEMCPY;
	g->num = k->num;
	g->room = room_of(k);
	g->size = k->size;
	return bareguest_open(b, g);
}

static void limit_close(struct bench *b)
{
	if (b->priv)
		bareguest_close(b->priv);
	free(b->priv);
}

/* Each moves BATCH frames; false: errno says why not. */

static bool move_memcpy(struct bareguest *g, bool to_guest)
{
	size_t bytes = RINGFEED_HDR + g->size;

	for (unsigned int i = 0; i < BATCH; i++) {
		uint8_t *p = bareguest_buffer(g);
		uint8_t *own = bareguest_local(g, bytes);

		memcpy(to_guest ? p : own, to_guest ? own : p, bytes);
		__asm__ volatile("" ::: "memory");
	}
	return true;
}

static bool move_pinned(struct bareguest *g, bool to_guest)
{
	size_t bytes = RINGFEED_HDR + g->size;

	for (unsigned int i = 0; i < BATCH; i++) {
		uint8_t *p = bareguest_buffer(g);
		uint8_t *own = bareguest_local(g, bytes);

		if (to_guest ? !bareguest_write(g, p, own, bytes)
			     : !bareguest_read(g, own, p, bytes))
			return false;
	}
	return true;
}

static bool move_process_vm(struct bareguest *g, bool to_guest)
{
	size_t bytes = RINGFEED_HDR + g->size;
	struct iovec local[BATCH], remote[BATCH];
	ssize_t n;

	for (unsigned int i = 0; i < BATCH; i++) {
		local[i] = (struct iovec){ bareguest_local(g, bytes), bytes };
		remote[i] = (struct iovec){ bareguest_buffer(g), bytes };
	}
	errno = 0;
	n = to_guest ? process_vm_writev(g->pid, local, BATCH, remote, BATCH, 0)
		     : process_vm_readv(g->pid, local, BATCH, remote, BATCH, 0);
	return n == (ssize_t)(BATCH * bytes);
}

static int limit_slice(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	static bool (*const move[])(struct bareguest *, bool) = {
		[LIMIT_PROCESS_VM] = move_process_vm,
		[LIMIT_PINNED] = move_pinned,
		[LIMIT_MEMCPY] = move_memcpy,
	};
	const struct kind *k = b->scenario->arg;
	uint64_t start = bench_now_ns(), now = start;
	uint64_t cpu = threads_own_ns();

	while (now - start < ns) {
		if (!move[k->limit](b->priv, k->to_guest))
			return bench_why(b, -EIO, "%s: %s", b->scenario->peer,
					 errno ? strerror(errno) : "short");
		out->ops += BATCH;
		now = bench_now_ns();
	}
	out->cpu_ns = threads_own_ns() - cpu;
	out->ns = now - start;
	out->bytes = out->ops * k->size;
	return 0;
}

/* ---- both ---- */

static int copy_open(struct bench *b)
{
	return b->side == BENCH_OURS ? ours_open(b) : limit_open(b);
}

static int copy_slice(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	return b->side == BENCH_OURS ? ringfeed_run(b, b->priv, ns, 0, out)
				     : limit_slice(b, ns, out);
}

static void copy_close(struct bench *b)
{
	if (b->side == BENCH_OURS)
		ours_close(b);
	else
		limit_close(b);
	b->priv = NULL;
}

/* ---- the list ---- */

#define DEVICE(port) \
	((const char *const[]){ "--device", "bench,port=" port, NULL })

#define SCENARIO(title, text, other, options, ...)          \
	{                                                   \
		.name = title,                              \
		.what = text,                               \
		.op = "frame",                              \
		.measure = BENCH_CPU,                       \
		.peer = other,                              \
		.device = DEVICE(options),                  \
		.open = copy_open,                          \
		.slice = copy_slice,                        \
		.close = copy_close,                        \
		.arg = &(const struct kind){ __VA_ARGS__ }, \
	}

#define FROM(size) "guest's private memory to the daemon, " size
#define TO(size) "the daemon to guest's private memory, " size

/* Against both limits, both ways */
#define COPY(word, text, bytes, entries)                                      \
	SCENARIO("copy/" word "/from-guest/process_vm", FROM(text),           \
		 "process_vm_readv", "null", LIMIT_PROCESS_VM, false, bytes,  \
		 entries),                                                    \
		SCENARIO("copy/" word "/from-guest/pinned", FROM(text),       \
			 "pread(/proc/PID/mem)", "null", LIMIT_PINNED, false, \
			 bytes, entries),                                     \
		SCENARIO("copy/" word "/to-guest/process_vm", TO(text),       \
			 "process_vm_writev", "null:" #bytes,                 \
			 LIMIT_PROCESS_VM, true, bytes, entries),             \
		SCENARIO("copy/" word "/to-guest/pinned", TO(text),           \
			 "pwrite(/proc/PID/mem)", "null:" #bytes,             \
			 LIMIT_PINNED, true, bytes, entries)

#define MAPPED(bytes, entries)                                                \
	SCENARIO("mapped/" #bytes "/from-guest/ring" #entries,                \
		 "guest's memfd to the daemon, " #bytes " B", "memcpy",       \
		 "null,copy", LIMIT_MEMCPY, false, bytes, entries),           \
		SCENARIO("mapped/" #bytes "/to-guest/ring" #entries,          \
			 "the daemon to guest's memfd, " #bytes " B",         \
			 "memcpy", "null:" #bytes, LIMIT_MEMCPY, true, bytes, \
			 entries)

/* A batch of copied frames is up to 256, so a ring of 256 would be empty while
 * the worker waits for the guest to refill it. */
const struct scenario scenarios_copy[] = {
	COPY("64", "64 B", 64, 1024),
	COPY("1500", "1500 B", 1500, 1024),
	COPY("64k", "64 KiB", 65536, 64),
	MAPPED(64, 256),
	MAPPED(64, 1024),
	MAPPED(1500, 256),
	MAPPED(1500, 1024),
	{ 0 },
};
