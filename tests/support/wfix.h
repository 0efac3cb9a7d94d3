/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wfix.h: the user that a test starts a worker process as, what the kernel says
 * of the process, and its end.
 */
#ifndef WFIX_H
#define WFIX_H

#include "check.h"

#include <poll.h>
#include <unistd.h>
#include <linux/capability.h>

#include "bytes.h"
#include "confine.h"
#include "wproc.h"

#define WFIX_DEADLINE_MS 60000
#define WFIX_NOBODY 65534

/** wfix_is_root() - may this process start one as another user, and end it? */
static inline bool wfix_is_root(void)
{
	return geteuid() == 0 &&
	       confine_permitted(BIT(CAP_SETUID) | BIT(CAP_SETGID) |
				 BIT(CAP_KILL));
}

/** wfix_user() - nobody, or without root's rights the test's own user */
static inline struct wproc_user wfix_user(void)
{
	return wfix_is_root() ? (struct wproc_user){ WFIX_NOBODY, WFIX_NOBODY }
			      : (struct wproc_user){ geteuid(), getegid() };
}

/** wfix_status() - the number behind "@key:" in /proc/PID/status, of base @base
 */
static inline uint64_t wfix_status(pid_t pid, const char *key, int base)
{
	char path[40], line[256];
	uint64_t value = UINT64_MAX;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, key, strlen(key)) == 0 &&
		    line[strlen(key)] == ':')
			value = strtoull(line + strlen(key) + 1, NULL, base);
	fclose(f);
	return value;
}

/** wfix_check_exit() - the process ends by itself, with this status */
static inline void wfix_check_exit(struct wproc *process, int status)
{
	struct pollfd p = { .fd = process->pidfd, .events = POLLIN };
	struct wproc_end end;

	assert_int_equal(poll(&p, 1, WFIX_DEADLINE_MS), 1);
	check_ret(wproc_fence(process, -1, &end), 0);
	assert_true(end.known);
	assert_int_equal(end.signal, 0);
	assert_int_equal(end.status, status);
}

#endif
