/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store.c keeps descriptors beyond the life of this process, in the store of
 * the service manager (systemd's FileDescriptorStoreMax=, or uvhost-keeper).
 * The store keeps descriptors under names and gives all of them to the next
 * process (LISTEN_FDS). One name may stand for several descriptors.
 *
 * There is a store if NOTIFY_SOCKET is set and FDSTORE is a number above 0:
 * systemd sets FDSTORE from version 254 on, the unit file does for older ones.
 *
 * Source: sd_notify(3), sd_listen_fds_with_names(3),
 * systemd.io/FILE_DESCRIPTOR_STORE.
 */
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>

#include "notify.h"

/** STORE_NAME_MAX - bytes of a name */
#define STORE_NAME_MAX NOTIFY_NAME_MAX

struct store;

/**
 * store_open() - take the descriptors that the last process left
 * @out: the store; NULL if there is none
 *
 * To be called once, before other threads run; removes LISTEN_* from the
 * environment. The descriptors are close-on-exec from then on. Those that come
 * although there is no store are closed.
 * Return: 0 or -ENOMEM.
 */
int store_open(struct store **out);

/** store_free() - close what was not taken; the store keeps its copies */
void store_free(struct store *s);

/**
 * store_next_name() - the names that begin with @prefix, one after another
 * @at: 0 at first; its place afterwards
 *
 * Names whose descriptors were all taken are left out.
 * Return: a name, valid until store_free(); NULL: no more.
 */
const char *store_next_name(const struct store *s, const char *prefix,
			    unsigned int *at);

/**
 * store_take() - the descriptors that were left under a name
 * @fds: the caller's to close; the store keeps its own copies
 * @max: room in @fds; what is more stays
 *
 * Return: how many; 0 if there are none.
 */
unsigned int store_take(struct store *s, const char *name, int *fds,
			unsigned int max);

/**
 * store_put() - have @n descriptors kept under @name
 * @fds: at most NOTIFY_FDS_MAX; they stay the caller's
 * @poll: drop one of them when it has an error or was hung up
 *
 * They are added to those that the name already has. Any thread.
 * Return: 0; -EINVAL (the name); -errno of sending.
 */
int store_put(struct store *s, const char *name, const int *fds, unsigned int n,
	      bool poll);

/** store_remove() - have all under @name closed; 0 or -errno. Any thread. */
int store_remove(struct store *s, const char *name);

#endif
