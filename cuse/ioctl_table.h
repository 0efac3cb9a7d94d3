/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ioctl_table.h: the vhost-net ioctls as data, one row each, and what a row
 * alone decides about a call. The broker asks it what to find out about the
 * caller, and answers the first pass of a call from it; the handlers are in
 * ioctl.c.
 *
 * A character device in user space sees a call in passes. In the first, only
 * command and argument are known; the answer may be to come again with so many
 * bytes of the argument fetched and room for so many to be stored. Between two
 * passes the caller may have changed both its memory and the device's state,
 * hence a pass trusts nothing that an earlier one saw: each judges afresh all
 * that it is given.
 */
#ifndef IOCTL_TABLE_H
#define IOCTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/** IOCTL_DATA_MAX - bytes CUSE moves in one direction in one call */
#define IOCTL_DATA_MAX ((size_t)32 * 4096)

/**
 * struct ioctl_call - one pass of a call
 * @cmd: as the caller gave it
 * @arg: address in the caller
 * @in: @in_len bytes of its memory at @arg; no alignment is needed
 * @out: where to put @out_room bytes for its memory
 */
struct ioctl_call {
	uint32_t cmd;
	uint64_t arg;
	const void *in;
	size_t in_len;
	void *out;
	size_t out_room;
};

/**
 * struct ioctl_verdict - the outcome of a pass
 * @again: come again with @fetch bytes from the argument, and room for @store
 *         bytes that are to be stored at @store_at
 * @error: not @again: 0 or -errno, the call's result
 * @out_len: bytes written to the call's @out; 0 on error
 */
struct ioctl_verdict {
	bool again;
	size_t fetch;
	uint64_t store_at;
	size_t store;
	int error;
	size_t out_len;
};

/** When it is decided whether the caller may call at all */
enum ioctl_owner_rule {
	IOCTL_OWNER_FIRST,      /* before a byte of the argument is read */
	IOCTL_OWNER_AFTER_COPY, /* the argument is copied before */
	IOCTL_OWNER_ABSENT,     /* EBUSY once there is an owner */
	IOCTL_OWNER_ANYONE,
};

/** Flags of a row */
enum {
	IOCTL_FD = 1,      /* the last 4 bytes are a descriptor number */
	IOCTL_INDEX = 2,   /* the argument starts with a ring's index */
	IOCTL_STOPPED = 4, /* EBUSY while the ring has a backend */
	IOCTL_REFUSED = 8, /* ENOTTY, once all other rules are satisfied */
};

/**
 * struct ioctl_size - how much a call moves, once its head is known
 * @in:  bytes copied from the argument
 * @out: bytes copied to the caller, @out_offset behind the argument's address
 */
struct ioctl_size {
	size_t in;
	size_t out;
	size_t out_offset;
};

/**
 * struct ioctl_row - one ioctl
 * @head:  bytes of the argument judged before the rest of it is copied
 * @in:    bytes copied from the argument, fixed part
 * @out:   bytes copied to it, fixed part
 * @owner: enum ioctl_owner_rule
 * @flags: IOCTL_*
 * @measure: sets the variable size that the @head asks for, 0 or -errno; NULL:
 *         @in and @out are all
 * @since: Linux version
 * @note:  what is decided here; NULL: as the kernel
 */
struct ioctl_row {
	const char *name;
	uint32_t code;
	uint16_t head;
	uint16_t in;
	uint16_t out;
	uint8_t owner;
	uint8_t flags;
	int (*measure)(const void *head, unsigned int max_mem_regions,
		       struct ioctl_size *size);
	const char *since;
	const char *note;
};

/** ioctl_row_of() - the row of a command; that of an unknown command is the one
 * of a ring that is refused, as the kernel asks its ring code last */
const struct ioctl_row *ioctl_row_of(uint32_t cmd);

/** ioctl_row_at() - row @i of the table, from 0 on; NULL behind the last */
const struct ioctl_row *ioctl_row_at(size_t i);

/** ioctl_name() - for log lines: "VHOST_SET_OWNER", or NULL if unknown */
const char *ioctl_name(uint32_t cmd);

/** ioctl_print_table() - every row, as a table in Markdown */
void ioctl_print_table(FILE *out);

/**
 * ioctl_owner_check() - 0; -EPERM; -EBUSY: the row's owner rule
 * @has_owner: has the device an owner?
 * @is_owner:  is it the caller?
 */
int ioctl_owner_check(const struct ioctl_row *row, bool has_owner,
		      bool is_owner);

/** ioctl_fetch_more() - the verdict that asks for another pass with @size */
void ioctl_fetch_more(const struct ioctl_call *call,
		      const struct ioctl_size *size, struct ioctl_verdict *v);

/**
 * ioctl_first_pass() - answer a pass that the row alone decides: it may not
 * call, or too little of the argument is there to judge anything
 * @has_owner, @is_owner: as for ioctl_owner_check()
 * @v: filled in completely, if it does: as ioctl_run() does for the same call
 *
 * Return: whether the row decides.
 */
bool ioctl_first_pass(const struct ioctl_call *call, bool has_owner,
		      bool is_owner, struct ioctl_verdict *v);

/**
 * struct ioctl_needs - what a pass needs of the calling process
 * @owner: whether it is the owner
 * @set_owner: its memory, to become the owner
 * @fd: its descriptor @fd_number
 * @maps: its mappings behind the @nregions memory regions of the argument,
 *        which start at byte 8
 */
struct ioctl_needs {
	bool owner;
	bool set_owner;
	bool fd;
	int fd_number;
	bool maps;
	uint32_t nregions;
};

/**
 * ioctl_needs() - of a pass; what cannot be used is not asked for
 * @max_mem_regions: limit of VHOST_SET_MEM_TABLE, at most 4095
 */
void ioctl_needs(const struct ioctl_call *call, unsigned int max_mem_regions,
		 struct ioctl_needs *needs);

#endif
