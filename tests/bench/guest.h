/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guest.c plays guests: it drives the rings of virtio-net devices as fast as
 * one thread can. It is the frontend before every backend that is measured.
 *
 * Buffers, descriptors and the available ring are made once. All backends here
 * use descriptors in order (the id of every used element is checked), so a
 * buffer goes back to the device by a store to the available index, or by the
 * fields of its descriptor (packed ring). Nothing here sleeps.
 *
 * A guest waits until the device has given back a quarter of the ring before it
 * looks at any of it, up to 20 us: if both looked at every frame at once, the
 * cache lines of the ring would go to and fro between them, now with each
 * frame and now with fifty, and the rate would depend on that alone.
 *
 * A guest does to its memory what a real one does: before a frame is sent its
 * headers and a word of each cache line are written, and of a frame that was
 * received a word of each cache line is read.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "bench.h"

/** GUEST_RING - entries of both rings */
#define GUEST_RING 256
/** GUEST_GSO - as a size: TCP of 60 KiB, for a receiver that segments */
#define GUEST_GSO 0

struct guest;

/**
 * struct guest_config - a guest and its device
 * @socket: vhost-user socket; NULL: the character device @device
 * @copied: private memory (only on a character device)
 * @packed: packed rings
 * @size:   bytes of its frames, 60...1514, or GUEST_GSO
 * @room:   bytes of a buffer, at least @size + 12; 0: 2048. Not with GUEST_GSO
 * @number: its MAC address ends with it
 * @to:     its frames go to the guest with that number
 * @features: to be acknowledged beside those that @packed and @size imply
 */
struct guest_config {
	const char *socket, *device;
	bool copied, packed;
	unsigned int size, room;
	uint8_t number, to;
	uint64_t features;
};

/**
 * guest_new() - connect, and start both rings; all receive buffers are posted
 *
 * The character device has its offloads from the daemon's options, a socket is
 * asked for those that frames of GUEST_GSO need. Tries for 5 s, as a backend
 * may need time for the session before. Return: 0 or -errno.
 */
int guest_new(const struct guest_config *config, struct guest **out);
/** guest_free() - NULL is fine */
void guest_free(struct guest *g);

/** guest_frame_bytes() - bytes of a frame that it sends, virtio_net_hdr
 * excluded */
unsigned int guest_frame_bytes(const struct guest *g);

/**
 * guest_hello() - send one frame, so that a switch learns the address
 * Return: 0, or -ETIMEDOUT: the device did not take it within 5 s.
 */
int guest_hello(struct guest *g);

/**
 * struct guest_pair - two guests; @from sends to @to, and @to to @from if @both
 * @from, @to may be the same one (loop); @to may be NULL (nothing is received),
 * and @from (nothing is sent)
 */
struct guest_pair {
	struct guest *from, *to;
	bool both;
};

/**
 * struct guest_flow - what guest_run() saw
 * @frames:  received; of pairs without @to: given back to their sender
 * @ns:      time in which they were
 * @idle_ns: part of it in which the frontend had nothing to do; near 0: it is
 *           the frontend that was measured
 */
struct guest_flow {
	uint64_t frames, ns, idle_ns;
};

/**
 * guest_run() - drive @n pairs in turns for @ns, or up to 2 s longer until a
 * frame has come
 * Return: 0; -ETIMEDOUT: none has; -EPROTO or -EBADMSG.
 */
int guest_run(const struct guest_pair *pairs, unsigned int n, uint64_t ns,
	      struct guest_flow *out);

/** guest_why() - bench_why() with @what and what @err, of a function above,
 * means; an error of the bench, never BENCH_LACKS */
int guest_why(struct bench *b, int err, const char *what);

/** guest_begin() - until frames flow between each of @n pairs, one after the
 * other; 0, -ETIMEDOUT (5 s), -EPROTO or -EBADMSG */
int guest_begin(const struct guest_pair *pairs, unsigned int n);

#endif
