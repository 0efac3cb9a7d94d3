/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The record of a session, as another process finds it. The input is written
 * over two halves, and their checksums and constants are made right where it
 * says so: the parser behind them is what is searched. What was loaded can be
 * committed and is loaded again.
 */
#include "fuzz.h"

#include "record.c"

static uint64_t mem[RECORD_SIZE / 8], again[RECORD_SIZE / 8];

static void make_half(struct input *in, unsigned int i)
{
	struct half *h = half_at(mem, i);
	uint8_t how = in_u8(in);
	size_t at = 0;

	memset(h, 0, 4096);
	in_bytes(in, h, MIN(in->n, (size_t)4096));
	if (how & 1) {
		h->magic = MAGIC;
		h->version = VERSION;
		h->len = (uint32_t)(HEAD - SUMMED + h->len % 2048 / 8 * 8);
		h->ncalls %= RECORD_CALLS_MAX + 1;
		h->answer.len %= RECORD_ANSWER_MAX + 1;
	}
	/* Calls of plausible lengths. */
	for (uint32_t n = 0; how & 2 && n < h->ncalls && at < 2048; n++) {
		struct packed_call p;

		memcpy(&p, (uint8_t *)h + HEAD + at, sizeof(p));
		p.len %= 64;
		p.fd = p.fd & 1 ? (int32_t)(n % 3) : -1;
		memcpy((uint8_t *)h + HEAD + at, &p, sizeof(p));
		at += sizeof(p) + PAD(p.len);
	}
	if (how & 4 && h->len <= RECORD_HALF - SUMMED)
		h->checksum = checksum(h, h->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input first = { data, size / 2 };
	struct input second = { data + size / 2, size - size / 2 };
	struct record r, s;

	make_half(&first, 0);
	make_half(&second, 1);
	record_init(&r);
	if (record_load(&r, mem) < 0) {
		must(r.ncalls == 0);
		return 0;
	}
	must(r.ncalls <= RECORD_CALLS_MAX);
	half_at(again, 0)->magic = half_at(again, 1)->magic = 0;
	must(record_commit(&r, again) == 0);
	record_init(&s);
	must(record_load(&s, again) == 0);
	must(s.ncalls == r.ncalls && s.serial == r.serial);
	for (unsigned int i = 0; i < s.ncalls; i++) {
		must(s.call[i].len == r.call[i].len);
		must(memcmp(s.call[i].arg, r.call[i].arg, r.call[i].len) == 0);
		must(s.call[i].fd == r.call[i].fd);
	}
	forget_numbers(&r);
	forget_numbers(&s);
	return 0;
}
