/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A traffic generator, which also checks the frames that come back: UDP over
 * IPv4 with sequence numbers in each flow.
 */
#ifndef GEN_H
#define GEN_H

#include "netport.h"

/** GEN_LEN_MIN, GEN_LEN_MAX - bytes of a frame without tag: all headers and the
 * label, and the longest IPv4 packet */
#define GEN_LEN_MIN 60
#define GEN_LEN_MAX 65549
#define GEN_FLOWS_MAX 60000
#define GEN_RATE_MAX 100000000

/** GEN_PAYLOADS - names of enum gen_payload, in its order */
#define GEN_PAYLOADS "count|random|zero"
enum gen_payload { GEN_COUNT, GEN_RANDOM, GEN_ZERO };

/**
 * struct gen_config - copied
 * @len:   bytes of a frame, without its tag
 * @rate:  frames a second of a queue pair, at most GEN_RATE_MAX; 0: as they are
 *         received
 * @count: frames of a queue pair; 0: no end
 * @flows: 1...GEN_FLOWS_MAX, distinguished by UDP source port
 * @tag:   VLAN 1...4094; 0: untagged
 */
struct gen_config {
	uint64_t len, rate, count, flows, tag;
	uint8_t src[6], dst[6];
	enum gen_payload payload;
};

/**
 * struct gen_seen - frames that came back
 * @good:      correct frames of the generator; reordered ones included
 * @lost:      numbers that were skipped and not seen since
 * @reordered: came after a later one
 * @repeated:  came again, or too late to know
 * @corrupt:   of the generator, with wrong bytes or a wrong length
 * @foreign:   frames of other senders
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
/** gen_free() - logs the counters */
void gen_free(struct gen *g);

#endif
