/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vufix.h is a fixture for tests of a vhost-user session: the test plays the
 * frontend, message by message. Memory is the arena (arena.h) with a fourth
 * region for the rings, ports are sockets (sockport.h), threads are real.
 */
#ifndef VUFIX_H
#define VUFIX_H

#include <semaphore.h>
#include "drv.h"
#include "sockport.h"
#include "vu_msg.h"
#include "vu_server.h"

#define GPA_RINGS 0x80000000u
#define VUFIX_PAIRS 4
#define VUFIX_RINGS (2 * VUFIX_PAIRS)
#define VUFIX_MS 60000 /* what is waited for never takes that long */

/**
 * struct vufix - the fixture
 * @fe:     the frontend's end
 * @acks:   REPLY_ACK was negotiated: vf_call() asks for one
 * @wire:   the test's ends of the ports; @backend: the devices'
 * @offload: what set_offload() was told last
 * @shown:  enable_ports(), per pair: @rx | @tx << 1
 */
struct vufix {
	struct arena arena;
	struct vu_session_config config;
	struct vu_session *s;
	struct vu_endpoint fe;
	bool acks;
	struct drv q[VUFIX_RINGS];
	int kick[VUFIX_RINGS], call[VUFIX_RINGS], err[VUFIX_RINGS];
	int backend[VUFIX_PAIRS], wire[VUFIX_PAIRS];
	uint64_t offload;
	int shown[VUFIX_PAIRS];
	int open_error;
	unsigned int opened;
	sem_t closed;
};

/** vufix_open() - connected, nothing said; @pairs at most VUFIX_PAIRS */
struct vufix *vufix_open(unsigned int pairs);
void vufix_close(struct vufix *f);
int vufix_setup(void **state); /* one pair */
int vufix_setup_two(void **state);
int vufix_teardown(void **state);
/** vufix_hang_up() - the frontend goes; returns when the session has closed */
void vufix_hang_up(struct vufix *f);
/** vufix_wait_closed() - true if the session closes within VUFIX_MS */
bool vufix_wait_closed(struct vufix *f);
/** vufix_connect() - a new session in the place of one that was closed */
void vufix_connect(struct vufix *f);

/** vf_send() - a message as it is */
void vf_send(struct vufix *f, uint32_t request, uint32_t flags,
	     const void *payload, uint32_t size, const int *fds,
	     unsigned int nfds);
/** vf_reply() - the reply to @request, which must come; its descriptors are the
 * caller's */
void vf_reply(struct vufix *f, uint32_t request, struct vu_msg *m);
/** vf_call() - a request without a reply of its own; what its acknowledgement
 * says, 0 without REPLY_ACK */
uint64_t vf_call(struct vufix *f, uint32_t request, const void *payload,
		 uint32_t size, const int *fds, unsigned int nfds);
uint64_t vf_call_u64(struct vufix *f, uint32_t request, uint64_t value);
uint64_t vf_call_state(struct vufix *f, uint32_t request, uint32_t index,
		       uint32_t num);
/** vf_call_fd() - SET_VRING_KICK and its like; @fd -1: NOFD */
uint64_t vf_call_fd(struct vufix *f, uint32_t request, uint32_t index, int fd);
/** vf_get() - a request that is answered by a number */
uint64_t vf_get(struct vufix *f, uint32_t request);
/** vf_get_base() - GET_VRING_BASE */
uint32_t vf_get_base(struct vufix *f, uint32_t index);
/** vf_sync() - returns when all that was sent has been handled */
void vf_sync(struct vufix *f);

/** vf_channel() - the frontend's end of a new channel for the backend */
struct vu_endpoint vf_channel(struct vufix *f);
/** vf_request() - the backend's next request, which must come: @request, for
 * ring @index, with NEED_REPLY */
void vf_request(struct vu_endpoint *ch, uint32_t request, uint32_t index);
/** vf_confirm() - the answer to it */
void vf_confirm(struct vu_endpoint *ch, uint32_t request);

/** vf_hello() - features of the protocol; REPLY_ACK goes without saying */
void vf_hello(struct vufix *f, uint64_t protocol_features);
/** vf_features() - SET_FEATURES of @features and PROTOCOL_FEATURES */
void vf_features(struct vufix *f, uint64_t features);
/** vf_region() - the arena's region @i (0...3) as a message has it */
struct vu_mem_region vf_region(const struct vufix *f, unsigned int i);
/** vf_table() - SET_MEM_TABLE with all four; what was acknowledged */
uint64_t vf_table(struct vufix *f);
/** vf_ring() - a ring of @num entries from index 0 on, up to the kick */
void vf_ring(struct vufix *f, unsigned int index, uint32_t num);
/** vf_addr() - SET_VRING_ADDR of ring @index with @flags */
uint64_t vf_addr(struct vufix *f, unsigned int index, uint32_t flags);
/** vf_start() - all of it: hello, features, table, both rings of @pairs */
void vf_start(struct vufix *f, uint64_t features, unsigned int pairs);
/** vf_enable() - SET_VRING_ENABLE for both rings of @pair */
void vf_enable(struct vufix *f, unsigned int pair, bool on);

/** vf_wait() - until @fd is readable; false after @timeout_ms */
bool vf_wait(int fd, int timeout_ms);
/** vf_kick() - the driver's */
void vf_kick(struct vufix *f, unsigned int index);
/** vf_tx() - a frame from the guest through @pair's TX ring, as it is on the
 * wire: true if it came; its bytes count up from @seed */
bool vf_tx(struct vufix *f, unsigned int pair, uint8_t seed);
/** vf_offer_tx() - the same frame, offered and kicked, not waited for */
void vf_offer_tx(struct vufix *f, unsigned int pair, uint8_t seed);
/** vf_offer_rx() - a receive buffer */
void vf_offer_rx(struct vufix *f, unsigned int pair);
/** vf_rx() - a frame from the wire to the guest; true if it came */
bool vf_rx(struct vufix *f, unsigned int pair, uint8_t seed);
/** vf_traffic() - both directions of @pair work */
void vf_traffic(struct vufix *f, unsigned int pair, uint8_t seed);
/** vf_used() - wait until ring @index has used so many */
bool vf_used(struct vufix *f, unsigned int index, uint16_t idx);

/** count_maps() - lines of /proc/self/maps that name the arena or a memfd */
unsigned int count_maps(void);

#endif
