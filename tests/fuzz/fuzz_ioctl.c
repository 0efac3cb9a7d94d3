/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ioctl table: the input is a sequence of calls by several callers on one
 * device. The harness stands for CUSE and for the caller: it does pass after
 * pass with what the table asked for, though not always with all of it, and
 * the argument may say something else the second time.
 *
 * What must hold: a call ends after a few passes; a pass asks for no more than
 * CUSE moves; results are errnos that CUSE can carry; no descriptor is lost.
 */
#include "fuzz.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "fuzzport.h"
#include "inline_worker.h"
#include "ioctl.h"
#include "vdev_priv.h"
#include "abi.h"

#define CALLS_MAX 40
#define PASSES_MAX 4
#define UVA 0x10000u /* what the caller has, besides the argument */
#define MEM 0x8000u

static const uint32_t commands[] = {
	VHOST_GET_FEATURES,
	VHOST_SET_FEATURES,
	VHOST_SET_OWNER,
	VHOST_RESET_OWNER,
	VHOST_SET_MEM_TABLE,
	VHOST_SET_LOG_BASE,
	VHOST_SET_LOG_FD,
	VHOST_NEW_WORKER,
	VHOST_FREE_WORKER,
	VHOST_SET_VRING_NUM,
	VHOST_SET_VRING_ADDR,
	VHOST_SET_VRING_BASE,
	VHOST_GET_VRING_BASE,
	VHOST_SET_VRING_ENDIAN,
	VHOST_GET_VRING_ENDIAN,
	VHOST_ATTACH_VRING_WORKER,
	VHOST_GET_VRING_WORKER,
	VHOST_SET_VRING_KICK,
	VHOST_SET_VRING_CALL,
	VHOST_SET_VRING_ERR,
	VHOST_SET_VRING_BUSYLOOP_TIMEOUT,
	VHOST_GET_VRING_BUSYLOOP_TIMEOUT,
	VHOST_SET_BACKEND_FEATURES,
	VHOST_GET_BACKEND_FEATURES,
	VHOST_NET_SET_BACKEND,
	VHOST_GET_FEATURES_ARRAY,
	VHOST_SET_FEATURES_ARRAY,
	VHOST_SET_FORK_FROM_OWNER,
	VHOST_GET_FORK_FROM_OWNER,
};

static struct worker *worker;
static int event;

/* Who calls, and what its next call finds. */
struct caller {
	struct vdev *v;
	struct input *in;
	bool is_owner;
	bool fail; /* the next reach into it fails */
};

static struct aspace_map *map_memory(void)
{
	void *p = mmap(NULL, MEM, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct aspace_map *map;

	must(p != MAP_FAILED);
	map = aspace_map_new(UVA, MEM, p);
	must(map);
	return map;
}

static bool op_is_owner(void *ctx)
{
	struct caller *c = ctx;

	must(vdev_has_owner(c->v));
	return c->is_owner;
}

static int op_set_owner(void *ctx)
{
	struct caller *c = ctx;
	struct aspace *as;
	int ret;

	if (c->fail)
		return -ENOMEM;
	must(aspace_new(-1, &as) == 0);
	ret = vdev_set_owner(c->v, as);
	must(ret == 0); /* EBUSY was for the table to say */
	return ret;
}

static int op_reset_owner(void *ctx)
{
	struct caller *c = ctx;

	must(vdev_has_owner(c->v) && c->is_owner);
	return vdev_reset_owner(c->v);
}

static int op_fetch_fd(void *ctx, int number, int *fd)
{
	struct caller *c = ctx;

	if (c->fail)
		return -ESRCH;
	if (number == -1)
		*fd = VDEV_FD_NONE;
	else if (number & 1)
		*fd = dup(event);
	else if (number & 2)
		*fd = dup(STDERR_FILENO);
	else
		*fd = VDEV_FD_BAD;
	must(*fd >= -2);
	return 0;
}

static int op_find_maps(void *ctx, const struct vhost_memory_region *regions,
			size_t n, struct aspace_map ***out, size_t *nout)
{
	struct caller *c = ctx;
	must(vdev_has_owner(c->v) && n <= 64);
	for (size_t i = 0; i < n; i++) {
		volatile struct vhost_memory_region r = regions[i];

		(void)r;
	}
	if (c->fail)
		return -ENOMEM;
	*out = malloc(sizeof(**out));
	must(*out);
	(*out)[0] = map_memory();
	*nout = 1;
	return 0;
}

static const struct ioctl_ops caller_ops = {
	.is_owner = op_is_owner,
	.set_owner = op_set_owner,
	.reset_owner = op_reset_owner,
	.fetch_fd = op_fetch_fd,
	.find_maps = op_find_maps,
};

/* Numbers with a meaning here and there, so that calls succeed, too. */
static void make_argument(struct input *in, uint8_t *arg, size_t len)
{
	uint8_t how = in_u8(in);
	size_t given = in_u8(in);

	memset(arg, how & 1 ? 0xff : 0, len);
	in_bytes(in, arg, MIN(len, given));
	for (size_t at = 0; how & 2 && at + 32 <= len && at < 4096; at += 32) {
		uint64_t uva = UVA + arg[at] * 64u;

		memcpy(arg + at + 16, &uva, sizeof(uva));
		memcpy(arg + at + 24, &uva, sizeof(uva));
	}
}

static uint32_t command(struct input *in)
{
	uint8_t i = in_u8(in);

	if (i == 0xff)
		return in_u32(in);
	return commands[i % ARRAY_SIZE(commands)];
}

/* One call, as CUSE does it. */
static void call(struct ioctl_target *t, struct caller *c, struct input *in)
{
	uint32_t cmd = command(in);
	uint8_t how = in_u8(in);
	struct ioctl_call call = { .cmd = cmd, .arg = in_u16(in) };
	struct ioctl_verdict v;
	unsigned int passes = 0;

	c->is_owner = how & 0xf;
	c->fail = (how & 0xf0) == 0xf0;
	for (;;) {
		/* exactly as much as there is, for the sanitizer to see */
		uint8_t *room = malloc(call.in_len + 1);
		uint8_t *out = malloc(call.out_room + 1);

		must(room && out && passes++ < PASSES_MAX);
		make_argument(in, room, call.in_len);
		call.in = room + (how >> 7 & 1 && call.in_len == 0);
		call.out = out;
		memset(&v, 0xa5, sizeof(v));
		ioctl_run(t, &call, &v);
		free(room);
		free(out);
		if (!v.again)
			break;
		must(v.fetch <= IOCTL_DATA_MAX && v.store <= IOCTL_DATA_MAX);
		must(v.fetch > call.in_len || v.store > call.out_room);
		call.in_len = v.fetch;
		call.out_room = v.store;
		/* CUSE gives what it was asked for; if it did not, once */
		if (how & 0x40 && v.fetch && passes == 1)
			call.in_len -= in_u8(in) % (v.fetch + 1);
	}
	must(v.error <= 0 && v.error > -512);
	must(v.out_len <= call.out_room);
	must(v.error == 0 || v.out_len == 0);
}

static unsigned int open_fds(void)
{
	int fd = dup(event);

	/* the lowest that is free: all below are in use */
	must(fd >= 0);
	close(fd);
	return (unsigned int)fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct caller c = { .in = &in };
	struct ioctl_target t = { .ops = &caller_ops,
				  .ctx = &c,
				  .max_mem_regions = 64,
				  .fork_from_owner = true };
	struct vdev_config config = { .features = VDEV_OPTIONAL_FEATURES };
	unsigned int fds;

	if (!worker) {
		log_set_level(LOG_LEVEL_ERROR);
		must(worker_new("fuzz", 0, &worker) == 0);
		event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		must(event >= 0);
	}
	fuzzport = (struct fuzzport_wire){ .n = 3, .frames = { 60, 1500 } };
	fds = open_fds();
	config.worker = worker;
	must(vdev_new(&config, &c.v) == 0);
	t.vdev = c.v;
	for (unsigned int i = 0; i < CALLS_MAX && !in_empty(&in); i++) {
		call(&t, &c, &in);
		if (in_u8(&in) % 8 == 0)
			worker_settle(worker, 100);
	}
	vdev_free(c.v);
	must(open_fds() == fds);
	return 0;
}
