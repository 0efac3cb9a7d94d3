/* SPDX-License-Identifier: BSD-3-Clause */
/* deaf_file.h makes a file that lies on a FUSE file system of ours, which does
 * not answer what one would wait for. */
#ifndef DEAF_FILE_H
#define DEAF_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * struct deaf_file - what the file system does
 * @size:   bytes of the file
 * @life_s: it ends by itself after so long, and all who wait for it go on
 * @reads:  NULL, or called in its process for each read, which is not answered
 * @no_flush: it does not answer a close(2) either, of any copy of a descriptor
 */
struct deaf_file {
	uint64_t size;
	unsigned int life_s;
	void (*reads)(uint64_t offset);
	bool no_flush;
};

/**
 * deaf_file_open() - a descriptor of the file
 * @server: process id of the file system
 *
 * Moves the calling process into a mount namespace of its own.
 * Return: the descriptor, O_RDWR; -errno: there is no FUSE, or no right to it.
 */
int deaf_file_open(const struct deaf_file *file, pid_t *server);

#endif
