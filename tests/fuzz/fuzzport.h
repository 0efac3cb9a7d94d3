/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port that is all memory, for fuzz targets: netport.h again, linked in the
 * place of net/port/netport.c. Any descriptor is a backend.
 */
#ifndef FUZZPORT_H
#define FUZZPORT_H

#include "netport.h"

#define FUZZPORT_QUEUE 64

/**
 * struct fuzzport_wire - what all ports of the program are connected to
 * @frames:  lengths of frames on their way to the device, @n of them
 * @refuse:  so many of the next frames sent are refused
 * @block:   so many of the next calls of send take nothing
 * @most:    most frames of one send; 0: no limit
 * @sent:    frames sent, @sent_bytes in all
 * @digest:  of every frame sent, in order
 */
struct fuzzport_wire {
	uint32_t frames[FUZZPORT_QUEUE];
	unsigned int first, n;
	unsigned int refuse, block, most;
	uint64_t sent, sent_bytes;
	uint64_t digest;
};

extern struct fuzzport_wire fuzzport;

/** fuzzport_digest() - a hash of @data, going on from @digest */
uint64_t fuzzport_digest(uint64_t digest, const void *data, size_t len);

#endif
