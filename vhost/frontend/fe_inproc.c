/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fe_inproc.c is the transport "inproc": function calls to uvhost's own device.
 * Each queue pair is a vdev on a worker of its own. A call runs on that worker,
 * between two batches of frames, while its caller waits.
 *
 * The owner is this process, so user addresses are valid pointers: regions of
 * the table become mappings at the same address, which are never unmapped.
 * Memory that is not in the table (rings outside it, a log of unknown size) is
 * copied through /proc/self/mem. With the option "copied" all memory is.
 */
#include "fe_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>

#include "aspace.h"
#include "abi.h"
#include "evfd.h"
#include "vdev.h"
#include "worker.h"

#define PAIRS_MAX 64

struct pair {
	struct worker *worker;
	struct vdev *vdev;
};

struct fe_inproc {
	struct uvh fe;
	bool copied;
	struct uvh_region log; /* the dirty bitmap; size 0: not known */
	int event_fd; /* readable when a vdev may have an IOTLB message */
	unsigned int null_frame_len;
	unsigned int npairs;
	struct pair pair[PAIRS_MAX];
};

static struct fe_inproc *inproc(const struct uvh *fe)
{
	return container_of(fe, struct fe_inproc, fe);
}

/* ---- calls on the worker's thread ---- */

/**
 * struct op - a call of one device
 * @fn: called on the worker's thread; its result is @ret
 * @set_fd, @set_ring, @set: functions of vdev.h, for do_set_fd() and so on
 * others: arguments and results of @fn
 */
struct op {
	int (*fn)(struct vdev *v, struct op *op);
	union {
		int (*set_fd)(struct vdev *v, uint32_t qi, int fd);
		int (*set_ring)(struct vdev *v, uint32_t qi, uint32_t value);
		int (*set)(struct vdev *v, uint64_t value);
	};
	struct vdev *v;
	uint32_t qi;
	uint64_t value;
	int fd;
	const void *in;
	void *out;
	size_t n;
	struct aspace_map **maps;
	size_t nmaps;
	int ret;
};

static void run_op(void *arg)
{
	struct op *op = arg;

	op->ret = op->fn(op->v, op);
}

static int call_pair(const struct fe_inproc *f, unsigned int i, struct op *op)
{
	op->v = f->pair[i].vdev;
	worker_call(f->pair[i].worker, run_op, op);
	return op->ret;
}

/* Calls all devices, up to the first error. */
static int call_all(const struct uvh *fe, struct op *op)
{
	const struct fe_inproc *f = inproc(fe);
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < f->npairs; i++)
		ret = call_pair(f, i, op);
	return ret;
}

static int call_ring(const struct uvh *fe, unsigned int qi, struct op *op)
{
	op->qi = qi % VDEV_VQS;
	return call_pair(inproc(fe), qi / VDEV_VQS, op);
}

/* The device consumes descriptors, so it gets a copy. */
static int dup_fd(int fd)
{
	int ours;

	if (fd < 0)
		return fd == -1 ? VDEV_FD_NONE : VDEV_FD_BAD;
	ours = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return ours < 0 ? VDEV_FD_BAD : ours;
}

/* ---- calls with one value ---- */

static int do_set(struct vdev *v, struct op *op)
{
	return op->set(v, op->value);
}

static int set_all(const struct uvh *fe,
		   int (*set)(struct vdev *v, uint64_t value), uint64_t value)
{
	struct op op = { .fn = do_set, .set = set, .value = value };

	return call_all(fe, &op);
}

static int do_set_ring(struct vdev *v, struct op *op)
{
	return op->set_ring(v, op->qi, (uint32_t)op->value);
}

static int set_ring(const struct uvh *fe, unsigned int qi,
		    int (*set)(struct vdev *v, uint32_t qi, uint32_t value),
		    uint32_t value)
{
	struct op op = { .fn = do_set_ring, .set_ring = set, .value = value };

	return call_ring(fe, qi, &op);
}

static int do_set_fd(struct vdev *v, struct op *op)
{
	return op->set_fd(v, op->qi, dup_fd(op->fd));
}

static int set_ring_fd(const struct uvh *fe, unsigned int qi,
		       int (*set)(struct vdev *v, uint32_t qi, int fd), int fd)
{
	struct op op = { .fn = do_set_fd, .set_fd = set, .fd = fd };

	return call_ring(fe, qi, &op);
}

/* ---- features, owner ---- */

static int inproc_get_features(struct uvh *fe, uint64_t *features)
{
	(void)fe;
	*features = vdev_features(0) | VDEV_OPTIONAL_FEATURES;
	return 0;
}

static int inproc_set_features(struct uvh *fe, uint64_t features)
{
	return set_all(fe, vdev_set_features, features);
}

static int inproc_get_backend_features(struct uvh *fe, uint64_t *features)
{
	(void)fe;
	*features = vdev_backend_features();
	return 0;
}

static int inproc_set_backend_features(struct uvh *fe, uint64_t features)
{
	return set_all(fe, vdev_set_backend_features, features);
}

static int fault_self_in(void *ctx, bool write, uint64_t uva, uint64_t len)
{
	(void)ctx;
	aspace_fault_in(getpid(), write, uva, len);
	return 0;
}

static int do_set_owner(struct vdev *v, struct op *op)
{
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	struct aspace *as;
	int ret;

	(void)op;
	if (mem < 0)
		return -errno;
	ret = aspace_new(mem, &as);
	if (ret < 0) {
		close(mem);
		return ret;
	}
	aspace_set_fault_in(as, fault_self_in, NULL);
	ret = vdev_set_owner(v, as);
	if (ret < 0)
		aspace_free(as);
	return ret;
}

static int inproc_set_owner(struct uvh *fe)
{
	struct op op = { .fn = do_set_owner };

	return call_all(fe, &op);
}

static int do_reset_owner(struct vdev *v, struct op *op)
{
	(void)op;
	return vdev_reset_owner(v);
}

static int inproc_reset_owner(struct uvh *fe)
{
	struct op op = { .fn = do_reset_owner };

	inproc(fe)->log = (struct uvh_region){ 0 };
	return call_all(fe, &op);
}

/* ---- memory ---- */

static int by_region_uva(const void *a, const void *b)
{
	const struct uvh_region *ra = a, *rb = b;

	return (ra->uva > rb->uva) - (ra->uva < rb->uva);
}

/* Regions may overlap, mappings may not: sorts the regions by address and
 * joins those that touch, in place. Returns how many are left. */
static unsigned int join_uvas(struct uvh_region *r, unsigned int n)
{
	unsigned int kept = 0;

	qsort(r, n, sizeof(*r), by_region_uva);
	for (unsigned int i = 0; i < n; i++) {
		struct uvh_region *last = kept ? &r[kept - 1] : NULL;
		uint64_t end = r[i].uva + r[i].size;

		if (!last || r[i].uva > last->uva + last->size)
			r[kept++] = r[i];
		else if (end > last->uva + last->size)
			last->size = end - last->uva;
	}
	return kept;
}

static void put_all_maps(struct aspace_map **maps, size_t n)
{
	for (size_t i = 0; i < n; i++)
		aspace_map_put(maps[i]);
	free(maps);
}

static int identity_maps(const struct uvh_region *r, size_t n,
			 struct aspace_map ***out)
{
	struct aspace_map **maps = calloc(n + 1, sizeof(struct aspace_map *));

	if (!maps)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		maps[i] = aspace_map_new(r[i].uva, r[i].size,
					 (void *)(uintptr_t)r[i].uva);
		if (!maps[i]) {
			put_all_maps(maps, i);
			return -ENOMEM;
		}
		maps[i]->base_size = 0; /* the memory is not unmapped */
	}
	*out = maps;
	return 0;
}

/* Makes the mappings of the table and the log. */
static int make_maps(const struct fe_inproc *f,
		     const struct uvh_region *regions, unsigned int n,
		     struct op *op)
{
	struct uvh_region *r;
	unsigned int kept = 0;
	int ret;

	op->maps = NULL;
	op->nmaps = 0;
	if (f->copied)
		return 0;
	r = calloc(n + 1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	/* The device refuses addresses outside user space. */
	for (unsigned int i = 0; i < n; i++)
		if (aspace_ok(regions[i].uva, regions[i].size))
			r[kept++] = regions[i];
	if (f->log.size && aspace_ok(f->log.uva, f->log.size))
		r[kept++] = f->log;
	op->nmaps = join_uvas(r, kept);
	ret = identity_maps(r, op->nmaps, &op->maps);
	free(r);
	return ret;
}

static int do_set_mem_table(struct vdev *v, struct op *op)
{
	return vdev_set_mem_table(v, op->in, op->n, op->maps, op->nmaps);
}

static int set_regions(struct fe_inproc *f, const struct uvh_region *regions,
		       unsigned int n)
{
	struct op op = { .fn = do_set_mem_table, .n = n };
	struct vhost_memory *t = fe_vhost_table(regions, n);
	int ret = 0;

	if (!t)
		return -ENOMEM;
	op.in = t->regions;
	for (unsigned int i = 0; ret == 0 && i < f->npairs; i++) {
		ret = make_maps(f, regions, n, &op);
		if (ret == 0)
			ret = call_pair(f, i, &op);
		free(op.maps); /* the device has taken the references */
		op.maps = NULL;
	}
	free(t);
	return ret;
}

static int inproc_set_mem_table(struct uvh *fe,
				const struct uvh_region *regions,
				unsigned int n)
{
	return set_regions(inproc(fe), regions, n);
}

static int inproc_max_mem_slots(struct uvh *fe, unsigned int *slots)
{
	(void)fe;
	*slots = UVH_REGIONS_MAX;
	return 0;
}

static int inproc_set_log_base(struct uvh *fe, uint64_t uva, uint64_t size,
			       int fd, uint64_t offset)
{
	struct fe_inproc *f = inproc(fe);
	struct uvh_region old = f->log;
	int ret = 0;

	(void)fd;
	(void)offset;
	f->log = (struct uvh_region){ .uva = uva, .size = size };
	if (fe->nregions && !f->copied)
		ret = set_regions(f, fe->table, fe->nregions);
	if (ret == 0)
		ret = set_all(fe, vdev_set_log_base, uva);
	if (ret < 0)
		f->log = old;
	return ret;
}

static int do_set_log_fd(struct vdev *v, struct op *op)
{
	return vdev_set_log_fd(v, dup_fd(op->fd));
}

static int inproc_set_log_fd(struct uvh *fe, int fd)
{
	struct op op = { .fn = do_set_log_fd, .fd = fd };

	return call_all(fe, &op);
}

/* ---- rings ---- */

static int inproc_set_vring_num(struct uvh *fe, unsigned int qi,
				unsigned int num)
{
	return set_ring(fe, qi, vdev_set_vring_num, num);
}

static int do_set_addr(struct vdev *v, struct op *op)
{
	struct vhost_vring_addr addr = *(const struct vhost_vring_addr *)op->in;

	addr.index = op->qi;
	return vdev_set_vring_addr(v, &addr);
}

static int inproc_set_vring_addr(struct uvh *fe,
				 const struct vhost_vring_addr *addr)
{
	struct op op = { .fn = do_set_addr, .in = addr };

	return call_ring(fe, addr->index, &op);
}

static int inproc_set_vring_base(struct uvh *fe, unsigned int qi, uint32_t base)
{
	return set_ring(fe, qi, vdev_set_vring_base, base);
}

static int do_get_base(struct vdev *v, struct op *op)
{
	return vdev_get_vring_base(v, op->qi, op->out);
}

static int inproc_get_vring_base(struct uvh *fe, unsigned int qi,
				 uint32_t *base)
{
	struct op op = { .fn = do_get_base, .out = base };

	return call_ring(fe, qi, &op);
}

static int inproc_set_vring_kick(struct uvh *fe, unsigned int qi, int fd)
{
	return set_ring_fd(fe, qi, vdev_set_vring_kick, fd);
}

static int inproc_set_vring_call(struct uvh *fe, unsigned int qi, int fd)
{
	return set_ring_fd(fe, qi, vdev_set_vring_call, fd);
}

static int inproc_set_vring_err(struct uvh *fe, unsigned int qi, int fd)
{
	return set_ring_fd(fe, qi, vdev_set_vring_err, fd);
}

static int inproc_set_vring_busyloop(struct uvh *fe, unsigned int qi,
				     uint32_t us)
{
	return set_ring(fe, qi, vdev_set_vring_busyloop, us);
}

static int inproc_net_set_backend(struct uvh *fe, unsigned int qi, int fd)
{
	return set_ring_fd(fe, qi, vdev_net_set_backend, fd);
}

/* ---- IOTLB ---- */

static int do_iotlb_write(struct vdev *v, struct op *op)
{
	ssize_t n = vdev_iotlb_write(v, op->in, op->n);

	return n < 0 ? (int)n : 0;
}

static int inproc_iotlb_send(struct uvh *fe, const struct vhost_iotlb_msg *msg,
			     uint32_t asid)
{
	struct vhost_msg_v2 m = { .type = VHOST_IOTLB_MSG_V2 };
	struct op op = { .fn = do_iotlb_write, .in = &m, .n = sizeof(m) };

	if (msg->type >= VHOST_IOTLB_BATCH_BEGIN)
		return -EOPNOTSUPP;
	m.iotlb = *msg;
	return asid ? -EINVAL : call_all(fe, &op);
}

static int do_iotlb_read(struct vdev *v, struct op *op)
{
	ssize_t n = vdev_iotlb_read(v, op->out, op->n);

	return n < 0 ? (int)n : 0;
}

/* On the worker's thread. */
static void on_iotlb_event(void *ctx)
{
	const struct fe_inproc *f = ctx;

	evfd_signal(f->event_fd);
}

static int inproc_iotlb_recv(struct uvh *fe, struct vhost_iotlb_msg *msg)
{
	struct fe_inproc *f = inproc(fe);
	union fe_iotlb_msg m;
	struct op op = { .fn = do_iotlb_read, .out = &m, .n = sizeof(m) };

	memset(&m, 0, sizeof(m));
	/* Drained first, so that a later message signals it again. */
	evfd_drain(f->event_fd);
	for (unsigned int i = 0; i < f->npairs; i++) {
		if (call_pair(f, i, &op) < 0)
			continue;
		on_iotlb_event(f); /* there may be more */
		return fe_unpack_iotlb(&m, msg);
	}
	return -EAGAIN;
}

static int inproc_event_fd(const struct uvh *fe)
{
	return inproc(fe)->event_fd;
}

/* ---- life ---- */

static int do_free(struct vdev *v, struct op *op)
{
	(void)op;
	vdev_free(v);
	return 0;
}

static void inproc_close(struct uvh *fe)
{
	struct fe_inproc *f = inproc(fe);
	struct op op = { .fn = do_free };

	for (unsigned int i = 0; i < f->npairs; i++) {
		call_pair(f, i, &op);
		worker_finish(f->pair[i].worker);
		worker_join(f->pair[i].worker);
	}
	close(f->event_fd);
	fe_fini(fe);
	free(f);
}

const struct uvh_ops fe_inproc_ops = {
	.name = "inproc",
	.start = UVH_START_BACKEND,
	.takes_overlaps = true,
	.get_features = inproc_get_features,
	.set_features = inproc_set_features,
	.get_backend_features = inproc_get_backend_features,
	.set_backend_features = inproc_set_backend_features,
	.set_owner = inproc_set_owner,
	.reset_owner = inproc_reset_owner,
	.set_mem_table = inproc_set_mem_table,
	.add_region = fe_add_by_table,
	.remove_region = fe_remove_by_table,
	.max_mem_slots = inproc_max_mem_slots,
	.set_log_base = inproc_set_log_base,
	.set_log_fd = inproc_set_log_fd,
	.set_vring_num = inproc_set_vring_num,
	.set_vring_addr = inproc_set_vring_addr,
	.set_vring_base = inproc_set_vring_base,
	.get_vring_base = inproc_get_vring_base,
	.set_vring_kick = inproc_set_vring_kick,
	.set_vring_call = inproc_set_vring_call,
	.set_vring_err = inproc_set_vring_err,
	.set_vring_busyloop = inproc_set_vring_busyloop,
	.iotlb_send = inproc_iotlb_send,
	.iotlb_recv = inproc_iotlb_recv,
	.handle_events = fe_deliver_iotlb,
	.net_set_backend = inproc_net_set_backend,
	.event_fd = inproc_event_fd,
	.close = inproc_close,
};

static int open_null_port(void *ctx, unsigned int qi, int fd,
			  struct netport **port)
{
	struct fe_inproc *f = ctx;
	int ret = netport_check_fd(fd);

	(void)qi;
	return ret < 0 ? ret : netport_null_new(f->null_frame_len, false, port);
}

/* Makes a queue pair: a device and its worker. */
static int start_device(struct fe_inproc *f, const struct uvh_inproc_config *c)
{
	struct pair *p = &f->pair[f->npairs];
	const char *name = c->name ? c->name : "inproc";
	struct vdev_config config = {
		.open_port = c->null_port ? open_null_port : NULL,
		.iotlb_event = on_iotlb_event,
		.ctx = f,
		.features = VDEV_OPTIONAL_FEATURES,
	};
	int ret;

	ret = worker_new(name, c->busy_poll_us, &p->worker);
	if (ret < 0)
		return ret;
	config.worker = p->worker;
	if (c->queue_pairs > 1)
		log_tag_init(&config.tag, "%s.%u", name, f->npairs);
	else
		log_tag_init(&config.tag, "%s", name);
	ret = vdev_new(&config, &p->vdev);
	if (ret < 0) {
		worker_finish(p->worker);
		worker_join(p->worker);
		return ret;
	}
	f->npairs++;
	return 0;
}

/* Limits of null_frame_len: netport_null_new(). */
static bool check_config_args(const struct uvh_inproc_config *c)
{
	if (c->queue_pairs > PAIRS_MAX)
		return false;
	return !c->null_frame_len || (c->null_frame_len >= NETPORT_ETH_MIN &&
				      c->null_frame_len <= NETPORT_ETH_MAX);
}

int uvh_inproc_new(const struct uvh_inproc_config *config, struct uvh **out)
{
	static const struct uvh_inproc_config zero;
	const struct uvh_inproc_config *c = config ? config : &zero;
	unsigned int pairs = c->queue_pairs ? c->queue_pairs : 1;
	struct fe_inproc *f;
	int ret = 0;

	if (!out || !check_config_args(c))
		return -EINVAL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->event_fd < 0) {
		ret = -errno;
		free(f);
		return ret;
	}
	f->copied = c->copied;
	f->null_frame_len = c->null_frame_len;
	fe_init(&f->fe, &fe_inproc_ops, pairs * VDEV_VQS);
	while (ret == 0 && f->npairs < pairs)
		ret = start_device(f, c);
	if (ret < 0) {
		inproc_close(&f->fe);
		return ret;
	}
	*out = &f->fe;
	return 0;
}
