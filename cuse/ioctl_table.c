/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ioctl_table.c has the table of ioctls, and decides what follows from a row
 * and the bytes of a call, without the device. Its input is hostile: command
 * and argument of the caller.
 */
#include "ioctl_table.h"

#include <errno.h>
#include <string.h>
#include <linux/vhost.h>

#include "abi.h"
#include "bytes.h"
#include "vdev.h"

/* The argument can be unaligned and shorter than a struct, so it is copied. */
static uint32_t get_u32(const void *in, size_t offset)
{
	uint32_t v;

	memcpy(&v, (const uint8_t *)in + offset, sizeof(v));
	return v;
}

/* Most words that one call of CUSE can copy, with the count before them. */
#define ARRAY_MAX ((IOCTL_DATA_MAX - sizeof(uint64_t)) / sizeof(uint64_t))

/*
 * The kernel reads as many words as the caller says. Here more than fit into a
 * call are EFAULT; in the kernel too, unless the caller has that much memory.
 */
static int array_count(const void *head, uint64_t *count)
{
	memcpy(count, head, sizeof(*count));
	return *count > ARRAY_MAX ? -EFAULT : 0;
}

static int measure_get_array(const void *head, unsigned int max_mem_regions,
			     struct ioctl_size *size)
{
	uint64_t count;
	int ret = array_count(head, &count);

	(void)max_mem_regions;
	size->out = count * sizeof(uint64_t);
	size->out_offset = sizeof(uint64_t);
	return ret;
}

static int measure_set_array(const void *head, unsigned int max_mem_regions,
			     struct ioctl_size *size)
{
	uint64_t count;
	int ret = array_count(head, &count);

	(void)max_mem_regions;
	size->in = sizeof(count) + count * sizeof(uint64_t);
	return ret;
}

static int measure_mem_table(const void *head, unsigned int max_mem_regions,
			     struct ioctl_size *size)
{
	uint32_t n = get_u32(head, offsetof(struct vhost_memory, nregions));

	if (get_u32(head, offsetof(struct vhost_memory, padding)) != 0)
		return -EOPNOTSUPP;
	if (n > max_mem_regions)
		return -E2BIG;
	size->in = sizeof(struct vhost_memory) +
		   n * sizeof(struct vhost_memory_region);
	return 0;
}

#define NOT_WIRED "refused: vhost-net does not support the worker ioctls"
#define NO_ENDIAN                                                          \
	"refused, as by kernels without CONFIG_VHOST_CROSS_ENDIAN_LEGACY " \
	"(all on x86)"
#define WORDS "word 0 is served, others are zero; at most 16383 words"
#define FORK "stored without effect: threads of the daemon move the frames"

#define FIRST IOCTL_OWNER_FIRST
#define COPY IOCTL_OWNER_AFTER_COPY
#define ABSENT IOCTL_OWNER_ABSENT
#define ANYONE IOCTL_OWNER_ANYONE

/* Rings: the index is checked first, hence a head of 4. */
#define VRING (IOCTL_INDEX)
#define VRING_FD (IOCTL_INDEX | IOCTL_FD)
#define VRING_STOPPED (IOCTL_INDEX | IOCTL_STOPPED)
#define VRING_REFUSED (IOCTL_INDEX | IOCTL_REFUSED)

/* clang-format off */
static const struct ioctl_row rows[] = {
#define R(id, ...) { #id, id, __VA_ARGS__ },
/* ioctl                        head in out owner   flags          measure            since   note */
R(VHOST_GET_FEATURES,              0, 0, 8, ANYONE, 0,             NULL,              "2.6.34", NULL)
R(VHOST_SET_FEATURES,              8, 8, 0, ANYONE, 0,             NULL,              "2.6.34", NULL)
R(VHOST_SET_OWNER,                 0, 0, 0, ANYONE, 0,             NULL,              "2.6.34", NULL)
R(VHOST_RESET_OWNER,               0, 0, 0, FIRST,  0,             NULL,              "2.6.34", NULL)
R(VHOST_SET_MEM_TABLE,             8, 8, 0, FIRST,  0,             measure_mem_table, "2.6.34", "8 bytes and 32 per region; limit: --max-mem-regions")
R(VHOST_SET_LOG_BASE,              8, 8, 0, FIRST,  0,             NULL,              "2.6.34", NULL)
R(VHOST_SET_LOG_FD,                4, 4, 0, FIRST,  IOCTL_FD,      NULL,              "2.6.34", NULL)
R(VHOST_NEW_WORKER,                4, 4, 0, FIRST,  VRING_REFUSED, NULL,              "6.5",    NOT_WIRED)
R(VHOST_FREE_WORKER,               4, 4, 0, FIRST,  VRING_REFUSED, NULL,              "6.5",    NOT_WIRED)
R(VHOST_SET_VRING_NUM,             4, 8, 0, FIRST,  VRING_STOPPED, NULL,              "2.6.34", NULL)
R(VHOST_SET_VRING_ADDR,            4,40, 0, FIRST,  VRING,         NULL,              "2.6.34", NULL)
R(VHOST_SET_VRING_BASE,            4, 8, 0, FIRST,  VRING_STOPPED, NULL,              "2.6.34", NULL)
R(VHOST_GET_VRING_BASE,            4, 4, 8, FIRST,  VRING,         NULL,              "2.6.34", NULL)
R(VHOST_SET_VRING_ENDIAN,          4, 4, 0, FIRST,  VRING_REFUSED, NULL,              "4.2",    NO_ENDIAN)
R(VHOST_GET_VRING_ENDIAN,          4, 4, 0, FIRST,  VRING_REFUSED, NULL,              "4.2",    NO_ENDIAN)
R(VHOST_ATTACH_VRING_WORKER,       4, 4, 0, FIRST,  VRING_REFUSED, NULL,              "6.5",    NOT_WIRED)
R(VHOST_GET_VRING_WORKER,          4, 4, 0, FIRST,  VRING_REFUSED, NULL,              "6.5",    NOT_WIRED)
R(VHOST_SET_VRING_KICK,            4, 8, 0, FIRST,  VRING_FD,      NULL,              "2.6.34", NULL)
R(VHOST_SET_VRING_CALL,            4, 8, 0, FIRST,  VRING_FD,      NULL,              "2.6.34", NULL)
R(VHOST_SET_VRING_ERR,             4, 8, 0, FIRST,  VRING_FD,      NULL,              "2.6.34", NULL)
R(VHOST_SET_VRING_BUSYLOOP_TIMEOUT,4, 8, 0, FIRST,  VRING,         NULL,              "4.6",    NULL)
R(VHOST_GET_VRING_BUSYLOOP_TIMEOUT,4, 4, 8, FIRST,  VRING,         NULL,              "4.6",    NULL)
R(VHOST_SET_BACKEND_FEATURES,      8, 8, 0, ANYONE, 0,             NULL,              "4.20",   NULL)
R(VHOST_GET_BACKEND_FEATURES,      0, 0, 8, ANYONE, 0,             NULL,              "4.20",   NULL)
R(VHOST_NET_SET_BACKEND,           8, 8, 0, COPY,   VRING_FD,      NULL,              "2.6.34", NULL)
R(VHOST_GET_FEATURES_ARRAY,        8, 8, 0, ANYONE, 0,             measure_get_array, "6.17",   WORDS)
R(VHOST_SET_FEATURES_ARRAY,        8, 8, 0, ANYONE, 0,             measure_set_array, "6.17",   WORDS)
R(VHOST_SET_FORK_FROM_OWNER,       1, 1, 0, ABSENT, 0,             NULL,              "6.17",   FORK)
R(VHOST_GET_FORK_FROM_OWNER,       0, 0, 1, ANYONE, 0,             NULL,              "6.17",   FORK)
#undef R
};

static const struct ioctl_row row_unknown = {
	NULL, 0, 4, 4, 0, FIRST, VRING_REFUSED, NULL, "", NULL,
};
/* clang-format on */

static const struct ioctl_row *row_find(uint32_t cmd)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].code == cmd)
			return &rows[i];
	}
	return NULL;
}

const struct ioctl_row *ioctl_row_of(uint32_t cmd)
{
	const struct ioctl_row *row = row_find(cmd);

	return row ? row : &row_unknown;
}

const struct ioctl_row *ioctl_row_at(size_t i)
{
	return i < ARRAY_SIZE(rows) ? &rows[i] : NULL;
}

const char *ioctl_name(uint32_t cmd)
{
	return ioctl_row_of(cmd)->name;
}

int ioctl_owner_check(const struct ioctl_row *row, bool has_owner,
		      bool is_owner)
{
	switch (row->owner) {
	case IOCTL_OWNER_FIRST:
	case IOCTL_OWNER_AFTER_COPY:
		return has_owner && is_owner ? 0 : -EPERM;
	case IOCTL_OWNER_ABSENT:
		return has_owner ? -EBUSY : 0;
	default:
		return 0;
	}
}

void ioctl_fetch_more(const struct ioctl_call *call,
		      const struct ioctl_size *size, struct ioctl_verdict *v)
{
	*v = (struct ioctl_verdict){
		.again = true,
		.fetch = size->in,
		.store_at = call->arg + size->out_offset,
		.store = size->out,
	};
}

/*
 * A fixed argument within one page is fetched as a whole: all or none of its
 * bytes can be read, so a caller cannot see the order of the checks. Otherwise
 * the head is fetched first.
 */
static size_t first_fetch(const struct ioctl_row *row, uint64_t arg)
{
	const uint64_t page = 4096; /* the smallest there is */

	return arg % page + row->in <= page ? row->in : row->head;
}

bool ioctl_first_pass(const struct ioctl_call *call, bool has_owner,
		      bool is_owner, struct ioctl_verdict *v)
{
	const struct ioctl_row *row = ioctl_row_of(call->cmd);
	struct ioctl_size size = { .in = row->in, .out = row->out };
	int ret;

	if (row->owner != IOCTL_OWNER_AFTER_COPY) {
		ret = ioctl_owner_check(row, has_owner, is_owner);
		if (ret < 0) {
			*v = (struct ioctl_verdict){ .error = ret };
			return true;
		}
	}
	if (call->in_len < row->head)
		size.in = first_fetch(row, call->arg);
	else if (row->head || call->out_room >= row->out)
		return false;
	ioctl_fetch_more(call, &size, v);
	return true;
}

/* Whether the whole argument was fetched, and has a valid size. */
static bool argument_is_there(const struct ioctl_row *row,
			      const struct ioctl_call *call,
			      unsigned int max_mem_regions)
{
	struct ioctl_size size = { .in = row->in };

	if (call->in_len < row->head)
		return false;
	if (row->flags & IOCTL_INDEX && get_u32(call->in, 0) >= VDEV_VQS)
		return false;
	if (row->measure && row->measure(call->in, max_mem_regions, &size) < 0)
		return false;
	return call->in_len >= size.in;
}

void ioctl_needs(const struct ioctl_call *call, unsigned int max_mem_regions,
		 struct ioctl_needs *needs)
{
	const struct ioctl_row *row = ioctl_row_of(call->cmd);
	bool complete = argument_is_there(row, call, max_mem_regions);

	*needs = (struct ioctl_needs){
		.owner = row->owner == IOCTL_OWNER_FIRST ||
			 (row->owner == IOCTL_OWNER_AFTER_COPY &&
			  call->in_len >= row->head),
		.set_owner = row->code == VHOST_SET_OWNER,
		.fd = complete && row->flags & IOCTL_FD,
		.maps = complete && row->code == VHOST_SET_MEM_TABLE,
	};
	if (needs->fd)
		needs->fd_number = (int)get_u32(call->in, row->in - 4u);
	if (needs->maps)
		needs->nregions = get_u32(
			call->in, offsetof(struct vhost_memory, nregions));
}

static const char *owner_text(const struct ioctl_row *row)
{
	switch (row->owner) {
	case IOCTL_OWNER_FIRST:
	case IOCTL_OWNER_AFTER_COPY:
		return "owner";
	case IOCTL_OWNER_ABSENT:
		return "none yet";
	default:
		return "anyone";
	}
}

void ioctl_print_table(FILE *out)
{
	fputs("| ioctl | code | in | out | caller | fd | served | since Linux "
	      "| note |\n"
	      "|---|---|---|---|---|---|---|---|---|\n",
	      out);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct ioctl_row *row = &rows[i];
		bool more_out = row->measure == measure_get_array;

		fprintf(out, "| %s | 0x%08x | %u%s | %u%s | %s | %s | %s | %s ",
			row->name, row->code, row->in,
			row->measure && !more_out ? "+" : "", row->out,
			more_out ? "+" : "", owner_text(row),
			row->flags & IOCTL_FD ? "yes" : "",
			row->flags & IOCTL_REFUSED ? "no" : "yes", row->since);
		fprintf(out, "| %s |\n", row->note ? row->note : "");
	}
}
