/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A bag holds descriptors beyond the life of the process: they lie in a message
 * that waits in a socket pair, and both ends of the pair are in the store. So
 * two places of the store hold any number of descriptors, which change
 * together.
 *
 * The messages are numbered. To change the contents, bag_fill() adds a message,
 * the new number is written to where it outlives the process (record.h), and
 * bag_trim() takes the old message away. Of a process that dies in between, the
 * successor finds two messages, and the number says which one counts.
 */
#ifndef BAG_H
#define BAG_H

#include <stdint.h>

/** BAG_FDS_MAX - descriptors in a bag */
#define BAG_FDS_MAX 64

/**
 * struct bag - @in: where messages are sent; @out: where they wait
 * @messages: how many wait
 */
struct bag {
	int in, out;
	unsigned int messages;
};

/** bag_open() - an empty bag; 0 or -errno */
int bag_open(struct bag *b);

/** bag_close() - the store keeps its own ends */
void bag_close(struct bag *b);

/**
 * bag_fill() - add a message with @n descriptors, 1...BAG_FDS_MAX
 * @number: of the message
 *
 * Waits while too many are in flight (fdsend.h).
 * Return: 0 or -errno (-ETOOMANYREFS: still too many).
 */
int bag_fill(struct bag *b, uint64_t number, const int *fds, unsigned int n);

/** bag_trim() - drop all messages but the last one */
void bag_trim(struct bag *b);

/** bag_empty() - drop all messages: the descriptors are closed at once */
void bag_empty(struct bag *b);

/**
 * bag_adopt() - take over the bag of a process before this one
 * @ends: the two descriptors from the store, in any order; the bag's on
 *        success, the caller's on failure
 *
 * Return: 0; -ENOENT (no message waits in either).
 */
int bag_adopt(struct bag *b, const int ends[2]);

/**
 * bag_peek() - copies of the descriptors of a message; the bag stays as it is
 * @number: of the message; BAG_ANY: the first one
 * @fds:    room for BAG_FDS_MAX; the caller's to close
 *
 * Return: how many; -ENOENT (there is no such message); -errno.
 */
int bag_peek(const struct bag *b, uint64_t number, int *fds);

/** BAG_ANY - no message has this number */
#define BAG_ANY UINT64_MAX

#endif
