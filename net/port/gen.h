/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A generator of traffic, which also checks what comes back: UDP over IPv4 with
 * sequence numbers, flow by flow. Private to net/.
 */
#ifndef GEN_H
#define GEN_H

#include "netport.h"

/** GEN_LEN_MIN, GEN_LEN_MAX - bytes of a frame without tag: room for what is
 * checked, and what IPv4 can say */
#define GEN_LEN_MIN 60
#define GEN_LEN_MAX 65549
#define GEN_FLOWS_MAX 60000
#define GEN_RATE_MAX 100000000

enum gen_payload { GEN_COUNT, GEN_RANDOM, GEN_ZERO };

/**
 * struct gen_config - copied
 * @len:   bytes of a frame, without its tag
 * @rate:  frames a second of a queue pair, at most GEN_RATE_MAX; 0: as they are
 *         taken
 * @count: frames of a queue pair; 0: no end
 * @flows: 1...GEN_FLOWS_MAX, told apart by UDP source port
 * @tag:   VLAN 1...4094; 0: untagged
 */
struct gen_config {
	unsigned int len;
	uint64_t rate, count;
	unsigned int flows, tag;
	uint8_t src[6], dst[6];
	enum gen_payload payload;
};

/**
 * struct gen_seen - what was received
 * @good:      ours, whole; those reordered included
 * @lost:      passed over in the sequence and not come since
 * @reordered: came behind a later one
 * @repeated:  came again, or so late that nobody remembers
 * @corrupt:   ours, with wrong bytes or a wrong length
 * @foreign:   others' frames
 */
struct gen_seen {
	uint64_t good, lost, reordered, repeated, corrupt, foreign;
};

struct gen;

/** gen_new() - for @pairs queue pairs; 0 or -ENOMEM */
int gen_new(const struct gen_config *config, unsigned int pairs,
	    struct gen **out);
/** gen_open() - @rx makes frames, @tx checks them; 0, -ENOMEM, -EMFILE */
int gen_open(struct gen *g, unsigned int pair, struct netport **rx,
	     struct netport **tx);
/** gen_read() - any thread */
void gen_read(struct gen *g, struct gen_seen *out);
/** gen_free() - logs what was seen */
void gen_free(struct gen *g);

#endif
