/* SPDX-License-Identifier: BSD-3-Clause */
/* What a report says about the machine and the versions of programs. */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdint.h>

#define MACHINE_TEXT 96

/** struct machine_ticks - of all processors since the start of the machine */
struct machine_ticks {
	uint64_t all, steal;
};

/**
 * struct machine - texts are "unknown" or "none" where nothing was found
 * @dpdk, @qemu, @libfuse, @libpcap, @compiler: versions
 * @commit: of the source tree in the current folder, "+" behind it if files
 *          that git knows have changed
 */
struct machine {
	char date[MACHINE_TEXT], commit[MACHINE_TEXT], name[MACHINE_TEXT];
	char kernel[MACHINE_TEXT], cpu_model[MACHINE_TEXT];
	char dpdk[MACHINE_TEXT], qemu[MACHINE_TEXT], libfuse[MACHINE_TEXT];
	char libpcap[MACHINE_TEXT], compiler[MACHINE_TEXT];
	long processors;
};

/** machine_read() - asks programs too; takes a moment */
void machine_read(struct machine *m);

void machine_ticks(struct machine_ticks *t);

/** machine_steal_percent() - stolen time (proc_stat(5)) between @a and @b, of
 * all time */
double machine_steal_percent(const struct machine_ticks *a,
			     const struct machine_ticks *b);

/** machine_load_1min() - load average */
double machine_load_1min(void);

/** machine_take_huge_pages() - take away the huge pages that the lines of file
 * @path add up to, and the file. Other programs may have added some of their
 * own. */
void machine_take_huge_pages(const char *path);

#endif
