/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu-peer - our vhost-user frontend before other people's backends.
 *
 *   vu-peer net SOCKET split|packed   a backend that sends back what it gets
 *                                     (testpmd, net_vhost, io): frames go
 *                                     there and come back as they were
 *   vu-peer blk SOCKET FILE           a vhost-user-blk export of FILE: its
 *                                     size and its first sectors are read
 *
 * Both have rings enough, and take a dirty log; memory for buffers in flight
 * goes forth and back where it is offered.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "die.h"
#include "ring.h"
#include "uvhost/frontend.h"
#include "vmm.h"

#define MEM_SIZE (UINT64_C(16) << 20)
#define NUM 256
#define HDR 12
#define BUF 2048
#define BATCH 64
#define ROUNDS 100
#define WAIT_MS 60000
#define SECTORS 16
#define F_PROTOCOL                                                            \
	(VMM_BIT(UVH_PROTOCOL_F_MQ) | VMM_BIT(UVH_PROTOCOL_F_REPLY_ACK) |     \
	 VMM_BIT(UVH_PROTOCOL_F_CONFIG) | VMM_BIT(UVH_PROTOCOL_F_LOG_SHMFD) | \
	 VMM_BIT(UVH_PROTOCOL_F_INFLIGHT_SHMFD))

struct queue {
	struct vmm_ring ring;
	uint64_t gpa;
	int kick, call;
};

struct peer {
	struct uvh *fe;
	struct vmm_mem mem;
	uint64_t features;
	struct queue q[2];
};

static void *at(struct peer *p, uint64_t gpa)
{
	return vmm_mem_ptr(&p->mem, gpa);
}

/* ---- set-up, in the order of QEMU ---- */

static void share_inflight(struct peer *p)
{
	struct uvh_inflight i = { .queues = 2, .queue_size = NUM };

	must(uvh_get_inflight(p->fe, &i), "get inflight");
	must(uvh_set_inflight(p->fe, &i), "set inflight");
	close(i.fd);
}

static void negotiate(struct peer *p, uint64_t wanted)
{
	uint64_t offered;

	must(uvh_get_features(p->fe, &offered), "get features");
	if (wanted & ~offered)
		die(0, "features 0x%llx are not offered",
		    (unsigned long long)(wanted & ~offered));
	p->features = wanted;
	must(uvh_get_protocol_features(p->fe, &offered), "protocol features");
	must(uvh_set_protocol_features(p->fe, offered & F_PROTOCOL),
	     "set protocol features");
	must(uvh_set_owner(p->fe), "set owner");
	must(uvh_set_features(p->fe, wanted), "set features");
	if (offered & VMM_BIT(UVH_PROTOCOL_F_INFLIGHT_SHMFD))
		share_inflight(p);
	if (uvh_queue_count(p->fe) < 2)
		die(0, "%u rings", uvh_queue_count(p->fe));
}

static void share_memory(struct peer *p)
{
	struct uvh_region r = { 0 };

	must(vmm_mem_add(&p->mem, VMM_MEM_MEMFD, 0x100000, MEM_SIZE), "memory");
	r.gpa = p->mem.region[0].gpa;
	r.size = p->mem.region[0].size;
	r.uva = (uintptr_t)p->mem.region[0].hva;
	r.fd = p->mem.region[0].fd;
	r.fd_offset = p->mem.region[0].fd_offset;
	must(uvh_set_mem_table(p->fe, &r, 1), "memory table");
}

/* What backends answer to this differs, none of it is an error. */
static void share_log(struct peer *p)
{
	uint64_t size = (p->mem.region[0].gpa + MEM_SIZE) / 4096 / 8;
	int fd = memfd_create("log", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		die(-errno, "log");
	must(uvh_set_log_base(p->fe, 0, size, fd, 0), "log base");
	close(fd);
}

static uint64_t uva(const void *ptr)
{
	return (uintptr_t)ptr;
}

static void start_queue(struct peer *p, unsigned int qi)
{
	struct queue *q = &p->q[qi];
	struct vhost_vring_addr addr = { .index = qi };

	q->gpa = vmm_mem_alloc(&p->mem, vmm_ring_bytes(NUM), 4096);
	must(vmm_ring_init(&q->ring, at(p, q->gpa), NUM, p->features), "ring");
	vmm_ring_reset(&q->ring, 0);
	q->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	addr.desc_user_addr = uva(q->ring.desc);
	addr.avail_user_addr = uva(q->ring.avail);
	addr.used_user_addr = uva(q->ring.used);
	must(uvh_set_vring_num(p->fe, qi, NUM), "ring size");
	must(uvh_set_vring_base(p->fe, qi, vmm_ring_base(&q->ring)), "base");
	must(uvh_set_vring_addr(p->fe, &addr), "ring address");
	must(uvh_set_vring_call(p->fe, qi, q->call), "call");
	must(uvh_set_vring_kick(p->fe, qi, q->kick), "kick");
	must(uvh_vring_start(p->fe, qi, -1), "start");
}

static void publish(struct queue *q)
{
	uint64_t one = 1;

	if (vmm_ring_publish(&q->ring) && write(q->kick, &one, sizeof(one)) < 0)
		die(-errno, "kick");
}

/* The next completion, waited for. */
static struct vmm_used reap(struct queue *q)
{
	struct pollfd p = { .fd = q->call, .events = POLLIN };
	int64_t until = vmm_now_ms() + WAIT_MS;
	struct vmm_used used;
	uint64_t count;

	while (!vmm_ring_pending(&q->ring)) {
		if (vmm_now_ms() > until)
			die(-ETIMEDOUT, "completion");
		/* A backend that polls may not signal each one. */
		if (poll(&p, 1, 1) > 0 &&
		    read(q->call, &count, sizeof(count)) < 0)
			die(-errno, "call");
	}
	must(vmm_ring_reap(&q->ring, &used, 1), "reap");
	return used;
}

/* ---- net ---- */

static void fill(uint8_t *p, size_t len, uint32_t seed)
{
	memset(p, 0, HDR);
	for (size_t i = HDR; i < len; i++)
		p[i] = (uint8_t)(seed * 2654435761u >> (i % 4 * 8)) ^
		       (uint8_t)i;
	/* unicast, locally given addresses, no known protocol */
	memcpy(p + HDR, "\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x88\xb5", 14);
}

static size_t frame_len(uint32_t seed)
{
	return HDR + 60 + seed * 37 % 1440;
}

static void offer(struct peer *p, uint64_t gpa)
{
	struct vmm_seg seg = { gpa, BUF, true };

	must(vmm_ring_add(&p->q[0].ring, &seg, 1, at(p, gpa)), "rx buffer");
}

static void check_frame(const uint8_t *got, size_t len, uint32_t seed)
{
	uint8_t want[BUF];

	fill(want, frame_len(seed), seed);
	if (len != frame_len(seed) ||
	    memcmp(got + HDR, want + HDR, len - HDR) != 0)
		die(0, "frame %u came back as another (%zu bytes)", seed, len);
}

static void run_net(struct peer *p, bool packed)
{
	uint64_t tx, rx;
	uint32_t seed = 0, next = 0;

	negotiate(p, VMM_BIT(VIRTIO_F_VERSION_1) |
			     (packed ? VMM_BIT(VIRTIO_F_RING_PACKED) : 0));
	share_memory(p);
	start_queue(p, 0);
	start_queue(p, 1);
	tx = vmm_mem_alloc(&p->mem, BATCH * BUF, 4096);
	rx = vmm_mem_alloc(&p->mem, BATCH * BUF, 4096);
	for (unsigned int i = 0; i < BATCH; i++)
		offer(p, rx + i * BUF);
	publish(&p->q[0]);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		for (unsigned int i = 0; i < BATCH; i++, seed++) {
			struct vmm_seg seg = { tx + i * BUF,
					       (uint32_t)frame_len(seed),
					       false };

			fill(at(p, seg.addr), seg.len, seed);
			must(vmm_ring_add(&p->q[1].ring, &seg, 1, NULL), "tx");
		}
		publish(&p->q[1]);
		for (unsigned int i = 0; i < BATCH; i++, next++) {
			struct vmm_used u = reap(&p->q[0]);

			check_frame(u.token, u.len, next);
			offer(p, p->mem.region[0].gpa +
					 (uva(u.token) -
					  uva(p->mem.region[0].hva)));
		}
		publish(&p->q[0]);
		for (unsigned int i = 0; i < BATCH; i++)
			reap(&p->q[1]);
	}
	printf("%u frames of 60 to 1499 bytes came back as they were sent\n",
	       next);
}

/* ---- blk ---- */

static void run_blk(struct peer *p, const char *file)
{
	const uint32_t bytes = SECTORS * 512;
	struct virtio_blk_outhdr *req;
	struct virtio_blk_config config;
	static uint8_t want[SECTORS * 512];
	uint64_t head, data, status;
	struct vmm_seg seg[3];
	struct stat st;
	int fd;

	negotiate(p, VMM_BIT(VIRTIO_F_VERSION_1));
	/* Not all of it: which fields there are depends on the version. */
	must(uvh_get_config(p->fe, 0, &config, sizeof(config.capacity)),
	     "config space");
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 ||
	    read(fd, want, sizeof(want)) != sizeof(want))
		die(-errno, "%s", file);
	close(fd);
	if (config.capacity * 512 != (uint64_t)st.st_size)
		die(0, "%llu sectors, the file has %lld bytes",
		    (unsigned long long)config.capacity, (long long)st.st_size);
	share_memory(p);
	start_queue(p, 0);
	head = vmm_mem_alloc(&p->mem, sizeof(*req), 16);
	data = vmm_mem_alloc(&p->mem, bytes, 4096);
	status = vmm_mem_alloc(&p->mem, 16, 16);
	req = at(p, head);
	*req = (struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN };
	*(uint8_t *)at(p, status) = 0xff;
	seg[0] = (struct vmm_seg){ head, sizeof(*req), false };
	seg[1] = (struct vmm_seg){ data, bytes, true };
	seg[2] = (struct vmm_seg){ status, 1, true };
	must(vmm_ring_add(&p->q[0].ring, seg, 3, NULL), "request");
	publish(&p->q[0]);
	reap(&p->q[0]);
	if (*(uint8_t *)at(p, status) != VIRTIO_BLK_S_OK ||
	    memcmp(at(p, data), want, bytes) != 0)
		die(0, "the sectors are not those of the file");
	printf("%llu sectors, %u of them read\n",
	       (unsigned long long)config.capacity, SECTORS);
}

int main(int argc, char **argv)
{
	static struct peer p;
	uint32_t base;

	if (argc != 4) {
		fprintf(stderr, "usage: vu-peer net SOCKET split|packed\n"
				"       vu-peer blk SOCKET FILE\n");
		return 2;
	}
	must(uvh_user_connect(argv[2], WAIT_MS, &p.fe), argv[2]);
	if (strcmp(argv[1], "net") == 0)
		run_net(&p, strcmp(argv[3], "packed") == 0);
	else
		run_blk(&p, argv[3]);
	share_log(&p);
	must(uvh_vring_stop(p.fe, 0, &base), "stop");
	uvh_close(p.fe);
	return 0;
}
