/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sc_vmcost.c: what emulation does to user code, to system calls and to copies.
 * Measured in the machine of `make bench-vm`, beside which stands what the same
 * costs on its host.
 *
 *   UVBENCH_HOST_NS   "getppid=87.1 memcpy-64=1.9 ...": times on the host
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

#define ROUND 256 /* operations between two looks at the clock */
#define LOOP_STEPS 1000
#define LONG_COPY 65536

struct cost {
	const char *name;
	void (*once)(void);
};

static uint8_t from[LONG_COPY], to[LONG_COPY];

static void call_getppid(void)
{
	syscall(SYS_getppid);
}

static void copy(size_t len)
{
	memcpy(to, from, len);
	__asm__ volatile("" ::: "memory"); /* it is wanted */
}

static void copy_64(void)
{
	copy(64);
}

static void copy_64k(void)
{
	copy(LONG_COPY);
}

static void count(void)
{
	uint32_t x = 1;

	for (unsigned int i = 0; i < LOOP_STEPS; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		__asm__ volatile("" : "+r"(x));
	}
}

/* The number behind "NAME=" in $UVBENCH_HOST_NS; 0: none */
static double on_host(const char *name)
{
	const char *at = getenv("UVBENCH_HOST_NS");
	size_t len = strlen(name);

	for (; at; at = strchr(at, ' ')) {
		at += *at == ' ';
		if (strncmp(at, name, len) == 0 && at[len] == '=')
			return strtod(at + len + 1, NULL);
	}
	return 0;
}

static int open_cost(struct bench *b)
{
	(void)b;
	memset(from, 1, sizeof(from));
	memset(to, 1, sizeof(to));
	bench_pin(0, BENCH_CPU_FRONTEND);
	return 0;
}

static int slice_cost(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	const struct cost *c = b->scenario->arg;
	uint64_t start = bench_now_ns(), now;
	double host = on_host(c->name);

	*out = (struct bench_sample){ 0 };
	do {
		for (unsigned int i = 0; i < ROUND; i++)
			c->once();
		out->ops += ROUND;
		now = bench_now_ns();
	} while (now - start < ns);
	out->ns = now - start;
	if (host > 0)
		bench_note(b, "host_ns_per_op", host);
	return 0;
}

#define ENTRY(name_, what_, once_)                              \
	{                                                       \
		.name = "vm/cost/" name_,                       \
		.what = (what_),                                \
		.op = "call",                                   \
		.measure = BENCH_TIME,                          \
		.linked = true,                                 \
		.open = open_cost,                              \
		.slice = slice_cost,                            \
		.arg = &(const struct cost){ .name = (name_),   \
					     .once = (once_) }, \
	}

const struct scenario scenarios_vmcost[] = {
	ENTRY("loop", "1000 steps of integers", count),
	ENTRY("getppid", "a system call", call_getppid),
	ENTRY("memcpy-64", "64 bytes, hot", copy_64),
	ENTRY("memcpy-64k", "64 KiB, hot", copy_64k),
	{ 0 },
};
