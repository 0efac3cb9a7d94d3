/* SPDX-License-Identifier: BSD-3-Clause */
#include "vufix.h"

#include "check.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/virtio_config.h>

#include "bytes.h"

#define RING_ROOM (RINGS_SIZE / VUFIX_RINGS)
#define FRAME 60
#define HDR 12
#define BUFFER 2048

/* ---- what the session asks for ---- */

static int open_ports(void *ctx, unsigned int pair, struct netport **rx,
		      struct netport **tx)
{
	struct vufix *f = ctx;
	int a = dup(f->backend[pair]), b = dup(f->backend[pair]);

	__atomic_fetch_add(&f->opened, 1, __ATOMIC_RELAXED);
	if (f->open_error || netport_from_fd(a, rx) < 0 ||
	    netport_from_fd(b, tx) < 0) {
		close(a);
		close(b);
		return f->open_error ? f->open_error : -EIO;
	}
	return 0;
}

static void enable_ports(void *ctx, unsigned int pair, bool rx, bool tx)
{
	struct vufix *f = ctx;

	__atomic_store_n(&f->shown[pair], rx | tx << 1, __ATOMIC_RELEASE);
}

static void set_offload(void *ctx, uint64_t features)
{
	struct vufix *f = ctx;

	__atomic_store_n(&f->offload, features, __ATOMIC_RELEASE);
}

static void on_closed(void *ctx, struct vu_session *s)
{
	struct vufix *f = ctx;

	(void)s;
	sem_post(&f->closed);
}

/* ---- life ---- */

void vufix_connect(struct vufix *f)
{
	int fds[2];

	f->acks = false;
	check_ret(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	vu_endpoint_init(&f->fe, fds[0]);
	check_ret(vu_session_new(&f->config, fds[1], &f->s), 0);
}

struct vufix *vufix_open(unsigned int pairs)
{
	struct vufix *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	arena_open(&f->arena, MAPPED);
	check_ret(sem_init(&f->closed, 0, 0), 0);
	f->config = (struct vu_session_config){
		.queue_pairs = pairs,
		.mac = { 2, 0, 0, 0, 0, 0x42 },
		.open_ports = open_ports,
		.enable_ports = enable_ports,
		.set_offload = set_offload,
		.closed = on_closed,
		.ctx = f,
	};
	log_tag_init(&f->config.tag, "vu");
	for (unsigned int i = 0; i < VUFIX_RINGS; i++) {
		f->kick[i] = event_new();
		f->call[i] = event_new();
		f->err[i] = event_new();
	}
	for (unsigned int i = 0; i < VUFIX_PAIRS; i++) {
		int fds[2];

		sockport_pair(fds);
		f->backend[i] = fds[0];
		f->wire[i] = fds[1];
	}
	vufix_connect(f);
	return f;
}

bool vufix_wait_closed(struct vufix *f)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += VUFIX_MS / 1000;
	if (sem_timedwait(&f->closed, &t) < 0)
		return false;
	vu_session_free(f->s);
	f->s = NULL;
	return true;
}

void vufix_hang_up(struct vufix *f)
{
	vu_endpoint_close(&f->fe);
	assert_true(vufix_wait_closed(f));
}

void vufix_close(struct vufix *f)
{
	if (f->s)
		vufix_hang_up(f);
	vu_endpoint_close(&f->fe);
	arena_close(&f->arena);
	for (unsigned int i = 0; i < VUFIX_RINGS; i++) {
		close(f->kick[i]);
		close(f->call[i]);
		close(f->err[i]);
	}
	for (unsigned int i = 0; i < VUFIX_PAIRS; i++) {
		close(f->backend[i]);
		close(f->wire[i]);
	}
	sem_destroy(&f->closed);
	free(f);
}

int vufix_setup(void **state)
{
	*state = vufix_open(1);
	return 0;
}

int vufix_setup_two(void **state)
{
	*state = vufix_open(2);
	return 0;
}

int vufix_teardown(void **state)
{
	vufix_close(*state);
	return 0;
}

/* ---- messages ---- */

void vf_send(struct vufix *f, uint32_t request, uint32_t flags,
	     const void *payload, uint32_t size, const int *fds,
	     unsigned int nfds)
{
	struct vu_msg m;

	vu_msg_init(&m, request);
	m.hdr.flags |= flags;
	m.hdr.size = size;
	if (size)
		memcpy(&m.payload, payload, size);
	m.nfds = nfds;
	for (unsigned int i = 0; i < nfds; i++)
		m.fds[i] = fds[i];
	check_ret(vu_send(&f->fe, &m, VUFIX_MS), 0);
}

void vf_reply(struct vufix *f, uint32_t request, struct vu_msg *m)
{
	check_ret(vu_recv_wait(&f->fe, m, VUFIX_MS), 0);
	assert_int_equal(m->hdr.request, request);
	assert_int_equal(m->hdr.flags, VU_VERSION | VU_FLAG_REPLY);
}

uint64_t vf_call(struct vufix *f, uint32_t request, const void *payload,
		 uint32_t size, const int *fds, unsigned int nfds)
{
	struct vu_msg m;

	vf_send(f, request, f->acks ? VU_FLAG_NEED_REPLY : 0, payload, size,
		fds, nfds);
	if (!f->acks)
		return 0;
	vf_reply(f, request, &m);
	assert_int_equal(m.hdr.size, 8);
	assert_int_equal(m.nfds, 0);
	return m.payload.u64;
}

uint64_t vf_call_u64(struct vufix *f, uint32_t request, uint64_t value)
{
	return vf_call(f, request, &value, sizeof(value), NULL, 0);
}

uint64_t vf_call_state(struct vufix *f, uint32_t request, uint32_t index,
		       uint32_t num)
{
	struct vhost_vring_state s = { index, num };

	return vf_call(f, request, &s, sizeof(s), NULL, 0);
}

uint64_t vf_call_fd(struct vufix *f, uint32_t request, uint32_t index, int fd)
{
	uint64_t u64 = index | (fd < 0 ? VU_VRING_NOFD_MASK : 0);

	return vf_call(f, request, &u64, sizeof(u64), &fd, fd >= 0);
}

uint64_t vf_get(struct vufix *f, uint32_t request)
{
	struct vu_msg m;

	vf_send(f, request, 0, NULL, 0, NULL, 0);
	vf_reply(f, request, &m);
	assert_int_equal(m.hdr.size, 8);
	assert_int_equal(m.nfds, 0);
	return m.payload.u64;
}

uint32_t vf_get_base(struct vufix *f, uint32_t index)
{
	struct vhost_vring_state s = { index, 0 };
	struct vu_msg m;

	vf_send(f, VHOST_USER_GET_VRING_BASE, 0, &s, sizeof(s), NULL, 0);
	vf_reply(f, VHOST_USER_GET_VRING_BASE, &m);
	assert_int_equal(m.hdr.size, sizeof(s));
	assert_int_equal(m.payload.state.index, index);
	return m.payload.state.num;
}

void vf_sync(struct vufix *f)
{
	vf_get(f, VHOST_USER_GET_FEATURES);
}

/* ---- the backend's requests ---- */

struct vu_endpoint vf_channel(struct vufix *f)
{
	struct vu_endpoint ch;
	int fds[2];

	check_ret(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	vu_endpoint_init(&ch, fds[0]);
	check_ret(
		vf_call(f, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &fds[1], 1),
		0);
	close(fds[1]);
	return ch;
}

void vf_request(struct vu_endpoint *ch, uint32_t request, uint32_t index)
{
	struct vu_msg m;

	check_ret(vu_recv_wait(ch, &m, VUFIX_MS), 0);
	assert_int_equal(m.hdr.request, request);
	assert_int_equal(m.hdr.flags, VU_VERSION | VU_FLAG_NEED_REPLY);
	assert_int_equal(m.payload.state.index, index);
	assert_int_equal(m.payload.state.num, 0);
}

void vf_confirm(struct vu_endpoint *ch, uint32_t request)
{
	struct vu_msg m;

	vu_msg_init(&m, request);
	m.hdr.flags |= VU_FLAG_REPLY;
	m.hdr.size = 8;
	check_ret(vu_send(ch, &m, VUFIX_MS), 0);
}

/* ---- set-up ---- */

void vf_hello(struct vufix *f, uint64_t protocol_features)
{
	protocol_features |= BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK);
	assert_true(vf_get(f, VHOST_USER_GET_FEATURES) &
		    BIT(VHOST_USER_F_PROTOCOL_FEATURES));
	assert_int_equal(vf_get(f, VHOST_USER_GET_PROTOCOL_FEATURES) &
				 protocol_features,
			 protocol_features);
	f->acks = true;
	check_ret(vf_call_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES,
			      protocol_features),
		  0);
	check_ret(vf_call(f, VHOST_USER_SET_OWNER, NULL, 0, NULL, 0), 0);
}

void vf_features(struct vufix *f, uint64_t features)
{
	check_ret(vf_call_u64(f, VHOST_USER_SET_FEATURES,
			      features | BIT(VHOST_USER_F_PROTOCOL_FEATURES)),
		  0);
}

struct vu_mem_region vf_region(const struct vufix *f, unsigned int i)
{
	static const uint64_t off[] = { RAM_A_OFF, RAM_B_OFF, RAM_C_OFF, 0 };
	static const uint64_t gpa[] = { GPA_A, GPA_B, GPA_C, GPA_RINGS };

	return (struct vu_mem_region){
		.guest_phys_addr = gpa[i],
		.memory_size = i == 3 ? RINGS_SIZE : RAM_SIZE,
		.userspace_addr = arena_uva(&f->arena, off[i]),
		.mmap_offset = off[i],
	};
}

uint64_t vf_table(struct vufix *f)
{
	struct vu_memory m = { .nregions = 4 };
	int fds[4];

	for (unsigned int i = 0; i < 4; i++) {
		m.regions[i] = vf_region(f, i);
		fds[i] = f->arena.memfd;
	}
	return vf_call(f, VHOST_USER_SET_MEM_TABLE, &m,
		       offsetof(struct vu_memory, regions[4]), fds, 4);
}

uint64_t vf_addr(struct vufix *f, unsigned int index, uint32_t flags)
{
	struct vhost_vring_addr addr = drv_addr(&f->q[index], index);

	addr.flags = flags;
	addr.log_guest_addr =
		GPA_RINGS + (addr.used_user_addr - arena_uva(&f->arena, 0));
	return vf_call(f, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), NULL,
		       0);
}

void vf_ring(struct vufix *f, unsigned int index, uint32_t num)
{
	drv_init(&f->q[index], &f->arena, index * RING_ROOM, num, false);
	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_NUM, index, num), 0);
	check_ret(vf_call_state(f, VHOST_USER_SET_VRING_BASE, index, 0), 0);
	check_ret(vf_addr(f, index, 0), 0);
	check_ret(
		vf_call_fd(f, VHOST_USER_SET_VRING_CALL, index, f->call[index]),
		0);
	check_ret(vf_call_fd(f, VHOST_USER_SET_VRING_ERR, index, f->err[index]),
		  0);
	check_ret(
		vf_call_fd(f, VHOST_USER_SET_VRING_KICK, index, f->kick[index]),
		0);
}

void vf_enable(struct vufix *f, unsigned int pair, bool on)
{
	for (unsigned int i = 2 * pair; i < 2 * pair + 2; i++)
		check_ret(vf_call_state(f, VHOST_USER_SET_VRING_ENABLE, i, on),
			  0);
}

void vf_start(struct vufix *f, uint64_t features, unsigned int pairs)
{
	vf_hello(f, BIT(VHOST_USER_PROTOCOL_F_MQ));
	vf_features(f, features | BIT(VIRTIO_F_VERSION_1));
	check_ret(vf_table(f), 0);
	for (unsigned int i = 0; i < 2 * pairs; i++)
		vf_ring(f, i, 16);
	for (unsigned int i = 0; i < pairs; i++)
		vf_enable(f, i, true);
}

/* ---- packets ---- */

bool vf_wait(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

void vf_kick(struct vufix *f, unsigned int index)
{
	uint64_t one = 1;

	check_ret(write(f->kick[index], &one, sizeof(one)), sizeof(one));
}

static uint64_t buffer_gpa(unsigned int index, uint16_t slot)
{
	return GPA_A + (index * 16 + slot % 16) * BUFFER;
}

void vf_offer_tx(struct vufix *f, unsigned int pair, uint8_t seed)
{
	unsigned int index = 2 * pair + 1;
	struct drv *q = &f->q[index];
	uint64_t gpa = buffer_gpa(index, q->next);
	uint8_t *p = arena_ram(&f->arena, gpa);

	memset(p, 0, HDR);
	for (unsigned int i = 0; i < FRAME; i++)
		p[HDR + i] = (uint8_t)(seed + i);
	drv_offer(q, q->next & (q->num - 1), gpa, HDR + FRAME, 0);
	vf_kick(f, index);
}

bool vf_used(struct vufix *f, unsigned int index, uint16_t idx)
{
	while (drv_used_idx(&f->q[index]) != idx) {
		if (!vf_wait(f->call[index], VUFIX_MS))
			return false;
		event_take(f->call[index]);
	}
	return true;
}

bool vf_tx(struct vufix *f, unsigned int pair, uint8_t seed)
{
	uint8_t buf[HDR + FRAME + 1];

	vf_offer_tx(f, pair, seed);
	if (!vf_wait(f->wire[pair], VUFIX_MS) ||
	    recv(f->wire[pair], buf, sizeof(buf), 0) != HDR + FRAME)
		return false;
	for (unsigned int i = 0; i < FRAME; i++)
		if (buf[HDR + i] != (uint8_t)(seed + i))
			return false;
	return vf_used(f, 2 * pair + 1, f->q[2 * pair + 1].next);
}

void vf_offer_rx(struct vufix *f, unsigned int pair)
{
	unsigned int index = 2 * pair;
	struct drv *q = &f->q[index];

	drv_offer(q, q->next & (q->num - 1), buffer_gpa(index, q->next), BUFFER,
		  VRING_DESC_F_WRITE);
	vf_kick(f, index);
}

bool vf_rx(struct vufix *f, unsigned int pair, uint8_t seed)
{
	struct drv *q = &f->q[2 * pair];
	uint16_t slot = q->next;
	uint8_t frame[HDR + FRAME] = { 0 };
	struct vring_used_elem e;
	const uint8_t *p;

	for (unsigned int i = 0; i < FRAME; i++)
		frame[HDR + i] = (uint8_t)(seed + i);
	vf_offer_rx(f, pair);
	check_ret(send(f->wire[pair], frame, sizeof(frame), 0), sizeof(frame));
	if (!vf_used(f, 2 * pair, q->next))
		return false;
	e = drv_reap(q);
	p = arena_ram(&f->arena, buffer_gpa(2 * pair, slot));
	return e.len == sizeof(frame) && p[10] == 1 &&
	       memcmp(p + HDR, frame + HDR, FRAME) == 0;
}

void vf_traffic(struct vufix *f, unsigned int pair, uint8_t seed)
{
	assert_true(vf_tx(f, pair, seed));
	assert_true(vf_rx(f, pair, (uint8_t)(seed + 100)));
}

/* ---- leaks ---- */

unsigned int count_maps(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned int n = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		n += strstr(line, "/memfd:") != NULL;
	fclose(maps);
	return n;
}
