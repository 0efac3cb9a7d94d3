/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fe_call.h: the frame of the calls of <uvhost/frontend.h>, for fe.c and
 * fe_vring.c: checks, then the transport's operation, under the frontend's
 * lock.
 */
#ifndef FE_CALL_H
#define FE_CALL_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fe_priv.h"

static inline int check_owner(const struct uvh *fe)
{
	return fe->owner || fe->ops->checks_owner ? 0 : -EPERM;
}

static inline int check_fd(int fd)
{
	if (fd == -1)
		return 0;
	return fd < 0 || fcntl(fd, F_GETFD) < 0 ? -EBADF : 0;
}

static inline int check_range(uint64_t start, uint64_t size)
{
	uint64_t last;

	return size && range_last(start, size, &last) ? 0 : -EINVAL;
}

static inline void nothing_runs(struct uvh *fe) NEEDS(fe->lock)
{
	memset(fe->running, 0, sizeof(fe->running));
}

/*
 * Nearly every call: takes the lock, returns -EOPNOTSUPP if the transport has
 * no such operation, runs the check, then the operation or @via, which wraps
 * it.
 */
#define CALL_VIA(fe, op, via, check, ...)                     \
	({                                                    \
		int ret_;                                     \
                                                              \
		mutex_lock(&(fe)->lock);                      \
		ret_ = (fe)->ops->op ? (check) : -EOPNOTSUPP; \
		if (ret_ == 0)                                \
			ret_ = via((fe), ##__VA_ARGS__);      \
		mutex_unlock(&(fe)->lock);                    \
		ret_;                                         \
	})
#define CALL(fe, op, check, ...) \
	CALL_VIA(fe, op, (fe)->ops->op, check, ##__VA_ARGS__)

#define CHECK_ARG(arg) ((arg) ? check_owner(fe) : -EINVAL)

#endif
