/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netfix.h is a fixture for tests of networks: stations, which are ports of a
 * network whose other ends the test holds.
 */
#ifndef NETFIX_H
#define NETFIX_H

#include "check.h"

#include <stdbool.h>
#include <linux/virtio_net.h>

#include "netport.h"
#include "network.h"

#define FIX_HDR sizeof(struct virtio_net_hdr_mrg_rxbuf)

/**
 * struct station - a port of a network, with one queue
 * @got, @len: what it received last, virtio_net_hdr first
 */
struct station {
	struct swport *m;
	struct netport *rx, *tx;
	uint32_t len;
	_Alignas(8) uint8_t got[NETPORT_FRAME_MAX];
};

/** fix_network() - 1000 addresses, 300 s, MTU 1500 */
struct network *fix_network(void);

/** fix_config() - an access port of VLAN 1 */
struct swport_config fix_config(void);

/** fix_join() - config NULL: fix_config() */
void fix_join(struct network *n, struct station *s,
	      const struct swport_config *config);
void fix_leave(struct station *s);

/** fix_frame() - an Ethernet frame of @len bytes with a zero header before it,
 * from station address @src to @dst (0xff: broadcast); bytes of both */
size_t fix_frame(uint8_t *to, uint8_t dst, uint8_t src, size_t len);

/** fix_own - what is sent lies in memory of exactly its size, which is the
 * port's to write to and then gone (struct netport.tx_own) */
extern bool fix_own;

/** fix_send() - what send() of its port returns for one frame with header */
int fix_send(struct station *s, const void *frame, size_t len);

/** fix_say() - a frame of 60 bytes from @src to @dst, which is taken */
void fix_say(struct station *s, uint8_t dst, uint8_t src);

/** fix_recv() - one frame, into @got; false if there is none */
bool fix_recv(struct station *s);

/** fix_hears() - one frame from address @src, and no more */
bool fix_hears(struct station *s, uint8_t src);

/** fix_drain() - all there are; how many */
unsigned int fix_drain(struct station *s);

struct swport_counters fix_count(const struct station *s);

/** fix_polls() - does @fd poll @events now? */
bool fix_polls(int fd, short events);

#endif
