/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef NOTIFY_H
#define NOTIFY_H

/**
 * notify_send() - tell the service manager, if there is one
 * @state: "READY=1", "STOPPING=1", "STATUS=...", lines separated by \n
 *
 * Never blocks. Return: 1 if it was sent, 0 if NOTIFY_SOCKET is not set, or
 * -errno. Source: sd_notify(3).
 */
int notify_send(const char *state);

#endif
