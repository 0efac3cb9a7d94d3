/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A bag keeps descriptors open after the process has ended. They are in a
 * message that waits in a socket pair, and both ends of the pair are in the
 * descriptor store. So a set of descriptors of any size takes two places of the
 * store, and is replaced as a whole.
 *
 * The messages are numbered. To replace the set, bag_fill() adds a message, the
 * new number is written to memory that outlives the process (record.h), and
 * bag_trim() removes the old message. If the process dies in between, the next
 * process finds two messages; the number tells it which one is valid.
 */
#ifndef BAG_H
#define BAG_H

#include <stdint.h>

/** BAG_FDS_MAX - descriptors in a bag */
#define BAG_FDS_MAX 64

/**
 * struct bag
 * @in:  end of the socket pair to which messages are sent
 * @out: end at which they wait
 * @messages: number of messages that wait
 */
struct bag {
	int in, out;
	unsigned int messages;
};

/** bag_open() - make an empty bag; 0 or -errno */
int bag_open(struct bag *b);

/** bag_close() - close both ends; the store keeps its copies of them */
void bag_close(struct bag *b);

/**
 * bag_fill() - add a message with @n descriptors, 1...BAG_FDS_MAX
 * @number: of the message
 *
 * Waits while too many descriptors are in flight (fdsend.h).
 * Return: 0 or -errno (-ETOOMANYREFS: still too many).
 */
int bag_fill(struct bag *b, uint64_t number, const int *fds, unsigned int n);

/** bag_trim() - drop all messages but the last one */
void bag_trim(struct bag *b);

/** bag_empty() - drop all messages; the kernel closes their descriptors */
void bag_empty(struct bag *b);

/**
 * bag_adopt() - take over the bag of an earlier process
 * @ends: the two descriptors from the store, in any order; the bag owns them
 *        on success
 *
 * Return: 0; -ENOENT (no message waits at either end).
 */
int bag_adopt(struct bag *b, const int ends[2]);

/**
 * bag_peek() - get copies of the descriptors of a message, which stays
 * @number: of the message; BAG_ANY: the first one
 * @fds:    space for BAG_FDS_MAX; the caller closes them
 *
 * Return: number of descriptors; -ENOENT (no such message); -errno.
 */
int bag_peek(const struct bag *b, uint64_t number, int *fds);

/** BAG_ANY - no message has this number */
#define BAG_ANY UINT64_MAX

#endif
