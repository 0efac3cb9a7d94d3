/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One of the places that read hostile bytes: a command, an address and what
 * the caller keeps there. A row says how many bytes are copied in and out, who
 * may call, and how far the call must be judged before more is copied; the
 * passes (ioctl_run) follow from the row alone:
 *
 *   owner rule -> head of the argument -> judge -> rest of it -> handler
 *
 * That is the kernel's order, and with it the order of errnos: EPERM of a call
 * that needs the owner comes before EFAULT of its argument, ENOBUFS and EBUSY
 * of a ring before EFAULT of what follows the index. CUSE answers EFAULT itself
 * when it cannot fetch, so an argument is fetched in two steps where the order
 * can be told from outside, which is where it crosses a page.
 */
#include "ioctl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "abi.h"
#include "bytes.h"

/* When it is decided whether the caller may call at all. */
enum owner_rule {
	OWNER_FIRST,      /* before a byte of the argument is read */
	OWNER_AFTER_COPY, /* the argument is copied before (SET_BACKEND) */
	OWNER_ABSENT,     /* EBUSY once there is an owner */
	OWNER_ANYONE,
};

enum row_flags {
	ROW_FD = 1,      /* the argument holds a descriptor number */
	ROW_INDEX = 2,   /* the argument starts with a ring's index */
	ROW_STOPPED = 4, /* EBUSY while the ring has a backend */
	ROW_REFUSED = 8, /* ENOTTY, once all other rules are satisfied */
};

/* How much a call moves, once its head is known. */
struct need {
	size_t in;
	size_t out;
	size_t out_offset; /* from the argument's address */
};

/* One pass, as judges and handlers see it. */
struct ioctl_op {
	struct ioctl_target *t;
	const struct ioctl_row *row;
	const uint8_t *in;
	size_t in_len;
	uint8_t *out;
	size_t out_len; /* set by the handler, at most what it needed */
};

struct ioctl_row {
	const char *name;
	uint32_t code;
	uint16_t head; /* bytes judged before the rest is copied */
	uint16_t in;   /* bytes copied from the argument, fixed part */
	uint16_t out;  /* bytes copied to it, fixed part */
	uint8_t owner; /* enum owner_rule */
	uint8_t flags; /* enum row_flags */
	/* variable size, from the head; NULL: @in and @out are all */
	int (*measure)(const struct ioctl_op *op, struct need *need);
	int (*run)(struct ioctl_op *op);
	const char *since; /* Linux version */
	const char *note;  /* what is decided here; NULL: as the kernel */
};

/* The argument may be unaligned and shorter than a struct: copy. */
static uint32_t in_u32(const struct ioctl_op *op, size_t offset)
{
	uint32_t v;

	memcpy(&v, op->in + offset, sizeof(v));
	return v;
}

static uint64_t in_u64(const struct ioctl_op *op, size_t offset)
{
	uint64_t v;

	memcpy(&v, op->in + offset, sizeof(v));
	return v;
}

static void op_put(struct ioctl_op *op, const void *data, size_t len)
{
	memcpy(op->out + op->out_len, data, len);
	op->out_len += len;
}

/* A struct that starts with the index and ends with one number. */
static void put_state(struct ioctl_op *op, uint32_t index, uint32_t num)
{
	struct vhost_vring_state s = { .index = index, .num = num };

	op_put(op, &s, sizeof(s));
}

static int run_get_features(struct ioctl_op *op)
{
	uint64_t features = vdev_offered(op->t->vdev, 0);

	op_put(op, &features, sizeof(features));
	return 0;
}

static int run_set_features(struct ioctl_op *op)
{
	return vdev_set_features(op->t->vdev, in_u64(op, 0));
}

/* Words that exist: what virtio calls VIRTIO_FEATURES_U64S. */
#define FEATURE_WORDS 2

/* Words that one call of CUSE can move, with the count before them. */
#define ARRAY_MAX ((IOCTL_DATA_MAX - sizeof(uint64_t)) / sizeof(uint64_t))

/*
 * The kernel looks at as many words as the caller says; more than fit a call
 * here are EFAULT, as they are there unless the caller really has them.
 */
static int array_count(const struct ioctl_op *op, uint64_t *count)
{
	*count = in_u64(op, 0);
	return *count > ARRAY_MAX ? -EFAULT : 0;
}

static int measure_get_array(const struct ioctl_op *op, struct need *need)
{
	uint64_t count;
	int ret = array_count(op, &count);

	need->out = count * sizeof(uint64_t);
	need->out_offset = sizeof(uint64_t);
	return ret;
}

static int run_get_array(struct ioctl_op *op)
{
	uint64_t count = in_u64(op, 0);

	for (uint64_t i = 0; i < count; i++) {
		uint64_t word =
			i < FEATURE_WORDS ? vdev_offered(op->t->vdev, i) : 0;

		op_put(op, &word, sizeof(word));
	}
	return 0;
}

static int measure_set_array(const struct ioctl_op *op, struct need *need)
{
	uint64_t count;
	int ret = array_count(op, &count);

	need->in = sizeof(count) + count * sizeof(uint64_t);
	return ret;
}

static int run_set_array(struct ioctl_op *op)
{
	uint64_t count = in_u64(op, 0);
	uint64_t word0 = count ? in_u64(op, sizeof(count)) : 0;

	for (uint64_t i = 1; i < count; i++) {
		uint64_t word = in_u64(op, sizeof(count) * (i + 1));
		uint64_t ours =
			i < FEATURE_WORDS ? vdev_offered(op->t->vdev, i) : 0;

		if (word & ~ours)
			return -EOPNOTSUPP;
	}
	return vdev_set_features(op->t->vdev, word0);
}

static int run_get_backend_features(struct ioctl_op *op)
{
	uint64_t features = vdev_backend_features();

	op_put(op, &features, sizeof(features));
	return 0;
}

static int run_set_backend_features(struct ioctl_op *op)
{
	return vdev_set_backend_features(op->t->vdev, in_u64(op, 0));
}

static int run_set_owner(struct ioctl_op *op)
{
	if (vdev_has_owner(op->t->vdev))
		return -EBUSY;
	return op->t->ops->set_owner(op->t->ctx);
}

static int run_reset_owner(struct ioctl_op *op)
{
	int ret = op->t->ops->reset_owner(op->t->ctx);

	if (ret == 0)
		op->t->fork_from_owner = true;
	return ret;
}

static int run_set_fork(struct ioctl_op *op)
{
	if (op->in[0] > 1)
		return -EINVAL;
	op->t->fork_from_owner = op->in[0];
	return 0;
}

static int run_get_fork(struct ioctl_op *op)
{
	uint8_t value = op->t->fork_from_owner;

	op_put(op, &value, sizeof(value));
	return 0;
}

#define MEM_HEADER sizeof(struct vhost_memory)
#define MEM_REGION sizeof(struct vhost_memory_region)

static int measure_mem_table(const struct ioctl_op *op, struct need *need)
{
	uint32_t n = in_u32(op, offsetof(struct vhost_memory, nregions));

	if (in_u32(op, offsetof(struct vhost_memory, padding)) != 0)
		return -EOPNOTSUPP;
	if (n > op->t->max_mem_regions)
		return -E2BIG;
	need->in = MEM_HEADER + n * MEM_REGION;
	return 0;
}

static int run_set_mem_table(struct ioctl_op *op)
{
	struct ioctl_target *t = op->t;
	struct vhost_memory_region *regions;
	struct aspace_map **maps = NULL;
	size_t n = (op->in_len - MEM_HEADER) / MEM_REGION;
	size_t nmaps = 0;
	int ret;

	regions = calloc(n + 1, MEM_REGION); /* aligned, unlike @in */
	if (!regions)
		return -ENOMEM;
	memcpy(regions, op->in + MEM_HEADER, n * MEM_REGION);
	ret = t->ops->find_maps(t->ctx, regions, n, &maps, &nmaps);
	if (ret == 0)
		ret = vdev_set_mem_table(t->vdev, regions, n, maps, nmaps);
	free(maps);
	free(regions);
	return ret;
}

static int run_set_log_base(struct ioctl_op *op)
{
	return vdev_set_log_base(op->t->vdev, in_u64(op, 0));
}

static int run_set_log_fd(struct ioctl_op *op)
{
	int fd, ret;

	ret = op->t->ops->fetch_fd(op->t->ctx, (int)in_u32(op, 0), &fd);
	if (ret < 0)
		return ret;
	return vdev_set_log_fd(op->t->vdev, fd);
}

static int run_set_num(struct ioctl_op *op)
{
	return vdev_set_vring_num(op->t->vdev, in_u32(op, 0), in_u32(op, 4));
}

static int run_set_base(struct ioctl_op *op)
{
	return vdev_set_vring_base(op->t->vdev, in_u32(op, 0), in_u32(op, 4));
}

static int run_get_base(struct ioctl_op *op)
{
	uint32_t index = in_u32(op, 0), base;
	int ret = vdev_get_vring_base(op->t->vdev, index, &base);

	if (ret == 0)
		put_state(op, index, base);
	return ret;
}

static int run_set_addr(struct ioctl_op *op)
{
	struct vhost_vring_addr addr;

	memcpy(&addr, op->in, sizeof(addr));
	return vdev_set_vring_addr(op->t->vdev, &addr);
}

static int run_set_busyloop(struct ioctl_op *op)
{
	return vdev_set_vring_busyloop(op->t->vdev, in_u32(op, 0),
				       in_u32(op, 4));
}

static int run_get_busyloop(struct ioctl_op *op)
{
	uint32_t index = in_u32(op, 0), us;
	int ret = vdev_get_vring_busyloop(op->t->vdev, index, &us);

	if (ret == 0)
		put_state(op, index, us);
	return ret;
}

/* The four calls that give a ring a descriptor. */
static int op_vring_fd(struct ioctl_op *op,
		       int (*set)(struct vdev *v, uint32_t qi, int fd))
{
	int fd, ret;

	ret = op->t->ops->fetch_fd(op->t->ctx, (int)in_u32(op, 4), &fd);
	if (ret < 0)
		return ret;
	return set(op->t->vdev, in_u32(op, 0), fd);
}

static int run_set_kick(struct ioctl_op *op)
{
	return op_vring_fd(op, vdev_set_vring_kick);
}

static int run_set_call(struct ioctl_op *op)
{
	return op_vring_fd(op, vdev_set_vring_call);
}

static int run_set_err(struct ioctl_op *op)
{
	return op_vring_fd(op, vdev_set_vring_err);
}

static int run_set_backend(struct ioctl_op *op)
{
	return op_vring_fd(op, vdev_net_set_backend);
}

#define NOT_WIRED "refused: vhost-net does not support the worker ioctls"
#define NO_ENDIAN                                                          \
	"refused, as by kernels without CONFIG_VHOST_CROSS_ENDIAN_LEGACY " \
	"(all on x86)"
#define WORDS "word 0 is served, others are zero; at most 16383 words"
#define FORK "stored without effect: threads of the daemon move the frames"

/* Rings: the index is judged first, hence a head of 4. */
#define VRING (ROW_INDEX)
#define VRING_FD (ROW_INDEX | ROW_FD)
#define VRING_STOPPED (ROW_INDEX | ROW_STOPPED)
#define VRING_REFUSED (ROW_INDEX | ROW_REFUSED)

/* clang-format off */
static const struct ioctl_row rows[] = {
#define R(id, ...) { #id, id, __VA_ARGS__ },
/* ioctl                        head in out owner             flags          measure            handler                   since   note */
R(VHOST_GET_FEATURES,              0, 0, 8, OWNER_ANYONE,     0,             NULL,              run_get_features,         "2.6.34", NULL)
R(VHOST_SET_FEATURES,              8, 8, 0, OWNER_ANYONE,     0,             NULL,              run_set_features,         "2.6.34", NULL)
R(VHOST_SET_OWNER,                 0, 0, 0, OWNER_ANYONE,     0,             NULL,              run_set_owner,            "2.6.34", NULL)
R(VHOST_RESET_OWNER,               0, 0, 0, OWNER_FIRST,      0,             NULL,              run_reset_owner,          "2.6.34", NULL)
R(VHOST_SET_MEM_TABLE,             8, 8, 0, OWNER_FIRST,      0,             measure_mem_table, run_set_mem_table,        "2.6.34", "8 bytes and 32 per region; limit: --max-mem-regions")
R(VHOST_SET_LOG_BASE,              8, 8, 0, OWNER_FIRST,      0,             NULL,              run_set_log_base,         "2.6.34", NULL)
R(VHOST_SET_LOG_FD,                4, 4, 0, OWNER_FIRST,      ROW_FD,        NULL,              run_set_log_fd,           "2.6.34", NULL)
R(VHOST_NEW_WORKER,                4, 4, 0, OWNER_FIRST,      VRING_REFUSED, NULL,              NULL,                     "6.5",    NOT_WIRED)
R(VHOST_FREE_WORKER,               4, 4, 0, OWNER_FIRST,      VRING_REFUSED, NULL,              NULL,                     "6.5",    NOT_WIRED)
R(VHOST_SET_VRING_NUM,             4, 8, 0, OWNER_FIRST,      VRING_STOPPED, NULL,              run_set_num,              "2.6.34", NULL)
R(VHOST_SET_VRING_ADDR,            4,40, 0, OWNER_FIRST,      VRING,         NULL,              run_set_addr,             "2.6.34", NULL)
R(VHOST_SET_VRING_BASE,            4, 8, 0, OWNER_FIRST,      VRING_STOPPED, NULL,              run_set_base,             "2.6.34", NULL)
R(VHOST_GET_VRING_BASE,            4, 4, 8, OWNER_FIRST,      VRING,         NULL,              run_get_base,             "2.6.34", NULL)
R(VHOST_SET_VRING_ENDIAN,          4, 4, 0, OWNER_FIRST,      VRING_REFUSED, NULL,              NULL,                     "4.2",    NO_ENDIAN)
R(VHOST_GET_VRING_ENDIAN,          4, 4, 0, OWNER_FIRST,      VRING_REFUSED, NULL,              NULL,                     "4.2",    NO_ENDIAN)
R(VHOST_ATTACH_VRING_WORKER,       4, 4, 0, OWNER_FIRST,      VRING_REFUSED, NULL,              NULL,                     "6.5",    NOT_WIRED)
R(VHOST_GET_VRING_WORKER,          4, 4, 0, OWNER_FIRST,      VRING_REFUSED, NULL,              NULL,                     "6.5",    NOT_WIRED)
R(VHOST_SET_VRING_KICK,            4, 8, 0, OWNER_FIRST,      VRING_FD,      NULL,              run_set_kick,             "2.6.34", NULL)
R(VHOST_SET_VRING_CALL,            4, 8, 0, OWNER_FIRST,      VRING_FD,      NULL,              run_set_call,             "2.6.34", NULL)
R(VHOST_SET_VRING_ERR,             4, 8, 0, OWNER_FIRST,      VRING_FD,      NULL,              run_set_err,              "2.6.34", NULL)
R(VHOST_SET_VRING_BUSYLOOP_TIMEOUT,4, 8, 0, OWNER_FIRST,      VRING,         NULL,              run_set_busyloop,         "4.6",    NULL)
R(VHOST_GET_VRING_BUSYLOOP_TIMEOUT,4, 4, 8, OWNER_FIRST,      VRING,         NULL,              run_get_busyloop,         "4.6",    NULL)
R(VHOST_SET_BACKEND_FEATURES,      8, 8, 0, OWNER_ANYONE,     0,             NULL,              run_set_backend_features, "4.20",   NULL)
R(VHOST_GET_BACKEND_FEATURES,      0, 0, 8, OWNER_ANYONE,     0,             NULL,              run_get_backend_features, "4.20",   NULL)
R(VHOST_NET_SET_BACKEND,           8, 8, 0, OWNER_AFTER_COPY, VRING_FD,      NULL,              run_set_backend,          "2.6.34", NULL)
R(VHOST_GET_FEATURES_ARRAY,        8, 8, 0, OWNER_ANYONE,     0,             measure_get_array, run_get_array,            "6.17",   WORDS)
R(VHOST_SET_FEATURES_ARRAY,        8, 8, 0, OWNER_ANYONE,     0,             measure_set_array, run_set_array,            "6.17",   WORDS)
R(VHOST_SET_FORK_FROM_OWNER,       1, 1, 0, OWNER_ABSENT,     0,             NULL,              run_set_fork,             "6.17",   FORK)
R(VHOST_GET_FORK_FROM_OWNER,       0, 0, 1, OWNER_ANYONE,     0,             NULL,              run_get_fork,             "6.17",   FORK)
#undef R
};

/* The kernel asks the ring code last, so an unknown command is one of a ring. */
static const struct ioctl_row row_unknown = {
	NULL, 0, 4, 4, 0, OWNER_FIRST, VRING_REFUSED, NULL, NULL, "", NULL,
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

const char *ioctl_name(uint32_t cmd)
{
	const struct ioctl_row *row = row_find(cmd);

	return row ? row->name : NULL;
}

static int owner_check(const struct ioctl_target *t, enum owner_rule rule)
{
	switch (rule) {
	case OWNER_FIRST:
	case OWNER_AFTER_COPY:
		if (!vdev_has_owner(t->vdev) || !t->ops->is_owner(t->ctx))
			return -EPERM;
		return 0;
	case OWNER_ABSENT:
		return vdev_has_owner(t->vdev) ? -EBUSY : 0;
	case OWNER_ANYONE:
		break;
	}
	return 0;
}

/* What the head alone decides. */
static int check_head(const struct ioctl_op *op, struct need *need)
{
	const struct ioctl_row *row = op->row;
	int ret;

	if (row->owner == OWNER_AFTER_COPY) {
		ret = owner_check(op->t, row->owner);
		if (ret < 0)
			return ret;
	}
	if (row->flags & ROW_INDEX) {
		uint32_t index = in_u32(op, 0);

		ret = vdev_check_vq(op->t->vdev, index);
		if (ret < 0)
			return ret;
		if ((row->flags & ROW_STOPPED) &&
		    vdev_vq_active(op->t->vdev, index))
			return -EBUSY;
	}
	if (row->flags & ROW_REFUSED)
		return -ENOTTY;
	return row->measure ? row->measure(op, need) : 0;
}

/*
 * All of a fixed argument at once if it lies in one page: then its bytes can be
 * read all or none, and nobody can tell in which order they were. Else what
 * must be judged first.
 */
static size_t first_fetch(const struct ioctl_row *row, uint64_t arg)
{
	const uint64_t page = 4096; /* the smallest there is */

	return arg % page + row->in <= page ? row->in : row->head;
}

static bool fetch(struct ioctl_verdict *v, const struct ioctl_call *call,
		  const struct need *need)
{
	v->again = true;
	v->fetch = need->in;
	v->store_at = call->arg + need->out_offset;
	v->store = need->out;
	return true;
}

/* True: @v asks for another pass. False: @ret is the result. */
static bool pass(struct ioctl_op *op, const struct ioctl_call *call,
		 struct ioctl_verdict *v, int *ret)
{
	const struct ioctl_row *row = op->row;
	struct need need = { .in = row->in, .out = row->out };

	if (row->owner != OWNER_AFTER_COPY) {
		*ret = owner_check(op->t, row->owner);
		if (*ret < 0)
			return false;
	}
	if (call->in_len < row->head) {
		need.in = first_fetch(row, call->arg);
		return fetch(v, call, &need);
	}
	*ret = check_head(op, &need);
	if (*ret < 0)
		return false;
	if (call->in_len < need.in || call->out_room < need.out) {
		/* A call that was told its size has changed it since. */
		if (row->measure && (call->in_len > row->in || call->out_room))
			*ret = -EFAULT;
		else
			return fetch(v, call, &need);
		return false;
	}
	op->in_len = need.in;
	*ret = row->run(op);
	return false;
}

void ioctl_run(struct ioctl_target *t, const struct ioctl_call *call,
	       struct ioctl_verdict *v)
{
	struct ioctl_op op = {
		.t = t,
		.row = row_find(call->cmd),
		.in = call->in,
		.in_len = call->in_len,
		.out = call->out,
	};
	int ret;

	if (!op.row)
		op.row = &row_unknown;
	memset(v, 0, sizeof(*v));
	if (pass(&op, call, v, &ret))
		return;
	v->error = ret;
	if (ret == 0)
		v->out_len = op.out_len;
}

static const char *owner_text(enum owner_rule rule)
{
	switch (rule) {
	case OWNER_FIRST:
	case OWNER_AFTER_COPY:
		return "owner";
	case OWNER_ABSENT:
		return "none yet";
	case OWNER_ANYONE:
		break;
	}
	return "anyone";
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
			more_out ? "+" : "", owner_text(row->owner),
			row->flags & ROW_FD ? "yes" : "",
			row->flags & ROW_REFUSED ? "no" : "yes", row->since);
		fprintf(out, "| %s |\n", row->note ? row->note : "");
	}
}
