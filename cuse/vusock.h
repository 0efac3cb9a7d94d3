/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vusock.c serves a vhost-user socket of the options and the device behind it:
 * one connection at a time, again and again. Everything here runs on the
 * loop's thread.
 */
#ifndef VUSOCK_H
#define VUSOCK_H

#include "closer.h"
#include "loop.h"
#include "nets.h"
#include "options.h"
#include "watchdog.h"

struct vusock;

/**
 * struct vusock_config - borrowed parts outlive the socket
 * @opt:   what the command line says
 * @nets:  has the network and the capture that @opt names
 * @busy_poll_us: as in struct vu_session_config
 * @map_bytes: as in struct vu_session_config
 * @store: keeps listener, port and worker process for the next daemon; NULL
 * @ended: there will be no more connections (a connected socket was handed
 *         over, and the peer has closed it; or vusock_end()); vusock_free() is
 *         due
 */
struct vusock_config {
	const struct option_sock *opt;
	struct nets *nets;
	struct store *store;
	unsigned int busy_poll_us;
	uint64_t map_bytes;
	struct loop *loop;
	struct watchdog *watchdog;
	struct closer *closer;
	void (*ended)(void *ctx, struct vusock *s);
	void *ctx;
};

/**
 * vusock_new() - open the port, and listen (or begin to connect)
 *
 * Before privileges are given up. Return: 0; -errno, logged with the cure.
 */
int vusock_new(const struct vusock_config *config, struct vusock **out);

/** vusock_end() - no more connections; ended() follows. A worker process that
 * the store keeps is left to the next daemon, or ends with the store */
void vusock_end(struct vusock *s);

/**
 * vusock_free() - close everything
 *
 * A session whose worker hangs is left behind.
 * Return: false if one was: what the configuration names must stay.
 */
bool vusock_free(struct vusock *s);

/** vusock_print() - counters of its session to stderr */
void vusock_print(struct vusock *s);

/** vusock_print_capabilities() - JSON for management software (vhost-user.json
 * of QEMU) */
void vusock_print_capabilities(void);

#endif
