/* SPDX-License-Identifier: BSD-3-Clause */
/* fd.h closes a file descriptor together with the variable that holds it. */
#ifndef FD_H
#define FD_H

#include <unistd.h>

/** fd_drop() - close *@fd, if it is one, and make it -1 */
static inline void fd_drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

#endif
