/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devlink_remote.h: a link (devlink.h) to a device session in a worker process.
 *
 *   serving ─ end of the socket, malformed message, call given up ─► gone
 *
 * Nothing leads back from gone: the session fences the process, frees the link,
 * starts another process and repeats its call on the next link.
 *
 * The worker process may have been taken over by its guest. Whatever it sends,
 * nothing but this session is harmed: a malformed message counts as its crash,
 * and what it says of an ioctl reaches no other memory of the caller than that
 * ioctl does.
 */
#ifndef DEVLINK_REMOTE_H
#define DEVLINK_REMOTE_H

#include <stdbool.h>
#include <stdint.h>
#include "devlink.h"
#include "framering.h"
#include "wmsg.h"

/**
 * struct devlink_remote_config - beside struct devlink_config; copied
 * @sock: our end of wmsg_pair(), in blocking mode; the link's on success
 * @interrupted: WORKER_SIGNAL ended the wait for a reply. True: the call is
 *        given up, and the link is gone. NULL: it waits on. Also called now and
 *        then if the process sends anything but the reply
 * @ctx:  for it
 * @malformed: set to true when the link ends because of a malformed message;
 *        NULL: nobody wants to know
 *
 * It is called on the session's thread, from within functions of the link: it
 * calls none of them. So is @events.fault_in of struct devlink_config, for at
 * most WMSG_FAULT_MAX bytes at a time, which need be no addresses of the owner.
 */
struct devlink_remote_config {
	int sock;
	bool (*interrupted)(void *ctx);
	void *ctx;
	bool *malformed;
};

/** DEVLINK_REMOTE_FDS - most descriptors of devlink_remote_fds() */
#define DEVLINK_REMOTE_FDS (1 + FRAMERING_FDS)

/** devlink_remote_fds() - what the worker process has to be started with: the
 * device's memory and the frame ring, as far as there are any
 *
 * They are borrowed from @config. Return: how many. */
unsigned int devlink_remote_fds(const struct devlink_config *config,
				int fds[DEVLINK_REMOTE_FDS]);

/**
 * devlink_remote_new() - make the device session in a new worker process
 * @config: its @attach is not used; @events.gone is called once, when the end
 *          is noticed while no function of the link runs. (A function says it
 *          by its result.)
 *
 * The process was started with devlink_remote_fds(), from WPROC_FDS on.
 * WMSG_START is the first call; waits for the reply.
 * Return: 0; -ENOMEM; -ECONNRESET (the process is gone, or the call was given
 * up); what the device session could not be made for.
 */
int devlink_remote_new(const struct devlink_config *config,
		       const struct devlink_remote_config *remote,
		       struct devlink **out);

/**
 * devlink_remote_adopt() - link to the worker process of a broker before us
 * @hello: its build id, and the number of the last call that it received
 *
 * The next call has the number after that, unless devlink_remote_repeat() is
 * called. What the process had sent to the other broker is dropped, but for its
 * questions. Return: as devlink_remote_new().
 */
int devlink_remote_adopt(const struct devlink_config *config,
			 const struct devlink_remote_config *remote,
			 struct wmsg_hello *hello, struct devlink **out);

/**
 * devlink_remote_last() - number of the last call that was sent; the next one
 * has this number + 1
 */
uint64_t devlink_remote_last(const struct devlink *l);

/**
 * devlink_remote_repeat() - the next call repeats a call of another broker
 * @seq: number of that call: wmsg_hello.last; or that + 1, if the process did
 *       not receive it
 *
 * If the process has carried that call out, it sends the same reply again. The
 * caller sees to it that both calls are equal.
 */
void devlink_remote_repeat(struct devlink *l, uint64_t seq);

#endif
