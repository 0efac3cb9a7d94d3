/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * record.c serialises what one open file of the device needs to go on in
 * another process, into memory that outlives this one: its owner, the last
 * call of each kind that set something (in the kernel's format), and the last
 * answer.
 *
 * The memory has two halves. record_commit() writes the half that is not in
 * use; its magic number, stored last, puts it into force, if the checksum
 * fits. So there is a complete record at each moment, and what a call has
 * changed comes into force together with its answer: a process that takes over
 * either runs the call or gives the answer.
 */
#ifndef RECORD_H
#define RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** RECORD_CALLS_MAX - kinds of calls: those of the device, and of each ring */
#define RECORD_CALLS_MAX 32
/** RECORD_ARG_MAX - bytes of one call's argument: a memory table, at most 4095
 * regions */
#define RECORD_ARG_MAX (8 + (size_t)4095 * 32)
/** RECORD_ANSWER_MAX - bytes of an answer that is kept */
#define RECORD_ANSWER_MAX 128
/** RECORD_HALF - bytes of one half; two are needed */
#define RECORD_HALF ((size_t)192 * 1024)
/** RECORD_SIZE - bytes of both */
#define RECORD_SIZE (2 * RECORD_HALF)

/** RECORD_NO_INDEX - of a call that is not one of a ring */
#define RECORD_NO_INDEX UINT32_MAX

/**
 * struct record_call - the last successful call of a kind
 * @cmd:   VHOST_*
 * @index: of the ring, or RECORD_NO_INDEX
 * @fd:    the descriptor that came with it, owned; -1: none
 * @len:   bytes of @arg
 */
struct record_call {
	uint32_t cmd;
	uint32_t index;
	int fd;
	uint32_t len;
	uint8_t *arg;
};

/**
 * struct record_owner - owner, user and worker process
 * @pid: 0: no owner
 * @waiter, @program: as in struct peer
 * @user: the user that the session counts for, also without an owner
 * @worker: process that has the device; 0: none
 */
struct record_owner {
	int32_t pid;
	int32_t waiter;
	uint32_t user;
	int32_t worker;
	uint64_t program;
};

/**
 * struct record_answer - the last answer
 * @unique: of the request (struct fuse_in_header)
 * @error:  0 or -errno
 */
struct record_answer {
	uint64_t unique;
	int32_t error;
	uint32_t len;
	uint8_t data[RECORD_ANSWER_MAX];
};

/**
 * struct record - one open file
 * @serial: of the last record_commit()
 * @bag:    number of the message in the bag that has the descriptors
 * @flags:  RECORD_*
 */
struct record {
	uint64_t serial;
	uint64_t bag;
	uint32_t flags;
	struct record_owner owner;
	struct record_answer answer;
	unsigned int ncalls;
	struct record_call call[RECORD_CALLS_MAX];
};

/** RECORD_OPEN - the open was carried out; else no process has the file */
#define RECORD_OPEN 1u
/** RECORD_WAS_RESET - the device has a memory table, an empty one */
#define RECORD_WAS_RESET 2u
/** RECORD_COPIED - the device got the owner's memory file, or was about to */
#define RECORD_COPIED 4u
/** RECORD_RING - a frame ring leads from the worker process to a network */
#define RECORD_RING 8u

/** record_init() - nothing was set */
void record_init(struct record *r);

/** record_clear() - no owner and no calls; closes and frees what it has. The
 * rest stays */
void record_clear(struct record *r);

/**
 * record_set() - this is the last call of its kind now
 * @arg: copied
 * @fd:  consumed on success; -1: none
 *
 * Return: 0; -ENOMEM; -E2BIG (too many kinds, or @len above RECORD_ARG_MAX).
 */
int record_set(struct record *r, uint32_t cmd, uint32_t index, const void *arg,
	       size_t len, int fd);

/** record_drop() - forget the call of this kind, if there is one */
void record_drop(struct record *r, uint32_t cmd, uint32_t index);

/** record_find() - the call of this kind, or NULL */
const struct record_call *record_find(const struct record *r, uint32_t cmd,
				      uint32_t index);

/**
 * record_fds() - its descriptors, in the order in which record_load() numbers
 * them
 * @fds: room for RECORD_CALLS_MAX
 *
 * Return: how many.
 */
unsigned int record_fds(const struct record *r, int *fds);

/**
 * record_commit() - put it into force
 * @mem: RECORD_SIZE bytes, aligned to 8
 *
 * Counts @r->serial up. Return: 0; -E2BIG: it does not fit, and what was in
 * force stays.
 */
int record_commit(struct record *r, void *mem);

/**
 * record_load() - the record in force
 * @r:   record_init()ed; fd of each call is its place among the descriptors
 *       (from 0 on), which record_adopt_fds() replaces
 * @mem: RECORD_SIZE bytes, aligned to 8; anything may stand there
 *
 * Return: 0; -ENODATA (neither half is a record of this version); -ENOMEM.
 * On failure @r is as it was.
 */
int record_load(struct record *r, const void *mem);

/**
 * record_adopt_fds() - give a loaded record its descriptors
 * @fds: @n, as many as record_load() numbered; consumed on success
 *
 * Return: 0; -EBADMSG: their number is wrong.
 */
int record_adopt_fds(struct record *r, const int *fds, unsigned int n);

#endif
