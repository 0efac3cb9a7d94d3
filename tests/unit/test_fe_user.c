/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_fe_user.c tests the vhost-user frontend with a backend that follows a
 * script: answers that are right, late, wrong, cut off or missing, and requests
 * of its own. At the end, with the product's backend and packets.
 */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "fe_user.h"
#include "ring.h"
#include "uvhost/frontend.h"
#include "vmm.h"
#include "vu_backend_req.h"
#include "vu_msg.h"
#include "vu_server.h"

#define PATIENT_MS 60000 /* for what must come */
#define HASTY_MS 60      /* for what must not */
#define VERSION_1 BIT(VIRTIO_F_VERSION_1)
#define PROTOCOL BIT(VHOST_USER_F_PROTOCOL_FEATURES)
#define P(name) BIT(UVH_PROTOCOL_F_##name)

/* ---- a backend by script ---- */

/** What to do with one kind of request instead of answering it well */
enum action {
	ANSWER,
	REFUSE,       /* payload 1 */
	WRONG_NUMBER, /* another request's */
	NO_FLAG,      /* not marked as an answer */
	LONG,         /* eight bytes too many */
	SHORT,        /* none of its payload */
	ECHO,         /* all of the request's, as it was */
	LISTED,       /* four bytes of padding too few */
	EMPTY,        /* a configuration of no bytes */
	HALVES,       /* in pieces, with a pause */
	HALF,         /* and no more */
	NOTHING,
	HANG_UP,
	WITH_FD, /* with an unexpected descriptor */
};

#define HEARD_MAX 64

struct backend {
	pthread_t thread;
	struct vu_endpoint ep;
	int channel; /* of SET_BACKEND_REQ_FD, as a number; -1 */

	pthread_mutex_t lock; /* the rest */
	uint64_t features, protocol, queues, slots;
	uint16_t pairs; /* in the configuration space; 0: bytes that count up */
	uint32_t on;    /* request that @action is for */
	enum action action;
	int give_fd;     /* goes with the next answer that has one */
	uint64_t number; /* payload of other u64 answers */
	bool ack;        /* REPLY_ACK is accepted */
	unsigned int nheard;
	struct vu_msg heard[HEARD_MAX];
	struct stat heard_fd[HEARD_MAX]; /* of the first descriptor */
};

static void note(struct backend *b, struct vu_msg *m)
{
	if (b->nheard == HEARD_MAX)
		return;
	b->heard[b->nheard] = *m;
	if (m->nfds)
		fstat(m->fds[0], &b->heard_fd[b->nheard]);
	b->nheard++;
}

/* Is there an answer of its own; if so it is made of @m. */
static bool own_answer(struct backend *b, struct vu_msg *m)
{
	switch (m->hdr.request) {
	case VHOST_USER_GET_FEATURES:
		m->payload.u64 = b->features;
		break;
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		m->payload.u64 = b->protocol;
		break;
	case VHOST_USER_GET_QUEUE_NUM:
		m->payload.u64 = b->queues;
		break;
	case VHOST_USER_GET_MAX_MEM_SLOTS:
		m->payload.u64 = b->slots;
		break;
	case VHOST_USER_GET_STATUS:
	case VHOST_USER_POSTCOPY_END:
	case VHOST_USER_CHECK_DEVICE_STATE:
	case VHOST_USER_SET_DEVICE_STATE_FD:
	case VHOST_USER_SET_LOG_BASE:
		m->payload.u64 = b->number;
		break;
	case VHOST_USER_GET_VRING_BASE:
		m->payload.state.num = (unsigned int)b->number;
		return true;
	case VHOST_USER_GET_CONFIG:
		for (unsigned int i = 0; i < m->payload.config.size; i++)
			m->payload.config.region[i] =
				(uint8_t)(m->payload.config.offset + i);
		if (b->pairs && m->payload.config.offset == 8)
			memcpy(m->payload.config.region, &b->pairs, 2);
		return true;
	case VHOST_USER_GET_INFLIGHT_FD:
		m->payload.inflight.mmap_size = b->number;
		m->payload.inflight.mmap_offset = 4096;
		return true;
	case VHOST_USER_POSTCOPY_ADVISE:
		m->hdr.size = 0;
		return true;
	default:
		return false;
	}
	m->hdr.size = sizeof(m->payload.u64);
	return true;
}

static void send_pieces(struct backend *b, const struct vu_msg *m)
{
	uint8_t p[sizeof(m->hdr) + sizeof(m->payload)];
	size_t len = sizeof(m->hdr) + m->hdr.size;

	memcpy(p, &m->hdr, sizeof(m->hdr));
	memcpy(p + sizeof(m->hdr), &m->payload, m->hdr.size);

	for (size_t i = 0; i < len; i += 3) {
		poll(NULL, 0, 2);
		if (write(b->ep.sock, p + i, MIN(len - i, 3)) < 0)
			return;
	}
}

static void answer(struct backend *b, struct vu_msg *m, enum action action)
{
	m->hdr.flags = VU_VERSION | VU_FLAG_REPLY;
	m->nfds = 0;
	if (b->give_fd >= 0)
		m->fds[m->nfds++] = b->give_fd;
	b->give_fd = -1;
	switch (action) {
	case REFUSE:
		m->payload.u64 = 1;
		break;
	case WRONG_NUMBER:
		m->hdr.request++;
		break;
	case NO_FLAG:
		m->hdr.flags &= ~(uint32_t)VU_FLAG_REPLY;
		break;
	case LONG:
		m->hdr.size += 8;
		break;
	case SHORT:
		m->hdr.size = 0;
		break;
	case LISTED:
		m->hdr.size -= 4;
		break;
	case EMPTY:
		m->hdr.size = VU_CONFIG_HDR;
		m->payload.config.size = 0;
		break;
	case ECHO:
		m->hdr.size = b->heard[b->nheard - 1].hdr.size;
		m->payload = b->heard[b->nheard - 1].payload;
		break;
	case HALVES:
		send_pieces(b, m);
		return;
	case HALF:
		if (write(b->ep.sock, &m->hdr, 7) != 7)
			print_error("backend: write\n");
		return;
	case NOTHING:
		return;
	case HANG_UP:
		shutdown(b->ep.sock, SHUT_RDWR);
		return;
	case WITH_FD:
		m->fds[m->nfds++] = STDIN_FILENO;
		break;
	case ANSWER:
		break;
	}
	vu_send(&b->ep, m, PATIENT_MS);
}

static void serve(struct backend *b, struct vu_msg *m)
{
	enum action action = m->hdr.request == b->on ? b->action : ANSWER;
	bool need_reply = m->hdr.flags & VU_FLAG_NEED_REPLY;

	note(b, m);
	if (m->hdr.request == VHOST_USER_SET_BACKEND_REQ_FD && b->channel < 0)
		b->channel = vu_msg_take_fd(m, 0);
	vu_msg_close_fds(m);
	if (own_answer(b, m)) {
		answer(b, m, action);
	} else if (need_reply) {
		m->hdr.size = sizeof(m->payload.u64);
		m->payload.u64 = 0;
		answer(b, m, action);
	} else if (action == HANG_UP) {
		shutdown(b->ep.sock, SHUT_RDWR);
	}
}

static void *backend_main(void *arg)
{
	struct backend *b = arg;
	struct vu_msg m;

	while (vu_recv_wait(&b->ep, &m, -1) == 0) {
		pthread_mutex_lock(&b->lock);
		serve(b, &m);
		pthread_mutex_unlock(&b->lock);
	}
	return NULL;
}

struct fixture {
	struct backend b;
	struct uvh *fe;
	unsigned int nfds; /* open before */
	int files[3];
};

static unsigned int count_open(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int pair[2];

	assert_non_null(f);
	f->nfds = count_open();
	check_ret(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	f->b.channel = f->b.give_fd = -1;
	f->b.features = VERSION_1 | PROTOCOL | BIT(VIRTIO_F_ACCESS_PLATFORM) |
			BIT(VIRTIO_NET_F_MQ);
	f->b.protocol = UVH_PROTOCOL_KNOWN & ~P(CONFIGURE_MEM_SLOTS);
	f->b.queues = 2;
	f->b.slots = 32;
	pthread_mutex_init(&f->b.lock, NULL);
	vu_endpoint_init(&f->b.ep, pair[1]);
	check_ret(pthread_create(&f->b.thread, NULL, backend_main, &f->b), 0);
	check_ret(uvh_user_from_socket(pair[0], PATIENT_MS, &f->fe), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(f->files); i++)
		f->files[i] = check_ok(memfd_create("ram", MFD_CLOEXEC));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	uvh_close(f->fe);
	for (unsigned int i = 0; i < ARRAY_SIZE(f->files); i++)
		close(f->files[i]);
	pthread_join(f->b.thread, NULL);
	vu_endpoint_close(&f->b.ep);
	if (f->b.channel >= 0)
		close(f->b.channel);
	pthread_mutex_destroy(&f->b.lock);
	/* neither end keeps what it was sent */
	assert_int_equal(count_open(), f->nfds);
	free(f);
	return 0;
}

static void script(struct fixture *f, uint32_t on, enum action action)
{
	pthread_mutex_lock(&f->b.lock);
	f->b.on = on;
	f->b.action = action;
	f->b.nheard = 0;
	pthread_mutex_unlock(&f->b.lock);
}

static void set_number(struct fixture *f, uint64_t number, int fd)
{
	pthread_mutex_lock(&f->b.lock);
	f->b.number = number;
	f->b.give_fd = fd;
	pthread_mutex_unlock(&f->b.lock);
}

/* What the backend heard since the last script: message @i from the end. */
static struct vu_msg heard(struct fixture *f, unsigned int i)
{
	struct vu_msg m;

	pthread_mutex_lock(&f->b.lock);
	if (f->b.nheard <= i)
		fail_msg("the backend heard %u messages", f->b.nheard);
	m = f->b.heard[f->b.nheard - 1 - i];
	pthread_mutex_unlock(&f->b.lock);
	return m;
}

static unsigned int heard_count(struct fixture *f)
{
	unsigned int n;

	pthread_mutex_lock(&f->b.lock);
	n = f->b.nheard;
	pthread_mutex_unlock(&f->b.lock);
	return n;
}

/* Everything sent so far has been heard. */
static void settle(struct fixture *f)
{
	uint64_t features;

	check_ret(uvh_get_features(f->fe, &features), 0);
}

static void negotiate(struct fixture *f, uint64_t protocol)
{
	pthread_mutex_lock(&f->b.lock);
	f->b.protocol |= protocol;
	pthread_mutex_unlock(&f->b.lock);
	check_ret(uvh_set_owner(f->fe), 0);
	check_ret(uvh_set_protocol_features(f->fe, protocol), 0);
	check_ret(uvh_set_features(f->fe, VERSION_1), 0);
	script(f, 0, ANSWER);
}

static void check_heard(struct fixture *f, unsigned int i, uint32_t request,
			uint32_t size, unsigned int nfds, bool need_reply)
{
	struct vu_msg m = heard(f, i);

	assert_int_equal(m.hdr.request, request);
	assert_int_equal(m.hdr.size, size);
	assert_int_equal(m.nfds, nfds);
	assert_int_equal(m.hdr.flags,
			 VU_VERSION | (need_reply ? VU_FLAG_NEED_REPLY : 0));
}

/* ---- features ---- */

static void bit_30_is_handled_inside(void **state)
{
	struct fixture *f = *state;
	uint64_t features = 0;

	check_ret(uvh_get_features(f->fe, &features), 0);
	assert_int_equal(features, f->b.features & ~PROTOCOL);
	check_ret(uvh_set_features(f->fe, PROTOCOL), -EOPNOTSUPP);
	check_ret(uvh_set_features(f->fe, VERSION_1), 0);
	settle(f);
	check_heard(f, 1, VHOST_USER_SET_FEATURES, 8, 0, false);
	assert_int_equal(heard(f, 1).payload.u64, VERSION_1 | PROTOCOL);
}

static void backend_of_old_times(void **state)
{
	struct fixture *f = *state;
	uint64_t features = 1;
	int kick = check_ok(eventfd(0, EFD_CLOEXEC));

	f->b.features = VERSION_1;
	check_ret(uvh_get_protocol_features(f->fe, &features), 0);
	assert_int_equal(features, 0);
	check_ret(uvh_set_protocol_features(f->fe, 0), 0);
	check_ret(uvh_set_protocol_features(f->fe, P(MQ)), -EOPNOTSUPP);
	check_ret(uvh_set_owner(f->fe), 0);
	check_ret(uvh_set_features(f->fe, VERSION_1), 0);
	settle(f);
	assert_int_equal(heard(f, 1).payload.u64, VERSION_1);
	/* rings are enabled from the start */
	script(f, 0, ANSWER);
	check_ret(uvh_set_vring_kick(f->fe, 0, kick), 0);
	check_ret(uvh_vring_start(f->fe, 0, -1), 0);
	check_ret(uvh_set_vring_enable(f->fe, 0, false), -EOPNOTSUPP);
	check_ret(uvh_vring_stop(f->fe, 0, NULL), 0);
	assert_int_equal(heard_count(f), 2);
	check_heard(f, 0, VHOST_USER_GET_VRING_BASE, 8, 0, false);
	check_heard(f, 1, VHOST_USER_SET_VRING_KICK, 8, 1, false);
	close(kick);
}

static void protocol_features_are_negotiated(void **state)
{
	struct fixture *f = *state;
	uint64_t features = 0;

	f->b.protocol = P(MQ) | P(REPLY_ACK) | BIT(7);
	f->b.queues = 3;
	check_ret(uvh_get_protocol_features(f->fe, &features), 0);
	assert_int_equal(features, P(MQ) | P(REPLY_ACK) | BIT(7));
	/* offered, but not known; known, but not offered */
	check_ret(uvh_set_protocol_features(f->fe, BIT(7)), -EOPNOTSUPP);
	check_ret(uvh_set_protocol_features(f->fe, P(CONFIG)), -EOPNOTSUPP);
	assert_int_equal(uvh_queue_count(f->fe), 2);
	check_ret(uvh_set_protocol_features(f->fe, P(MQ) | P(REPLY_ACK)), 0);
	assert_int_equal(uvh_queue_count(f->fe), 6);
	check_heard(f, 0, VHOST_USER_GET_QUEUE_NUM, 0, 0, false);
	check_heard(f, 1, VHOST_USER_SET_PROTOCOL_FEATURES, 8, 0, false);
	check_ret(uvh_set_owner(f->fe), 0);
	check_heard(f, 0, VHOST_USER_SET_OWNER, 0, 0, true);
}

/* What GET_QUEUE_NUM counts is not the same for all backends. */
static void queues_are_counted_either_way(void **state)
{
	static const struct {
		bool mq;
		uint16_t configured; /* pairs; 0: no configuration space */
		uint64_t answer;
		unsigned int rings;
	} row[] = {
		{ true, 0, 3, 6 },     /* DPDK */
		{ true, 0, 128, 256 }, /* DPDK's default */
		{ true, 0, 4, 8 },     /* virtqueues, may be: two too many */
		{ true, 2, 4, 4 },     /* virtqueues */
		{ true, 2, 2, 4 },     /* pairs */
		{ true, 9, 4, 8 },     /* impossible */
		{ false, 0, 2, 2 },    /* virtqueues of one pair */
		{ false, 0, 1, 2 }, /* one pair; or one virtqueue, of a disk */
		{ false, 0, 4, 4 }, /* virtqueues of a disk */
		{ false, 2, 4, 4 },
	};
	struct fixture *f = *state;
	uint64_t features;

	for (unsigned int i = 0; i < ARRAY_SIZE(row); i++) {
		f->b.features = VERSION_1 | PROTOCOL |
				(row[i].mq ? BIT(VIRTIO_NET_F_MQ) : 0);
		f->b.queues = row[i].answer;
		f->b.pairs = row[i].configured;
		check_ret(uvh_get_features(f->fe, &features), 0);
		check_ret(uvh_set_protocol_features(
				  f->fe, row[i].configured ? P(MQ) | P(CONFIG)
							   : P(MQ)),
			  0);
		assert_int_equal(uvh_queue_count(f->fe), row[i].rings);
	}
	/* a configuration space that cannot be read is none */
	f->b.features |= BIT(VIRTIO_NET_F_MQ);
	check_ret(uvh_get_features(f->fe, &features), 0);
	script(f, VHOST_USER_GET_CONFIG, SHORT);
	check_ret(uvh_set_protocol_features(f->fe, P(MQ) | P(CONFIG)), 0);
	assert_int_equal(uvh_queue_count(f->fe), 8);
}

static void absurd_queue_counts(void **state)
{
	struct fixture *f = *state;
	uint64_t features;

	f->b.queues = UINT64_MAX;
	check_ret(uvh_set_protocol_features(f->fe, P(MQ)), 0);
	assert_int_equal(uvh_queue_count(f->fe), UVH_QUEUES_MAX);
	f->b.features &= ~BIT(VIRTIO_NET_F_MQ);
	check_ret(uvh_get_features(f->fe, &features), 0);
	check_ret(uvh_set_protocol_features(f->fe, P(MQ)), 0);
	assert_int_equal(uvh_queue_count(f->fe), UVH_QUEUES_MAX);
	f->b.queues = 0;
	check_ret(uvh_set_protocol_features(f->fe, P(MQ)), -EPROTO);
	check_ret(uvh_set_owner(f->fe), -EPIPE);
}

static void chains_left_in_flight_need_a_record(void **state)
{
	struct fixture *f = *state;

	check_ret(uvh_set_protocol_features(f->fe, P(GET_VRING_BASE_INFLIGHT)),
		  -EINVAL);
	check_ret(uvh_set_protocol_features(f->fe, P(GET_VRING_BASE_INFLIGHT) |
							   P(INFLIGHT_SHMFD)),
		  0);
}

static void inband_needs_its_companions(void **state)
{
	struct fixture *f = *state;

	check_ret(uvh_set_protocol_features(f->fe, P(INBAND_NOTIFICATIONS)),
		  -EINVAL);
	check_ret(uvh_set_protocol_features(f->fe, P(INBAND_NOTIFICATIONS) |
							   P(BACKEND_REQ)),
		  -EINVAL);
	check_ret(uvh_set_owner(f->fe), 0);
	check_ret(uvh_vring_kick(f->fe, 0), -EOPNOTSUPP);
	check_ret(uvh_set_protocol_features(f->fe, P(INBAND_NOTIFICATIONS) |
							   P(BACKEND_REQ) |
							   P(REPLY_ACK)),
		  0);
	check_ret(uvh_vring_kick(f->fe, 1), 0);
	check_heard(f, 0, VHOST_USER_VRING_KICK, 8, 0, true);
	assert_int_equal(heard(f, 0).payload.state.index, 1);
	/* it runs now */
	check_ret(uvh_set_vring_num(f->fe, 1, 256), -EBUSY);
}

static void calls_need_their_protocol_feature(void **state)
{
	struct fixture *f = *state;
	struct vhost_iotlb_msg msg = { .type = VHOST_IOTLB_UPDATE, .size = 1 };
	struct uvh_inflight inflight = { .queues = 2, .size = 1 };
	uint8_t buf[4], mac[6] = { 0 };
	uint64_t base;
	int fd, other;

	check_ret(uvh_set_owner(f->fe), 0);
	settle(f);
	script(f, 0, ANSWER);
	check_ret(uvh_set_log_base(f->fe, 0, 8, f->files[0], 0), -EOPNOTSUPP);
	check_ret(uvh_iotlb_send(f->fe, &msg, 0), -EOPNOTSUPP);
	check_ret(uvh_iotlb_recv(f->fe, &msg), -EOPNOTSUPP);
	check_ret(uvh_net_set_mtu(f->fe, 1500), -EOPNOTSUPP);
	check_ret(uvh_net_send_rarp(f->fe, mac), -EOPNOTSUPP);
	check_ret(uvh_get_config(f->fe, 0, buf, 4), -EOPNOTSUPP);
	check_ret(uvh_set_config(f->fe, 0, buf, 4, UVH_CONFIG_DRIVER),
		  -EOPNOTSUPP);
	check_ret(uvh_get_status(f->fe, buf), -EOPNOTSUPP);
	check_ret(uvh_set_status(f->fe, 1), -EOPNOTSUPP);
	check_ret(uvh_reset_device(f->fe), -EOPNOTSUPP);
	check_ret(uvh_get_inflight(f->fe, &inflight), -EOPNOTSUPP);
	inflight.fd = f->files[0];
	check_ret(uvh_set_inflight(f->fe, &inflight), -EOPNOTSUPP);
	check_ret(uvh_postcopy_advise(f->fe, &fd), -EOPNOTSUPP);
	check_ret(uvh_postcopy_listen(f->fe), -EOPNOTSUPP);
	check_ret(uvh_postcopy_end(f->fe), -EOPNOTSUPP);
	check_ret(uvh_postcopy_base(f->fe, 0, &base), -EOPNOTSUPP);
	check_ret(uvh_set_device_state(f->fe, UVH_STATE_SAVE, dup(0), &other),
		  -EOPNOTSUPP);
	check_ret(uvh_check_device_state(f->fe), -EOPNOTSUPP);
	assert_int_equal(heard_count(f), 0);
}

/* ---- answers ---- */

static void refusals_are_eio_and_no_end(void **state)
{
	struct fixture *f = *state;

	negotiate(f, P(REPLY_ACK));
	script(f, VHOST_USER_SET_VRING_NUM, REFUSE);
	check_ret(uvh_set_vring_num(f->fe, 0, 256), -EIO);
	check_heard(f, 0, VHOST_USER_SET_VRING_NUM, 8, 0, true);
	check_ret(uvh_set_vring_base(f->fe, 0, 7), 0);
	assert_int_equal(heard(f, 0).payload.state.num, 7);
}

static void without_reply_ack_an_error_is_not_reported(void **state)
{
	struct fixture *f = *state;

	negotiate(f, 0);
	script(f, VHOST_USER_SET_VRING_NUM, REFUSE);
	check_ret(uvh_set_vring_num(f->fe, 0, 256), 0);
	settle(f);
	check_heard(f, 1, VHOST_USER_SET_VRING_NUM, 8, 0, false);
}

/* For the call that gets no answer, once the others have theirs. */
static void wait_less(struct fixture *f, enum action action)
{
	if (action == HALF || action == NOTHING)
		fe_user_of(f->fe)->timeout_ms = HASTY_MS;
}

/* A call with an answer of its own and one with an acknowledgement: the same
 * faults have the same ends. */
static void check_fault(struct fixture *f, enum action action, int want)
{
	uint64_t features;

	negotiate(f, P(REPLY_ACK));
	script(f, VHOST_USER_GET_FEATURES, action);
	wait_less(f, action);
	check_ret(uvh_get_features(f->fe, &features), want);
	check_ret(uvh_get_features(f->fe, &features), -EPIPE);
	check_ret(uvh_set_vring_num(f->fe, 0, 256), -EPIPE);
	check_ret(uvh_handle_events(f->fe), -EPIPE);
}

static void check_fault_of_ack(struct fixture *f, enum action action, int want)
{
	negotiate(f, P(REPLY_ACK));
	script(f, VHOST_USER_SET_VRING_NUM, action);
	wait_less(f, action);
	check_ret(uvh_set_vring_num(f->fe, 0, 256), want);
	check_ret(uvh_set_vring_num(f->fe, 0, 256), -EPIPE);
}

#define FAULT(name, action, want)                         \
	static void name(void **state)                    \
	{                                                 \
		check_fault(*state, action, want);        \
	}                                                 \
	static void name##_as_ack(void **state)           \
	{                                                 \
		check_fault_of_ack(*state, action, want); \
	}
FAULT(answer_to_something_else, WRONG_NUMBER, -EPROTO)
FAULT(answer_that_is_none, NO_FLAG, -EPROTO)
FAULT(answer_too_long, LONG, -EPROTO)
FAULT(answer_too_short, SHORT, -EPROTO)
FAULT(answer_cut_off, HALF, -ETIMEDOUT)
FAULT(no_answer, NOTHING, -ETIMEDOUT)
FAULT(hang_up, HANG_UP, -EPIPE)

static void pieces_are_put_together(void **state)
{
	struct fixture *f = *state;
	uint64_t features = 0;

	script(f, VHOST_USER_GET_FEATURES, HALVES);
	check_ret(uvh_get_features(f->fe, &features), 0);
	assert_int_equal(features, f->b.features & ~PROTOCOL);
}

static void unwanted_descriptors_are_closed(void **state)
{
	struct fixture *f = *state;
	uint64_t features;
	unsigned int before = count_open();

	script(f, VHOST_USER_GET_FEATURES, WITH_FD);
	check_ret(uvh_get_features(f->fe, &features), 0);
	assert_int_equal(count_open(), before);
}

static void an_answer_that_comes_late_is_not_taken_for_another(void **state)
{
	struct fixture *f = *state;
	struct vu_msg late;
	uint64_t features;

	script(f, VHOST_USER_GET_FEATURES, NOTHING);
	wait_less(f, NOTHING);
	check_ret(uvh_get_features(f->fe, &features), -ETIMEDOUT);
	vu_msg_init(&late, VHOST_USER_GET_FEATURES);
	late.hdr.flags |= VU_FLAG_REPLY;
	late.hdr.size = 8;
	vu_send(&f->b.ep, &late, 0);
	check_ret(uvh_get_features(f->fe, &features), -EPIPE);
}

static void a_backend_that_reads_nothing(void **state)
{
	int pair[2];
	struct uvh *fe;
	int ret = 0;

	(void)state;
	check_ret(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	check_ret(uvh_user_from_socket(pair[0], HASTY_MS, &fe), 0);
	check_ret(uvh_set_owner(fe), 0);
	for (unsigned int i = 0; ret == 0 && i < 100000; i++)
		ret = uvh_set_vring_base(fe, 0, 1);
	check_ret(ret, -ETIMEDOUT);
	check_ret(uvh_set_vring_base(fe, 0, 1), -EPIPE);
	close(pair[1]);
	uvh_close(fe);
}

/* ---- memory ---- */

static struct uvh_region region(struct fixture *f, unsigned int i)
{
	return (struct uvh_region){
		.gpa = i * 0x100000u,
		.size = 0x100000,
		.uva = 0x7f0000000000u + i * 0x200000u,
		.fd = f->files[i % ARRAY_SIZE(f->files)],
		.fd_offset = i * 4096u,
	};
}

static void table_goes_as_a_whole(void **state)
{
	struct fixture *f = *state;
	struct uvh_region r[2] = { region(f, 0), region(f, 1) };
	struct vu_msg m;

	negotiate(f, 0);
	check_ret(uvh_set_mem_table(f->fe, r, 2), 0);
	/* without REPLY_ACK something else must be answered before we know */
	check_heard(f, 0, VHOST_USER_GET_FEATURES, 0, 0, false);
	check_heard(f, 1, VHOST_USER_SET_MEM_TABLE, 8 + 2 * 32, 2, false);
	m = heard(f, 1);
	assert_int_equal(m.payload.memory.nregions, 2);
	assert_int_equal(m.payload.memory.padding, 0);
	assert_int_equal(m.payload.memory.regions[1].guest_phys_addr, r[1].gpa);
	assert_int_equal(m.payload.memory.regions[1].memory_size, r[1].size);
	assert_int_equal(m.payload.memory.regions[1].userspace_addr, r[1].uva);
	assert_int_equal(m.payload.memory.regions[1].mmap_offset, 4096);
}

static void table_has_eight_rows(void **state)
{
	struct fixture *f = *state;
	struct uvh_region r[9];
	unsigned int slots;

	for (unsigned int i = 0; i < 9; i++)
		r[i] = region(f, i);
	negotiate(f, P(REPLY_ACK));
	check_ret(uvh_max_mem_slots(f->fe, &slots), 0);
	assert_int_equal(slots, 8);
	check_ret(uvh_set_mem_table(f->fe, r, 9), -E2BIG);
	check_ret(uvh_set_mem_table(f->fe, r, 8), 0);
	check_heard(f, 0, VHOST_USER_SET_MEM_TABLE, 8 + 8 * 32, 8, true);
	check_ret(uvh_add_region(f->fe, &r[8]), -E2BIG);
	check_ret(uvh_remove_region(f->fe, &r[0]), 0);
	check_heard(f, 0, VHOST_USER_SET_MEM_TABLE, 8 + 7 * 32, 7, true);
	check_ret(uvh_add_region(f->fe, &r[8]), 0);
	check_heard(f, 0, VHOST_USER_SET_MEM_TABLE, 8 + 8 * 32, 8, true);
}

static void a_region_needs_a_descriptor(void **state)
{
	struct fixture *f = *state;
	struct uvh_region r = region(f, 0);

	r.fd = -1;
	negotiate(f, P(REPLY_ACK));
	check_ret(uvh_set_mem_table(f->fe, &r, 1), -EBADF);
	check_ret(uvh_add_region(f->fe, &r), -EBADF);
	assert_int_equal(heard_count(f), 0);
}

static void slots_are_changed_one_by_one(void **state)
{
	struct fixture *f = *state;
	struct uvh_region r[10];
	unsigned int slots;

	for (unsigned int i = 0; i < 10; i++)
		r[i] = region(f, i);
	negotiate(f, P(REPLY_ACK) | P(CONFIGURE_MEM_SLOTS));
	check_ret(uvh_max_mem_slots(f->fe, &slots), 0);
	assert_int_equal(slots, 32);
	check_ret(uvh_set_mem_table(f->fe, r, 9), 0);
	assert_int_equal(heard_count(f), 10); /* and the number of slots */
	check_heard(f, 0, VHOST_USER_ADD_MEM_REG, 40, 1, true);
	assert_int_equal(heard(f, 0).payload.region.region.userspace_addr,
			 r[8].uva);
	/* one goes, one comes; the others are not touched */
	script(f, 0, ANSWER);
	check_ret(uvh_set_mem_table(f->fe, r + 1, 9), 0);
	assert_int_equal(heard_count(f), 2);
	check_heard(f, 1, VHOST_USER_REM_MEM_REG, 40, 0, true);
	assert_int_equal(heard(f, 1).payload.region.region.guest_phys_addr, 0);
	check_heard(f, 0, VHOST_USER_ADD_MEM_REG, 40, 1, true);
	check_ret(uvh_remove_region(f->fe, &r[5]), 0);
	check_heard(f, 0, VHOST_USER_REM_MEM_REG, 40, 0, true);
	check_ret(uvh_add_region(f->fe, &r[0]), 0);
	check_heard(f, 0, VHOST_USER_ADD_MEM_REG, 40, 1, true);
	/* what was refused is not in it */
	script(f, VHOST_USER_ADD_MEM_REG, REFUSE);
	check_ret(uvh_add_region(f->fe, &r[5]), -EIO);
	check_ret(uvh_remove_region(f->fe, &r[5]), -ENOENT);
}

static void log_takes_a_descriptor(void **state)
{
	struct fixture *f = *state;
	struct vu_msg m;

	negotiate(f, P(LOG_SHMFD));
	check_ret(uvh_set_log_base(f->fe, 0x1000, 64, -1, 0), -EBADF);
	check_ret(uvh_set_log_base(f->fe, 0x1000, 64, f->files[0], 128), 0);
	check_heard(f, 0, VHOST_USER_SET_LOG_BASE, 16, 1, false);
	m = heard(f, 0);
	assert_int_equal(m.payload.log.mmap_size, 64);
	assert_int_equal(m.payload.log.mmap_offset, 128);
	/* an answer without contents is one: DPDK's */
	script(f, VHOST_USER_SET_LOG_BASE, SHORT);
	check_ret(uvh_set_log_base(f->fe, 0x1000, 64, f->files[0], 0), 0);
	script(f, VHOST_USER_SET_LOG_BASE, REFUSE);
	check_ret(uvh_set_log_base(f->fe, 0x1000, 64, f->files[0], 0), -EIO);
	/* libvhost-user's is the beginning of the request */
	script(f, 0, ANSWER);
	set_number(f, 64, -1);
	check_ret(uvh_set_log_base(f->fe, 0x1000, 64, f->files[0], 0), 0);
	/* rust-vmm's is all of it */
	script(f, VHOST_USER_SET_LOG_BASE, ECHO);
	check_ret(uvh_set_log_base(f->fe, 0x1000, 64, f->files[0], 0), 0);
	/* and zeros say no */
	set_number(f, 0, -1);
	script(f, VHOST_USER_SET_LOG_BASE, LONG);
	check_ret(uvh_set_log_base(f->fe, 0x1000, 64, f->files[0], 0), -EIO);
}

/* ---- rings ---- */

static void ring_calls_as_they_go_out(void **state)
{
	struct fixture *f = *state;
	struct vhost_vring_addr addr = { .index = 3, .used_user_addr = 4096 };
	int ev = check_ok(eventfd(0, EFD_CLOEXEC));
	struct stat st;
	uint32_t base = 0;

	check_ret(fstat(ev, &st), 0);
	negotiate(f, P(REPLY_ACK) | P(MQ));
	check_ret(uvh_set_vring_num(f->fe, 3, 512), 0);
	assert_int_equal(heard(f, 0).payload.state.index, 3);
	assert_int_equal(heard(f, 0).payload.state.num, 512);
	check_ret(uvh_set_vring_addr(f->fe, &addr), 0);
	check_heard(f, 0, VHOST_USER_SET_VRING_ADDR, 40, 0, true);
	assert_int_equal(heard(f, 0).payload.addr.used_user_addr, 4096);
	check_ret(uvh_set_vring_call(f->fe, 3, ev), 0);
	check_heard(f, 0, VHOST_USER_SET_VRING_CALL, 8, 1, true);
	assert_int_equal(heard(f, 0).payload.u64, 3);
	check_ret(uvh_set_vring_err(f->fe, 3, -1), 0);
	check_heard(f, 0, VHOST_USER_SET_VRING_ERR, 8, 0, true);
	assert_int_equal(heard(f, 0).payload.u64, 0x103);
	check_ret(uvh_set_vring_kick(f->fe, 3, ev), 0);
	check_heard(f, 0, VHOST_USER_SET_VRING_KICK, 8, 1, true);
	check_ret(uvh_set_vring_num(f->fe, 3, 512), -EBUSY);
	check_ret(uvh_vring_start(f->fe, 3, -1), 0);
	check_heard(f, 0, VHOST_USER_SET_VRING_ENABLE, 8, 0, true);
	assert_int_equal(heard(f, 0).payload.state.num, 1);
	set_number(f, 0x1234, -1);
	check_ret(uvh_vring_stop(f->fe, 3, &base), 0);
	assert_int_equal(base, 0x1234);
	/* a disabled ring would be emptied */
	check_heard(f, 0, VHOST_USER_SET_VRING_ENABLE, 8, 0, true);
	assert_int_equal(heard(f, 0).payload.state.num, 0);
	check_heard(f, 1, VHOST_USER_GET_VRING_BASE, 8, 0, false);
	assert_int_equal(heard(f, 1).payload.state.index, 3);
	assert_int_equal(heard(f, 1).payload.state.num, 0);
	check_ret(uvh_set_vring_num(f->fe, 3, 512), 0);
	close(ev);
}

/* For backends that start a ring with the first kick; others lose nothing. */
static void the_descriptor_for_kicks_is_signalled(void **state)
{
	struct fixture *f = *state;
	int ev = check_ok(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	uint64_t count = 0;

	negotiate(f, P(REPLY_ACK));
	check_ret(uvh_set_vring_call(f->fe, 0, ev), 0);
	check_ret(uvh_set_vring_err(f->fe, 0, ev), 0);
	check_ret(uvh_set_vring_kick(f->fe, 0, -1), 0);
	assert_int_equal(read(ev, &count, sizeof(count)), -1);
	check_ret(uvh_set_vring_kick(f->fe, 0, ev), 0);
	check_ret(read(ev, &count, sizeof(count)), sizeof(count));
	assert_int_equal(count, 1);
	script(f, VHOST_USER_SET_VRING_KICK, REFUSE);
	check_ret(uvh_set_vring_kick(f->fe, 0, ev), -EIO);
	assert_int_equal(read(ev, &count, sizeof(count)), -1);
	close(ev);
	/* one that is full, and would block */
	script(f, 0, ANSWER);
	ev = check_ok(eventfd(0, EFD_CLOEXEC));
	count = UINT64_MAX - 1;
	check_ret(write(ev, &count, sizeof(count)), sizeof(count));
	check_ret(uvh_set_vring_kick(f->fe, 0, ev), 0);
	close(ev);
}

/* ---- guest addresses ---- */

/* Two regions that are neighbours here and far apart in the guest. */
static void two_neighbours(struct fixture *f, struct uvh_region r[2])
{
	r[0] = region(f, 0);
	r[1] = region(f, 1);
	r[1].uva = r[0].uva + r[0].size;
	r[1].gpa = BIT(32);
}

static void only_guest_addresses_are_sent(void **state)
{
	struct fixture *f = *state;
	struct vhost_vring_addr addr = { .log_guest_addr = 4096 };
	struct uvh_region r[2];
	struct vu_msg m;

	two_neighbours(f, r);
	negotiate(f, P(REPLY_ACK) | P(GPA_ADDRESSES));
	check_ret(uvh_set_vring_addr(f->fe, &addr), -EFAULT); /* no table */
	check_ret(uvh_set_mem_table(f->fe, r, 2), 0);
	m = heard(f, 0);
	for (unsigned int i = 0; i < 2; i++) {
		const struct vu_mem_region *w = &m.payload.memory.regions[i];

		assert_int_equal(w->guest_phys_addr, r[i].gpa);
		assert_int_equal(w->userspace_addr, r[i].gpa);
	}
	addr.desc_user_addr = r[1].uva;
	addr.avail_user_addr = r[0].uva;
	addr.used_user_addr = r[1].uva + r[1].size - 4096;
	check_ret(uvh_set_vring_addr(f->fe, &addr), 0);
	m = heard(f, 0);
	assert_int_equal(m.payload.addr.desc_user_addr, r[1].gpa);
	assert_int_equal(m.payload.addr.avail_user_addr, r[0].gpa);
	assert_int_equal(m.payload.addr.used_user_addr,
			 r[1].gpa + r[1].size - 4096);
	assert_int_equal(m.payload.addr.log_guest_addr, 4096);
	script(f, 0, ANSWER);
	addr.used_user_addr = r[1].uva + r[1].size;
	check_ret(uvh_set_vring_addr(f->fe, &addr), -EFAULT);
	addr.used_user_addr = r[0].uva - 4096;
	check_ret(uvh_set_vring_addr(f->fe, &addr), -EFAULT);
	assert_int_equal(heard_count(f), 0);
}

static void slots_have_guest_addresses_too(void **state)
{
	struct fixture *f = *state;
	struct uvh_region r[2];

	two_neighbours(f, r);
	negotiate(f, P(REPLY_ACK) | P(GPA_ADDRESSES) | P(CONFIGURE_MEM_SLOTS));
	check_ret(uvh_add_region(f->fe, &r[1]), 0);
	assert_int_equal(heard(f, 0).payload.region.region.userspace_addr,
			 r[1].gpa);
	check_ret(uvh_remove_region(f->fe, &r[1]), 0);
	check_heard(f, 0, VHOST_USER_REM_MEM_REG, 40, 0, true);
	assert_int_equal(heard(f, 0).payload.region.region.userspace_addr,
			 r[1].gpa);
}

/* Rings are at iovas then; a translation leads to guest addresses, one for each
 * region. */
static void translations_lead_to_guest_addresses(void **state)
{
	struct fixture *f = *state;
	struct vhost_vring_addr addr = { .used_user_addr = BIT(40) };
	struct vhost_iotlb_msg t = { .type = VHOST_IOTLB_UPDATE,
				     .perm = VHOST_ACCESS_RW,
				     .iova = 0x7000,
				     .size = 8192 };
	struct uvh_region r[2];
	struct vu_msg m;

	two_neighbours(f, r);
	negotiate(f, P(REPLY_ACK) | P(GPA_ADDRESSES));
	check_ret(uvh_set_features(f->fe,
				   VERSION_1 | BIT(VIRTIO_F_ACCESS_PLATFORM)),
		  0);
	check_ret(uvh_set_mem_table(f->fe, r, 2), 0);
	check_ret(uvh_set_vring_addr(f->fe, &addr), 0);
	assert_int_equal(heard(f, 0).payload.addr.used_user_addr, BIT(40));
	script(f, 0, ANSWER);
	t.uaddr = r[1].uva - 4096;
	check_ret(uvh_iotlb_send(f->fe, &t, 0), 0);
	assert_int_equal(heard_count(f), 2);
	for (unsigned int i = 0; i < 2; i++) {
		m = heard(f, 1 - i);
		assert_int_equal(m.hdr.request, VHOST_USER_IOTLB_MSG);
		assert_int_equal(m.payload.iotlb.iova, 0x7000 + i * 4096);
		assert_int_equal(m.payload.iotlb.size, 4096);
		assert_int_equal(m.payload.iotlb.perm, VHOST_ACCESS_RW);
		assert_int_equal(m.payload.iotlb.uaddr,
				 i ? r[1].gpa : r[0].size - 4096);
	}
	script(f, 0, ANSWER);
	t.uaddr = r[0].uva - 4096;
	check_ret(uvh_iotlb_send(f->fe, &t, 0), -EFAULT);
	assert_int_equal(heard_count(f), 0);
	/* what goes has no address */
	t.type = VHOST_IOTLB_INVALIDATE;
	check_ret(uvh_iotlb_send(f->fe, &t, 0), 0);
}

/* ---- the rest of the protocol ---- */

static void configuration_space(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[8] = { 0 };

	negotiate(f, P(REPLY_ACK) | P(CONFIG));
	check_ret(uvh_get_config(f->fe, 10, buf, 6), 0);
	check_heard(f, 0, VHOST_USER_GET_CONFIG, 12 + 6, 0, false);
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(buf[i], 10 + i);
	check_ret(uvh_set_config(f->fe, 10, buf, 6, UVH_CONFIG_MIGRATION), 0);
	check_heard(f, 0, VHOST_USER_SET_CONFIG, 12 + 6, 0, true);
	assert_int_equal(heard(f, 0).payload.config.flags, 1);
	assert_int_equal(heard(f, 0).payload.config.region[5], 15);
	script(f, VHOST_USER_GET_CONFIG, SHORT); /* how it says no */
	check_ret(uvh_get_config(f->fe, 10, buf, 6), -EIO);
	script(f, VHOST_USER_GET_CONFIG, EMPTY); /* rust-vmm's way */
	check_ret(uvh_get_config(f->fe, 10, buf, 6), -EIO);
	script(f, VHOST_USER_GET_CONFIG, LONG);
	check_ret(uvh_get_config(f->fe, 10, buf, 6), -EPROTO);
	check_ret(uvh_get_config(f->fe, 10, buf, 6), -EPIPE);
}

static void status_mtu_rarp(void **state)
{
	struct fixture *f = *state;
	const uint8_t mac[6] = { 2, 0, 0, 0, 0, 9 };
	uint8_t status = 0;

	negotiate(f, P(REPLY_ACK) | P(STATUS) | P(MTU) | P(RARP) |
			     P(RESET_DEVICE));
	check_ret(uvh_set_status(f->fe, 3), 0);
	check_heard(f, 0, VHOST_USER_SET_STATUS, 8, 0, true);
	set_number(f, 11, -1);
	check_ret(uvh_get_status(f->fe, &status), 0);
	assert_int_equal(status, 11);
	check_ret(uvh_net_set_mtu(f->fe, 9000), 0);
	assert_int_equal(heard(f, 0).payload.u64, 9000);
	script(f, VHOST_USER_NET_SET_MTU, REFUSE);
	check_ret(uvh_net_set_mtu(f->fe, 9000), -EIO);
	check_ret(uvh_net_send_rarp(f->fe, mac), 0);
	check_heard(f, 0, VHOST_USER_SEND_RARP, 8, 0, true);
	assert_memory_equal(heard(f, 0).payload.bytes, mac, 6);
	assert_int_equal(heard(f, 0).payload.bytes[6], 0);
	check_ret(uvh_reset_device(f->fe), 0);
	check_heard(f, 0, VHOST_USER_RESET_DEVICE, 0, 0, true);
}

static void inflight_buffers(void **state)
{
	struct fixture *f = *state;
	struct uvh_inflight i = { .queues = 2, .queue_size = 256, .fd = -1 };
	struct stat a, b;

	negotiate(f, P(REPLY_ACK) | P(INFLIGHT_SHMFD));
	set_number(f, 8192, f->files[0]);
	check_ret(uvh_get_inflight(f->fe, &i), 0);
	check_heard(f, 0, VHOST_USER_GET_INFLIGHT_FD, 24, 0, false);
	assert_int_equal(i.size, 8192);
	assert_int_equal(i.offset, 4096);
	check_ret(fstat(i.fd, &a), 0);
	check_ret(fstat(f->files[0], &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	check_ret(uvh_set_inflight(f->fe, &i), 0);
	check_heard(f, 0, VHOST_USER_SET_INFLIGHT_FD, 24, 1, true);
	assert_int_equal(heard(f, 0).payload.inflight.queue_size, 256);
	close(i.fd);
	/* no descriptor, no buffer */
	set_number(f, 8192, -1);
	check_ret(uvh_get_inflight(f->fe, &i), -EIO);
	set_number(f, 0, f->files[0]);
	check_ret(uvh_get_inflight(f->fe, &i), -EIO);
	/* the first uvhost's answers have no padding */
	set_number(f, 8192, f->files[0]);
	script(f, VHOST_USER_GET_INFLIGHT_FD, LISTED);
	check_ret(uvh_get_inflight(f->fe, &i), 0);
	assert_int_equal(i.size, 8192);
	close(i.fd);
	set_number(f, 8192, f->files[0]);
	script(f, VHOST_USER_GET_INFLIGHT_FD, LONG);
	check_ret(uvh_get_inflight(f->fe, &i), -EPROTO);
}

static void device_state(void **state)
{
	struct fixture *f = *state;
	struct stat a, b;
	int other = 0;

	negotiate(f, P(REPLY_ACK) | P(DEVICE_STATE));
	set_number(f, 0x100, -1);
	check_ret(uvh_set_device_state(f->fe, UVH_STATE_LOAD, dup(f->files[0]),
				       &other),
		  0);
	assert_int_equal(other, -1);
	check_heard(f, 0, VHOST_USER_SET_DEVICE_STATE_FD, 8, 1, false);
	assert_int_equal(heard(f, 0).payload.device_state.direction, 1);
	set_number(f, 0, f->files[1]); /* its own instead */
	check_ret(uvh_set_device_state(f->fe, UVH_STATE_SAVE, dup(f->files[0]),
				       &other),
		  0);
	check_ret(fstat(other, &a), 0);
	check_ret(fstat(f->files[1], &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	close(other);
	set_number(f, 1, -1);
	check_ret(uvh_set_device_state(f->fe, UVH_STATE_SAVE, dup(f->files[0]),
				       &other),
		  -EIO);
	check_ret(uvh_check_device_state(f->fe), -EIO);
	set_number(f, 0, -1);
	check_ret(uvh_check_device_state(f->fe), 0);
	/* one that says it sends a descriptor, and does not */
	check_ret(uvh_set_device_state(f->fe, UVH_STATE_SAVE, dup(f->files[0]),
				       &other),
		  -EPROTO);
}

static void postcopy(void **state)
{
	struct fixture *f = *state;
	int uffd = -1;

	negotiate(f, P(REPLY_ACK) | P(PAGEFAULT));
	check_ret(uvh_postcopy_advise(f->fe, &uffd), -EIO);
	set_number(f, 0, f->files[0]);
	check_ret(uvh_postcopy_advise(f->fe, &uffd), 0);
	assert_true(uffd >= 0);
	close(uffd);
	check_ret(uvh_postcopy_listen(f->fe), 0);
	check_heard(f, 0, VHOST_USER_POSTCOPY_LISTEN, 0, 0, true);
	check_ret(uvh_postcopy_end(f->fe), 0);
	/* rust-vmm answers what asks for it */
	check_heard(f, 0, VHOST_USER_POSTCOPY_END, 0, 0, true);
	set_number(f, 1, -1);
	check_ret(uvh_postcopy_end(f->fe), -EIO);
}

static void memory_slots_exclude_postcopy(void **state)
{
	struct fixture *f = *state;
	uint64_t base;
	int uffd;

	negotiate(f, P(REPLY_ACK) | P(PAGEFAULT) | P(CONFIGURE_MEM_SLOTS));
	check_ret(uvh_postcopy_advise(f->fe, &uffd), -EOPNOTSUPP);
	check_ret(uvh_postcopy_listen(f->fe), -EOPNOTSUPP);
	check_ret(uvh_postcopy_end(f->fe), -EOPNOTSUPP);
	check_ret(uvh_postcopy_base(f->fe, 0, &base), -EOPNOTSUPP);
	assert_int_equal(heard_count(f), 0);
}

/* In postcopy the table is answered with the backend's addresses, and that is
 * acknowledged. */
static void *postcopy_backend(void *arg)
{
	struct vu_endpoint *e = arg;
	struct vu_msg m;
	bool told = false;

	while (vu_recv_wait(e, &m, -1) == 0) {
		vu_msg_close_fds(&m);
		if (m.hdr.request == VHOST_USER_GET_FEATURES) {
			m.payload.u64 = PROTOCOL | VERSION_1;
			m.hdr.size = 8;
		} else if (m.hdr.request == VHOST_USER_GET_PROTOCOL_FEATURES) {
			m.payload.u64 = P(PAGEFAULT) | P(REPLY_ACK);
			m.hdr.size = 8;
		} else if (m.hdr.request == VHOST_USER_SET_MEM_TABLE && !told) {
			for (unsigned int i = 0; i < 2; i++)
				m.payload.memory.regions[i].userspace_addr =
					0xabc000 + i;
			told = true;
		} else if (m.hdr.flags & VU_FLAG_NEED_REPLY) {
			m.payload.u64 = 0;
			m.hdr.size = 8;
		} else {
			continue;
		}
		m.hdr.flags = VU_VERSION | VU_FLAG_REPLY;
		vu_send(e, &m, -1);
	}
	return NULL;
}

static void postcopy_tells_addresses(void **state)
{
	struct fixture *f = *state;
	struct uvh_region r[2] = { region(f, 0), region(f, 1) };
	struct vu_endpoint e;
	pthread_t thread;
	struct uvh *fe;
	uint64_t base = 0;
	int pair[2];

	check_ret(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	vu_endpoint_init(&e, pair[1]);
	check_ret(pthread_create(&thread, NULL, postcopy_backend, &e), 0);
	check_ret(uvh_user_from_socket(pair[0], PATIENT_MS, &fe), 0);
	check_ret(uvh_set_owner(fe), 0);
	check_ret(uvh_set_protocol_features(fe, P(PAGEFAULT) | P(REPLY_ACK)),
		  0);
	check_ret(uvh_postcopy_base(fe, 0, &base), -ENOENT);
	check_ret(uvh_postcopy_listen(fe), 0);
	check_ret(uvh_set_mem_table(fe, r, 2), 0);
	check_ret(uvh_postcopy_base(fe, 1, &base), 0);
	assert_int_equal(base, 0xabc001);
	check_ret(uvh_postcopy_base(fe, 2, &base), -ENOENT);
	uvh_close(fe);
	pthread_join(thread, NULL);
	vu_endpoint_close(&e);
}

/* ---- requests of the backend ---- */

struct asked {
	unsigned int iotlb, config, call, err, notifier;
	struct vhost_iotlb_msg msg;
	unsigned int qi;
	int fd_seen;
	int ret;
	struct uvh *fe;
};

static int on_iotlb(void *ctx, const struct vhost_iotlb_msg *msg)
{
	struct asked *a = ctx;
	struct vhost_iotlb_msg update = *msg;

	a->iotlb++;
	a->msg = *msg;
	if (!a->fe)
		return a->ret;
	/* what a VMM does here */
	update.type = VHOST_IOTLB_UPDATE;
	update.size = 4096;
	return uvh_iotlb_send(a->fe, &update, 0);
}

static int on_config(void *ctx)
{
	((struct asked *)ctx)->config++;
	return ((struct asked *)ctx)->ret;
}

static int on_call(void *ctx, unsigned int qi)
{
	((struct asked *)ctx)->call++;
	((struct asked *)ctx)->qi = qi;
	return 0;
}

static int on_err(void *ctx, unsigned int qi)
{
	((struct asked *)ctx)->err++;
	((struct asked *)ctx)->qi = qi;
	return 0;
}

static int on_notifier(void *ctx, unsigned int qi, int fd, uint64_t size,
		       uint64_t offset)
{
	struct asked *a = ctx;

	a->notifier++;
	a->qi = qi;
	a->fd_seen = fd >= 0 && fcntl(fd, F_GETFD) >= 0;
	assert_int_equal(size, 4096);
	assert_int_equal(offset, 8192);
	return 0;
}

static const struct uvh_backend_ops all_ops = {
	.iotlb = on_iotlb,
	.config_changed = on_config,
	.vring_call = on_call,
	.vring_err = on_err,
	.host_notifier = on_notifier,
};

#define CHANNEL                                                                \
	(P(REPLY_ACK) | P(BACKEND_REQ) | P(CONFIG) | P(INBAND_NOTIFICATIONS) | \
	 P(HOST_NOTIFIER) | P(BACKEND_SEND_FD))

static struct vu_endpoint channel(struct fixture *f)
{
	struct vu_endpoint e;

	assert_true(f->b.channel >= 0);
	vu_endpoint_init(&e, f->b.channel);
	return e;
}

/* The backend sends a request; the frontend handles it; the answer. */
static int64_t request(struct fixture *f, struct vu_msg *m)
{
	struct vu_endpoint e = channel(f);
	struct pollfd p = { .fd = uvh_event_fd(f->fe), .events = POLLIN };
	struct vu_msg reply;

	assert_int_equal(poll(&p, 1, 0), 0);
	m->hdr.flags |= VU_FLAG_NEED_REPLY;
	check_ret(vu_send(&e, m, PATIENT_MS), 0);
	assert_int_equal(poll(&p, 1, PATIENT_MS), 1);
	check_ret(uvh_handle_events(f->fe), 1);
	check_ret(vu_recv_wait(&e, &reply, PATIENT_MS), 0);
	assert_int_equal(reply.hdr.request, m->hdr.request);
	assert_int_equal(reply.hdr.flags, VU_VERSION | VU_FLAG_REPLY);
	assert_int_equal(reply.hdr.size, 8);
	return (int64_t)reply.payload.u64;
}

static struct vu_msg asking(uint32_t number, uint32_t size)
{
	struct vu_msg m;

	vu_msg_init(&m, number);
	m.hdr.size = size;
	return m;
}

static void the_backend_asks(void **state)
{
	struct fixture *f = *state;
	struct asked a = { 0 };
	struct vu_msg m;

	negotiate(f, CHANNEL);
	uvh_set_backend_ops(f->fe, &all_ops, &a);
	check_ret(uvh_handle_events(f->fe), 0);

	m = asking(VHOST_USER_BACKEND_IOTLB_MSG, 32);
	m.payload.iotlb.type = VHOST_IOTLB_MISS;
	m.payload.iotlb.iova = 0x5000;
	check_ret(request(f, &m), 0);
	assert_int_equal(a.iotlb, 1);
	assert_int_equal(a.msg.iova, 0x5000);
	m = asking(VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0);
	check_ret(request(f, &m), 0);
	assert_int_equal(a.config, 1);
	m = asking(VHOST_USER_BACKEND_VRING_CALL, 8);
	m.payload.state.index = 1;
	check_ret(request(f, &m), 0);
	assert_int_equal(a.call, 1);
	assert_int_equal(a.qi, 1);
	m = asking(VHOST_USER_BACKEND_VRING_ERR, 8);
	check_ret(request(f, &m), 0);
	assert_int_equal(a.err, 1);
	m = asking(VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG, 24);
	m.payload.area.u64 = 1;
	m.payload.area.size = 4096;
	m.payload.area.offset = 8192;
	m.fds[m.nfds++] = f->files[0];
	check_ret(request(f, &m), 0);
	assert_int_equal(a.notifier, 1);
	assert_true(a.fd_seen);
	m.payload.area.u64 = 0x101;
	m.nfds = 0;
	check_ret(request(f, &m), 0);
	assert_false(a.fd_seen);

	/* what the handler says, and rings that do not exist */
	a.ret = -EACCES;
	m = asking(VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0);
	check_ret(request(f, &m), EACCES);
	m = asking(VHOST_USER_BACKEND_VRING_CALL, 8);
	m.payload.state.index = 2;
	check_ret(request(f, &m), EINVAL);
	/* known to the protocol, not to us; and unknown */
	m = asking(VHOST_USER_BACKEND_SHARED_OBJECT_ADD, 16);
	check_ret(request(f, &m), EOPNOTSUPP);
	m = asking(99, 0);
	check_ret(request(f, &m), EOPNOTSUPP);
}

/* The rows are README's table too. */
static void requests_are_served_as_their_rows_say(void **state)
{
	static const struct {
		uint32_t number, size;
		bool served;
	} rows[] = {
#define SERVED(handler) true
#define NOT_SERVED false
#define R(id, payload, size, needs, sent, handler, note) \
	{ VHOST_USER_BACKEND_##id, size, handler },
		VU_BACKEND_REQUESTS(R)
#undef R
	};
	struct fixture *f = *state;
	struct asked a = { 0 };

	negotiate(f, CHANNEL);
	uvh_set_backend_ops(f->fe, &all_ops, &a);
	assert_int_equal(ARRAY_SIZE(rows), 10);
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vu_msg m = asking(rows[i].number, rows[i].size);

		assert_int_equal(rows[i].number, i + 1);
		m.payload.area.size = 4096;
		m.payload.area.offset = 8192;
		if (rows[i].number == VHOST_USER_BACKEND_VRING_CALL ||
		    rows[i].number == VHOST_USER_BACKEND_VRING_ERR)
			memset(&m.payload, 0, sizeof(m.payload));
		check_ret(request(f, &m), rows[i].served ? 0 : EOPNOTSUPP);
	}
}

static void without_handlers_requests_are_refused(void **state)
{
	struct fixture *f = *state;
	struct uvh_backend_ops none = { 0 };
	struct vu_msg m;

	negotiate(f, CHANNEL);
	for (unsigned int i = 0; i < 2; i++) {
		m = asking(VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0);
		check_ret(request(f, &m), EOPNOTSUPP);
		m = asking(VHOST_USER_BACKEND_VRING_CALL, 8);
		check_ret(request(f, &m), EOPNOTSUPP);
		m = asking(VHOST_USER_BACKEND_VRING_ERR, 8);
		check_ret(request(f, &m), EOPNOTSUPP);
		m = asking(VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG, 24);
		check_ret(request(f, &m), EOPNOTSUPP);
		uvh_set_backend_ops(f->fe, &none, NULL);
	}
}

static void a_miss_is_answered_from_the_handler(void **state)
{
	struct fixture *f = *state;
	struct asked a = { .fe = f->fe };
	struct vu_msg m = asking(VHOST_USER_BACKEND_IOTLB_MSG, 32);

	negotiate(f, CHANNEL);
	uvh_set_backend_ops(f->fe, &all_ops, &a);
	m.payload.iotlb.type = VHOST_IOTLB_MISS;
	m.payload.iotlb.iova = 0x7000;
	check_ret(request(f, &m), 0);
	check_heard(f, 0, VHOST_USER_IOTLB_MSG, 32, 0, true);
	assert_int_equal(heard(f, 0).payload.iotlb.iova, 0x7000);
	assert_int_equal(heard(f, 0).payload.iotlb.type, VHOST_IOTLB_UPDATE);
}

/* The structure ends with six bytes of padding. */
static void an_iotlb_message_carries_no_padding_of_its_caller(void **state)
{
	static const uint8_t zeroes[6];
	struct fixture *f = *state;
	struct vhost_iotlb_msg msg;

	negotiate(f, CHANNEL);
	memset(&msg, 0xa5, sizeof(msg));
	msg.type = VHOST_IOTLB_UPDATE;
	msg.perm = VHOST_ACCESS_RO;
	msg.iova = 0x1000;
	msg.size = 0x2000;
	msg.uaddr = 0x3000;
	check_ret(uvh_iotlb_send(f->fe, &msg, 0), 0);
	check_heard(f, 0, VHOST_USER_IOTLB_MSG, 32, 0, true);
	assert_memory_equal(heard(f, 0).payload.bytes, &msg, 26);
	assert_memory_equal(heard(f, 0).payload.bytes + 26, zeroes, 6);
}

static void misses_are_queued_without_a_handler(void **state)
{
	struct fixture *f = *state;
	struct pollfd p = { .fd = uvh_event_fd(f->fe), .events = POLLIN };
	struct vu_msg m = asking(VHOST_USER_BACKEND_IOTLB_MSG, 32);
	struct vhost_iotlb_msg msg;

	negotiate(f, CHANNEL);
	check_ret(uvh_iotlb_recv(f->fe, &msg), -EAGAIN);
	m.payload.iotlb.type = VHOST_IOTLB_MISS;
	for (unsigned int i = 0; i < 64; i++) {
		struct vu_endpoint e = channel(f);

		m.payload.iotlb.iova = i;
		check_ret(vu_send(&e, &m, PATIENT_MS), 0);
	}
	assert_int_equal(poll(&p, 1, PATIENT_MS), 1);
	check_ret(uvh_handle_events(f->fe), 64);
	/* still something to do */
	assert_int_equal(poll(&p, 1, 0), 1);
	for (unsigned int i = 0; i < 64; i++) {
		check_ret(uvh_iotlb_recv(f->fe, &msg), 0);
		assert_int_equal(msg.iova, i);
	}
	assert_int_equal(poll(&p, 1, 0), 0);
	check_ret(uvh_iotlb_recv(f->fe, &msg), -EAGAIN);
	/* straight from the channel */
	check_ret(request(f, &m), 0);
	check_ret(uvh_iotlb_recv(f->fe, &msg), 0);
}

static void too_many_misses_are_refused(void **state)
{
	struct fixture *f = *state;
	struct vu_endpoint e;
	struct vu_msg m = asking(VHOST_USER_BACKEND_IOTLB_MSG, 32), reply;

	negotiate(f, CHANNEL);
	e = channel(f);
	for (unsigned int i = 0; i < 65; i++) {
		m.hdr.flags = VU_VERSION | (i == 64 ? VU_FLAG_NEED_REPLY : 0);
		check_ret(vu_send(&e, &m, PATIENT_MS), 0);
	}
	check_ret(uvh_handle_events(f->fe), 65);
	check_ret(vu_recv_wait(&e, &reply, PATIENT_MS), 0);
	assert_int_equal(reply.payload.u64, ENOBUFS);
}

static void an_invalid_message_on_the_channel_ends_the_connection(void **state)
{
	struct fixture *f = *state;
	struct vu_endpoint e;
	struct vu_msg m = asking(VHOST_USER_BACKEND_VRING_CALL, 4);

	negotiate(f, CHANNEL);
	e = channel(f);
	check_ret(vu_send(&e, &m, PATIENT_MS), 0);
	check_ret(uvh_handle_events(f->fe), -EPROTO);
	check_ret(uvh_handle_events(f->fe), -EPIPE);
	check_ret(uvh_set_vring_num(f->fe, 0, 256), -EPIPE);
}

static void answers_on_the_channel_are_nonsense(void **state)
{
	struct fixture *f = *state;
	struct vu_endpoint e;
	struct vu_msg m = asking(VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0);

	negotiate(f, CHANNEL);
	e = channel(f);
	m.hdr.flags |= VU_FLAG_REPLY;
	check_ret(vu_send(&e, &m, PATIENT_MS), 0);
	check_ret(uvh_handle_events(f->fe), -EPROTO);
}

static void the_channel_may_end_before_the_rest(void **state)
{
	struct fixture *f = *state;
	struct pollfd p = { .fd = uvh_event_fd(f->fe), .events = POLLIN };

	negotiate(f, CHANNEL);
	close(f->b.channel);
	f->b.channel = -1;
	assert_int_equal(poll(&p, 1, PATIENT_MS), 1);
	check_ret(uvh_handle_events(f->fe), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	check_ret(uvh_set_vring_num(f->fe, 0, 256), 0);
}

static void a_backend_that_goes_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct pollfd p = { .fd = uvh_event_fd(f->fe), .events = POLLIN };

	check_ret(uvh_handle_events(f->fe), 0);
	shutdown(f->b.ep.sock, SHUT_RDWR);
	assert_int_equal(poll(&p, 1, PATIENT_MS), 1);
	check_ret(uvh_handle_events(f->fe), -EPIPE);
	check_ret(uvh_set_owner(f->fe), -EPIPE);
}

static void *set_num(void *arg)
{
	struct fixture *f = arg;

	return (void *)(intptr_t)uvh_set_vring_num(f->fe, 0, 256);
}

static void calls_of_threads_wait_for_each_other(void **state)
{
	struct fixture *f = *state;
	pthread_t t[4];
	void *ret;

	negotiate(f, P(REPLY_ACK));
	for (unsigned int i = 0; i < 4; i++)
		check_ret(pthread_create(&t[i], NULL, set_num, f), 0);
	for (unsigned int i = 0; i < 4; i++) {
		pthread_join(t[i], &ret);
		assert_null(ret);
	}
	assert_int_equal(heard_count(f), 4);
}

/* ---- sockets with names ---- */

static void sock_path(char *path, size_t len)
{
	snprintf(path, len, "/tmp/uvhost-fe-user-%d.sock", getpid());
}

static void *connect_main(void *arg)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct backend *b = arg;
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sock_path(addr.sun_path, sizeof(addr.sun_path));
	while (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		poll(NULL, 0, 1);
	vu_endpoint_init(&b->ep, sock);
	return backend_main(b);
}

static void a_backend_that_connects(void **state)
{
	struct backend b = { .channel = -1, .give_fd = -1, .features = 42 };
	uint64_t features = 0;
	char path[64];
	struct uvh *fe;

	(void)state;
	pthread_mutex_init(&b.lock, NULL);
	sock_path(path, sizeof(path));
	check_ret(pthread_create(&b.thread, NULL, connect_main, &b), 0);
	check_ret(uvh_user_accept(path, PATIENT_MS, &fe), 0);
	assert_int_equal(access(path, F_OK), -1);
	check_ret(uvh_get_features(fe, &features), 0);
	assert_int_equal(features, 42);
	uvh_close(fe);
	pthread_join(b.thread, NULL);
	vu_endpoint_close(&b.ep);
}

static void a_backend_that_listens(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct uvh *fe;
	uint64_t features;
	int sock;

	(void)state;
	sock = check_ok(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	sock_path(addr.sun_path, sizeof(addr.sun_path));
	check_ret(bind(sock, (struct sockaddr *)&addr, sizeof(addr)), 0);
	check_ret(uvh_user_connect(addr.sun_path, HASTY_MS, &fe),
		  -ECONNREFUSED);
	check_ret(listen(sock, 0), 0);
	check_ret(uvh_user_connect(addr.sun_path, HASTY_MS, &fe), 0);
	/* listens, but never accepts: connected, and silent */
	check_ret(uvh_get_features(fe, &features), -ETIMEDOUT);
	uvh_close(fe);
	unlink(addr.sun_path);
	close(sock);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(bit_30_is_handled_inside),
		T(backend_of_old_times),
		T(protocol_features_are_negotiated),
		T(queues_are_counted_either_way),
		T(absurd_queue_counts),
		T(inband_needs_its_companions),
		T(chains_left_in_flight_need_a_record),
		T(calls_need_their_protocol_feature),
		T(refusals_are_eio_and_no_end),
		T(without_reply_ack_an_error_is_not_reported),
		T(answer_to_something_else),
		T(answer_to_something_else_as_ack),
		T(answer_that_is_none),
		T(answer_that_is_none_as_ack),
		T(answer_too_long),
		T(answer_too_long_as_ack),
		T(answer_too_short),
		T(answer_too_short_as_ack),
		T(answer_cut_off),
		T(answer_cut_off_as_ack),
		T(no_answer),
		T(no_answer_as_ack),
		T(hang_up),
		T(hang_up_as_ack),
		T(pieces_are_put_together),
		T(unwanted_descriptors_are_closed),
		T(an_answer_that_comes_late_is_not_taken_for_another),
		cmocka_unit_test(a_backend_that_reads_nothing),
		T(table_goes_as_a_whole),
		T(table_has_eight_rows),
		T(a_region_needs_a_descriptor),
		T(slots_are_changed_one_by_one),
		T(log_takes_a_descriptor),
		T(ring_calls_as_they_go_out),
		T(the_descriptor_for_kicks_is_signalled),
		T(only_guest_addresses_are_sent),
		T(slots_have_guest_addresses_too),
		T(translations_lead_to_guest_addresses),
		T(configuration_space),
		T(status_mtu_rarp),
		T(inflight_buffers),
		T(device_state),
		T(postcopy),
		T(postcopy_tells_addresses),
		T(memory_slots_exclude_postcopy),
		T(the_backend_asks),
		T(without_handlers_requests_are_refused),
		T(requests_are_served_as_their_rows_say),
		T(a_miss_is_answered_from_the_handler),
		T(an_iotlb_message_carries_no_padding_of_its_caller),
		T(misses_are_queued_without_a_handler),
		T(too_many_misses_are_refused),
		T(an_invalid_message_on_the_channel_ends_the_connection),
		T(answers_on_the_channel_are_nonsense),
		T(the_channel_may_end_before_the_rest),
		T(a_backend_that_goes_is_noticed),
		T(calls_of_threads_wait_for_each_other),
		cmocka_unit_test(a_backend_that_connects),
		cmocka_unit_test(a_backend_that_listens),
	};

	return cmocka_run_group_tests_name("fe_user", tests, NULL, NULL);
}
