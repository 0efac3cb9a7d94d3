/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wfilter.c confines a worker process to the system calls that rings, taps,
 * packet sockets, memory and the log need. It reads what the guest writes: what
 * takes it over has this list, the owner's user, and the descriptors that the
 * owner passed.
 */
#ifndef WFILTER_H
#define WFILTER_H

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

#endif
