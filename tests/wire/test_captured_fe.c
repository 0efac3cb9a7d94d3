/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_captured_fe.c compares our frontend with QEMU, DPDK and rust-vmm: the
 * library sends each message that they sent, with the same values, and must
 * make the same bytes. NEED_REPLY may differ: the library sets it wherever
 * REPLY_ACK allows.
 */
#include "check.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/virtio_config.h>

#include "bytes.h"
#include "captured.h"
#include "uvhost/frontend.h"
#include "vu_priv.h"

#define WAIT_MS 60000
#define P(name) BIT(UVH_PROTOCOL_F_##name)
#define PROTOCOL BIT(VHOST_USER_F_PROTOCOL_FEATURES)
#define HEARD 32
#define IOTLB_END (offsetof(struct vhost_iotlb_msg, type) + 1)

/**
 * struct peer - a backend that answers everything, and the frontend before it
 * @protocol: what it offers
 * @heard: the last messages, @n in all; no descriptors
 */
struct peer {
	pthread_t thread;
	struct vu_endpoint ep;
	struct uvh *fe;
	uint64_t protocol;
	unsigned int n;
	struct captured heard[HEARD];
};

static bool has_answer(struct peer *p, struct vu_msg *m)
{
	switch (m->hdr.request) {
	case VHOST_USER_GET_FEATURES:
		m->payload.u64 = UINT64_MAX;
		break;
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		m->payload.u64 = p->protocol;
		break;
	case VHOST_USER_GET_QUEUE_NUM:
		m->payload.u64 = 4;
		break;
	case VHOST_USER_GET_MAX_MEM_SLOTS:
		m->payload.u64 = 32;
		break;
	case VHOST_USER_GET_STATUS:
	case VHOST_USER_CHECK_DEVICE_STATE:
		m->payload.u64 = 0;
		break;
	case VHOST_USER_SET_DEVICE_STATE_FD:
		m->payload.u64 = 0x100; /* no descriptor */
		break;
	case VHOST_USER_SET_LOG_BASE:
	case VHOST_USER_GET_VRING_BASE:
	case VHOST_USER_GET_CONFIG:
		return true;
	case VHOST_USER_GET_INFLIGHT_FD:
		m->payload.inflight.mmap_size = 4096;
		return true;
	default:
		return false;
	}
	m->hdr.size = sizeof(m->payload.u64);
	return true;
}

static void *peer_main(void *arg)
{
	struct peer *p = arg;
	struct vu_msg m;

	while (vu_recv_wait(&p->ep, &m, -1) == 0) {
		bool ack = m.hdr.flags & VU_FLAG_NEED_REPLY;
		unsigned int n = __atomic_load_n(&p->n, __ATOMIC_RELAXED);
		struct captured *c = &p->heard[n % HEARD];

		*c = (struct captured){ 'F', m.nfds, m };
		vu_msg_close_fds(&m);
		__atomic_store_n(&p->n, n + 1, __ATOMIC_RELEASE);
		if (!has_answer(p, &m)) {
			if (!ack)
				continue;
			m.payload.u64 = 0;
			m.hdr.size = sizeof(m.payload.u64);
		}
		m.hdr.flags = VU_VERSION | VU_FLAG_REPLY;
		if (m.hdr.request == VHOST_USER_GET_INFLIGHT_FD) {
			m.fds[0] = STDIN_FILENO;
			m.nfds = 1;
		}
		vu_send(&p->ep, &m, WAIT_MS);
	}
	return NULL;
}

/* Up to the features that the message needs. */
static void peer_open(struct peer *p, uint64_t offered, uint64_t accepted)
{
	uint64_t features;
	int pair[2];

	memset(p, 0, sizeof(*p));
	p->protocol = offered;
	check_ret(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	vu_endpoint_init(&p->ep, pair[1]);
	check_ret(pthread_create(&p->thread, NULL, peer_main, p), 0);
	check_ret(uvh_user_from_socket(pair[0], WAIT_MS, &p->fe), 0);
	check_ret(uvh_get_features(p->fe, &features), 0);
	check_ret(uvh_get_protocol_features(p->fe, &features), 0);
	check_ret(uvh_set_protocol_features(p->fe, accepted), 0);
	check_ret(uvh_set_owner(p->fe), 0);
	check_ret(uvh_set_features(p->fe, BIT(VIRTIO_F_VERSION_1)), 0);
}

static void peer_close(struct peer *p)
{
	uvh_close(p->fe);
	pthread_join(p->thread, NULL);
	vu_endpoint_close(&p->ep);
}

static struct uvh_region region_of(const struct vu_mem_region *r, int fd)
{
	return (struct uvh_region){
		.gpa = r->guest_phys_addr,
		.size = r->memory_size,
		.uva = r->userspace_addr,
		.fd = fd,
		.fd_offset = r->mmap_offset,
	};
}

static void set_table(struct peer *p, const struct vu_memory *m, const int *fds)
{
	struct uvh_region r[VU_MEM_REGIONS];

	for (unsigned int i = 0; i < m->nregions; i++)
		r[i] = region_of(&m->regions[i], fds[i]);
	check_ret(uvh_set_mem_table(p->fe, r, m->nregions), 0);
}

static void set_vring_fd(struct peer *p, uint32_t request, uint64_t u64, int fd)
{
	unsigned int qi = u64 & VU_VRING_IDX_MASK;

	if (request == VHOST_USER_SET_VRING_CALL)
		check_ret(uvh_set_vring_call(p->fe, qi, fd), 0);
	else if (request == VHOST_USER_SET_VRING_ERR)
		check_ret(uvh_set_vring_err(p->fe, qi, fd), 0);
	else
		check_ret(uvh_set_vring_kick(p->fe, qi, fd), 0);
}

static void set_inflight(struct peer *p, const struct vu_inflight *w, int fd)
{
	struct uvh_inflight i = {
		.size = w->mmap_size,
		.offset = w->mmap_offset,
		.queues = w->num_queues,
		.queue_size = w->queue_size,
		.fd = fd,
	};

	if (fd >= 0) {
		check_ret(uvh_set_inflight(p->fe, &i), 0);
		return;
	}
	check_ret(uvh_get_inflight(p->fe, &i), 0);
	close(i.fd);
}

/* The call that sends such a message; false if there is none. */
static bool say(struct peer *p, const struct captured *c, const int *fds)
{
	const union vu_payload *w = &c->m.payload;
	uint32_t request = c->m.hdr.request;
	unsigned int qi = w->state.index, num = w->state.num;
	uint8_t bytes[VU_CONFIG_MAX], mac[6], status;
	struct uvh_region r;
	unsigned int slots;
	uint64_t u64;
	int other;

	switch (request) {
	case VHOST_USER_GET_FEATURES:
		check_ret(uvh_get_features(p->fe, &u64), 0);
		return true;
	case VHOST_USER_SET_FEATURES:
		check_ret(uvh_set_features(p->fe, w->u64 & ~PROTOCOL), 0);
		return true;
	case VHOST_USER_SET_OWNER:
	case VHOST_USER_GET_QUEUE_NUM:
	case VHOST_USER_SET_PROTOCOL_FEATURES:
	case VHOST_USER_SET_BACKEND_REQ_FD:
		return true; /* was sent by peer_open() */
	case VHOST_USER_SET_MEM_TABLE:
		set_table(p, &w->memory, fds);
		return true;
	case VHOST_USER_SET_LOG_BASE:
		check_ret(uvh_set_log_base(p->fe, 0, w->log.mmap_size, fds[0],
					   w->log.mmap_offset),
			  0);
		return true;
	case VHOST_USER_SET_VRING_NUM:
		check_ret(uvh_set_vring_num(p->fe, qi, num), 0);
		return true;
	case VHOST_USER_SET_VRING_ADDR:
		check_ret(uvh_set_vring_addr(p->fe, &w->addr), 0);
		return true;
	case VHOST_USER_SET_VRING_BASE:
		check_ret(uvh_set_vring_base(p->fe, qi, num), 0);
		return true;
	case VHOST_USER_GET_VRING_BASE:
		check_ret(uvh_get_vring_base(p->fe, qi, &slots), 0);
		return true;
	case VHOST_USER_SET_VRING_KICK:
	case VHOST_USER_SET_VRING_CALL:
	case VHOST_USER_SET_VRING_ERR:
		set_vring_fd(p, request, w->u64, c->nfds ? fds[0] : -1);
		return true;
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		check_ret(uvh_get_protocol_features(p->fe, &u64), 0);
		return true;
	case VHOST_USER_SET_VRING_ENABLE:
		check_ret(uvh_set_vring_enable(p->fe, qi, num), 0);
		return true;
	case VHOST_USER_SEND_RARP:
		memcpy(mac, w->bytes, sizeof(mac));
		check_ret(uvh_net_send_rarp(p->fe, mac), 0);
		return true;
	case VHOST_USER_NET_SET_MTU:
		check_ret(uvh_net_set_mtu(p->fe, (uint16_t)w->u64), 0);
		return true;
	case VHOST_USER_IOTLB_MSG:
		check_ret(uvh_iotlb_send(p->fe, &w->iotlb, 0), 0);
		return true;
	case VHOST_USER_GET_CONFIG:
		check_ret(uvh_get_config(p->fe, w->config.offset, bytes,
					 w->config.size),
			  0);
		return true;
	case VHOST_USER_GET_INFLIGHT_FD:
	case VHOST_USER_SET_INFLIGHT_FD:
		set_inflight(p, &w->inflight, c->nfds ? fds[0] : -1);
		return true;
	case VHOST_USER_GET_MAX_MEM_SLOTS:
		check_ret(uvh_max_mem_slots(p->fe, &slots), 0);
		return true;
	case VHOST_USER_ADD_MEM_REG:
		r = region_of(&w->region.region, fds[0]);
		check_ret(uvh_add_region(p->fe, &r), 0);
		return true;
	case VHOST_USER_REM_MEM_REG:
		r = region_of(&w->region.region, STDIN_FILENO);
		check_ret(uvh_add_region(p->fe, &r), 0);
		check_ret(uvh_remove_region(p->fe, &r), 0);
		return true;
	case VHOST_USER_RESET_DEVICE:
		check_ret(uvh_reset_device(p->fe), 0);
		return true;
	case VHOST_USER_SET_DEVICE_STATE_FD:
		check_ret(uvh_set_device_state(p->fe,
					       (enum uvh_state_direction)w
						       ->device_state.direction,
					       dup(fds[0]), &other),
			  0);
		return true;
	case VHOST_USER_CHECK_DEVICE_STATE:
		check_ret(uvh_check_device_state(p->fe), 0);
		return true;
	case VHOST_USER_SET_STATUS:
		check_ret(uvh_set_status(p->fe, (uint8_t)w->u64), 0);
		return true;
	case VHOST_USER_GET_STATUS:
		check_ret(uvh_get_status(p->fe, &status), 0);
		return true;
	default:
		return false;
	}
}

/* What must be accepted for the message to be sent as it was. */
static uint64_t needs(const struct captured *c)
{
	switch (c->m.hdr.request) {
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		return c->m.payload.u64 & UVH_PROTOCOL_KNOWN;
	case VHOST_USER_ADD_MEM_REG:
	case VHOST_USER_REM_MEM_REG:
	case VHOST_USER_GET_MAX_MEM_SLOTS:
		return P(CONFIGURE_MEM_SLOTS) | P(REPLY_ACK) | P(MQ);
	case VHOST_USER_SET_BACKEND_REQ_FD:
		return P(REPLY_ACK) | P(BACKEND_REQ) | P(MQ);
	default:
		return UVH_PROTOCOL_KNOWN &
		       ~(P(CONFIGURE_MEM_SLOTS) | P(GPA_ADDRESSES));
	}
}

static const struct captured *last_heard(const struct peer *p, uint32_t request)
{
	unsigned int n = __atomic_load_n(&p->n, __ATOMIC_ACQUIRE);

	for (unsigned int i = 1; i <= n && i <= HEARD; i++)
		if (p->heard[(n - i) % HEARD].m.hdr.request == request)
			return &p->heard[(n - i) % HEARD];
	return NULL;
}

/* What has no answer may not have arrived yet: an answer to a later request
 * says that it has. */
static void settle(struct peer *p)
{
	uint64_t u64;

	check_ret(uvh_get_protocol_features(p->fe, &u64), 0);
}

/* What means nothing: padding, and the flags of GET_CONFIG. */
static void without_padding(struct captured *c)
{
	union vu_payload *p = &c->m.payload;

	if (c->m.hdr.request == VHOST_USER_GET_INFLIGHT_FD ||
	    c->m.hdr.request == VHOST_USER_SET_INFLIGHT_FD)
		p->inflight.padding = 0;
	else if (c->m.hdr.request == VHOST_USER_GET_CONFIG)
		p->config.flags = 0;
	else if (c->m.hdr.request == VHOST_USER_IOTLB_MSG)
		memset(p->bytes + IOTLB_END, 0,
		       sizeof(struct vhost_iotlb_msg) - IOTLB_END);
}

static void compare(const char *file, const struct captured *want,
		    const struct captured *got)
{
	const uint32_t ack = VU_FLAG_NEED_REPLY;
	uint32_t request = want->m.hdr.request;

	if (!got)
		fail_msg("%s: request %u: we did not send it", file, request);
	if (got->m.hdr.size != want->m.hdr.size || got->nfds != want->nfds ||
	    (got->m.hdr.flags | ack) != (want->m.hdr.flags | ack))
		fail_msg("%s: request %u: %u bytes, %u descriptors, flags "
			 "0x%x; ours %u, %u, 0x%x",
			 file, request, want->m.hdr.size, want->nfds,
			 want->m.hdr.flags, got->m.hdr.size, got->nfds,
			 got->m.hdr.flags);
	/* where they ask for an answer that does not come anyway, so do we */
	if ((want->m.hdr.flags & ack) &&
	    vu_row_find(request)->reply <= VU_ACK_ASKED)
		assert_true(got->m.hdr.flags & ack);
	if (request == VHOST_USER_SET_PROTOCOL_FEATURES) /* may know more */
		assert_int_equal(got->m.payload.u64,
				 want->m.payload.u64 & UVH_PROTOCOL_KNOWN);
	else
		assert_memory_equal(got->m.payload.bytes, want->m.payload.bytes,
				    want->m.hdr.size);
}

static void check_message(const char *file, struct captured *c)
{
	int fds[VU_FDS];
	unsigned int n = captured_fds(c, fds);
	struct peer p;

	peer_open(&p, UINT64_MAX, needs(c));
	if (!say(&p, c, fds))
		fail_msg("%s: nothing sends request %u", file,
			 c->m.hdr.request);
	settle(&p);
	without_padding(c);
	compare(file, c, last_heard(&p, c->m.hdr.request));
	peer_close(&p);
	while (n)
		close(fds[--n]);
}

static bool seen(const struct captured_file *f, unsigned int i)
{
	for (unsigned int k = 0; k < i; k++)
		if (f->msg[k].way == 'F' && f->msg[k].nfds == f->msg[i].nfds &&
		    !memcmp(&f->msg[k].m, &f->msg[i].m, sizeof(f->msg[i].m)))
			return true;
	return false;
}

static void check_file(const char *name)
{
	struct captured_file f = captured_load(name);

	for (unsigned int i = 0; i < f.n; i++)
		if (f.msg[i].way == 'F' && !seen(&f, i))
			check_message(name, &f.msg[i]);
	captured_free(&f);
}

static void each_message_has_the_bytes_that_qemu_sends(void **state)
{
	(void)state;
	for (unsigned int i = 0; captured_files[i]; i++)
		if (!strncmp(captured_files[i], "qemu", 4))
			check_file(captured_files[i]);
}

static void each_message_has_the_bytes_that_dpdk_sends(void **state)
{
	(void)state;
	for (unsigned int i = 0; captured_files[i]; i++)
		if (!strncmp(captured_files[i], "dpdk", 4))
			check_file(captured_files[i]);
}

static void each_message_has_the_bytes_that_rust_vmm_sends(void **state)
{
	(void)state;
	check_file("rust-vmm");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_message_has_the_bytes_that_qemu_sends),
		cmocka_unit_test(each_message_has_the_bytes_that_dpdk_sends),
		cmocka_unit_test(
			each_message_has_the_bytes_that_rust_vmm_sends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
