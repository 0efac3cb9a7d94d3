/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What must come of a frame that is sent into a network, told plainly: for each
 * station the packets that it is to receive, byte by byte and in order, and
 * what is to be counted.
 *
 * Where an address is known is asked of the network's own table, and headers
 * are judged and frames cut up by include/offload.h: both have targets of their
 * own.
 */
#ifndef NETMODEL_H
#define NETMODEL_H

#include <linux/virtio_net.h>

#include "network_priv.h"
#include "pkt.h"

#define STATIONS 4
#define MODEL_HDR sizeof(struct virtio_net_hdr_mrg_rxbuf)

/**
 * struct packet - that a station is to receive
 * @flooded: it went to others, who may have made the network complete its
 *           checksum
 * @takes:   of the station, when it was sent
 * @mask_at: four bytes that are random; 0: none
 * @len:     bytes of @data: MODEL_HDR, and the Ethernet frame
 */
struct packet {
	struct packet *next;
	bool flooded;
	uint64_t takes;
	size_t mask_at, len;
	uint8_t data[];
};

/** struct packets - in order; @bytes: as an rxq counts */
struct packets {
	struct packet *first, **end;
	unsigned int num;
	size_t bytes;
};

/**
 * struct station - a port with one queue, or none yet (@m NULL)
 * @rx:     where it receives; NULL: it has @direct, which sends to @port
 * @accepts: frames that @port takes, then it is full; of them the first
 *          @refuses are dropped
 * @got:    those that @port took and that were not checked yet, @got_refused of
 * them dropped
 * @waits:  it was told -EAGAIN
 * @want:   what it is to receive
 * @before: counters before the last call
 */
struct station {
	struct swport *m;
	struct swport_config config;
	struct netport *rx, *tx;
	struct tx_direct *direct;
	struct netport port;
	unsigned int accepts, refuses;
	struct packets got;
	unsigned int got_refused;
	uint64_t got_refused_bytes;
	bool enabled, waits;
	uint64_t takes;
	struct packets want;
	struct swport_counters before;
};

/** struct model - all there is; @mtu: the network's */
struct model {
	struct network *network;
	unsigned int mtu;
	struct station station[STATIONS];
};

/**
 * struct sent - a frame as it was sent
 * @data: @hdr_len bytes of virtio_net_hdr, and the frame; @len in all
 */
struct sent {
	uint8_t *data;
	size_t len, hdr_len;
};

/** model_begin() - before a call into the network */
void model_begin(struct model *m);

/**
 * model_sent() - @taken of @sent were sent by @from since model_begin()
 * @n: all; those that were not taken came to nothing
 *
 * Counters are looked at, and what the others are to receive is noted. No more
 * than one frame if there is a limit of floods, or if there may be too little
 * room for all.
 */
void model_sent(struct model *m, struct station *from, const struct sent *sent,
		unsigned int n, unsigned int taken);

/** model_received() - @done of @n frames came out since model_begin(), into
 * @room bytes each */
void model_received(const struct model *m, struct station *s,
		    const struct frame *frames, const size_t *room,
		    unsigned int n, unsigned int done);

/** model_unsure() - it takes no header, and a frame may have been completed for
 * others' sake or not: then only its bytes tell whether it is refused */
bool model_unsure(const struct station *s);

/** model_port() - make @s->port a port that does as @s says */
void model_port(struct station *s);

/** model_ran() - what @s->port took since model_begin() was waiting for it */
void model_ran(const struct model *m, struct station *s);

/** model_forget() - it will receive nothing more; packets that it was to */
unsigned int model_forget(struct station *s);

#endif
