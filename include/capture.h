/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A capture records the frames that pass a port, as pcapng. Its functions never
 * block: frames go into a bounded buffer, those that do not fit are counted
 * (and the count is in the file), and a thread writes the buffer about 50 ms
 * later.
 *
 * While writes fail (the disk is full, the next file of a series cannot be
 * made) frames are counted as dropped; the capture continues when they succeed,
 * with a line in the log each time. It ends when the reader of a pipe is gone;
 * calls are still legal then, and do nothing.
 */
#ifndef CAPTURE_H
#define CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "netport.h"

struct capture;

/** CAPTURE_INTERFACES - most interfaces of a capture */
#define CAPTURE_INTERFACES 1024

/**
 * struct capture_mark - how far a capture is, in memory that outlives its
 * process; all 0 at first
 * @end:  offset behind the last whole block
 * @used: 1: a process has written
 * @torn: 1: a part of a block may follow
 */
struct capture_mark {
	uint64_t end;
	uint32_t used;
	uint32_t torn;
};

/**
 * struct capture_given - a file that another process has opened
 * @fd:   of capture_open(); the capture's on success
 * @mark: in shared memory: the capture goes on behind the last whole block of
 *        the process before, in a new section. Its contents are trusted no
 *        more than @fd's
 */
struct capture_given {
	int fd;
	struct capture_mark *mark;
};

/**
 * struct capture_config - copied
 * @path:    file. An existing file must belong to the process's user and is
 *           emptied; a new one gets mode 0600. Symbolic links are refused, also
 *           on the way to the file where other users can write. A FIFO must
 *           have a reader already; "-"
 *           and "/dev/stdout" are stdout, "/dev/fd/N" a descriptor that is open
 * @snaplen: bytes kept of a frame, header excluded, 14...NETPORT_FRAME_MAX
 * @vnet_hdr: record virtio_net_hdr too, as a comment
 * @file_bytes: most bytes of a file, after which the next is begun (path.1,
 *           path.2, ..., each of them complete); a file has at least one frame.
 *           0: there is one file, path
 * @files:   number of files that are kept, the last ones; 0: all
 * @given:   the file is there; @path is its name, for messages. Not with
 *           @file_bytes. NULL: @path is opened
 *
 * Later files are made in the folder that was opened at the start, with the
 * privileges that the process then has.
 */
struct capture_config {
	const char *path;
	unsigned int snaplen;
	bool vnet_hdr;
	uint64_t file_bytes;
	unsigned int files;
	const struct capture_given *given;
};

/**
 * capture_new() - open the file, and start the thread
 *
 * Return: 0; -ENXIO (a FIFO without a reader); -ELOOP (a symbolic link);
 * -EPERM (of another user); -EMLINK (a file with several names); -EINVAL
 * (@snaplen; @file_bytes with what is no regular file; neither file, FIFO nor
 * character device); -errno of open(2); -ENOMEM; -EMFILE; -EAGAIN (threads).
 */
int capture_new(const struct capture_config *config, struct capture **out);

/**
 * capture_open() - open @path for a capture in another process
 *
 * Return: the descriptor, the caller's; -errno as capture_new(); -EINVAL
 * (@file_bytes).
 */
int capture_open(const struct capture_config *config);

/** capture_strerror() - text for an error of capture_new(); static */
const char *capture_strerror(int error);

/**
 * capture_free() - write the buffer, and close; NULL is harmless
 *
 * No other thread may use it. A reader that does not read is waited for at most
 * a second.
 */
void capture_free(struct capture *c);

/**
 * capture_add() - an interface called @name, cut at 63 bytes; any thread
 *
 * The same name is the same interface, so ports may be made again. Return: its
 * number, or -ENOSPC.
 */
int capture_add(struct capture *c, const char *name);

enum capture_dir {
	CAPTURE_UNKNOWN,
	CAPTURE_IN,  /* received from the port */
	CAPTURE_OUT, /* sent to the port */
};

/**
 * capture_frames() - record frames; any thread, never blocks
 * @interface: of capture_add()
 * @hdr_len: bytes of virtio_net_hdr that each starts with: 0, 10 or 12
 * @reason:  NULL, or why they were dropped; a literal
 *
 * They may be in a guest's memory: they are copied before a lock is taken. The
 * time stamps of an interface never go back; those of a batch are the same.
 */
void capture_frames(struct capture *c, unsigned int interface,
		    enum capture_dir dir, const struct frame *frames,
		    unsigned int n, unsigned int hdr_len, const char *reason);

/**
 * struct capture_counters - of one interface, since it was added
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
 * capture_wrap() - a port that records the frames that pass @port
 * @out: owns @port on success, and closes it
 *
 * Sent frames are recorded after @port accepted them, as they are then. The
 * port has the name of @port; @c must outlive it. Return: 0 or -ENOMEM.
 */
int capture_wrap(struct capture *c, unsigned int interface,
		 struct netport *port, struct netport **out);

#endif
