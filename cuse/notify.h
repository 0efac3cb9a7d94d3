/* SPDX-License-Identifier: BSD-3-Clause */
/* notify.c sends messages to the service manager, with or without descriptors.
 */
#ifndef NOTIFY_H
#define NOTIFY_H

#include <stdbool.h>

/** NOTIFY_FDS_MAX - most descriptors of a message */
#define NOTIFY_FDS_MAX 8
/** NOTIFY_FIRST_FD - number of the first descriptor that a service gets
 * (SD_LISTEN_FDS_START, sd_listen_fds(3)) */
#define NOTIFY_FIRST_FD 3
/** NOTIFY_NAME_MAX - most bytes of a descriptor's name (limit of FDNAME=) */
#define NOTIFY_NAME_MAX 255

/** notify_name_ok() - whether descriptors can have this name: not empty,
 * printable ASCII without space and ':' (systemd: fdname_is_valid()) */
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
 * The caller keeps the descriptors. For messages that must not be lost: waits
 * up to 2 s for space in the socket, then returns -EAGAIN. Source:
 * sd_pid_notify_with_fds(3).
 */
int notify_send_fds(const char *state, const int *fds, unsigned int n);

#endif
