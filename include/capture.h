/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Capture: frames as they pass a port, written as pcapng. Whoever calls here is
 * never held up: frames go into a bounded buffer, what does not fit is counted
 * (and told in the file), and a thread writes.
 */
#ifndef CAPTURE_H
#define CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "netport.h"

struct capture;

/**
 * struct capture_config - copied
 * @path:    file; "-" is stdout. A FIFO or pipe whose reader goes away ends the
 *           capture, not the daemon
 * @snaplen: bytes kept of a frame, header excluded, 14...NETPORT_FRAME_MAX
 * @vnet_hdr: record virtio_net_hdr too
 * @file_bytes: start a new file after so many (path.1, path.2, ...); 0: never
 * @files:   keep so many files; 0: all
 */
struct capture_config {
	const char *path;
	unsigned int snaplen;
	bool vnet_hdr;
	uint64_t file_bytes;
	unsigned int files;
};

/** capture_new() - 0; -errno of open(2); -ENOMEM; -EAGAIN (threads) */
int capture_new(const struct capture_config *config, struct capture **out);
/** capture_free() - write what is there, and close */
void capture_free(struct capture *c);

/** capture_add() - an interface called @name; its number, or -ENOSPC */
int capture_add(struct capture *c, const char *name);

enum capture_dir {
	CAPTURE_UNKNOWN,
	CAPTURE_IN,  /* from the port: what its guest or line sent */
	CAPTURE_OUT, /* to the port */
};

/**
 * capture_frames() - record frames; any thread, never blocks
 * @hdr_len: bytes of virtio_net_hdr that each starts with
 * @reason:  NULL, or why they were dropped; a literal
 *
 * They may lie in a guest's memory: they are copied before a lock is taken.
 */
void capture_frames(struct capture *c, unsigned int interface,
		    enum capture_dir dir, const struct frame *frames,
		    unsigned int n, unsigned int hdr_len, const char *reason);

/**
 * capture_wrap() - a port that records what passes @port
 * @out: uses up @port: closes it with itself
 *
 * Sent frames are recorded when @port has taken them. Return: 0 or -ENOMEM.
 */
int capture_wrap(struct capture *c, unsigned int interface,
		 struct netport *port, struct netport **out);

#endif
