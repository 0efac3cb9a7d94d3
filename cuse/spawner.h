/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * spawner.c forks, on a thread that has a descriptor table of its own: a child
 * gets the descriptors that it is given, and no others.
 *
 * A child of any other thread has copies of all descriptors of the process
 * until it executes a program, which closes them. One of a guest's can make
 * that wait without end: the close of a file on a FUSE file system is answered
 * by its server, for each copy.
 *
 *   a thread ── spawner_fork(): numbers of its descriptors ──► the spawner,
 *   which copies these into its own table (pidfd_getfd), forks, and closes them
 */
#ifndef SPAWNER_H
#define SPAWNER_H

#include <sys/types.h>

/** SPAWNER_FDS_MAX - descriptors that a child is given */
#define SPAWNER_FDS_MAX 72
/** SPAWNER_FIRST - the number of the first one; the others follow */
#define SPAWNER_FIRST 3
/** SPAWNER_PROGRAM - the number of the program in a child */
#define SPAWNER_PROGRAM (SPAWNER_FIRST + SPAWNER_FDS_MAX)

/**
 * struct spawner_files - descriptors that each child has
 * @std:     descriptors 0, 1, 2; -1: as they are here
 * @program: at SPAWNER_PROGRAM, close-on-exec
 */
struct spawner_files {
	int std[3];
	int program;
};

/**
 * spawner_start() - start the thread
 * @files: borrowed; the thread has copies of its own when this returns
 *
 * There is one in a process. Its capabilities are those of the caller, and
 * confine_process() finds it. What it calls "the process's table" is that of
 * the main thread, which has to live on.
 * Return: 0; -ENOSYS (Linux 5.6 is needed), -EPERM (pidfd_getfd(2) is
 * forbidden), -EMFILE (also: RLIMIT_NOFILE is below 80), -EAGAIN, -ENOMEM.
 */
int spawner_start(const struct spawner_files *files);

/** spawner_stop() - end the thread; harmless if there is none. Its children
 * that end with their parent (PR_SET_PDEATHSIG) end */
void spawner_stop(void);

/**
 * spawner_fork() - fork a child
 * @fd:    @nfds descriptors of the process's table, at most SPAWNER_FDS_MAX:
 *         the child's are close-on-exec
 * @child: runs in it and does not return; makes system calls only, as other
 *         threads may hold locks at that moment
 * @arg:   its argument
 *
 * The child's parent is this process, which may wait for it on any thread; with
 * PR_SET_PDEATHSIG it ends with the spawner. All signals but SIGRTMIN are
 * blocked in it. Any thread; waits until the child is there.
 * Return: its process id; -ENOENT (there is no spawner); -EBADF, -EMFILE,
 * -EAGAIN, -ENOMEM, -E2BIG.
 */
pid_t spawner_fork(const int *fd, unsigned int nfds, void (*child)(void *arg),
		   void *arg);

#endif
