/* SPDX-License-Identifier: BSD-3-Clause */
/* The inside of a network in a worker process: netproc.c has the process,
 * netproc_told.c what it should have and what it was told. */
#ifndef NETPROC_PRIV_H
#define NETPROC_PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "log_limit.h"
#include "mutex.h"
#include "netmsg.h"
#include "netproc.h"
#include "wmsg.h"
#include "wproc.h"

/**
 * struct remote_queue - a queue of a port
 * @ring: the ring that the process should have; NULL: none
 * @serial: number of that ring
 * @told: the process has been told of a ring
 * @stale: that ring is not @ring
 */
struct remote_queue {
	struct framering *ring;
	uint32_t serial;
	bool offload, told, stale;
};

/**
 * struct remotenet_port - a port
 * @msg:  the message that makes the port
 * @told: the process has got @msg
 * @gone: the port has left; it is freed when the process has been told
 * @changed: the process does not know the ring of some queue
 * @fd:   @nfds descriptors of an interface, borrowed
 */
struct remotenet_port {
	SLIST_ENTRY(remotenet_port) link;
	struct netproc *net;
	struct netmsg_port msg;
	bool told, gone, changed;
	int fd[NETMSG_PORT_FDS];
	unsigned int nfds;
	unsigned int nqueues;
	struct remote_queue queue[];
};

/** struct net_capture - a capture that the process writes; @mark: memory of its
 * struct capture_mark */
struct net_capture {
	struct netmsg_capture msg;
	int fd, mark;
	bool told;
};

/**
 * struct netproc - a network
 * @sock:  our end of the socket to the process
 * @dead:  the pidfd of the process
 * @timer: for the next start of a process, or the next attempt to send
 * @silence: timer, ANSWER_MS after NET_PRINT, NETPROC_SETTLE_MS after the start
 * @settled: config.settled was called
 * @begun, @run: NET_START, NET_RUN were sent
 * @replied: the process has replied to NET_RUN
 * @asked: it has not replied to NET_PRINT, which was sent at @asked_ms
 * @malformed: the process was killed because of an invalid message
 * @lingers: it was killed because it had closed its socket and did not end
 * @stopped: no process is started any more
 * @rings: rings that the process was told of
 * @reports: messages of the process that a ring is spoiled
 * @spoiled: rings that were spoiled, of all processes; the last of @spoiler
 * @posted: @flush_job is in the list of the loop
 */
struct netproc {
	struct remotenet remote;
	struct netproc_config config;
	struct log_tag tag;
	struct log_limit limit;
	struct wproc process;
	struct wproc_backoff backoff;
	struct wmsg_in in;
	struct loop_watch sock, dead, timer, silence;
	struct net_capture *capture;
	unsigned int ncaptures;
	bool begun, run, replied, asked, malformed, lingers, stopped;
	bool settled;
	int64_t asked_ms;
	uint64_t rings, reports, spoiled;
	char spoiler[NETWORK_NAME_MAX + 1];

	struct mutex lock; /* all below */
	SLIST_HEAD(, remotenet_port) ports;
	unsigned int nports;
	uint32_t next_id;
	uint64_t serial; /* number for the next made-up name */
	struct loop_job flush_job;
	bool posted;
};

/** netproc_remote_ops - operations of netproc.remote */
extern const struct remotenet_ops netproc_remote_ops;

/** netproc_send() - send a message with @nfds descriptors, without waiting;
 * returns as wmsg_send() */
int netproc_send(struct netproc *n, unsigned int type, const void *body,
		 size_t len, const int *fds, unsigned int nfds);

/** netproc_tell_all() - send what the process does not know; after an error of
 * netproc_send() the rest follows with the next call */
int netproc_tell_all(struct netproc *n) NEEDS(n->lock);

/** netproc_forget_told() - the next process knows nothing; ports that have left
 * are freed */
void netproc_forget_told(struct netproc *n) NEEDS(n->lock);

/** netproc_remove_port() - free a port */
void netproc_remove_port(struct netproc *n, struct remotenet_port *p)
	NEEDS(n->lock);

/** netproc_find_spoiled() - the port with the ring of @m; NULL: the ring is not
 * used any more */
struct remotenet_port *netproc_find_spoiled(struct netproc *n,
					    const struct netmsg_spoiled *m)
	NEEDS(n->lock);

#endif
