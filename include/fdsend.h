/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fdsend.c sends descriptors (SCM_RIGHTS) while other processes of our user
 * have many in flight: sent and not received yet. The kernel counts those of a
 * user, and refuses more than the sender's RLIMIT_NOFILE with ETOOMANYREFS,
 * whoever has sent them. That passes when they are received; so the senders
 * here wait for it, a limited time.
 */
#ifndef FDSEND_H
#define FDSEND_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

/** FDSEND_WAIT_MS - how long one message waits */
#define FDSEND_WAIT_MS 2000

/**
 * fdsend_wait() - sendmsg(2) has failed with ETOOMANYREFS: wait a little
 * @waited_ms: 0 at first
 *
 * A warning says so once. Any thread. Return: whether to try again.
 */
bool fdsend_wait(int *waited_ms);

/** fdsend() - sendmsg(2), which waits while too many are in flight; blocks for
 * FDSEND_WAIT_MS at most, whatever @flags are. Any thread */
ssize_t fdsend(int sock, const struct msghdr *msg, int flags);

#endif
