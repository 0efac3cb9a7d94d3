/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wvu.c is the part of uvhost-worker that serves one vhost-user connection: a
 * session (vu_server.h), with the descriptors of its port and none but those.
 */
#ifndef WVU_H
#define WVU_H

#include <stdbool.h>

/**
 * wvu_is_asked() - is the first message of the broker WMSG_SOCK_START?
 * @sock: in blocking mode; the message is waited for, and stays unread
 */
bool wvu_is_asked(int sock);

/**
 * wvu_run() - serve the connection until its end
 * @sock: to the broker; the first message waits there; not closed
 *
 * On the main thread, before there is another, with WORKER_SIGNAL handled
 * (worker_interrupts_enable()). If the broker dies, the connection goes on,
 * unless the store has kept the broker's end of @sock (WMSG_SOCK_STORED):
 * @sock then ends only when the store has dropped it, and the connection with
 * it.
 *
 * Return: 0 the connection has ended, or the broker has ended it; -ESTALE (a
 * broker of another build); -EPROTO; -errno of the start, logged and replied.
 */
int wvu_run(int sock);

#endif
