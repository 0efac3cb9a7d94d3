/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The dirty bitmap, mapped and copied side by side: the first exactly the
 * pages marked, the second the same rounded up to bytes.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "dirtylog.h"

#define MAP_BYTES 4096
#define PAGES (MAP_BYTES * 8)
#define UVA 0x100000u
#define GUARD 0x40000 /* of a bitmap: pages of 8 GiB; marks end below 4 GiB */

static uint8_t *bitmap; /* MAP_BYTES, the last ones before what is not there */
static struct aspace *mapped, *copied;

/* With nothing behind it, as far as any mark can go: the process copied from
 * is this one. */
static uint8_t *guarded(size_t size)
{
	uint8_t *p = mmap(NULL, size + GUARD, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	must(p != MAP_FAILED);
	must(mprotect(p + size, GUARD, PROT_NONE) == 0);
	return p;
}

static void init(void)
{
	struct aspace_map *map;
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	bitmap = guarded(MAP_BYTES);
	map = aspace_map_new(UVA, MAP_BYTES, guarded(MAP_BYTES));
	must(map && fd >= 0);
	must(aspace_new(-1, &mapped) == 0);
	must(aspace_set_maps(mapped, &map, 1) == 0);
	must(aspace_new(fd, &copied) == 0);
}

static void mark(struct input *in, struct dirtylog log[2], uint8_t *want)
{
	uint8_t kind = in_u8(in);
	uint64_t gpa = (uint64_t)in_u16(in) << (kind & 15);
	uint64_t len = (uint64_t)in_u16(in) << (kind >> 4);
	uint64_t last = gpa + len - 1;

	dirtylog_mark(&log[0], mapped, gpa, len);
	dirtylog_mark(&log[1], copied, gpa, len);
	if (!len)
		return;
	if (last / 4096 >= PAGES)
		want[MAP_BYTES] = 1; /* leaves the bitmap: is only tried */
	for (uint64_t p = gpa / 4096; p <= last / 4096 && p < PAGES; p++)
		want[p / 8] |= (uint8_t)(1u << p % 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t want[MAP_BYTES + 1];
	struct input in = { data, size };
	struct dirtylog log[2] = { { .base = UVA }, { 0 } };
	uint8_t *ours;
	bool left;

	if (!bitmap)
		init();
	log[1].base = (uintptr_t)bitmap;
	ours = aspace_ptr(mapped, UVA, MAP_BYTES);
	memset(want, 0, sizeof(want));
	memset(ours, 0, MAP_BYTES);
	memset(bitmap, 0, MAP_BYTES);
	while (!in_empty(&in)) {
		mark(&in, log, want);
		if (in_u8(&in) % 8 == 0) {
			dirtylog_flush(&log[0], mapped);
			dirtylog_flush(&log[1], copied);
			must(log[1].n == 0);
		}
	}
	left = want[MAP_BYTES]; /* some of it was out of reach */
	must((dirtylog_flush(&log[0], mapped) == 0) || left);
	must((dirtylog_flush(&log[1], copied) == 0) || left);
	if (left)
		return 0;
	must(memcmp(ours, want, MAP_BYTES) == 0);
	for (size_t i = 0; i < MAP_BYTES; i++)
		want[i] = want[i] ? 0xff : 0;
	must(memcmp(bitmap, want, MAP_BYTES) == 0);
	return 0;
}
