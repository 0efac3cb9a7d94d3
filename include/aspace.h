/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * aspace.h: access to the address space of the process that owns a device.
 * Shared memory is mapped here too and accessed by pointer (zero-copy); all
 * other memory is copied through an open /proc/PID/mem.
 *
 * The caller supplies the memory file and the mappings; an aspace opens nothing
 * itself. One thread uses it at a time, but several aspaces can share mappings:
 * a mapping that one of them loses is lost for all. Addresses named uva are
 * virtual addresses of the owner.
 */
#ifndef ASPACE_H
#define ASPACE_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <sys/types.h>

/**
 * struct aspace_map - a mapping here of a piece of the owner's address space
 * @uva:  the owner's address of it
 * @size: bytes
 * @ptr:  the address here (MAP_SHARED of the same file and offset)
 * @dev, @ino, @off: the file and the offset of @uva in it, as /proc/PID/maps
 *        shows them, to compare a mapping with a newer table
 * @base, @base_size: the range to unmap, at least @ptr...@ptr + @size: more
 *        where a file can be mapped in huge pages only
 * @refs: tables that hold it; the last one unmaps it. Atomic, as aspaces with
 *        different threads can share it
 * @lost: its file was truncated; all of @base is private zero pages now. Atomic
 * @gone: called with @gone_ctx and @base_size after it was unmapped, on the
 *        thread of the last table; may be NULL
 */
struct aspace_map {
	uint64_t uva;
	uint64_t size;
	uint8_t *ptr;
	dev_t dev;
	ino_t ino;
	uint64_t off;
	uint8_t *base;
	uint64_t base_size;
	unsigned int refs;
	bool lost;
	void (*gone)(void *ctx, uint64_t bytes);
	void *gone_ctx;
};

/**
 * aspace_map_new() - wrap a mapping; owns @ptr (munmap); NULL if no memory
 *
 * @base and @base_size are @ptr and @size until the caller changes them.
 */
struct aspace_map *aspace_map_new(uint64_t uva, uint64_t size, void *ptr);
struct aspace_map *aspace_map_get(struct aspace_map *map);
void aspace_map_put(struct aspace_map *map);

struct aspace;

/**
 * aspace_new() - an address space without mappings
 * @mem_fd: /proc/PID/mem of the owner, opened for reading and writing while the
 *          process was known to be the owner; -1: mappings only. Owned by the
 *          aspace on success
 *
 * The open file is bound to the owner's address space: it never reaches the
 * program that the process execs, or a later process with the same id.
 *
 * Return: 0 or -ENOMEM.
 */
int aspace_new(int mem_fd, struct aspace **out);
void aspace_free(struct aspace *as);

/**
 * aspace_set_file() - give an address space its memory file later
 * @mem_fd: as for aspace_new(); consumed on success. Closed if there is one
 *
 * Return: 0 or -ENOMEM.
 */
int aspace_set_file(struct aspace *as, int mem_fd);

/**
 * aspace_set_maps() - replace all mappings
 * @maps: @n of them, not overlapping, any order; the aspace takes over the
 *        caller's references on success
 *
 * Pointers into mappings that are not in @maps are invalid afterwards.
 * Return: 0 or -ENOMEM (nothing changed).
 */
int aspace_set_maps(struct aspace *as, struct aspace_map **maps, size_t n);

/**
 * aspace_set_extra() - set one mapping that is not memory of the owner, but is
 * used by the same thread and can be truncated too
 * @map: reference taken over; NULL: remove the mapping
 */
void aspace_set_extra(struct aspace *as, struct aspace_map *map);

/** aspace_find_map() - the mapping (not lost) that covers @uva, or NULL */
struct aspace_map *aspace_find_map(const struct aspace *as, uint64_t uva);

/** aspace_maps_any() - does some mapping cover some byte of the range? */
bool aspace_maps_any(const struct aspace *as, uint64_t uva, uint64_t len);

/**
 * struct aspace_bar - addresses that the owner itself may not read, or write
 *
 * The memory file would reach them nevertheless.
 */
struct aspace_bar {
	uint64_t start, end; /* @end excluded */
	bool no_read, no_write;
};

/**
 * aspace_set_bars() - set the addresses that copies refuse with -EFAULT
 * @bars: @n of them, sorted by address, disjoint; from malloc(), taken over
 *
 * Replaces the ones before. Access through mappings is not checked.
 */
void aspace_set_bars(struct aspace *as, struct aspace_bar *bars, size_t n);

/**
 * aspace_set_fault_in() - let copies wait for pages that a userfaultfd delivers
 * @fault_in: called when @len bytes at @uva cannot be copied at once: brings
 *            them into the owner's memory, to be written or read, and waits for
 *            them. 0; -errno: the copy fails. NULL: nobody can
 */
void aspace_set_fault_in(struct aspace *as,
			 int (*fault_in)(void *ctx, bool write, uint64_t uva,
					 uint64_t len),
			 void *ctx);

/**
 * aspace_fault_in() - fault in pages of a process
 * @pid: a thread of it; the caller sees to it that it is the right one. Takes
 *       the right to trace it
 *
 * No byte is copied.
 */
void aspace_fault_in(pid_t pid, bool write, uint64_t uva, uint64_t len);

/** aspace_fd() - the memory file, borrowed; -1 if there is none */
int aspace_fd(const struct aspace *as);

/**
 * struct aspace_range - one piece of a copy
 * @uva: owner's address
 * @ptr: our memory
 * @len: bytes
 */
struct aspace_range {
	uint64_t uva;
	void *ptr;
	size_t len;
};

/**
 * aspace_read(), aspace_write() - copy many ranges in few system calls
 * @as: address space
 * @r:  @n ranges. Writes are done in order; reads in any order
 *
 * Mapped pieces are copied by memcpy, others by pread and pwrite of the memory
 * file: one call for ranges that follow each other (reads: also with gaps below
 * a page). No
 * atomicity, but an aligned field of 4 or 8 bytes is one load or store in
 * practice. Waits for pages that a userfaultfd delivers if
 * aspace_set_fault_in() was called.
 *
 * Return: 0; -EFAULT if any byte could not be reached (the ranges before it
 * may have been copied); -ESRCH if the address space is gone.
 */
int aspace_read(struct aspace *as, const struct aspace_range *r, size_t n);
int aspace_write(struct aspace *as, const struct aspace_range *r, size_t n);

/** aspace_ptr() - our pointer to a range within one mapping, or NULL */
void *aspace_ptr(const struct aspace *as, uint64_t uva, uint64_t len);

/**
 * aspace_limit() - first address behind user space, as for access_ok()
 *
 * Decided once: 2^47 - 4096, or 2^56 - 4096 where 5-level paging is on.
 */
uint64_t aspace_limit(void);

/** aspace_ok() - the kernel's access_ok(): is the range in user space? */
static inline bool aspace_ok(uint64_t uva, uint64_t size)
{
	return size <= aspace_limit() && uva <= aspace_limit() - size;
}

/**
 * aspace_guard_install() - survive SIGBUS in mappings (once per process)
 *
 * The owner can truncate the file of a mapping. A fault inside a mapping of the
 * aspace that the running thread has entered turns that whole mapping into
 * private zero pages and marks it faulted; anywhere else the signal keeps its
 * default action.
 */
void aspace_guard_install(void);

/** aspace_enter() - this thread now works on @as (NULL: on none) */
void aspace_enter(struct aspace *as);

/** aspace_faulted() - has a mapping been lost to a fault, on any thread, since
 * aspace_set_maps()? */
bool aspace_faulted(struct aspace *as);

/** aspace_copied_bytes() - bytes moved through the memory file, for counters */
uint64_t aspace_copied_bytes(const struct aspace *as);

#endif
