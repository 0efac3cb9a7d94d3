/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile frontend before a whole session: the input is what it sends, whole
 * messages made from the request table with plausible or random contents, or
 * mere bytes, with any descriptors; and what the driver does in memory
 * meanwhile. Threads are inline: the harness runs the control thread and the
 * workers in turn.
 *
 * What must hold: the session lives or says that it has closed, once, and does
 * nothing afterwards; no descriptor is lost; it comes to rest.
 */
#include "fuzz.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "fdmsg.h"
#include "fuzzport.h"
#include "inline_worker.h"
#include "vu_priv.h"

#define PAGE 4096u
#define MEM_PAGES 16u
#define UVA 0x100000u
#define PAIRS 2u
#define OPS_MAX 60
#define ROUNDS 8 /* a ring without kicks never rests */

enum fd_kind { EVENT, MEMORY, CHANNEL, OTHER, FD_KINDS };

static uint8_t *memory;
static int memory_fd, event_fd, other_fd;

struct peer {
	struct vu_session *s;
	struct input *in;
	int sock;
	int channel[2]; /* ours, theirs */
	unsigned int closed;
};

/* ---- what the session asks for ---- */

static int open_ports(void *ctx, unsigned int pair, struct netport **rx,
		      struct netport **tx)
{
	(void)ctx;
	must(pair < PAIRS);
	if (netport_from_fd(dup(event_fd), rx) < 0)
		return -ENOMEM;
	*tx = NULL; /* a null port */
	return 0;
}

static void enable_ports(void *ctx, unsigned int pair, bool rx, bool tx)
{
	(void)ctx;
	(void)rx;
	(void)tx;
	must(pair < PAIRS);
}

static void set_offload(void *ctx, uint64_t features)
{
	const struct peer *p = ctx;

	must(!(features & ~vu_device_features(p->s)));
}

static void on_closed(void *ctx, struct vu_session *s)
{
	struct peer *p = ctx;

	must(p->s == s);
	p->closed++;
}

static void init(void)
{
	int fds[2];

	if (memory)
		return;
	log_set_level(LOG_LEVEL_ERROR);
	signal(SIGPIPE, SIG_IGN); /* threads of the daemon block it */
	memory_fd = memfd_create("fuzz", MFD_CLOEXEC);
	must(ftruncate(memory_fd, MEM_PAGES * PAGE) == 0);
	memory = mmap(NULL, MEM_PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED, memory_fd, 0);
	must(memory != MAP_FAILED);
	event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	must(pipe(fds) == 0);
	other_fd = fds[0];
}

/* ---- time passes ---- */

static void drain(int sock)
{
	union {
		char buf[CMSG_SPACE(VU_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	char buf[4096];

	for (;;) {
		struct iovec iov = { buf, sizeof(buf) };
		struct msghdr mh = { .msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = control.buf,
				     .msg_controllen = sizeof(control.buf) };
		struct cmsghdr *c;

		if (recvmsg(sock, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
			return;
		c = CMSG_FIRSTHDR(&mh);
		must(!(mh.msg_flags & MSG_CTRUNC));
		if (c && c->cmsg_type == SCM_RIGHTS) {
			int fd;

			memcpy(&fd, CMSG_DATA(c), sizeof(fd));
			close(fd); /* a reply has one at most */
		}
	}
}

static void settle(struct peer *p)
{
	for (unsigned int i = 0; i < 3; i++) {
		must(worker_settle(p->s->control, 100));
		for (unsigned int n = 0; n < PAIRS; n++)
			if (p->s->pair[n] && !p->closed)
				worker_settle(p->s->pair[n]->worker, ROUNDS);
		drain(p->sock);
		if (p->channel[0] >= 0)
			drain(p->channel[0]);
	}
	must(p->closed <= 1);
}

/* ---- messages ---- */

static int make_fd(struct peer *p, enum fd_kind kind)
{
	switch (kind) {
	case EVENT:
		return event_fd;
	case MEMORY:
		return memory_fd;
	case CHANNEL:
		return p->channel[1];
	default:
		return other_fd;
	}
}

/* Where the frontend has guest address 0, as it says. */
static uint64_t user_base(const struct peer *p)
{
	return vu_has(p->s, VHOST_USER_PROTOCOL_F_GPA_ADDRESSES) ? 0 : UVA;
}

static struct vu_mem_region make_region(struct peer *p)
{
	struct input *in = p->in;
	uint32_t page = in_below(in, MEM_PAGES);

	return (struct vu_mem_region){
		.guest_phys_addr = page * PAGE,
		.memory_size = (1 + in_below(in, MEM_PAGES)) * PAGE,
		.userspace_addr = user_base(p) + page * PAGE,
		.mmap_offset = page * PAGE,
	};
}

static void make_addr(struct peer *p, struct vhost_vring_addr *a)
{
	uint32_t page = in_below(p->in, MEM_PAGES - 2);
	uint64_t base = user_base(p);

	a->flags = in_below(p->in, 2);
	a->desc_user_addr = base + page * PAGE;
	a->avail_user_addr = base + (page + 1) * PAGE;
	a->used_user_addr = base + (page + 2) * PAGE;
	a->log_guest_addr = 0;
}

/* What the requests that matter say when they make sense. */
static void make_payload(struct peer *p, struct vu_msg *m)
{
	struct input *in = p->in;
	union vu_payload *u = &m->payload;

	switch (m->hdr.request) {
	case VHOST_USER_SET_FEATURES:
		u->u64 = vu_device_features(p->s) & in_u64(in);
		break;
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		u->u64 = vu_protocol_features(p->s) &
			 ~(in_u8(in) & 1 ? UINT64_C(0) : in_u64(in));
		break;
	case VHOST_USER_SET_MEM_TABLE:
		u->memory.nregions = m->nfds;
		for (unsigned int i = 0; i < m->nfds; i++)
			u->memory.regions[i] = make_region(p);
		m->hdr.size = offsetof(struct vu_memory, regions[m->nfds]);
		break;
	case VHOST_USER_ADD_MEM_REG:
	case VHOST_USER_REM_MEM_REG:
		u->region.region = make_region(p);
		break;
	case VHOST_USER_SET_VRING_ADDR:
		u->addr.index = in_below(in, 2 * PAIRS);
		make_addr(p, &u->addr);
		break;
	case VHOST_USER_SET_VRING_NUM:
		u->state.index = in_below(in, 2 * PAIRS);
		u->state.num = 1u << in_below(in, 8);
		break;
	case VHOST_USER_SET_LOG_BASE:
		u->log.mmap_size = 1 + in_below(in, 2 * PAGE);
		u->log.mmap_offset = in_below(in, 4) * 100;
		break;
	case VHOST_USER_IOTLB_MSG:
		u->iotlb.iova = in_below(in, MEM_PAGES) * PAGE;
		u->iotlb.size = in_below(in, 4) * PAGE;
		u->iotlb.uaddr = user_base(p) + in_below(in, MEM_PAGES) * PAGE;
		u->iotlb.perm = in_u8(in);
		u->iotlb.type = in_below(in, 6);
		break;
	case VHOST_USER_GET_INFLIGHT_FD:
	case VHOST_USER_SET_INFLIGHT_FD:
		u->inflight.mmap_size = 1 + in_u16(in);
		u->inflight.mmap_offset = in_below(in, 4) * 8;
		u->inflight.num_queues = in_below(in, 2 * PAIRS + 2);
		u->inflight.queue_size = in_below(in, 40);
		break;
	case VHOST_USER_SET_DEVICE_STATE_FD:
		u->device_state.direction = in_below(in, 2);
		break;
	case VHOST_USER_GET_CONFIG:
	case VHOST_USER_SET_CONFIG:
		u->config.offset = in_below(in, VU_CONFIG_MAX);
		u->config.size = m->hdr.size - VU_CONFIG_HDR;
		u->config.flags = in_below(in, 3);
		break;
	default:
		/* an index, and something else */
		u->state.index = in_below(in, 2 * PAIRS);
		u->state.num = in_below(in, 4);
	}
}

/*
 * The request that a byte of the input means, up to REQUEST_LAST. It does not
 * depend on VHOST_USER_REQUESTS: else a new request would change what all
 * inputs of the corpus mean. (Bytes below 235 are as they were with 46
 * requests.)
 */
#define REQUEST_LAST 67
_Static_assert(VHOST_USER_REQUESTS <= REQUEST_LAST,
	       "each request and an unknown one have a byte");

static uint32_t request_of(uint8_t byte)
{
	return byte < 5 * 47 ? byte % 47 : byte - 4 * 47u;
}

static void by_its_row(struct peer *p)
{
	struct input *in = p->in;
	int fds[VU_FDS];
	struct vu_msg m;
	const struct vu_row *row;
	uint8_t how = in_u8(in);

	vu_msg_init(&m, request_of(in_u8(in)));
	row = vu_row_find(m.hdr.request);
	m.hdr.flags |= how & 1 ? VU_FLAG_NEED_REPLY : 0;
	if (row) {
		m.hdr.size = row->min;
		if (how & 2)
			m.hdr.size += in_below(in, row->max - row->min + 1u);
		m.nfds = row->fds_min;
		if (row->fds_max > row->fds_min)
			m.nfds += in_below(in, row->fds_max - row->fds_min + 1);
		if (m.hdr.request == VHOST_USER_ADD_MEM_REG)
			m.hdr.size = sizeof(struct vu_single_mem_region);
	}
	for (unsigned int i = 0; i < m.nfds; i++) {
		enum fd_kind kind = EVENT;

		if (m.hdr.request == VHOST_USER_SET_BACKEND_REQ_FD)
			kind = CHANNEL;
		else if (row->flags & VU_RING_U64)
			kind = EVENT;
		else
			kind = MEMORY;
		if (how & 4)
			kind = in_below(in, FD_KINDS);
		fds[i] = make_fd(p, kind);
	}
	if (how & 8)
		in_bytes(in, &m.payload, m.hdr.size);
	else
		make_payload(p, &m);
	if (row && (row->flags & VU_RING_U64) && !(how & 8)) {
		m.payload.u64 = in_below(in, 2 * PAIRS);
		if (how & 16) {
			m.payload.u64 |= VU_VRING_NOFD_MASK;
			m.nfds = 0;
		}
	}
	fdmsg_send(p->sock, &m.hdr, sizeof(m.hdr) + m.hdr.size, fds, m.nfds,
		   MSG_DONTWAIT);
}

static void say(struct peer *p, uint32_t request, const void *payload,
		uint32_t size, const int *fds, unsigned int nfds)
{
	struct vu_msg m;

	vu_msg_init(&m, request);
	m.hdr.size = size;
	if (size)
		memcpy(&m.payload, payload, size);
	fdmsg_send(p->sock, &m.hdr, sizeof(m.hdr) + size, fds, nfds,
		   MSG_DONTWAIT);
}

/* All that a ring needs, so that more inputs have one that runs. */
static void set_up(struct peer *p)
{
	uint32_t index = in_below(p->in, 2 * PAIRS);
	struct vhost_vring_state num = { index, 8 }, base = { index, 0 },
				 on = { index, 1 };
	uint64_t features = in_u64(p->in) & vu_device_features(p->s),
		 ring = index;
	struct vhost_vring_addr addr = { .index = index };
	struct vu_memory table = { .nregions = 1 };

	table.regions[0] = (struct vu_mem_region){
		.memory_size = MEM_PAGES * PAGE,
		.userspace_addr = user_base(p),
	};
	make_addr(p, &addr);
	say(p, VHOST_USER_SET_FEATURES, &features, 8, NULL, 0);
	say(p, VHOST_USER_SET_MEM_TABLE, &table,
	    offsetof(struct vu_memory, regions[1]), &memory_fd, 1);
	say(p, VHOST_USER_SET_VRING_NUM, &num, sizeof(num), NULL, 0);
	say(p, VHOST_USER_SET_VRING_BASE, &base, sizeof(base), NULL, 0);
	say(p, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
	say(p, VHOST_USER_SET_VRING_CALL, &ring, 8, &event_fd, 1);
	say(p, VHOST_USER_SET_VRING_KICK, &ring, 8, &event_fd, 1);
	say(p, VHOST_USER_SET_VRING_ENABLE, &on, sizeof(on), NULL, 0);
}

static void mere_bytes(struct peer *p)
{
	uint8_t bytes[320];
	unsigned int n = in_below(p->in, 2 * VU_FDS), len;
	int fds[2 * VU_FDS];

	for (unsigned int i = 0; i < n; i++)
		fds[i] = make_fd(p, in_below(p->in, FD_KINDS));
	len = in_below(p->in, sizeof(bytes));
	in_bytes(p->in, bytes, len);
	if (len)
		fdmsg_send(p->sock, bytes, len, fds, n, MSG_DONTWAIT);
}

/* The driver: a word anywhere, or a kick of everything. */
static void driver(struct peer *p)
{
	uint16_t off = in_u16(p->in), value = in_u16(p->in);
	uint64_t one = 1;

	if (off & 1) {
		(void)!write(event_fd, &one, sizeof(one));
		return;
	}
	memcpy(memory + off % (MEM_PAGES * PAGE), &value, sizeof(value));
}

static void frontend_answers(struct peer *p)
{
	uint8_t bytes[32] = { 0 };

	if (in_u8(p->in) & 1)
		in_bytes(p->in, bytes, sizeof(bytes));
	bytes[4] |= VU_VERSION;
	bytes[8] %= 20;
	bytes[9] = bytes[10] = bytes[11] = 0;
	(void)!send(p->channel[0], bytes, 12u + bytes[8],
		    MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void run_op(struct peer *p)
{
	switch (in_below(p->in, 8)) {
	case 0:
		mere_bytes(p);
		break;
	case 1:
		driver(p);
		return; /* seen with the next message */
	case 2:
		frontend_answers(p);
		break;
	case 3:
		fuzzport.frames[(fuzzport.first + fuzzport.n) %
				FUZZPORT_QUEUE] = 1 + in_u16(p->in) % 2000;
		fuzzport.n += fuzzport.n < FUZZPORT_QUEUE;
		(void)!write(event_fd, &(uint64_t){ 1 }, 8);
		break;
	case 4:
		set_up(p);
		break;
	default:
		by_its_row(p);
	}
	settle(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct peer p = { .in = &in };
	struct vu_session_config config = {
		.queue_pairs = PAIRS,
		.net_features = BIT(VIRTIO_NET_F_CSUM),
		.mac = { 2 },
		.postcopy = size % 4 == 3, /* excludes memory slots */
		.userfault = -1,
		.open_ports = open_ports,
		.enable_ports = enable_ports,
		.set_offload = set_offload,
		.closed = on_closed,
		.ctx = &p,
	};
	int fds[2], before, after;

	init();
	memset(memory, 0, MEM_PAGES * PAGE);
	memset(&fuzzport, 0, sizeof(fuzzport));
	before = dup(event_fd);
	close(before);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p.channel) ==
	     0);
	p.sock = fds[0];
	must(vu_session_new(&config, fds[1], &p.s) == 0);
	settle(&p);
	for (unsigned int i = 0; i < OPS_MAX && !in_empty(&in) && !p.closed;
	     i++)
		run_op(&p);
	vu_session_end(p.s);
	settle(&p);
	must(p.closed == 1);
	vu_session_free(p.s);
	close(p.sock);
	close(p.channel[0]);
	close(p.channel[1]);
	after = dup(event_fd);
	close(after);
	must(after == before);
	return 0;
}
