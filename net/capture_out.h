/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a capture's bytes go: a file, a row of files, a FIFO, or stdout. Used
 * by one thread, which may be held up by it; a reader that stalls can be given
 * up by another thread.
 */
#ifndef CAPTURE_OUT_H
#define CAPTURE_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct capture_out - private to capture_out.c, but for @size
 * @fd:     -1: closed
 * @dir:    of the row of files; else -1
 * @base:   their name without number; ours
 * @files:  keep so many; 0: all
 * @number: of the present one
 * @size:   bytes in it, of those written here
 * @stop:   eventfd: no longer waits for a reader
 * @waits:  a write could be held up by a reader: poll first
 * @chunk:  never write more at once
 */
struct capture_out {
	int fd, dir;
	char *base;
	unsigned int files;
	uint64_t number, size;
	int stop;
	bool waits, socket;
	size_t chunk;
};

/**
 * capture_out_open() - "-" is stdout, else it is made or emptied
 * @row:   begin a row of files, @path.1, @path.2...
 * @files: keep so many of them; 0: all
 *
 * Files later in the row are made in the same folder, whatever becomes of its
 * path. Return: 0 or -errno; -ENXIO: a FIFO that nobody reads; -EINVAL: a row
 * of what is no file.
 */
int capture_out_open(struct capture_out *o, const char *path, bool row,
		     unsigned int files);
void capture_out_close(struct capture_out *o);

/**
 * capture_out_write() - write whole blocks (of pcapng)
 *
 * Return: 0, or -errno; what is in a file then still ends with a whole block.
 * -ECANCELED: a reader that stalls was given up.
 */
int capture_out_write(struct capture_out *o, const uint8_t *blocks, size_t len);

/** capture_out_next() - close this file of the row, begin the next; 0 or
 * -errno */
int capture_out_next(struct capture_out *o);

/** capture_out_give_up() - any thread: wait a last second for a reader, if
 * there is one that stalls, then no more */
void capture_out_give_up(struct capture_out *o);

#endif
