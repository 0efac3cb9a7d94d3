/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * caller.h makes calls as different callers: the owner itself in several ways,
 * and processes that are not the owner but have the descriptor.
 */
#ifndef CALLER_H
#define CALLER_H

#include <stddef.h>
#include <stdint.h>

/* Those that share the owner's address space. */
int caller_self(int fd, unsigned long cmd, const void *arg);
int caller_thread(int fd, unsigned long cmd, const void *arg);
int caller_vfork(int fd, unsigned long cmd, const void *arg);

/** caller_child() - a fork of the owner */
int caller_child(int fd, unsigned long cmd, const void *arg);

/**
 * struct caller_other - a process that was there before the device was opened
 *
 * Start it first; hand it the device when there is one.
 */
struct caller_other {
	int pid;
	int sock;
};

int caller_other_start(struct caller_other *c);
/**
 * caller_other_call() - pass @fd by SCM_RIGHTS and let it make the call
 * @own: it does SET_OWNER before
 * Return: the call's -errno or 0; -EPROTO if the process failed.
 */
int caller_other_call(struct caller_other *c, int fd, int own,
		      unsigned long cmd, const void *arg, size_t len);
/** caller_other_kill() - SIGKILL, and wait until it is gone */
void caller_other_kill(struct caller_other *c);

/**
 * caller_exec() - replace this process by one that makes the call and exits
 * with its errno; does not return. Only in a forked process.
 */
void caller_exec(int fd, unsigned long cmd, const void *arg, size_t len);
/** caller_exec_main() - the other end: run before main() does anything */
void caller_exec_main(int argc, char **argv);

/** caller_compat() - the 32-bit system call; -ENOSYS if there is none */
int caller_compat(int fd, unsigned int cmd, unsigned int arg);

#endif
