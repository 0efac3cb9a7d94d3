/* SPDX-License-Identifier: BSD-3-Clause */
#include "ringfeed.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "threads.h"
#include "vmm_net.h"

#define LOOKS 64 /* at the used index, between two at the clock */
#define STALL_NS (UINT64_C(20) * 1000 * 1000 * 1000)

void ringfeed_frame(uint8_t *at, unsigned int size)
{
	memset(at, 0, RINGFEED_HDR);
	vmm_frame(at + RINGFEED_HDR, size, 0);
}

uint64_t ringfeed_buffers(struct vmm_mem *m, unsigned int num,
			  unsigned int room, unsigned int size)
{
	uint64_t buf = vmm_mem_alloc(m, (uint64_t)num * room, 4096);
	uint8_t *at = buf ? vmm_mem_ptr(m, buf) : NULL;

	for (unsigned int i = 0; at && i < num; i++)
		ringfeed_frame(at + (size_t)i * room, size);
	return buf;
}

/* Every slot of the available ring names its descriptor, none is published. */
static void fill_ring(struct ringfeed *f, uint64_t buf)
{
	const struct ringfeed_config *c = &f->config;
	struct vmm_ring *r = &f->q->ring;
	uint16_t start = r->avail_idx;

	for (unsigned int i = 0; i < c->num; i++) {
		struct vmm_seg seg = {
			.addr = buf + (uint64_t)i * c->room,
			.len = RINGFEED_HDR + c->size,
			.write = c->to_guest,
		};

		vmm_ring_add(r, &seg, 1, NULL);
	}
	r->avail_idx = start;
}

static int start_guest(struct bench *b, struct ringfeed *f)
{
	const struct ringfeed_config *c = &f->config;
	struct vmm_config config = {
		.path = c->path,
		.mem_kind = c->copied ? VMM_MEM_PRIVATE : VMM_MEM_MEMFD,
		.mem_size = RINGFEED_MEM,
		.num = { c->num, c->num },
		.features = VMM_BIT(VIRTIO_F_VERSION_1) |
			    VMM_BIT(VIRTIO_NET_F_MRG_RXBUF) |
			    VMM_BIT(VIRTIO_RING_F_EVENT_IDX) |
			    VMM_BIT(VIRTIO_RING_F_INDIRECT_DESC),
	};
	int ret = vmm_new(&config, &f->v);
	uint64_t buf;

	if (ret < 0)
		return bench_why(b, ret, "%s: %s", c->path, strerror(-ret));
	f->q = &f->v->q[f->qi];
	buf = ringfeed_buffers(&f->v->mem, c->num, c->room, c->size);
	if (!buf)
		return bench_why(b, -ENOMEM, "no room for %u buffers", c->num);
	ret = vmm_start(f->v, c->backend >= 0 ? c->backend : f->backend);
	if (ret < 0)
		return bench_why(b, ret, "start of the rings: %s",
				 strerror(-ret));
	fill_ring(f, buf);
	return 0;
}

int ringfeed_open(struct bench *b, struct ringfeed *f,
		  const struct ringfeed_config *config)
{
	int ret;

	*f = (struct ringfeed){
		.config = *config,
		.qi = config->to_guest ? VMM_RX : VMM_TX,
		.backend = -1,
		.pid = b->daemon,
	};
	if (config->backend < 0) {
		f->backend = vmm_packet_open(NULL, 0, false);
		if (f->backend < 0)
			return bench_why(b, f->backend, "packet socket: %s",
					 strerror(-f->backend));
	}
	ret = start_guest(b, f);
	if (ret < 0)
		return ret;
	f->tid = bench_worker(f->pid, "uvhost-");
	if (!f->tid)
		return bench_why(b, -ESRCH, "the daemon has no worker thread");
	bench_pin(f->tid, BENCH_CPU_BACKEND);
	bench_pin(0, BENCH_CPU_FRONTEND);
	return 0;
}

void ringfeed_close(struct ringfeed *f)
{
	if (f->v)
		vmm_stop(f->v);
	vmm_free(f->v);
	if (f->config.path && f->backend >= 0)
		close(f->backend);
	*f = (struct ringfeed){ 0 };
}

/* ---- a run ---- */

/* Offers @n buffers more; the device does not signal what it uses of them. */
static void offer(struct ringfeed *f, unsigned int n)
{
	struct vmm_ring *r = &f->q->ring;

	vmm_ring_calls_off(r);
	r->avail_idx = (uint16_t)(r->avail_idx + n);
	vmm_publish_kick(f->v, f->qi);
}

/* What the device has used since the last look. */
static unsigned int take(struct ringfeed *f)
{
	struct vmm_ring *r = &f->q->ring;
	uint16_t used = vmm_ring_used_idx(r);
	unsigned int n = (uint16_t)(used - r->used_idx);

	r->used_idx = used;
	return n;
}

/* The last round of buffers: each in its place, and filled. */
static int check_used(struct bench *b, const struct ringfeed *f)
{
	const struct vmm_ring *r = &f->q->ring;
	uint32_t len = f->config.to_guest ? RINGFEED_HDR + f->config.size : 0;

	for (unsigned int i = 0; i < r->num; i++) {
		const struct vring_used_elem *e = &r->used->ring[i];

		if (e->id != i || e->len != len)
			return bench_why(
				b, -EPROTO,
				"used entry %u has buffer %u, %u bytes", i,
				e->id, e->len);
	}
	return 0;
}

static int wait_used(struct bench *b, struct ringfeed *f, uint64_t left)
{
	uint64_t start = bench_now_ns();

	while (left) {
		left -= take(f);
		if (left && bench_now_ns() - start > STALL_NS)
			return bench_why(b, -ETIMEDOUT,
					 "%llu buffers did not come back",
					 (unsigned long long)left);
	}
	return 0;
}

/* Frames until the time is over or @limit is reached; how many. @out: those of
 * them that are with the device still. */
static uint64_t feed(struct ringfeed *f, uint64_t ns, uint64_t limit,
		     unsigned int *out)
{
	uint64_t end = bench_now_ns() + (limit ? STALL_NS : ns), offered = 0;
	unsigned int with_device = 0;

	do {
		for (unsigned int i = 0; i < LOOKS; i++) {
			unsigned int n;

			with_device -= take(f);
			n = f->config.num - with_device;
			if (limit && n > limit - offered)
				n = (unsigned int)(limit - offered);
			if (!n)
				continue;
			f->refills++;
			f->starved += !with_device && offered;
			offer(f, n);
			with_device += n;
			offered += n;
		}
	} while ((!limit || offered < limit) && bench_now_ns() < end);
	*out = with_device;
	return offered;
}

int ringfeed_run(struct bench *b, struct ringfeed *f, uint64_t ns,
		 uint64_t limit, struct bench_sample *out)
{
	unsigned int with_device;
	uint64_t start, cpu;
	int ret = threads_rest(f->pid, f->tid);

	if (ret < 0)
		return bench_why(b, ret, "the worker does not rest");
	cpu = bench_thread_ns(f->pid, f->tid);
	start = bench_now_ns();
	out->ops = feed(f, ns, limit, &with_device);
	ret = wait_used(b, f, with_device);
	if (ret < 0)
		return ret;
	out->ns = bench_now_ns() - start;
	out->bytes = out->ops * f->config.size;
	ret = threads_rest(f->pid, f->tid);
	if (ret < 0)
		return bench_why(b, ret, "the worker does not rest");
	out->cpu_ns = bench_thread_ns(f->pid, f->tid) - cpu;
	bench_note(b, "ring_found_empty_percent",
		   100.0 * (double)f->starved / (double)f->refills);
	return check_used(b, f);
}
