/* SPDX-License-Identifier: BSD-3-Clause */
/* fd.h has what is done with file descriptors in many places. */
#ifndef FD_H
#define FD_H

#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
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
