/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bareguest.c has the buffers of a guest for the sides that are limits: of the
 * same layout as those of ringfeed.c, but without a ring. The guest's memory is
 * a memfd of this process, or private memory of another process, which sleeps.
 */
#ifndef BAREGUEST_H
#define BAREGUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench.h"
#include "vmm.h"

/**
 * struct bareguest - @num buffers of @room bytes, each with a frame of @size
 * @copied: they are at @buffers of process @pid, which is reached through
 *          @mem_fd, its /proc/PID/mem; else they are our own
 */
struct bareguest {
	bool copied;
	unsigned int num, room, size;
	struct vmm_mem mem;
	uint8_t *buffers;
	unsigned int next; /* buffer */
	uint8_t *local;
	size_t local_at;
	pid_t pid;
	int mem_fd;
};

/** bareguest_open() - 0, or -errno with bench_why() called; @copied, @num,
 * @room and @size are set, all else is zero */
int bareguest_open(struct bench *b, struct bareguest *g);
/** bareguest_close() - a @g of zeroes is fine */
void bareguest_close(struct bareguest *g);

/** bareguest_buffer() - the next buffer, again and again from the first on; an
 * address in the guest's process */
uint8_t *bareguest_buffer(struct bareguest *g);

/** bareguest_local() - the next place for @bytes in our own memory, of 256 KiB
 * as in the daemon */
uint8_t *bareguest_local(struct bareguest *g, size_t bytes);

/** bareguest_read(), bareguest_write() - @copied: between the guest's process
 * and ours; false: errno says why not, 0: short */
bool bareguest_read(struct bareguest *g, uint8_t *to, const uint8_t *from,
		    size_t bytes);
bool bareguest_write(struct bareguest *g, uint8_t *to, const uint8_t *from,
		     size_t bytes);

#endif
