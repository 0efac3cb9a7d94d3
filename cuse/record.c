/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * record.c writes what a session has been told into memory that outlives the
 * process, and reads it again.
 *
 * The reader trusts nothing: the memory may have been written by another
 * version, or have been torn by a bug. Lengths and counts are checked before
 * they are used, and the checksum before anything else.
 *
 * A half: struct half, then the calls (struct packed_call and its argument,
 * padded to 8 bytes).
 */
#include "record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"

#define MAGIC UINT32_C(0x43525655) /* "UVRC" */
#define VERSION 2
#define PAD(len) (((size_t)(len) + 7) & ~(size_t)7)

struct half {
	uint32_t magic;
	uint32_t version;
	uint64_t checksum; /* of what follows, @len bytes from @serial on */
	uint64_t serial;
	uint64_t bag;
	uint32_t flags;
	uint32_t ncalls;
	uint32_t len;
	uint32_t padding;
	struct record_owner owner;
	struct record_answer answer;
};

#define SUMMED offsetof(struct half, serial)
#define HEAD sizeof(struct half)

struct packed_call {
	uint32_t cmd;
	uint32_t index;
	int32_t fd; /* place among the descriptors, or -1 */
	uint32_t len;
};

_Static_assert(HEAD % 8 == 0 && SUMMED % 8 == 0, "words are summed");
_Static_assert(sizeof(struct packed_call) % 8 == 0, "words are summed");
_Static_assert(HEAD + RECORD_CALLS_MAX * (sizeof(struct packed_call) + 64) +
			       RECORD_ARG_MAX <
		       RECORD_HALF,
	       "a table of memory and a small argument for all other calls");

void record_init(struct record *r)
{
	memset(r, 0, sizeof(*r));
}

static void call_free(struct record_call *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c->arg);
}

void record_clear(struct record *r)
{
	for (unsigned int i = 0; i < r->ncalls; i++)
		call_free(&r->call[i]);
	r->ncalls = 0;
	r->owner = (struct record_owner){ .user = r->owner.user };
}

static struct record_call *call_find(struct record *r, uint32_t cmd,
				     uint32_t index)
{
	for (unsigned int i = 0; i < r->ncalls; i++)
		if (r->call[i].cmd == cmd && r->call[i].index == index)
			return &r->call[i];
	return NULL;
}

const struct record_call *record_find(const struct record *r, uint32_t cmd,
				      uint32_t index)
{
	return call_find((struct record *)(uintptr_t)r, cmd, index);
}

int record_set(struct record *r, uint32_t cmd, uint32_t index, const void *arg,
	       size_t len, int fd)
{
	struct record_call *c = call_find(r, cmd, index);
	uint8_t *copy;

	if (len > RECORD_ARG_MAX || (!c && r->ncalls == RECORD_CALLS_MAX))
		return -E2BIG;
	copy = malloc(len + 1);
	if (!copy)
		return -ENOMEM;
	if (len)
		memcpy(copy, arg, len);
	if (c)
		call_free(c);
	else
		c = &r->call[r->ncalls++];
	*c = (struct record_call){ cmd, index, fd, (uint32_t)len, copy };
	return 0;
}

void record_drop(struct record *r, uint32_t cmd, uint32_t index)
{
	struct record_call *c = call_find(r, cmd, index);

	if (!c)
		return;
	call_free(c);
	r->ncalls--;
	memmove(c, c + 1, (size_t)(&r->call[r->ncalls] - c) * sizeof(*c));
}

unsigned int record_fds(const struct record *r, int *fds)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < r->ncalls; i++)
		if (r->call[i].fd >= 0)
			fds[n++] = r->call[i].fd;
	return n;
}

/* FNV-1a over 64-bit words, to find torn writes. */
static uint64_t checksum(const struct half *h, size_t len)
{
	const uint8_t *p = (const uint8_t *)h + SUMMED;
	uint64_t sum = UINT64_C(0xcbf29ce484222325), word;

	for (size_t i = 0; i + sizeof(word) <= len; i += sizeof(word)) {
		memcpy(&word, p + i, sizeof(word));
		sum = (sum ^ word) * UINT64_C(0x100000001b3);
		sum ^= sum >> 29; /* high bits count as well */
	}
	return sum;
}

static struct half *half_at(void *mem, unsigned int i)
{
	return (void *)((uint8_t *)mem + i * RECORD_HALF);
}

/* ---- writing ---- */

static int put_calls(const struct record *r, struct half *h)
{
	uint8_t *at = (uint8_t *)h + HEAD, *end = (uint8_t *)h + RECORD_HALF;
	int32_t nfds = 0;

	for (unsigned int i = 0; i < r->ncalls; i++) {
		const struct record_call *c = &r->call[i];
		struct packed_call p = { c->cmd, c->index,
					 c->fd >= 0 ? nfds++ : -1, c->len };

		if ((size_t)(end - at) < sizeof(p) + PAD(c->len))
			return -E2BIG;
		memcpy(at, &p, sizeof(p));
		at += sizeof(p);
		memcpy(at, c->arg, c->len);
		memset(at + c->len, 0, PAD(c->len) - c->len);
		at += PAD(c->len);
	}
	h->len = (uint32_t)(at - ((uint8_t *)h + SUMMED));
	return 0;
}

int record_commit(struct record *r, void *mem)
{
	struct half *h = half_at(mem, (r->serial + 1) & 1);
	int ret;

	/* From here on this half is not in force. */
	__atomic_store_n(&h->magic, 0, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	h->version = VERSION;
	h->serial = r->serial + 1;
	h->bag = r->bag;
	h->flags = r->flags;
	h->ncalls = r->ncalls;
	h->padding = 0;
	h->owner = r->owner;
	h->answer = r->answer;
	ret = put_calls(r, h);
	if (ret < 0)
		return ret;
	h->checksum = checksum(h, h->len);
	__atomic_store_n(&h->magic, MAGIC, __ATOMIC_RELEASE);
	r->serial++;
	return 0;
}

/* ---- reading ---- */

static bool half_is_valid(const struct half *h)
{
	return h->magic == MAGIC && h->version == VERSION &&
	       h->len >= HEAD - SUMMED && h->len <= RECORD_HALF - SUMMED &&
	       h->len % 8 == 0 && h->ncalls <= RECORD_CALLS_MAX &&
	       h->answer.len <= RECORD_ANSWER_MAX &&
	       h->checksum == checksum(h, h->len);
}

/* Reads one call. Return: bytes that it took, or -errno. */
static ssize_t get_call(struct record *r, const uint8_t *at, size_t left,
			int32_t *nfds)
{
	struct packed_call p;
	int ret;

	if (left < sizeof(p))
		return -ENODATA;
	memcpy(&p, at, sizeof(p));
	left -= sizeof(p);
	if (p.len > RECORD_ARG_MAX || PAD(p.len) > left)
		return -ENODATA;
	/* Descriptors are numbered in the order of the calls. */
	if (p.fd != -1 && p.fd != (*nfds)++)
		return -ENODATA;
	if (record_find(r, p.cmd, p.index))
		return -ENODATA;
	ret = record_set(r, p.cmd, p.index, at + sizeof(p), p.len, -1);
	if (ret < 0)
		return ret;
	r->call[r->ncalls - 1].fd = p.fd;
	return (ssize_t)(sizeof(p) + PAD(p.len));
}

/* Clears a record whose fds are still numbers: they must not be closed. */
static void forget_numbers(struct record *r)
{
	for (unsigned int i = 0; i < r->ncalls; i++)
		r->call[i].fd = -1;
	record_clear(r);
}

static int half_load(struct record *r, const struct half *h)
{
	const uint8_t *at = (const uint8_t *)h + HEAD;
	size_t left = h->len - (HEAD - SUMMED);
	int32_t nfds = 0;

	for (uint32_t i = 0; i < h->ncalls; i++) {
		ssize_t n = get_call(r, at, left, &nfds);

		if (n < 0) {
			forget_numbers(r);
			return (int)n;
		}
		at += n;
		left -= (size_t)n;
	}
	r->serial = h->serial;
	r->bag = h->bag;
	r->flags = h->flags;
	r->owner = h->owner;
	r->answer = h->answer;
	return 0;
}

int record_load(struct record *r, const void *mem)
{
	const struct half *in_force = NULL;

	for (unsigned int i = 0; i < 2; i++) {
		const struct half *h = half_at((void *)(uintptr_t)mem, i);

		if (half_is_valid(h) &&
		    (!in_force || h->serial > in_force->serial))
			in_force = h;
	}
	/* The next commit goes to the other half. */
	if (!in_force ||
	    in_force != half_at((void *)(uintptr_t)mem, in_force->serial & 1))
		return -ENODATA;
	return half_load(r, in_force);
}

int record_adopt_fds(struct record *r, const int *fds, unsigned int n)
{
	unsigned int have = 0;

	for (unsigned int i = 0; i < r->ncalls; i++)
		have += r->call[i].fd >= 0;
	if (have != n) {
		forget_numbers(r);
		return -EBADMSG;
	}
	for (unsigned int i = 0; i < r->ncalls; i++)
		if (r->call[i].fd >= 0)
			r->call[i].fd = fds[r->call[i].fd];
	return 0;
}
