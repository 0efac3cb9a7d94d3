/* SPDX-License-Identifier: BSD-3-Clause */
#include "devfix.h"

#include "check.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/virtio_config.h>

#include "bytes.h"
#include "vdev_priv.h"

#define RING_OFF(qi) ((qi) * (RINGS_SIZE / 2))

static void on_iotlb(void *ctx)
{
	struct devfix *f = ctx;

	f->iotlb_events++;
}

struct devfix *devfix_open(enum arena_mode mode)
{
	struct devfix *f = calloc(1, sizeof(*f));
	struct vdev_config config = { .iotlb_event = on_iotlb,
				      .ctx = f,
				      .features = VDEV_OPTIONAL_FEATURES };
	int fds[2];

	assert_non_null(f);
	sockport = (struct sockport_script){ 0 };
	arena_open(&f->arena, mode);
	check_ret(worker_new("test", 0, &f->worker), 0);
	config.worker = f->worker;
	log_tag_init(&config.tag, "dev");
	check_ret(vdev_new(&config, &f->v), 0);
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		f->kick[i] = event_new();
		f->call[i] = event_new();
		f->err[i] = event_new();
	}
	f->log = event_new();
	sockport_pair(fds);
	f->backend = fds[0];
	f->wire = fds[1];
	return f;
}

void devfix_close(struct devfix *f)
{
	vdev_free(f->v);
	worker_finish(f->worker);
	worker_join(f->worker);
	arena_close(&f->arena);
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		close(f->kick[i]);
		close(f->call[i]);
		close(f->err[i]);
	}
	close(f->log);
	close(f->backend);
	if (f->wire >= 0)
		close(f->wire);
	assert_int_equal(sockport.ports, 0);
	free(f);
}

int devfix_setup(void **state)
{
	unsigned int mode = (uintptr_t)*state;
	struct devfix *f = devfix_open(mode & ~(ARENA_PACKED | ARENA_BORROWED));

	f->packed = mode & ARENA_PACKED;
	sockport.borrowed = mode & ARENA_BORROWED;
	*state = f;
	return 0;
}

int devfix_teardown(void **state)
{
	devfix_close(*state);
	return 0;
}

void devfix_table(struct devfix *f)
{
	struct vhost_memory_region r[3];
	struct aspace_map *maps[2];
	size_t n = arena_maps(&f->arena, maps);

	arena_table(&f->arena, r);
	check_ret(vdev_set_mem_table(f->v, r, 3, maps, n), 0);
}

void devfix_own(struct devfix *f)
{
	check_ret(vdev_set_owner(f->v, arena_aspace(&f->arena)), 0);
	devfix_table(f);
}

void devfix_ring(struct devfix *f, unsigned int qi, uint32_t num)
{
	uint32_t base = f->packed ? DRV_WRAP << 16 | DRV_WRAP : 0;
	struct vhost_vring_addr addr;

	drv_init(&f->q[qi], &f->arena, RING_OFF(qi), num, f->packed);
	addr = drv_addr(&f->q[qi], qi);
	check_ret(vdev_set_vring_num(f->v, qi, num), 0);
	check_ret(vdev_set_vring_base(f->v, qi, base), 0);
	check_ret(vdev_set_vring_addr(f->v, &addr), 0);
	check_ret(vdev_set_vring_kick(f->v, qi, dup(f->kick[qi])), 0);
	check_ret(vdev_set_vring_call(f->v, qi, dup(f->call[qi])), 0);
	check_ret(vdev_set_vring_err(f->v, qi, dup(f->err[qi])), 0);
}

int devfix_backend(struct devfix *f, unsigned int qi, int fd)
{
	return vdev_net_set_backend(f->v, qi, fd < 0 ? fd : dup(fd));
}

void devfix_start(struct devfix *f, uint64_t features, uint32_t num)
{
	devfix_own(f);
	if (f->packed)
		features |= BIT(VIRTIO_F_RING_PACKED);
	check_ret(vdev_set_features(f->v, features), 0);
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		devfix_ring(f, i, num);
		check_ret(devfix_backend(f, i, f->backend), 0);
	}
	devfix_settle(f);
}

void devfix_settle(struct devfix *f)
{
	if (!worker_settle(f->worker, 5000))
		fail_msg("the device never comes to rest");
}

void devfix_kick(struct devfix *f, unsigned int qi)
{
	uint64_t one = 1;

	check_ret(write(f->kick[qi], &one, sizeof(one)), sizeof(one));
	devfix_settle(f);
}

const struct vdev_counters *devfix_counters(const struct devfix *f,
					    unsigned int qi)
{
	return &f->v->queue[qi].vq.counters;
}

uint32_t devfix_base(struct devfix *f, unsigned int qi)
{
	uint32_t base;

	check_ret(vdev_get_vring_base(f->v, qi, &base), 0);
	return base;
}

uint32_t devfix_taken(struct devfix *f, unsigned int qi)
{
	uint32_t base = devfix_base(f, qi), slot = base & 0x7fff;

	if (!f->packed)
		return base;
	return base & DRV_WRAP ? slot : slot + f->q[qi].num;
}

void devfix_check_base(struct devfix *f, unsigned int qi, uint32_t n)
{
	uint32_t at = drv_after(&f->q[qi], n);

	assert_int_equal(devfix_base(f, qi), f->packed ? at << 16 | at : at);
}

void wire_send(struct devfix *f, unsigned int len, uint8_t seed)
{
	static uint8_t buf[NETPORT_FRAME_MAX + 100];

	for (unsigned int i = 0; i < len; i++)
		buf[i] = (uint8_t)(seed + i);
	check_ret(send(f->wire, buf, len, MSG_DONTWAIT), len);
}

int wire_recv(struct devfix *f, uint8_t *buf, unsigned int room)
{
	ssize_t n = recv(f->wire, buf, room, MSG_DONTWAIT);

	return n < 0 ? -errno : (int)n;
}

/* ---- frames ---- */

static uint8_t wire_got[NETPORT_FRAME_MAX + 100];

void devfix_fill(struct devfix *f, uint64_t gpa, uint32_t len, uint8_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		*arena_ram(&f->arena, gpa + i) = (uint8_t)(seed + i);
}

void check_counts_up(const uint8_t *p, uint32_t len, uint8_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		if (p[i] != (uint8_t)(seed + i))
			fail_msg("byte %u of %u: 0x%02x, expected 0x%02x", i,
				 len, p[i], (uint8_t)(seed + i));
}

void check_wire(struct devfix *f, uint32_t len, uint8_t seed)
{
	check_ret(wire_recv(f, wire_got, sizeof(wire_got)), len);
	check_counts_up(wire_got, len, seed);
}

void check_wire_empty(struct devfix *f)
{
	check_ret(wire_recv(f, wire_got, sizeof(wire_got)), -EAGAIN);
}

void check_errors(struct devfix *f, unsigned int qi, unsigned int n)
{
	assert_int_equal(event_take(f->err[qi]), n);
}
