/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hijack.h is what a guest tells a worker process that it has taken over: the
 * program uvhost-worker-hijacked (hijack.c), which carries out an order that it
 * finds in a frame of its guest. Its findings are lines on stderr:
 *
 *   hijack: way: NAME: denied (EPERM)    or    OPEN (what it gave)
 *   hijack: reach: NAME: yes             or    no
 *   hijack: order: ACTION                before
 *   hijack: done: ACTION                 after, where it lives on
 *
 * If the worker process dies of an order, the next process does not find the
 * order again: chains that were in flight are given back.
 */
#ifndef HIJACK_H
#define HIJACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** HIJACK_MAGIC - start of an order; the last byte is not its string's end, so
 * that the literal is no order itself */
#define HIJACK_MAGIC "take over worker"
#define HIJACK_MAGIC_LEN 16

/**
 * struct hijack_order - at any place in the first HIJACK_LOOK bytes of a frame
 * @action: name of what to do: "ways", of hijack_channel.c, or "" (nothing)
 * @broker: process id of uvhostd
 * @other:  a process of the same user: another guest's VMM
 * @other_worker: and its worker process
 * @again:  the order stays; else it is wiped out, so that the next worker
 * process does not find it
 * @self_uva: where the VMM has the order
 * @secret_uva: where each VMM has its number, outside of guest memory
 * @secret, @other_secret: the numbers of this guest's VMM and of @other
 */
struct hijack_order {
	char magic[HIJACK_MAGIC_LEN];
	char action[32];
	int32_t broker;
	int32_t other;
	int32_t other_worker;
	int32_t unused;
	uint64_t secret_uva;
	uint64_t secret;
	uint64_t other_secret;
};

/** HIJACK_LOOK - bytes of a frame, its virtio_net_hdr included */
#define HIJACK_LOOK 256

/* Inside of the hijacked program. */

void hijack_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/** hijack_try_ways() - try every way out, and say what came of it */
void hijack_try_ways(const struct hijack_order *order);
/** hijack_find() - the first descriptor from @from on that has the @len bytes
 * at
 * @data at offset @off; -1: none */
int hijack_find(int from, const void *data, size_t len, uint64_t off);
/** hijack_memory() - the descriptor of the memory that outlives the process; -1
 */
int hijack_memory(void);
/** hijack_use_channel() - attack the broker by its channel as ordered; false:
 * no such action
 */
bool hijack_use_channel(const struct hijack_order *order);

#endif
