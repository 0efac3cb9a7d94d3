/* SPDX-License-Identifier: BSD-3-Clause */
/* memview.c translates the addresses in a ring to pointers or to addresses of
 * the owner. The addresses are hostile input. */
#include "memview.h"

#include <errno.h>

#include "bytes.h"

static void bind_ranges(const struct memview *mv, struct rangemap *m)
{
	for (size_t i = 0; i < m->n; i++) {
		struct range *r = &m->r[i];
		uint64_t len = r->last - r->start + 1;

		r->ptr = mv->as ? aspace_ptr(mv->as, r->uva, len) : NULL;
		r->unmapped = mv->as && !aspace_maps_any(mv->as, r->uva, len);
	}
}

void memview_bind(struct memview *mv)
{
	bind_ranges(mv, &mv->table);
	bind_ranges(mv, &mv->iotlb);
	mv->hit = NULL;
}

static struct seg make_seg(const struct memview *mv, const struct range *r,
			   uint64_t addr, uint64_t len)
{
	uint64_t off = addr - r->start;

	return (struct seg){
		.ptr = r->ptr ? r->ptr + off
			      : aspace_ptr(mv->as, r->uva + off, len),
		.uva = r->uva + off,
		.addr = addr,
		.len = (uint32_t)len,
	};
}

static int translate_slow(struct memview *mv, uint64_t addr, uint64_t len,
			  uint8_t perm, struct seg *segs, size_t max,
			  uint64_t *miss)
{
	const struct rangemap *m = mv->have_iotlb ? &mv->iotlb : &mv->table;
	uint64_t last;
	size_t n = 0;

	if (!len)
		return 0;
	if (!range_last(addr, len, &last))
		return -EFAULT;
	for (;;) {
		const struct range *r = rangemap_first(m, addr, last);
		uint64_t piece_last;

		if (!r || r->start > addr) {
			*miss = addr;
			return mv->have_iotlb ? -EAGAIN : -EFAULT;
		}
		if (!(r->perm & perm))
			return -EPERM;
		if (n == max)
			return -ENOBUFS;
		piece_last = MIN(r->last, last);
		segs[n++] = make_seg(mv, r, addr, piece_last - addr + 1);
		/* Where ranges overlap another one may come first. */
		mv->hit = m->overlap ? NULL : r;
		if (piece_last == last)
			return (int)n;
		addr = piece_last + 1;
	}
}

int memview_translate(struct memview *mv, uint64_t addr, uint64_t len,
		      uint8_t perm, struct seg *segs, size_t max,
		      uint64_t *miss)
{
	const struct range *r = mv->hit;

	if (likely(r && (r->ptr || r->unmapped) && max && len &&
		   addr >= r->start && addr <= r->last &&
		   len - 1 <= r->last - addr && (r->perm & perm))) {
		uint64_t off = addr - r->start;

		*segs = (struct seg){ r->ptr ? r->ptr + off : NULL,
				      r->uva + off, addr, (uint32_t)len };
		return 1;
	}
	return translate_slow(mv, addr, len, perm, segs, max, miss);
}

bool memview_table_ok(const struct memview *mv)
{
	for (size_t i = 0; i < mv->table.n; i++) {
		const struct range *r = &mv->table.r[i];

		if (!aspace_ok(r->uva, r->last - r->start + 1))
			return false;
	}
	return true;
}

void memview_gpa_of(const struct memview *mv, uint64_t uva, uint64_t len,
		    void (*fn)(void *ctx, uint64_t gpa, uint64_t len),
		    void *ctx)
{
	uint64_t last = uva + len - 1;

	for (size_t i = 0; i < mv->table.n; i++) {
		const struct range *r = &mv->table.r[i];
		uint64_t r_last = r->uva + (r->last - r->start);
		uint64_t from = MAX(uva, r->uva), to = MIN(last, r_last);

		if (len && from <= to)
			fn(ctx, r->start + (from - r->uva), to - from + 1);
	}
}

size_t seg_ranges(const struct seg *seg, size_t nsegs, size_t off, size_t len,
		  void *ptr, struct aspace_range *r, size_t max)
{
	uint8_t *at = ptr;
	size_t n = 0;

	for (size_t i = 0; i < nsegs && len && n < max; i++) {
		size_t skip = MIN(off, seg[i].len);
		size_t take = MIN(len, seg[i].len - skip);

		off -= skip;
		if (!take)
			continue;
		r[n++] = (struct aspace_range){ seg[i].uva + skip, at, take };
		at = at ? at + take : NULL;
		len -= take;
	}
	return n;
}
