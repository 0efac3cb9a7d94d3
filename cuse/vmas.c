/* SPDX-License-Identifier: BSD-3-Clause */
/* vmas.c parses /proc/PID/maps (vmas.h). */
#include "vmas.h"

#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "bytes.h"
#include "parse.h"

/* A number and the character after it; false if there is none. */
static bool take_field(const char **text, unsigned int base, char after,
		       uint64_t *out)
{
	return parse_digits(text, base, out) == 0 && *(*text)++ == after;
}

/* Reads one line; false: not in the form that we know. */
static bool vma_parse(const char *line, struct vma *out)
{
	uint64_t ma, mi, ino;
	const char *perms;

	/* 7f12a0000000-7f12a4000000 rw-s 00000000 00:01 2065  /memfd:ram */
	if (!take_field(&line, 16, '-', &out->start) ||
	    !take_field(&line, 16, ' ', &out->end))
		return false;
	perms = line;
	if (strnlen(perms, 5) < 5 || perms[4] != ' ')
		return false;
	line += 5;
	if (!take_field(&line, 16, ' ', &out->off) ||
	    !take_field(&line, 16, ':', &ma) ||
	    !take_field(&line, 16, ' ', &mi) ||
	    !take_field(&line, 10, ' ', &ino) || out->end <= out->start)
		return false;
	out->dev = makedev(ma, mi);
	out->ino = ino;
	out->shared = perms[3] == 's';
	out->readable = perms[0] == 'r';
	out->writable = perms[1] == 'w';
	return true;
}

static int span_compare(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

size_t spans_of_regions(const struct vhost_memory_region *regions, size_t n,
			struct span *spans)
{
	size_t count = 0, kept = 0;

	for (size_t i = 0; i < n; i++) {
		struct span s = { .start = regions[i].userspace_addr };

		if (!regions[i].memory_size ||
		    add_overflows(s.start, regions[i].memory_size, &s.end))
			continue;
		spans[count++] = s;
	}
	if (count == 0)
		return 0;
	qsort(spans, count, sizeof(*spans), span_compare);
	for (size_t i = 1; i < count; i++) {
		if (spans[i].start <= spans[kept].end)
			spans[kept].end = MAX(spans[kept].end, spans[i].end);
		else
			spans[++kept] = spans[i];
	}
	return kept + 1;
}

/* Does any of @n sorted spans overlap [@start, @end)? */
static bool spans_touch(const struct span *spans, size_t n, uint64_t start,
			uint64_t end)
{
	size_t low = 0, high = n;

	/* Only the first span that ends after @start can overlap. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (spans[mid].end > start)
			high = mid;
		else
			low = mid + 1;
	}
	return low < n && spans[low].start < end;
}

/* Adds @vma if the process cannot read or write it. The process may change its
 * mappings while they are read: addresses that were seen before stay. */
static void bar(struct bar_list *bars, const struct vma *vma)
{
	struct aspace_bar *last = bars->n ? &bars->bar[bars->n - 1] : NULL;
	struct aspace_bar b = {
		.start = last ? MAX(vma->start, last->end) : vma->start,
		.end = vma->end,
		.no_read = !vma->readable,
		.no_write = !vma->writable,
	};

	if ((vma->readable && vma->writable) || b.start >= b.end)
		return;
	if (last && last->end == b.start && last->no_read == b.no_read &&
	    last->no_write == b.no_write)
		last->end = b.end;
	else if (bars->n < bars->max)
		bars->bar[bars->n++] = b;
}

/* Mappings that change while they are read are left out, so that they are
 * copied. */
static bool overlaps_last(const struct vma_list *vmas, const struct vma *vma)
{
	return vmas->n && vma->start < vmas->vma[vmas->n - 1].end;
}

void vmas_collect(FILE *maps, const struct span *spans, size_t nspans,
		  struct vma_list *vmas, struct bar_list *bars)
{
	char *line = NULL;
	size_t room = 0;
	struct vma vma;

	vmas->n = 0;
	if (bars)
		bars->n = 0;
	while (getline(&line, &room, maps) >= 0) {
		if (!vma_parse(line, &vma))
			continue;
		if (bars)
			bar(bars, &vma);
		if (vmas->n < vmas->max && vma.shared && vma.readable &&
		    vma.writable && vma.ino && !overlaps_last(vmas, &vma) &&
		    spans_touch(spans, nspans, vma.start, vma.end))
			vmas->vma[vmas->n++] = vma;
	}
	free(line);
}
