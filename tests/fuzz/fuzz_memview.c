/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Address translation against a naive model: a list of ranges in order of age,
 * searched from one end to the other, the kernel's rules word by word.
 */
#include "fuzz.h"

#include <errno.h>
#include <sys/mman.h>

#include "bytes.h"
#include "memview.h"

#define RANGES 64
#define SEGS 16
#define MAPS 3

struct naive {
	size_t n;
	struct {
		uint64_t start, last, uva;
		uint8_t perm;
	} r[RANGES];
};

/* Numbers near each other and near both ends of all that there are. */
static uint64_t address(struct input *in)
{
	uint8_t kind = in_u8(in);

	switch (kind % 4) {
	case 0:
		return in_u8(in);
	case 1:
		return in_u16(in);
	case 2:
		return UINT64_MAX - in_u16(in);
	default:
		return in_u64(in);
	}
}

static void naive_add(struct naive *m, uint64_t start, uint64_t last,
		      uint64_t uva, uint8_t perm)
{
	m->r[m->n].start = start;
	m->r[m->n].last = last;
	m->r[m->n].uva = uva;
	m->r[m->n++].perm = perm;
}

static void naive_del(struct naive *m, uint64_t start, uint64_t last)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->n; i++)
		if (m->r[i].last < start || m->r[i].start > last)
			m->r[kept++] = m->r[i];
	m->n = kept;
}

static size_t naive_find(const struct naive *m, uint64_t start, uint64_t last)
{
	size_t best = m->n;

	for (size_t i = 0; i < m->n; i++)
		if (m->r[i].last >= start && m->r[i].start <= last &&
		    (best == m->n || m->r[i].start < m->r[best].start))
			best = i;
	return best;
}

static int naive_translate(const struct naive *m, bool iotlb, uint64_t addr,
			   uint64_t len, uint8_t perm, struct seg *segs,
			   size_t max, uint64_t *miss)
{
	uint64_t last = addr + len - 1;
	size_t n = 0;

	if (!len)
		return 0;
	if (last < addr)
		return -EFAULT;
	for (;;) {
		size_t i = naive_find(m, addr, last);
		uint64_t end;

		if (i == m->n || m->r[i].start > addr) {
			*miss = addr;
			return iotlb ? -EAGAIN : -EFAULT;
		}
		if (!(m->r[i].perm & perm))
			return -EPERM;
		if (n == max)
			return -ENOBUFS;
		end = MIN(last, m->r[i].last);
		segs[n++] = (struct seg){
			.uva = m->r[i].uva + (addr - m->r[i].start),
			.addr = addr,
			.len = (uint32_t)(end - addr + 1),
		};
		if (end == last)
			return (int)n;
		addr = end + 1;
	}
}

static void add(struct input *in, struct memview *mv, struct rangemap *map,
		struct naive *m)
{
	uint64_t start = address(in), last = start + address(in);
	uint64_t uva = address(in);
	uint8_t perm = in_u8(in) & RANGE_RW;
	int ret;

	if (m->n + 2 > RANGES)
		return;
	ret = rangemap_add(map, start, last, uva, perm);
	must(ret == (last < start ? -EFAULT : 0));
	if (ret == 0 && start == 0 && last == UINT64_MAX) {
		naive_add(m, 0, INT64_MAX, uva, perm);
		naive_add(m, BIT(63), UINT64_MAX, uva + BIT(63), perm);
	} else if (ret == 0) {
		naive_add(m, start, last, uva, perm);
	}
	memview_bind(mv);
}

static void del(struct input *in, struct memview *mv, struct rangemap *map,
		struct naive *m)
{
	uint64_t start = address(in), last = start + address(in);

	rangemap_del(map, start, last);
	naive_del(m, start, last);
	memview_bind(mv);
}

/* Such a range is never used: memview_table_ok(), and the checks of updates. */
static bool uva_wraps(const struct naive *m)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->r[i].uva + (m->r[i].last - m->r[i].start) < m->r[i].uva)
			return true;
	return false;
}

static void translate(struct input *in, struct memview *mv,
		      const struct naive *m)
{
	uint64_t addr = address(in), miss = 0, want_miss = 0;
	uint8_t ctl = in_u8(in);
	uint32_t len = ctl & 1 ? in_u32(in) : in_u8(in);
	uint8_t perm = ctl & 2 ? RANGE_WO : RANGE_RO;
	size_t max = (ctl >> 2) % (SEGS + 1);
	struct seg seg[SEGS], want[SEGS];
	int n, expected;

	n = memview_translate(mv, addr, len, perm, seg, max, &miss);
	expected = naive_translate(m, mv->have_iotlb, addr, len, perm, want,
				   max, &want_miss);
	must(n == expected);
	must(n != -EAGAIN || miss == want_miss);
	for (int i = 0; i < n; i++) {
		must(seg[i].uva == want[i].uva);
		must(seg[i].addr == want[i].addr);
		must(seg[i].len == want[i].len);
		must(seg[i].ptr == aspace_ptr(mv->as, seg[i].uva, seg[i].len) ||
		     uva_wraps(m));
	}
}

struct aliases {
	const struct naive *m;
	uint64_t uva, last;
	size_t seen;
};

static void on_alias(void *ctx, uint64_t gpa, uint64_t len)
{
	struct aliases *a = ctx;
	bool known = false;

	for (size_t i = 0; i < a->m->n; i++) {
		uint64_t off = gpa - a->m->r[i].start;

		known |= gpa >= a->m->r[i].start &&
			 gpa + len - 1 <= a->m->r[i].last &&
			 a->m->r[i].uva + off >= a->uva &&
			 a->m->r[i].uva + off + len - 1 <= a->last;
	}
	must(len && known);
	a->seen++;
}

/* Only tables that a running ring may have, whose uvas do not wrap. */
static void reverse(struct input *in, const struct memview *mv,
		    const struct naive *m)
{
	struct aliases a = { .m = m, .uva = address(in) % BIT(47) };
	uint64_t len = in_u16(in);
	size_t want = 0;

	if (!len || !memview_table_ok(mv))
		return;
	a.last = a.uva + len - 1;
	for (size_t i = 0; i < m->n; i++)
		want += m->r[i].uva <= a.last &&
			m->r[i].uva + (m->r[i].last - m->r[i].start) >= a.uva;
	memview_gpa_of(mv, a.uva, len, on_alias, &a);
	must(a.seen == want);
}

/* Mappings whose bytes are never touched. */
static struct aspace *make_aspace(struct input *in)
{
	struct aspace_map *maps[MAPS];
	uint64_t at = 0;
	struct aspace *as;
	size_t n = in_below(in, MAPS + 1);

	must(aspace_new(-1, &as) == 0);
	for (size_t i = 0; i < n; i++) {
		uint64_t size = 4096 * (1u + in_below(in, 16));
		void *p;

		at += 4096 * (in_u8(in) % 16u);
		p = mmap(NULL, size, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		must(p != MAP_FAILED);
		maps[i] = aspace_map_new(at, size, p);
		must(maps[i]);
		at += size;
	}
	must(aspace_set_maps(as, maps, n) == 0);
	return as;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct naive table, iotlb;
	struct input in = { data, size };
	struct memview mv = { .as = make_aspace(&in), .have_table = true };

	table.n = iotlb.n = 0;
	while (!in_empty(&in)) {
		uint8_t op = in_u8(&in);
		bool other = op & 0x80;
		struct rangemap *map = other ? &mv.iotlb : &mv.table;
		struct naive *m = other ? &iotlb : &table;

		switch (op % 8) {
		case 0:
		case 1:
			add(&in, &mv, map, m);
			break;
		case 2:
			del(&in, &mv, map, m);
			break;
		case 3:
			mv.have_iotlb = !mv.have_iotlb;
			mv.hit = NULL;
			break;
		case 4:
			reverse(&in, &mv, &table);
			break;
		default:
			translate(&in, &mv, mv.have_iotlb ? &iotlb : &table);
			break;
		}
	}
	rangemap_free(&mv.table);
	rangemap_free(&mv.iotlb);
	aspace_free(mv.as);
	return 0;
}
