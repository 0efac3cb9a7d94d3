/* SPDX-License-Identifier: BSD-3-Clause */
/* fd.h has what is done with file descriptors in many places. */
#ifndef FD_H
#define FD_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/** fd_drop() - close *@fd, if it is one, and make it -1 */
static inline void fd_drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/**
 * fd_attach() - send descriptors with a message (SCM_RIGHTS, unix(7))
 * @control: all 0; CMSG_SPACE(@n * sizeof(int)) bytes, stays until sendmsg(2)
 * @fds:     @n, at least one; they stay the caller's
 */
static inline void fd_attach(struct msghdr *msg, struct cmsghdr *control,
			     const int *fds, size_t n)
{
	control->cmsg_level = SOL_SOCKET;
	control->cmsg_type = SCM_RIGHTS;
	control->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(control), fds, n * sizeof(int));
	msg->msg_control = control;
	msg->msg_controllen = CMSG_SPACE(n * sizeof(int));
}

/** FD_MEMORY_SEALS - memory that nobody can resize: an access within its size
 * is no fault (fcntl(2)) */
#define FD_MEMORY_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/**
 * fd_memory() - memory for several processes, all 0: a sealed memfd
 * @name: for people (memfd_create(2))
 * @size: bytes
 *
 * Return: its descriptor, close-on-exec, which is the caller's; -errno.
 */
static inline int fd_memory(const char *name, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int ret;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) == 0 &&
	    fcntl(fd, F_ADD_SEALS, FD_MEMORY_SEALS) == 0)
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

/** fd_is_memory() - is it memory of fd_memory() with this size? */
static inline bool fd_is_memory(int fd, size_t size)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	return seals >= 0 && (seals & FD_MEMORY_SEALS) == FD_MEMORY_SEALS &&
	       fstat(fd, &st) == 0 && st.st_size == (off_t)size;
}

/** fd_raise_limit() - as many descriptors as the hard limit (RLIMIT_NOFILE)
 * allows */
static inline void fd_raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

#endif
