/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devlink_remote.c is a link (devlink.h) to a device session in a worker
 * process. States:
 *
 *   serving ─ end of the socket, malformed message, call given up ─► gone
 *
 * A link never leaves the state gone: the session fences the process, frees the
 * link, starts another process and repeats its call on a new link.
 *
 * The guest may have taken the worker process over. What the process sends can
 * harm this session only: a malformed message counts as a crash, and the
 * verdict of an ioctl can address only the memory of the caller that this ioctl
 * uses.
 */
#ifndef DEVLINK_REMOTE_H
#define DEVLINK_REMOTE_H

#include <stdbool.h>
#include <stdint.h>
#include "devlink.h"
#include "framering.h"
#include "wmsg.h"

/**
 * struct devlink_remote_config - in addition to struct devlink_config; copied
 * @sock: our end of wmsg_pair(), in blocking mode; the link owns it on success
 * @interrupted: called when WORKER_SIGNAL interrupts the wait for a reply, and
 *        after every REMOTE_TURN other messages. True: give the call up; the
 *        link is gone. False, or NULL: wait on
 * @ctx:  argument of @interrupted
 * @malformed: set to true when a malformed message ends the link; may be NULL
 *
 * Functions of the link call @interrupted, and @events.fault_in of struct
 * devlink_config, on the session's thread; neither may call functions of the
 * link. @events.fault_in gets at most WMSG_FAULT_MAX bytes at a time, at
 * addresses that the worker process chose.
 */
struct devlink_remote_config {
	int sock;
	bool (*interrupted)(void *ctx);
	void *ctx;
	bool *malformed;
};

/** DEVLINK_REMOTE_FDS - most descriptors of devlink_remote_fds() */
#define DEVLINK_REMOTE_FDS (1 + FRAMERING_FDS)

/** devlink_remote_fds() - the descriptors that the worker process is started
 * with: of the device's memory and of the frame ring, if @config has them
 *
 * They are borrowed from @config. Return: their number. */
unsigned int devlink_remote_fds(const struct devlink_config *config,
				int fds[DEVLINK_REMOTE_FDS]);

/**
 * devlink_remote_new() - make the device session in a new worker process
 * @config: @attach is not used; @events.gone is called once, if the end is
 *          noticed while no function of the link runs (a function returns
 *          -ECONNRESET instead)
 *
 * The process was started with devlink_remote_fds(), from WPROC_FDS on. Sends
 * WMSG_START and waits for the reply. Return: 0; -ENOMEM; -ECONNRESET (the
 * process has ended, or the call was given up); the error of devsession_new().
 */
int devlink_remote_new(const struct devlink_config *config,
		       const struct devlink_remote_config *remote,
		       struct devlink **out);

/**
 * devlink_remote_adopt() - link to the worker process of an earlier broker
 * @hello: build id of the process, and the number of the last call that it
 *         received
 *
 * The next call gets the following number, unless devlink_remote_repeat() is
 * called. Messages to the earlier broker are dropped, except questions. Return:
 * as devlink_remote_new().
 */
int devlink_remote_adopt(const struct devlink_config *config,
			 const struct devlink_remote_config *remote,
			 struct wmsg_hello *hello, struct devlink **out);

/**
 * devlink_remote_last() - number of the last call that was sent; the next call
 * has this number + 1
 */
uint64_t devlink_remote_last(const struct devlink *l);

/**
 * devlink_remote_repeat() - the next call repeats a call of the earlier broker
 * @seq: number of that call: wmsg_hello.last, or wmsg_hello.last + 1 if the
 *       process did not receive it
 *
 * If the process has carried out that call, it sends the same reply again. The
 * caller makes sure that both calls are equal.
 */
void devlink_remote_repeat(struct devlink *l, uint64_t seq);

#endif
