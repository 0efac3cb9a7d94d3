/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The output of a capture: a file, a series of files, a FIFO, or stdout. One
 * thread uses it, and may block in it; another thread can end the wait for a
 * reader.
 */
#ifndef CAPTURE_OUT_H
#define CAPTURE_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "capture.h"

/**
 * struct capture_out - private to capture_out.c, but for @size
 * @fd:     -1: closed
 * @dir:    the folder of the files; -1: stdout
 * @base:   their name, of a series without number; allocated
 * @files:  number of files that are kept; 0: all
 * @number: of the current file
 * @start:  offset of the first byte written; 0, except for a file at stdout
 * @size:   bytes of whole blocks written to it
 * @torn:   a part of a block follows them
 * @stop:   eventfd: ends the wait for a reader
 * @waits:  a write may block: poll first
 * @mark:   says the same as @start, @size and @torn to the next process; NULL:
 *          there is none
 * @chunk:  most bytes of one write
 */
struct capture_out {
	int fd, dir;
	char *base;
	unsigned int files;
	uint64_t number, start, size;
	int stop;
	bool waits, socket, torn;
	size_t chunk;
	struct capture_mark *mark;
};

/**
 * capture_out_open() - make or empty a file, as capture_file.h says
 * @path:  "-", "/dev/stdout" and "/dev/fd/N" are descriptors that are open
 * @row:   begin a series of files, @path.1, @path.2...
 * @files: number of files that are kept; 0: all
 *
 * Later files of the series are made in the same folder, even if it is renamed.
 * Return: 0; -errno of capture_folder() and capture_create(); -EINVAL: a series
 * that is not of regular files.
 */
int capture_out_open(struct capture_out *o, const char *path, bool row,
		     unsigned int files);
void capture_out_close(struct capture_out *o);

/**
 * capture_out_adopt() - go on with a file that another process has opened
 * @fd:   the output's on success
 * @mark: struct capture_given
 *
 * If the process before was ended in a write, the part of a block that it left
 * is removed before the next write. Return: 0; -errno (@fd).
 */
int capture_out_adopt(struct capture_out *o, int fd, struct capture_mark *mark);

/**
 * capture_out_write() - write whole blocks (of pcapng)
 * @written: bytes of whole blocks that were written; also on failure
 *
 * May be called again, with the rest, after it failed: a part of a block is
 * removed first. Return: 0; -ECANCELED: the wait for a reader was ended;
 * -EPIPE: the reader is gone, or has got a part of a block; -errno, after which
 * the call may be repeated.
 */
int capture_out_write(struct capture_out *o, const uint8_t *blocks, size_t len,
		      size_t *written);

/** capture_out_next() - close this file of the series, begin the next; 0; or
 * -errno of capture_create(), and nothing has changed */
int capture_out_next(struct capture_out *o);

/** capture_out_give_up() - wait for a reader for at most another second; any
 * thread */
void capture_out_give_up(struct capture_out *o);

#endif
