/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tsc-khz prints how fast this processor's time stamp counter is, in kHz;
 * nothing elsewhere than on x86. QEMU's emulated processor has the same
 * counter.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#ifdef __x86_64__
#include <x86intrin.h>

#define TRIES 100
#define INTERVAL_US 200000

struct moment {
	uint64_t ns, tsc;
};

/* Of several looks the quickest: nothing came between clock and counter. */
static struct moment look(void)
{
	uint64_t least = UINT64_MAX;
	struct moment best = { 0 };

	for (unsigned int i = 0; i < TRIES; i++) {
		uint64_t before = __rdtsc(), after;
		struct timespec ts;

		clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
		after = __rdtsc();
		if (after - before >= least)
			continue;
		least = after - before;
		best.ns =
			(uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
		best.tsc = before + least / 2;
	}
	return best;
}

int main(void)
{
	struct moment from = look(), to;

	usleep(INTERVAL_US);
	to = look();
	printf("%.0f\n",
	       (double)(to.tsc - from.tsc) * 1e6 / (double)(to.ns - from.ns));
	return 0;
}
#else
int main(void)
{
	return 0;
}
#endif
