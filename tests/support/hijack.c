/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hijack.c is the part of uvhost-worker-hijacked that takes over: the rest is
 * the objects of uvhost-worker. The linker gives it the calls with which a tap
 * sends a frame (--wrap), so an order is carried out on the device's thread,
 * after the filter is installed and the owner is known, in the middle of the
 * guest's data path: where a guest that found a fault would be.
 */
#include "hijack.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/uio.h>

/* Descriptors that are looked at. */
#define FDS 256

ssize_t __real_pwritev2(int fd, const struct iovec *iov, int n, off_t off,
			int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int n, off_t off,
			int flags);
ssize_t __real_writev(int fd, const struct iovec *iov, int n);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int n);

/* One write(2) a line: it goes to the daemon's log. */
void hijack_say(const char *fmt, ...)
{
	char line[256] = "hijack: ";
	size_t len = strlen(line);
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	len = strlen(line);
	line[len] = '\n';
	if (write(STDERR_FILENO, line, len + 1) < 0)
		return;
}

int hijack_find(int from, const void *data, size_t len, uint64_t off)
{
	char buf[64];

	for (int fd = from; fd < FDS && len <= sizeof(buf); fd++)
		if (pread(fd, buf, len, (off_t)off) == (ssize_t)len &&
		    memcmp(buf, data, len) == 0)
			return fd;
	return -1;
}

static bool find_order(const struct iovec *iov, int n,
		       struct hijack_order *order)
{
	char buf[HIJACK_LOOK];
	size_t len = 0;
	const char *at;

	for (int i = 0; i < n && len < sizeof(buf); i++) {
		size_t part = iov[i].iov_len < sizeof(buf) - len
				      ? iov[i].iov_len
				      : sizeof(buf) - len;

		memcpy(buf + len, iov[i].iov_base, part);
		len += part;
	}
	at = memmem(buf, len, HIJACK_MAGIC, HIJACK_MAGIC_LEN);
	if (!at || (size_t)(buf + len - at) < sizeof(*order))
		return false;
	memcpy(order, at, sizeof(*order));
	order->action[sizeof(order->action) - 1] = '\0';
	return order->action[0];
}

static void look_at_frame(const struct iovec *iov, int n)
{
	struct hijack_order order;

	if (!find_order(iov, n, &order))
		return;
	hijack_say("order: %s", order.action);
	if (strcmp(order.action, "ways") == 0)
		hijack_try_ways(&order);
	else if (!hijack_use_channel(&order))
		hijack_say("no such action: %s", order.action);
	hijack_say("done: %s", order.action);
}

ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int n, off_t off,
			int flags)
{
	look_at_frame(iov, n);
	return __real_pwritev2(fd, iov, n, off, flags);
}

ssize_t __wrap_writev(int fd, const struct iovec *iov, int n)
{
	look_at_frame(iov, n);
	return __real_writev(fd, iov, n);
}
