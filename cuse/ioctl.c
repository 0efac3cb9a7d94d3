/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ioctl.c has the handlers of the ioctls, and runs the passes of a call. Its
 * input is hostile: a command, an address and the bytes at that address. The
 * row of the table (ioctl_table.c) says how many bytes are copied in and out,
 * which callers are allowed, and what is checked before more bytes are copied.
 * The passes of ioctl_run() follow from the row:
 *
 *   owner rule -> head of the argument -> checks -> rest of it -> handler
 *
 * That is the kernel's order, and so is the order of errnos: EPERM of a call
 * that needs the owner comes before EFAULT of its argument; ENOBUFS and EBUSY
 * of a ring come before EFAULT of the bytes after the index. CUSE itself
 * replies EFAULT if it cannot fetch an argument. So an argument is fetched in
 * two steps where a caller could see the difference: where it crosses a page.
 */
#include "ioctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi.h"
#include "bytes.h"

/* Input and output of a handler. */
struct ioctl_op {
	struct ioctl_target *t;
	const struct ioctl_row *row;
	const struct call_facts *facts;
	const uint8_t *in;
	size_t in_len;
	uint8_t *out;
	size_t out_len; /* set by the handler, at most what it needed */
};

/* The argument can be unaligned and shorter than a struct, so it is copied. */
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

/* The reply of GET_VRING_BASE and GET_VRING_BUSYLOOP_TIMEOUT. */
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

/* 64-bit words of feature bits that exist (Linux: VIRTIO_FEATURES_U64S). */
#define FEATURE_WORDS 2

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

/* Duplicates a descriptor of the facts for the device; copies values below 0.
 */
static int dup_fact(int given, int *fd)
{
	*fd = given < 0 ? given : fcntl(given, F_DUPFD_CLOEXEC, 0);
	return given >= 0 && *fd < 0 ? -ENOMEM : 0;
}

int ioctl_take_memory(struct ioctl_target *t, int mem_fd)
{
	struct aspace *as = vdev_aspace(t->vdev);
	int fd, ret;

	if (mem_fd < 0 || !as || aspace_fd(as) >= 0)
		return 0;
	ret = dup_fact(mem_fd, &fd);
	if (ret < 0)
		return ret;
	ret = aspace_set_file(as, fd);
	if (ret < 0)
		close(fd);
	return ret;
}

/* Makes the caller the owner: its address space is reached through the memory
 * file of the facts, or by mappings only. */
static int own(struct ioctl_target *t, const struct call_facts *facts)
{
	struct aspace *as;
	int mem_fd, ret = dup_fact(facts->mem_fd, &mem_fd);

	if (ret < 0)
		return ret;
	ret = aspace_new(mem_fd, &as);
	if (ret < 0) {
		if (mem_fd >= 0)
			close(mem_fd);
		return ret;
	}
	aspace_set_fault_in(as, t->fault_in, t->ctx);
	ret = vdev_set_owner(t->vdev, as);
	if (ret < 0)
		aspace_free(as);
	else
		t->owner = facts->pid;
	return ret;
}

static int run_set_owner(struct ioctl_op *op)
{
	if (vdev_has_owner(op->t->vdev))
		return -EBUSY;
	if (op->facts->owner_error < 0)
		return op->facts->owner_error;
	return own(op->t, op->facts);
}

static int run_reset_owner(struct ioctl_op *op)
{
	int ret = vdev_reset_owner(op->t->vdev);

	if (ret < 0)
		return ret;
	op->t->fork_from_owner = true;
	op->t->owner = 0;
	return 0;
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

/* Memory that could not be mapped is copied, if there is a memory file. Without
 * one the call fails, and @maps are dropped: a file was not needed, because all
 * regions were found to be mappable. */
static int check_maps(struct ioctl_target *t, struct aspace_map **maps,
		      size_t nmaps, size_t nfound)
{
	bool copies = aspace_fd(vdev_aspace(t->vdev)) >= 0;

	if (nmaps == nfound)
		return 0;
	log_limited(t->limit, t->tag,
		    copies ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING,
		    "%zu of %zu mappings cannot be made%s", nfound - nmaps,
		    nfound, copies ? "; copied" : "");
	if (copies)
		return 0;
	for (size_t i = 0; i < nmaps; i++)
		aspace_map_put(maps[i]);
	return -ENOMEM;
}

static int run_set_mem_table(struct ioctl_op *op)
{
	const struct owner_maps *found = &op->facts->maps;
	struct vdev *v = op->t->vdev;
	struct vhost_memory_region *regions;
	struct aspace_map **maps = NULL;
	size_t n = (op->in_len - MEM_HEADER) / MEM_REGION;
	size_t nmaps = 0;
	int ret = op->facts->maps_error;

	regions = calloc(n + 1, MEM_REGION); /* aligned, which @in is not */
	if (!regions)
		return -ENOMEM;
	memcpy(regions, op->in + MEM_HEADER, n * MEM_REGION);
	if (ret == 0)
		ret = owner_maps_apply(found, vdev_aspace(v), &maps, &nmaps);
	if (ret == 0)
		ret = check_maps(op->t, maps, nmaps, found->nmaps);
	if (ret == 0)
		ret = vdev_set_mem_table(v, regions, n, maps, nmaps);
	free(maps);
	free(regions);
	return ret;
}

static int run_set_log_base(struct ioctl_op *op)
{
	return vdev_set_log_base(op->t->vdev, in_u64(op, 0));
}

/* @fd: a duplicate of the descriptor that the call names. */
static int fact_fd(const struct ioctl_op *op, int *fd)
{
	if (op->facts->fd_error < 0)
		return op->facts->fd_error;
	return dup_fact(op->facts->fd, fd);
}

static int run_set_log_fd(struct ioctl_op *op)
{
	int fd, ret = fact_fd(op, &fd);

	return ret < 0 ? ret : vdev_set_log_fd(op->t->vdev, fd);
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

/* The calls that give a ring a descriptor. */
static int op_vring_fd(struct ioctl_op *op,
		       int (*set)(struct vdev *v, uint32_t qi, int fd))
{
	int fd, ret = fact_fd(op, &fd);

	return ret < 0 ? ret : set(op->t->vdev, in_u32(op, 0), fd);
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

/* One for each row of the table without IOCTL_REFUSED. */
static const struct {
	uint32_t cmd;
	int (*run)(struct ioctl_op *op);
} handlers[] = {
	{ VHOST_GET_FEATURES, run_get_features },
	{ VHOST_SET_FEATURES, run_set_features },
	{ VHOST_SET_OWNER, run_set_owner },
	{ VHOST_RESET_OWNER, run_reset_owner },
	{ VHOST_SET_MEM_TABLE, run_set_mem_table },
	{ VHOST_SET_LOG_BASE, run_set_log_base },
	{ VHOST_SET_LOG_FD, run_set_log_fd },
	{ VHOST_SET_VRING_NUM, run_set_num },
	{ VHOST_SET_VRING_ADDR, run_set_addr },
	{ VHOST_SET_VRING_BASE, run_set_base },
	{ VHOST_GET_VRING_BASE, run_get_base },
	{ VHOST_SET_VRING_KICK, run_set_kick },
	{ VHOST_SET_VRING_CALL, run_set_call },
	{ VHOST_SET_VRING_ERR, run_set_err },
	{ VHOST_SET_VRING_BUSYLOOP_TIMEOUT, run_set_busyloop },
	{ VHOST_GET_VRING_BUSYLOOP_TIMEOUT, run_get_busyloop },
	{ VHOST_SET_BACKEND_FEATURES, run_set_backend_features },
	{ VHOST_GET_BACKEND_FEATURES, run_get_backend_features },
	{ VHOST_NET_SET_BACKEND, run_set_backend },
	{ VHOST_GET_FEATURES_ARRAY, run_get_array },
	{ VHOST_SET_FEATURES_ARRAY, run_set_array },
	{ VHOST_SET_FORK_FROM_OWNER, run_set_fork },
	{ VHOST_GET_FORK_FROM_OWNER, run_get_fork },
};

static int handle(struct ioctl_op *op)
{
	int ret = ioctl_take_memory(op->t, op->facts->mem_fd);

	if (ret < 0)
		return ret;
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		if (handlers[i].cmd == op->row->code)
			return handlers[i].run(op);
	return -ENOTTY;
}

static int owner_check(const struct ioctl_op *op)
{
	return ioctl_owner_check(op->row, vdev_has_owner(op->t->vdev),
				 op->facts->is_owner);
}

/* Checks that need only the head of the argument. */
static int check_head(const struct ioctl_op *op, struct ioctl_size *size)
{
	const struct ioctl_row *row = op->row;
	int ret;

	if (row->owner == IOCTL_OWNER_AFTER_COPY) {
		ret = owner_check(op);
		if (ret < 0)
			return ret;
	}
	if (row->flags & IOCTL_INDEX) {
		uint32_t index = in_u32(op, 0);

		ret = vdev_check_vq(op->t->vdev, index);
		if (ret < 0)
			return ret;
		if ((row->flags & IOCTL_STOPPED) &&
		    vdev_vq_active(op->t->vdev, index))
			return -EBUSY;
	}
	if (row->flags & IOCTL_REFUSED)
		return -ENOTTY;
	return row->measure ? row->measure(op->in, op->t->max_mem_regions, size)
			    : 0;
}

/* A pass that has the head. Return: true: @v asks for another pass; false: @ret
 * is the result of the call. */
static bool pass(struct ioctl_op *op, const struct ioctl_call *call,
		 struct ioctl_verdict *v, int *ret)
{
	const struct ioctl_row *row = op->row;
	struct ioctl_size size = { .in = row->in, .out = row->out };

	*ret = check_head(op, &size);
	if (*ret < 0)
		return false;
	if (call->in_len < size.in || call->out_room < size.out) {
		/* The caller has changed the size since the last pass. */
		if (row->measure && (call->in_len > row->in || call->out_room))
			*ret = -EFAULT;
		else
			ioctl_fetch_more(call, &size, v);
		return *ret == 0;
	}
	op->in_len = size.in;
	*ret = handle(op);
	return false;
}

void ioctl_run(struct ioctl_target *t, const struct ioctl_call *call,
	       const struct call_facts *facts, struct ioctl_verdict *v)
{
	struct ioctl_op op = {
		.t = t,
		.row = ioctl_row_of(call->cmd),
		.facts = facts,
		.in = call->in,
		.in_len = call->in_len,
		.out = call->out,
	};
	int ret;

	if (ioctl_first_pass(call, vdev_has_owner(t->vdev), facts->is_owner,
			     v) ||
	    pass(&op, call, v, &ret))
		return;
	*v = (struct ioctl_verdict){ .error = ret };
	if (ret == 0)
		v->out_len = op.out_len;
}
