/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ioctl_table.c describes the vhost-net ioctls as data, one row each, and
 * decides what follows from a row alone. The broker learns from it which facts
 * about the caller a call needs, and answers the first pass of a call. The
 * handlers are in ioctl.c.
 *
 * CUSE gives a call to a character device in passes. In the first pass only
 * command and address are known. The reply may ask for another pass, with a
 * number of bytes fetched from the caller and space for a number of bytes to
 * store. Between two passes the caller can change its memory and the state of
 * the device, so each pass checks everything again.
 */
#ifndef IOCTL_TABLE_H
#define IOCTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/** IOCTL_DATA_MAX - most bytes that CUSE copies in one direction in one call */
#define IOCTL_DATA_MAX ((size_t)32 * 4096)

/**
 * struct ioctl_call - one pass of a call
 * @cmd: command, from the caller
 * @arg: address in the caller's memory
 * @in: @in_len bytes that were fetched from @arg; of any alignment
 * @out: space for @out_room bytes that will be stored in the caller's memory
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
 * struct ioctl_verdict - the result of a pass
 * @again: another pass is needed, with @fetch bytes of the argument, and space
 *         for @store bytes, which will be stored at @store_at
 * @error: if not @again: 0 or -errno, the result of the call
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

/** When it is checked whether the caller is allowed to make the call */
enum ioctl_owner_rule {
	IOCTL_OWNER_FIRST,      /* before the argument is read */
	IOCTL_OWNER_AFTER_COPY, /* after the argument is read */
	IOCTL_OWNER_ABSENT,     /* EBUSY if the device has an owner */
	IOCTL_OWNER_ANYONE,
};

/** Flags of a row */
enum {
	IOCTL_FD = 1,      /* the last 4 bytes are a descriptor number */
	IOCTL_INDEX = 2,   /* the argument starts with a ring's index */
	IOCTL_STOPPED = 4, /* EBUSY while the ring has a backend */
	IOCTL_REFUSED = 8, /* ENOTTY, if no other rule fails */
};

/**
 * struct ioctl_size - bytes that a call copies; known when its head is
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
 * @head:  bytes of the argument that are checked before the rest is copied
 * @in:    bytes copied from the argument, fixed part
 * @out:   bytes copied to it, fixed part
 * @owner: enum ioctl_owner_rule
 * @flags: IOCTL_*
 * @measure: computes the variable size from the @head; 0 or -errno. NULL: the
 *         size is @in and @out
 * @since: Linux version that introduced it
 * @note:  where we differ from the kernel, or a limit; NULL: none
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

/** ioctl_row_of() - the row of a command. An unknown command has a row with the
 * rules of a refused ring ioctl, since the kernel treats it as one of those */
const struct ioctl_row *ioctl_row_of(uint32_t cmd);

/** ioctl_row_at() - row @i of the table, from 0 on; NULL behind the last */
const struct ioctl_row *ioctl_row_at(size_t i);

/** ioctl_name() - for log lines: "VHOST_SET_OWNER", or NULL if unknown */
const char *ioctl_name(uint32_t cmd);

/** ioctl_print_table() - every row, as a table in Markdown */
void ioctl_print_table(FILE *out);

/**
 * ioctl_owner_check() - apply the owner rule of a row: 0, -EPERM or -EBUSY
 * @has_owner: the device has an owner
 * @is_owner:  the caller is the owner
 */
int ioctl_owner_check(const struct ioctl_row *row, bool has_owner,
		      bool is_owner);

/** ioctl_fetch_more() - the verdict that asks for another pass with @size */
void ioctl_fetch_more(const struct ioctl_call *call,
		      const struct ioctl_size *size, struct ioctl_verdict *v);

/**
 * ioctl_first_pass() - answer a pass that the row alone decides: the caller is
 * not allowed to call, or the head of the argument was not fetched yet
 * @has_owner, @is_owner: as for ioctl_owner_check()
 * @v: filled in completely if the row decides, with the result that ioctl_run()
 *     has for the same call
 *
 * Return: whether the row decides.
 */
bool ioctl_first_pass(const struct ioctl_call *call, bool has_owner,
		      bool is_owner, struct ioctl_verdict *v);

/**
 * struct ioctl_needs - facts about the calling process that a pass needs
 * @owner: whether it is the owner
 * @set_owner: its memory file, for it to become the owner
 * @fd: its descriptor @fd_number
 * @maps: its mappings at the @nregions memory regions of the argument, which
 *        start at byte 8
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
 * ioctl_needs() - which facts a pass needs; none that it will not reach
 * @max_mem_regions: limit of VHOST_SET_MEM_TABLE, at most 4095
 */
void ioctl_needs(const struct ioctl_call *call, unsigned int max_mem_regions,
		 struct ioctl_needs *needs);

#endif
