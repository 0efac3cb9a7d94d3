/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wnet.c is the part of uvhost-worker that runs one network: the switch, its
 * captures, its ports that are interfaces of the host, and the network's side
 * of the frame rings of its guests.
 */
#ifndef WNET_H
#define WNET_H

#include <stdbool.h>

/**
 * wnet_is_asked() - is the first message of the broker WMSG_NET_START?
 * @sock: in blocking mode; the message is waited for, and stays unread
 */
bool wnet_is_asked(int sock);

/**
 * wnet_run() - run the network until the broker closes its end of @sock
 * @sock: to the broker; the first message waits there; not closed
 *
 * On the main thread, before there is another. Captures are written to their
 * end. Return: 0, also if the start failed for lack of memory, threads or
 * descriptors; -ESTALE (a broker of another build); -EPROTO; -errno of the
 * start, logged and replied.
 */
int wnet_run(int sock);

#endif
