/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slots.c keeps requests that were read from a device's channel and are not
 * answered, in memory that outlives the process. The kernel hands each request
 * out once: if the process dies with it, its successor finds it here and
 * answers it.
 *
 * Life of a request (function): it is read straight into the landing place
 * (slots_landing), from where it is copied into a slot (slots_take), and the
 * slot is freed after the answer was written (slots_free). A process that dies
 * leaves it in the landing place, in a slot, or in both; slots_left() returns
 * it once. If the process dies between the answer and slots_free(), the
 * successor answers again, and the kernel refuses that answer with ENOENT.
 *
 * All functions but slots_free(), slots_unique() and slots_len() are for one
 * thread.
 */
#ifndef SLOTS_H
#define SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct slots;

/**
 * struct req_slot - a request
 * @state: private
 * @interrupted: its caller was interrupted
 * @order: of arrival
 * @msg:   the message as it came (struct fuse_in_header)
 */
struct req_slot {
	uint32_t state;
	uint32_t interrupted;
	uint64_t order;
	uint8_t msg[];
};

/**
 * slots_new() - make the memory
 * @fd: a memfd that cannot be resized; the slots' own, and to be kept
 *
 * Return: 0, -ENOMEM, -EMFILE.
 */
int slots_new(struct slots **out, int *fd);

/**
 * slots_adopt() - the memory of a process before this one
 * @fd: consumed on success
 *
 * Return: 0, -ENOMEM, -EBADMSG (it is none).
 */
int slots_adopt(int fd, struct slots **out);

/** slots_close() - unmap, and close @fd; a copy of @fd keeps the memory */
void slots_close(struct slots *s);

/** slots_landing() - where to read the next message to: CHANNEL_MSG_MAX bytes.
 * They are resident: no page fault can fail between the moment when the kernel
 * hands the request out and the moment when it is stored */
void *slots_landing(struct slots *s);

/** slots_landing_read() - the message that was read there */
const void *slots_landing_read(const struct slots *s);

/**
 * slots_take() - put the message that was read into a slot
 * @len: its bytes
 *
 * Clears the landing place, whose message the caller has copied before.
 * A FUSE_INTERRUPT is noted with the request that it is about and gets no slot.
 * Return: the slot; NULL: none is free, or none is needed.
 */
struct req_slot *slots_take(struct slots *s, size_t len);

/** slots_free() - the request was answered; any thread; NULL does nothing */
void slots_free(struct slots *s, struct req_slot *slot);

/**
 * slots_left() - what an earlier process has not answered
 * @out: malloc()ed array, ordered as they came
 *
 * To be called once, before slots_landing(). Return: how many; -ENOMEM.
 */
ssize_t slots_left(struct slots *s, struct req_slot ***out);

/** slots_unique() - number of a request (struct fuse_in_header) */
uint64_t slots_unique(const struct req_slot *slot);

/** slots_len() - bytes of its message */
size_t slots_len(const struct req_slot *slot);

/** SLOTS_INIT_MAX - bytes of CUSE_INIT */
#define SLOTS_INIT_MAX 512

/** slots_keep_init() - keep CUSE_INIT for the next process; larger ones are
 * not kept */
void slots_keep_init(struct slots *s, const void *msg, size_t len);

/** slots_init() - CUSE_INIT as it was kept, into @buf of SLOTS_INIT_MAX bytes;
 * how many, 0 if it has not come */
size_t slots_init(const struct slots *s, void *buf);

/** slots_last_id(), slots_set_last_id() - the last number that an open file
 * was given */
uint64_t slots_last_id(const struct slots *s);
void slots_set_last_id(struct slots *s, uint64_t id);

#endif
