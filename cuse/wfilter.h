/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wfilter.c confines a worker process to the system calls that rings, taps,
 * packet sockets, memory and the log need. The process reads what the guest
 * writes; an attacker that takes it over has these calls, the owner's user,
 * and the descriptors that the owner passed.
 */
#ifndef WFILTER_H
#define WFILTER_H

#include <stdbool.h>

/**
 * wfilter_install() - refuse all other system calls with EPERM, for good
 *
 * For all threads of the process, and all that come; system calls of another
 * architecture (32-bit) end it. Sets no_new_privs. No thread may be at its
 * start, for which libc makes calls that are refused.
 * Return: 0; -ENOMEM; -ENOSYS, -EOPNOTSUPP (no seccomp in this kernel); -ESRCH
 * (a thread has a filter of its own).
 */
int wfilter_install(void);

/**
 * wfilter_install_sock() - the same for a process that serves a vhost-user
 * connection
 * @postcopy: it offers postcopy: it may make userfaultfds
 *
 * It may start threads (vu_pair.c makes one for each queue pair), make memfds,
 * eventfds and epoll instances, and change its taps and packet sockets as
 * netif.h does: whatever is handed to it.
 */
int wfilter_install_sock(bool postcopy);

/**
 * wfilter_install_net() - the same for a process that has a network
 *
 * As for a connection, without postcopy; and it may cut its capture files, and
 * move in them, and make timers of the processor time of its threads.
 */
int wfilter_install_net(void);

#endif
