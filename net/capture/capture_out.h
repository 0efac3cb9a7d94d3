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
 * @dir:    the folder of the files; -1: stdout
 * @base:   their name, of a row without number; ours
 * @files:  keep so many; 0: all
 * @number: of the present one
 * @start:  where in it we began: 0, but for a file of stdout
 * @size:   bytes in it, of whole blocks written here
 * @torn:   there is a part of a block behind those
 * @stop:   eventfd: no longer waits for a reader
 * @waits:  a write could be held up by a reader: poll first
 * @chunk:  never write more at once
 */
struct capture_out {
	int fd, dir;
	char *base;
	unsigned int files;
	uint64_t number, start, size;
	int stop;
	bool waits, socket, torn;
	size_t chunk;
};

/**
 * capture_out_open() - make or empty a file, as capture_file.h says
 * @path:  "-", "/dev/stdout" and "/dev/fd/N" are descriptors that are open
 * @row:   begin a row of files, @path.1, @path.2...
 * @files: keep so many of them; 0: all
 *
 * Files later in the row are made in the same folder, whatever becomes of its
 * path. Return: 0; -errno of capture_folder() and capture_create(); -EINVAL: a
 * row of what is no file.
 */
int capture_out_open(struct capture_out *o, const char *path, bool row,
		     unsigned int files);
void capture_out_close(struct capture_out *o);

/**
 * capture_out_write() - write whole blocks (of pcapng)
 * @written: so many bytes of @blocks were written, and are whole blocks; also
 *           on failure
 *
 * May be called again, with the rest, after it failed: what was written of one
 * more block is taken back first. Return: 0; -ECANCELED: a reader that stalls
 * was given up; -EPIPE: the reader is gone, or has got a part of a block;
 * -errno, which may be different another time.
 */
int capture_out_write(struct capture_out *o, const uint8_t *blocks, size_t len,
		      size_t *written);

/** capture_out_next() - close this file of the row, begin the next; 0; or
 * -errno of capture_create(), and nothing has changed */
int capture_out_next(struct capture_out *o);

/** capture_out_give_up() - any thread: wait a last second for a reader, if
 * there is one that stalls, then no more */
void capture_out_give_up(struct capture_out *o);

#endif
