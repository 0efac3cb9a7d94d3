/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signals and drains eventfds. No function here waits for one.
 *
 * O_NONBLOCK is a flag of the open file, which a peer shares with us: we must
 * not set it, and the peer may clear it at any time. The eventfds of peers are
 * therefore signalled by a function of their own, evfd_signal_peer().
 */
#ifndef EVFD_H
#define EVFD_H

#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <unistd.h>

/**
 * evfd_signal() - add 1 to an eventfd of our own
 * @fd: non-blocking, not shared with a peer
 *
 * write() fails only if the counter is full; its reader is awake then, so the
 * error is ignored.
 */
static inline void evfd_signal(int fd)
{
	const uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

/* Adds 1 with each write: POLLOUT only promises that 1 fits. */
static inline void evfd_signal_blocking(int fd, uint64_t n)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	while (n-- && poll(&p, 1, 0) > 0 && p.revents & POLLOUT)
		evfd_signal(fd);
}

/**
 * evfd_signal_peer() - add @n to an eventfd that a peer holds as well
 * @fd: known to be an eventfd; in blocking mode or not
 *
 * Like the kernel's eventfd_signal(), it does not wait while the counter is
 * full: what does not fit is lost, and the reader is awake already. A peer that
 * fills the counter between poll(2) and write(2) can still block the thread;
 * worker_interrupt() ends that.
 *
 * Reading the flag costs 0.1 us a signal, the write 0.2 us. poll(2) before each
 * write would cost 0.17 us. io_submit(2) with IOCB_FLAG_RESFD has no such gap,
 * but costs 0.26 us, and a context out of fs.aio-max-nr for each thread.
 */
static inline void evfd_signal_peer(int fd, uint64_t n)
{
	if (!(fcntl(fd, F_GETFL) & O_NONBLOCK))
		evfd_signal_blocking(fd, n);
	else if (write(fd, &n, sizeof(n)) < 0)
		return;
}

/** evfd_fill() - set an eventfd of our own from 0 to its highest counter: it
 * does not poll as writable until evfd_drain() */
static inline void evfd_fill(int fd)
{
	const uint64_t full = UINT64_MAX - 1;

	if (write(fd, &full, sizeof(full)) < 0)
		return; /* not possible from 0 */
}

/**
 * evfd_drain() - reset a non-blocking eventfd of our own to 0
 *
 * Return: its counter before (1 with EFD_SEMAPHORE); 0: it was not signalled.
 */
static inline uint64_t evfd_drain(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

#endif
