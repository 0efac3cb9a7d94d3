/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel.c opens a CUSE channel, reads messages from it and checks them. A
 * channel is /dev/cuse, or a SEQPACKET socket whose other end is a program that
 * does what the kernel does (tests). Each message is one read(2). libfuse
 * writes each reply with one writev(2).
 */
#ifndef CHANNEL_H
#define CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/** CHANNEL_DATA_MAX - most bytes of data in a WRITE or IOCTL message: the
 * kernel splits a write(2) at max_write, which on_init() sets, and fetches at
 * most IOCTL_DATA_MAX for an ioctl */
#define CHANNEL_DATA_MAX ((size_t)32 * 4096)

/** CHANNEL_MSG_MAX - most bytes of a message: data and headers. The kernel
 * requires 80 bytes beyond max_write */
#define CHANNEL_MSG_MAX (CHANNEL_DATA_MAX + 4096)

/** CHANNEL_SEND_WAIT_S - how long a reply waits for space in a socket, s */
#define CHANNEL_SEND_WAIT_S 5

/**
 * channel_open() - open /dev/cuse, or prepare a descriptor that was passed
 * @fd:   /dev/cuse or a SEQPACKET socket; -1 opens /dev/cuse
 * @real: it is /dev/cuse
 *
 * channel_read() does not wait. A write to a socket waits at most
 * CHANNEL_SEND_WAIT_S; a write to /dev/cuse never waits. Return: the descriptor
 * (@fd, or a new one that the caller owns); -errno, logged with a remedy.
 */
int channel_open(int fd, bool *real);

/**
 * channel_read() - read one message
 * @real: from channel_open()
 * @size: of @buf, CHANNEL_MSG_MAX or more
 *
 * Return: length of the message; -EAGAIN (none waits); 0 (the other side has
 * closed the channel); -errno (the channel cannot be used any more).
 */
ssize_t channel_read(int fd, bool real, void *buf, size_t size);

/**
 * channel_message_check() - can libfuse process this message?
 * @buf: aligned as by malloc(3)
 *
 * libfuse trusts the sizes inside a message, and parses the arguments of some
 * operations before it looks for a function that handles them. So sizes are
 * compared with @len, and the number of an operation that CUSE does not have is
 * replaced by one that libfuse does not know and answers with ENOSYS.
 *
 * Return: false if libfuse would read past the end.
 */
bool channel_message_check(void *buf, size_t len);

#endif
