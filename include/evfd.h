/* SPDX-License-Identifier: BSD-3-Clause */
/* Eventfds as wake-up calls: raised and taken back, never waited for. */
#ifndef EVFD_H
#define EVFD_H

#include <stdint.h>
#include <unistd.h>

/**
 * evfd_signal() - add 1 to an eventfd
 * @fd: non-blocking, or one whose counter its readers keep low
 *
 * A counter that is full has been raised already, so no failure matters.
 */
static inline void evfd_signal(int fd)
{
	const uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

/**
 * evfd_drain() - take a non-blocking eventfd back to 0
 *
 * Return: what its counter was (1 with EFD_SEMAPHORE); 0: nobody raised it.
 */
static inline uint64_t evfd_drain(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

#endif
