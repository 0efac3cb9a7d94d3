/* SPDX-License-Identifier: BSD-3-Clause */
#include "fdsend.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>

#include "log.h"

/* Between two tries. */
#define TRY_MS 10

bool fdsend_wait(int *waited_ms)
{
	static atomic_bool said;

	if (*waited_ms >= FDSEND_WAIT_MS)
		return false;
	if (!atomic_exchange(&said, true))
		log_warn(NULL, "processes of this user have more descriptors "
			       "in flight than RLIMIT_NOFILE allows: what "
			       "sends descriptors has to wait");
	poll(NULL, 0, TRY_MS);
	*waited_ms += TRY_MS;
	return true;
}

ssize_t fdsend(int sock, const struct msghdr *msg, int flags)
{
	int waited_ms = 0;
	ssize_t n;

	do
		n = sendmsg(sock, msg, flags);
	while (n < 0 && errno == ETOOMANYREFS && fdsend_wait(&waited_ms));
	return n;
}
