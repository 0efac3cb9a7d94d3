/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The descriptor of a CUSE channel, and the messages that are read from it:
 * /dev/cuse, or a SEQPACKET socket on which a program plays the kernel. Each
 * message is one read(2); a reply is one writev(2), which libfuse does.
 */
#ifndef CHANNEL_H
#define CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/** CHANNEL_DATA_MAX - bytes that a WRITE or IOCTL message carries, at most:
 * the kernel splits a write(2) at the max_write that it was told, and fetches
 * no more for an ioctl (IOCTL_DATA_MAX) */
#define CHANNEL_DATA_MAX ((size_t)32 * 4096)

/** CHANNEL_MSG_MAX - bytes of a message: its data, and its headers, for which
 * the kernel wants 80 bytes beyond max_write */
#define CHANNEL_MSG_MAX (CHANNEL_DATA_MAX + 4096)

/** CHANNEL_SEND_WAIT_S - how long a reply waits for room in a socket */
#define CHANNEL_SEND_WAIT_S 5

/**
 * channel_open() - open /dev/cuse, or prepare a descriptor that was handed over
 * @fd:   /dev/cuse or a SEQPACKET socket; -1 opens /dev/cuse
 * @real: it is /dev/cuse
 *
 * Reads of the descriptor do not wait (channel_read); writes to a socket wait
 * at most CHANNEL_SEND_WAIT_S, those to /dev/cuse never do. Return: the
 * descriptor (@fd, or a new one of the caller's); -errno, logged with the cure.
 */
int channel_open(int fd, bool *real);

/**
 * channel_read() - read one message
 * @real: as channel_open() said
 * @size: of @buf, CHANNEL_MSG_MAX or more
 *
 * Return: its bytes; -EAGAIN (there is none); 0 (the other side has closed the
 * channel); -errno (the channel cannot be used any more).
 */
ssize_t channel_read(int fd, bool real, void *buf, size_t size);

/**
 * channel_message_check() - may libfuse have this message?
 * @buf: aligned as by malloc(3)
 *
 * libfuse trusts the sizes inside a message, and parses the arguments of some
 * operations before it looks whether there is a function for them. So sizes
 * are compared with @len, and an operation that CUSE does not have becomes one
 * that libfuse does not know; it will be answered with ENOSYS.
 *
 * Return: false if libfuse would read past the end.
 */
bool channel_message_check(void *buf, size_t len);

#endif
