/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_captured.c replays messages that QEMU, DPDK and rust-vmm sent to our
 * backend, byte for byte, and compares the sizes of their structures with
 * vu_proto.h.
 */
#include "check.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "captured.h"
#include "fdmsg.h"
#include "vu_priv.h"
#include "vufix.h"

#define ALL_NET UINT64_C(0xffffff) /* bits 0...23 are the net device's */

/* ---- sizes ---- */

#define NOT_FIXED UINT32_MAX

/* Payloads that are one structure of ours, whole. */
static uint32_t size_of(uint32_t request, char way)
{
	switch (request) {
	case VHOST_USER_SET_LOG_BASE: /* replies differ, see below */
		return way == 'F' ? sizeof(struct vu_log) : NOT_FIXED;
	case VHOST_USER_SET_VRING_NUM:
	case VHOST_USER_SET_VRING_BASE:
	case VHOST_USER_GET_VRING_BASE:
	case VHOST_USER_SET_VRING_ENABLE:
		return way == 'F' || request == VHOST_USER_GET_VRING_BASE
			       ? sizeof(struct vhost_vring_state)
			       : sizeof(uint64_t);
	case VHOST_USER_SET_VRING_ADDR:
		return way == 'F' ? sizeof(struct vhost_vring_addr)
				  : sizeof(uint64_t);
	case VHOST_USER_GET_INFLIGHT_FD:
		return sizeof(struct vu_inflight);
	case VHOST_USER_SET_INFLIGHT_FD:
		return way == 'F' ? sizeof(struct vu_inflight)
				  : sizeof(uint64_t);
	case VHOST_USER_ADD_MEM_REG:
	case VHOST_USER_REM_MEM_REG:
		return way == 'F' ? sizeof(struct vu_single_mem_region)
				  : sizeof(uint64_t);
	case VHOST_USER_IOTLB_MSG:
		return way == 'F' ? sizeof(struct vhost_iotlb_msg)
				  : sizeof(uint64_t);
	case VHOST_USER_GET_CONFIG:
	case VHOST_USER_SET_CONFIG:
	case VHOST_USER_SET_MEM_TABLE:
		return NOT_FIXED; /* see below */
	case VHOST_USER_SET_OWNER:
	case VHOST_USER_RESET_OWNER:
	case VHOST_USER_SET_LOG_FD:
	case VHOST_USER_GET_FEATURES:
	case VHOST_USER_GET_PROTOCOL_FEATURES:
	case VHOST_USER_GET_QUEUE_NUM:
	case VHOST_USER_SET_BACKEND_REQ_FD:
	case VHOST_USER_RESET_DEVICE:
	case VHOST_USER_CHECK_DEVICE_STATE:
	case VHOST_USER_POSTCOPY_LISTEN:
	case VHOST_USER_POSTCOPY_END:
	case VHOST_USER_GET_MAX_MEM_SLOTS:
	case VHOST_USER_GET_STATUS:
		return way == 'F' ? 0 : sizeof(uint64_t);
	case VHOST_USER_POSTCOPY_ADVISE:
		return 0;
	default:
		return sizeof(uint64_t);
	}
}

/* Sizes on the channel of SET_BACKEND_REQ_FD; replies are numbers. */
static uint32_t size_of_back(uint32_t request, char way)
{
	if (way == 'f')
		return sizeof(uint64_t);
	switch (request) {
	case VHOST_USER_BACKEND_IOTLB_MSG:
		return sizeof(struct vhost_iotlb_msg);
	case VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG:
		return sizeof(struct vu_vring_area);
	default:
		return 0;
	}
}

static void check_size(const struct captured_file *f, const struct captured *c)
{
	const struct vu_hdr *h = &c->m.hdr;
	const union vu_payload *p = &c->m.payload;
	uint32_t want = c->way == 'F' || c->way == 'B'
				? size_of(h->request, c->way)
				: size_of_back(h->request, c->way);

	if (h->request == VHOST_USER_SET_MEM_TABLE && c->way == 'F')
		want = (uint32_t)offsetof(struct vu_memory,
					  regions[p->memory.nregions]);
	else if (h->request == VHOST_USER_GET_CONFIG)
		want = VU_CONFIG_HDR + p->config.size;
	if (want != NOT_FIXED && h->size != want)
		fail_msg("%s: %c request %u has %u bytes, our structure %u",
			 f->name, c->way, h->request, h->size, want);
}

static void structures_have_the_peers_sizes(void **state)
{
	(void)state;
	for (unsigned int i = 0; captured_files[i]; i++) {
		struct captured_file f = captured_load(captured_files[i]);

		for (unsigned int k = 0; k < f.n; k++)
			check_size(&f, &f.msg[k]);
		captured_free(&f);
	}
}

/* Flags: version 1, REPLY alone, NEED_REPLY alone; ours are checked by the
 * same. */
static void headers_have_no_other_flags(void **state)
{
	(void)state;
	for (unsigned int i = 0; captured_files[i]; i++) {
		struct captured_file f = captured_load(captured_files[i]);

		for (unsigned int k = 0; k < f.n; k++) {
			uint32_t more = f.msg[k].m.hdr.flags ^ VU_VERSION;

			if (f.msg[k].way == 'B' || f.msg[k].way == 'f')
				assert_int_equal(more, VU_FLAG_REPLY);
			else
				assert_int_equal(more & ~VU_FLAG_NEED_REPLY, 0);
		}
		captured_free(&f);
	}
}

/* ---- to our backend ---- */

static struct vufix *begin(void)
{
	struct vufix *f = vufix_open(2);

	vufix_hang_up(f);
	vu_endpoint_close(&f->fe);
	f->config.net_features = ALL_NET;
	vufix_connect(f);
	return f;
}

static void again(struct vufix *f)
{
	if (f->s)
		vufix_hang_up(f);
	vu_endpoint_close(&f->fe);
	vufix_connect(f);
}

static void feed(struct vufix *f, const struct captured *c)
{
	int fds[VU_FDS];
	unsigned int n = captured_fds(c, fds);
	uint8_t flat[sizeof(c->m.hdr) + sizeof(c->m.payload)];
	size_t len = sizeof(c->m.hdr) + c->m.hdr.size;

	memcpy(flat, &c->m.hdr, sizeof(c->m.hdr));
	memcpy(flat + sizeof(c->m.hdr), &c->m.payload, c->m.hdr.size);
	fdmsg_send(f->fe.sock, flat, len, fds, n, 0);
	while (n)
		close(fds[--n]);
}

/* What the other backend answered, ours answers in the same shape. */
static void check_answer(struct vufix *f, const struct captured_file *file,
			 const struct captured *c, const struct captured *want)
{
	struct vu_msg m;
	int ret = vu_recv_wait(&f->fe, &m, VUFIX_MS);

	if (ret < 0)
		fail_msg("%s: request %u: no answer: %s", file->name,
			 c->m.hdr.request, strerror(-ret));
	vu_msg_close_fds(&m);
	assert_int_equal(m.hdr.request, want->m.hdr.request);
	assert_int_equal(m.hdr.flags, want->m.hdr.flags);
	if (m.hdr.request == VHOST_USER_SET_LOG_BASE)
		assert_int_equal(m.hdr.size, sizeof(struct vu_log));
	else
		assert_int_equal(m.hdr.size, want->m.hdr.size);
	if (m.hdr.size == sizeof(m.payload.u64) && !want->m.payload.u64)
		assert_int_equal(m.payload.u64, 0);
}

static void converse(const char *name)
{
	struct captured_file file = captured_load(name);
	struct vufix *f = begin();

	for (unsigned int i = 0; i < file.n; i++) {
		const struct captured *reply;

		if (file.msg[i].way != 'F')
			continue;
		reply = captured_reply(&file, i);
		feed(f, &file.msg[i]);
		if (reply)
			check_answer(f, &file, &file.msg[i], reply);
	}
	vf_sync(f); /* and nothing unexpected came */
	vufix_close(f);
	captured_free(&file);
}

static void a_conversation_with_qemu_goes_on_to_its_end(void **state)
{
	(void)state;
	converse("qemu-net");
	converse("qemu-in");
}

static void a_conversation_with_dpdk_goes_on_to_its_end(void **state)
{
	(void)state;
	converse("dpdk-uvhostd");
}

static void a_conversation_with_rust_vmm_goes_on_to_its_end(void **state)
{
	(void)state;
	converse("rust-vmm");
	converse("rust-vmm-32");
}

/* Does it depend on features that another backend had offered? */
static bool of_another_device(const struct captured *c)
{
	return c->m.hdr.request == VHOST_USER_SET_FEATURES ||
	       c->m.hdr.request == VHOST_USER_SET_PROTOCOL_FEATURES;
}

static bool seen(const struct captured_file *f, unsigned int i)
{
	for (unsigned int k = 0; k < i; k++)
		if (f->msg[k].way == 'F' && f->msg[k].nfds == f->msg[i].nfds &&
		    !memcmp(&f->msg[k].m, &f->msg[i].m, sizeof(f->msg[i].m)))
			return true;
	return false;
}

/* Each on a connection that has just begun. */
static void no_message_of_theirs_ends_the_connection(void **state)
{
	struct vufix *f = begin();
	uint64_t all = vf_get(f, VHOST_USER_GET_PROTOCOL_FEATURES);

	(void)state;
	for (unsigned int i = 0; captured_files[i]; i++) {
		struct captured_file file = captured_load(captured_files[i]);

		for (unsigned int k = 0; k < file.n; k++) {
			const struct captured *c = &file.msg[k];
			struct vu_msg m;
			int ret;

			if (c->way != 'F' || of_another_device(c) ||
			    seen(&file, k))
				continue;
			again(f);
			vf_hello(f, all);
			feed(f, c);
			vf_send(f, VHOST_USER_SET_OWNER, VU_FLAG_NEED_REPLY,
				NULL, 0, NULL, 0);
			do {
				ret = vu_recv_wait(&f->fe, &m, VUFIX_MS);
				if (ret < 0)
					fail_msg("%s: request %u of %u bytes: "
						 "%s",
						 file.name, c->m.hdr.request,
						 c->m.hdr.size, strerror(-ret));
				vu_msg_close_fds(&m);
			} while (m.hdr.request != VHOST_USER_SET_OWNER);
		}
		captured_free(&file);
	}
	vufix_close(f);
}

/* ---- one by one ---- */

static const struct captured *find(const struct captured_file *f, char way,
				   uint32_t request)
{
	for (unsigned int i = 0; i < f->n; i++)
		if (f->msg[i].way == way && f->msg[i].m.hdr.request == request)
			return &f->msg[i];
	fail_msg("%s: no request %u", f->name, request);
	return NULL;
}

/* QEMU's request, libvhost-user's answer, QEMU's next request. */
static void inflight_memory_as_qemu_asks_for_it(void **state)
{
	struct captured_file file = captured_load("qemu-blk");
	const struct captured *get =
		find(&file, 'F', VHOST_USER_GET_INFLIGHT_FD);
	const struct captured *got =
		find(&file, 'B', VHOST_USER_GET_INFLIGHT_FD);
	struct captured set = *find(&file, 'F', VHOST_USER_SET_INFLIGHT_FD);
	struct vufix *f = begin();
	struct vu_msg m;

	(void)state;
	vf_hello(f, BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD));
	feed(f, get);
	check_ret(vu_recv_wait(&f->fe, &m, VUFIX_MS), 0);
	assert_int_equal(m.hdr.request, got->m.hdr.request);
	assert_int_equal(m.hdr.flags, got->m.hdr.flags);
	assert_int_equal(m.hdr.size, got->m.hdr.size);
	assert_int_equal(m.nfds, 1);
	assert_true(m.payload.inflight.mmap_size > 0);
	/* all but the size, padding included */
	assert_memory_equal(m.payload.bytes + 8, got->m.payload.bytes + 8,
			    m.hdr.size - 8);
	set.m.hdr.flags |= VU_FLAG_NEED_REPLY;
	vf_send(f, set.m.hdr.request, VU_FLAG_NEED_REPLY, &set.m.payload,
		set.m.hdr.size, m.fds, 1);
	vu_msg_close_fds(&m);
	vf_reply(f, VHOST_USER_SET_INFLIGHT_FD, &m);
	/* its size is for another layout: the ring is not there to mind */
	assert_int_equal(m.payload.u64, 0);
	vufix_close(f);
	captured_free(&file);
}

/* DPDK answers as libvhost-user does. */
static void inflight_memory_as_dpdk_gives_it(void **state)
{
	struct captured_file qemu = captured_load("qemu-blk"),
			     dpdk = captured_load("fe-dpdk");
	const struct vu_hdr *a =
		&find(&qemu, 'B', VHOST_USER_GET_INFLIGHT_FD)->m.hdr;
	const struct vu_hdr *b =
		&find(&dpdk, 'B', VHOST_USER_GET_INFLIGHT_FD)->m.hdr;

	(void)state;
	assert_memory_equal(a, b, sizeof(*a));
	captured_free(&qemu);
	captured_free(&dpdk);
}

/* QEMU takes pairs, DPDK's answer has nothing to do with queues=2. */
static void queue_numbers_are_not_of_one_kind(void **state)
{
	struct captured_file qsd = captured_load("qemu-blk"),
			     dpdk = captured_load("fe-dpdk"),
			     user = captured_load("dpdk-uvhostd");

	(void)state;
	assert_int_equal(
		find(&qsd, 'B', VHOST_USER_GET_QUEUE_NUM)->m.payload.u64, 1);
	assert_int_equal(
		find(&dpdk, 'B', VHOST_USER_GET_QUEUE_NUM)->m.payload.u64, 128);
	/* and its frontend never asks */
	for (unsigned int i = 0; i < user.n; i++)
		assert_int_not_equal(user.msg[i].m.hdr.request,
				     VHOST_USER_GET_QUEUE_NUM);
	captured_free(&qsd);
	captured_free(&dpdk);
	captured_free(&user);
}

/* The answers that other backends give are not alike: ours has the size that
 * rust-vmm wants, QEMU takes any. */
static void the_log_is_answered_as_rust_vmm_waits_for_it(void **state)
{
	struct captured_file qemu = captured_load("qemu-net"),
			     dpdk = captured_load("qemu-dpdk"),
			     qsd = captured_load("fe-qsd"),
			     rust = captured_load("fe-rust-vmm");
	const struct captured *set = find(&qemu, 'F', VHOST_USER_SET_LOG_BASE);
	struct vufix *f = begin();
	struct vu_msg m;

	(void)state;
	assert_int_equal(find(&dpdk, 'B', VHOST_USER_SET_LOG_BASE)->m.hdr.size,
			 0);
	assert_int_equal(find(&qsd, 'B', VHOST_USER_SET_LOG_BASE)->m.hdr.size,
			 8);
	assert_int_equal(find(&rust, 'B', VHOST_USER_SET_LOG_BASE)->m.hdr.size,
			 sizeof(struct vu_log));
	assert_memory_equal(
		&find(&dpdk, 'F', VHOST_USER_SET_LOG_BASE)->m.payload,
		&set->m.payload, sizeof(struct vu_log));
	vf_hello(f, BIT(VHOST_USER_PROTOCOL_F_LOG_SHMFD));
	feed(f, set);
	vf_reply(f, VHOST_USER_SET_LOG_BASE, &m);
	assert_int_equal(m.hdr.size, sizeof(struct vu_log));
	assert_memory_equal(&m.payload.log, &set->m.payload.log,
			    sizeof(struct vu_log));
	vufix_close(f);
	captured_free(&qemu);
	captured_free(&dpdk);
	captured_free(&qsd);
	captured_free(&rust);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(structures_have_the_peers_sizes),
		cmocka_unit_test(headers_have_no_other_flags),
		cmocka_unit_test(a_conversation_with_qemu_goes_on_to_its_end),
		cmocka_unit_test(a_conversation_with_dpdk_goes_on_to_its_end),
		cmocka_unit_test(
			a_conversation_with_rust_vmm_goes_on_to_its_end),
		cmocka_unit_test(no_message_of_theirs_ends_the_connection),
		cmocka_unit_test(inflight_memory_as_qemu_asks_for_it),
		cmocka_unit_test(inflight_memory_as_dpdk_gives_it),
		cmocka_unit_test(queue_numbers_are_not_of_one_kind),
		cmocka_unit_test(the_log_is_answered_as_rust_vmm_waits_for_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
