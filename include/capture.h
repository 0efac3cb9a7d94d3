/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Capture: frames as they pass a port, written as pcapng. Whoever calls here is
 * never held up: frames go into a bounded buffer, what does not fit is counted
 * (and told in the file), and a thread writes, some 50 ms behind.
 *
 * While nothing can be written (the disk is full, the next file of a row cannot
 * be made) frames are counted as dropped; the capture goes on once it can, with
 * a line in the log each time. It ends when the reader of a pipe is gone; calls
 * are still legal then, and do nothing.
 */
#ifndef CAPTURE_H
#define CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "netport.h"

struct capture;

/** CAPTURE_INTERFACES - that a capture can have */
#define CAPTURE_INTERFACES 1024

/**
 * struct capture_config - copied
 * @path:    file. An existing file must belong to the process's user and is
 *           emptied; a new one gets mode 0600. Symbolic links are refused, also
 *           on the way to the file where other users can write. A FIFO must
 *           have a reader already; "-"
 *           and "/dev/stdout" are stdout, "/dev/fd/N" a descriptor that is open
 * @snaplen: bytes kept of a frame, header excluded, 14...NETPORT_FRAME_MAX
 * @vnet_hdr: record virtio_net_hdr too, as a comment
 * @file_bytes: bytes of a file, at most, then the next is begun (path.1,
 *           path.2, ..., each complete in itself); but a file has one frame at
 *           least. 0: there is one file, and it is called path
 * @files:   keep so many of them, the last ones; 0: all
 *
 * Later files are made in the folder that it was at the start, with the rights
 * of the process then.
 */
struct capture_config {
	const char *path;
	unsigned int snaplen;
	bool vnet_hdr;
	uint64_t file_bytes;
	unsigned int files;
};

/**
 * capture_new() - open the file, start the thread
 *
 * Return: 0; -ENXIO (a FIFO that nobody reads); -ELOOP (a symbolic link);
 * -EPERM (of another user); -EMLINK (a file with several names); -EINVAL
 * (@snaplen; @file_bytes with what is no regular file; neither file, FIFO nor
 * character device); -errno of open(2); -ENOMEM; -EMFILE; -EAGAIN (threads).
 */
int capture_new(const struct capture_config *config, struct capture **out);

/** capture_strerror() - for people, of an error of capture_new(); static */
const char *capture_strerror(int error);

/**
 * capture_free() - write what is there, and close; NULL is harmless
 *
 * Nobody else may be using it. A reader that has stalled is waited for at most
 * a second.
 */
void capture_free(struct capture *c);

/**
 * capture_add() - an interface called @name, cut at 63 bytes; any thread
 *
 * The same name is the same interface, so ports may come and go. Return: its
 * number, or -ENOSPC.
 */
int capture_add(struct capture *c, const char *name);

enum capture_dir {
	CAPTURE_UNKNOWN,
	CAPTURE_IN,  /* from the port: what its guest or line sent */
	CAPTURE_OUT, /* to the port */
};

/**
 * capture_frames() - record frames; any thread, never blocks
 * @interface: of capture_add()
 * @hdr_len: bytes of virtio_net_hdr that each starts with: 0, 10 or 12
 * @reason:  NULL, or why they were dropped; a literal
 *
 * They may lie in a guest's memory: they are copied before a lock is taken. Of
 * an interface, the time stamps never go back, those of a batch are the same.
 */
void capture_frames(struct capture *c, unsigned int interface,
		    enum capture_dir dir, const struct frame *frames,
		    unsigned int n, unsigned int hdr_len, const char *reason);

/**
 * struct capture_counters - of one interface, since it is there
 * @seen:    frames given to capture_frames()
 * @dropped: of these, not recorded: the buffer was full
 */
struct capture_counters {
	uint64_t seen, dropped;
};
/** capture_read_counters() - any thread */
void capture_read_counters(struct capture *c, unsigned int interface,
			   struct capture_counters *out);

/**
 * capture_wrap() - a port that records what passes @port
 * @out: uses up @port on success: closes it with itself
 *
 * Sent frames are recorded when @port has taken them, as they are then. The
 * port has the name of @port; @c must outlive it. Return: 0 or -ENOMEM.
 */
int capture_wrap(struct capture *c, unsigned int interface,
		 struct netport *port, struct netport **out);

#endif
