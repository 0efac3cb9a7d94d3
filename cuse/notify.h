/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef NOTIFY_H
#define NOTIFY_H

#include <stdbool.h>

/** NOTIFY_FDS_MAX - descriptors of one message */
#define NOTIFY_FDS_MAX 8
/** NOTIFY_FIRST_FD - of those that a service gets (SD_LISTEN_FDS_START of
 * sd_listen_fds(3)) */
#define NOTIFY_FIRST_FD 3
/** NOTIFY_NAME_MAX - bytes of a descriptor's name (FDNAME=, systemd's limit) */
#define NOTIFY_NAME_MAX 255

/** notify_name_ok() - may descriptors have this name? As fdname_is_valid() of
 * systemd: not empty, printable ASCII without space and ':' */
bool notify_name_ok(const char *name);

/**
 * notify_send() - send a message to the service manager, if there is one
 * @state: "READY=1", "STOPPING=1", "STATUS=...", lines separated by \n
 *
 * Never blocks. Return: 1 if it was sent, 0 if NOTIFY_SOCKET is not set, or
 * -errno. Source: sd_notify(3).
 */
int notify_send(const char *state);

/**
 * notify_send_fds() - the same with @n descriptors, at most NOTIFY_FDS_MAX
 *
 * The descriptors stay the caller's. For messages that must not be lost: the
 * call waits up to 2 s for room in the socket (-EAGAIN after that).
 * Source: sd_pid_notify_with_fds(3).
 */
int notify_send_fds(const char *state, const int *fds, unsigned int n);

#endif
