/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages between broker and worker process, in both directions. The input is
 * a packet with descriptors, or its header and a body in a file; header and
 * head of an ioctl are made plausible where it says so.
 *
 * What must hold: what is taken is within its bounds, another ioctl that is
 * made of it arrives the same, and no descriptor is lost.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vhost.h>

#include "abi.h"
#include "bytes.h"
#include "fdmsg.h"
#include "vdev.h"
#include "wmsg.h"

#define BODY_MAX 4096u

/* First byte of an input. */
enum how {
	TO_BROKER = 1,
	IN_MEMFD = 2,
	UNSEALED = 4,  /* the file may change */
	RAW_HDR = 8,   /* the header is of the input */
	RAW_HEAD = 16, /* the head of an ioctl is */
};

static const uint32_t commands[] = {
	VHOST_GET_FEATURES,       VHOST_SET_MEM_TABLE,
	VHOST_GET_VRING_BASE,     VHOST_SET_VRING_ADDR,
	VHOST_GET_FEATURES_ARRAY, VHOST_SET_FEATURES_ARRAY,
	VHOST_SET_OWNER,          0xaf55,
};

static int ends[2];
static int event;
static struct wmsg_in to_process, to_broker, again;

static unsigned int lowest_fd(void)
{
	int fd = dup(event);

	must(fd >= 0);
	close(fd);
	return (unsigned int)fd;
}

static void open_once(void)
{
	if (to_process.packet)
		return;
	must(wmsg_pair(ends) == 0);
	must(wmsg_in_init(&to_process, WMSG_PACKET_MAX, true) == 0);
	must(wmsg_in_init(&again, WMSG_PACKET_MAX, true) == 0);
	must(wmsg_in_init(&to_broker, WMSG_PACKET_MAX, false) == 0);
	event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	must(event >= 0);
}

/* A file, or an event. */
static int some_fd(struct input *in)
{
	int fd = in_u8(in) & 1 ? dup(event) : memfd_create("fuzz", 0);

	must(fd >= 0);
	return fd;
}

/* Lengths of an ioctl that fit @len bytes and @nfds descriptors. @counts: of
 * maps and bars, if there are so many bytes */
static void make_head(const uint8_t counts[2], uint8_t *body, size_t len,
		      unsigned int nfds)
{
	struct wmsg_ioctl head;
	size_t left;

	if (len < sizeof(head))
		return;
	memcpy(&head, body, sizeof(head));
	left = len - sizeof(head);
	head.flags &= WMSG_IS_OWNER | WMSG_MEM_FD | WMSG_FD;
	head.nmaps = counts[0] % (left / sizeof(struct wmsg_map) + 1);
	left -= head.nmaps * sizeof(struct wmsg_map);
	head.nbars = counts[1] % (left / sizeof(struct wmsg_bar) + 1);
	left -= head.nbars * sizeof(struct wmsg_bar);
	head.in_len = (uint32_t)left;
	head.map_fds =
		nfds - !!(head.flags & WMSG_MEM_FD) - !!(head.flags & WMSG_FD);
	head.out_room %= IOCTL_DATA_MAX + 1;
	head.pid &= INT32_MAX;
	head.unused = 0;
	head.owner_error = -(int32_t)(head.owner_error & 0xff);
	head.fd_error = -(int32_t)(head.fd_error & 0xff);
	head.maps_error = -(int32_t)(head.maps_error & 0xff);
	memcpy(body, &head, sizeof(head));
}

static int body_file(const uint8_t *body, size_t len, bool sealed)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	must(fd >= 0);
	must(write(fd, body, len) == (ssize_t)len);
	if (sealed)
		must(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK) == 0);
	return fd;
}

static struct wmsg_hdr make_hdr(struct input *in, uint8_t how)
{
	struct wmsg_hdr hdr;

	in_bytes(in, &hdr, sizeof(hdr));
	if (how & RAW_HDR)
		return hdr;
	hdr.magic = WMSG_MAGIC;
	hdr.type = (uint16_t)((hdr.type & WMSG_REPLY) |
			      (WMSG_START + hdr.type % (WMSG_TYPES - 1)));
	hdr.flags = how & IN_MEMFD ? WMSG_IN_MEMFD : 0;
	return hdr;
}

/* Sends what the input says. */
static void send_packet(struct input *in, uint8_t how)
{
	static uint8_t packet[sizeof(struct wmsg_hdr) + BODY_MAX];
	unsigned int nfds = 0, n = in_u8(in) % 6;
	struct wmsg_hdr hdr = make_hdr(in, how);
	uint8_t *body = packet + sizeof(hdr);
	size_t len, sent = sizeof(hdr);
	uint8_t counts[2];
	int fds[8];

	while (nfds < n)
		fds[nfds++] = some_fd(in);
	in_bytes(in, counts, sizeof(counts));
	len = MIN(in->n, (size_t)BODY_MAX);
	in_bytes(in, body, len);
	if (!(how & RAW_HEAD) && hdr.type == WMSG_IOCTL)
		make_head(counts, body, len, n);
	if (how & IN_MEMFD)
		fds[nfds++] = body_file(body, len, !(how & UNSEALED));
	else
		sent += len;
	if (!(how & RAW_HDR)) {
		hdr.len = (uint32_t)len;
		hdr.nfds = nfds;
	}
	memcpy(packet, &hdr, sizeof(hdr));
	must(fdmsg_send(ends[how & TO_BROKER], packet, sent, fds, nfds, 0) ==
	     (ssize_t)sent);
	while (nfds)
		close(fds[--nfds]);
}

/* ---- what a worker process takes ---- */

static uint32_t sum(const void *p, size_t len)
{
	const uint8_t *byte = p;
	uint32_t s = 0;

	while (len--)
		s = s * 31 + *byte++;
	return s;
}

static void check_fd(int fd)
{
	must(fd < 0 || fcntl(fd, F_GETFD) == FD_CLOEXEC);
}

static void check_maps(const struct owner_maps *m)
{
	must(m->nmaps <= PEER_MAPS_MAX && m->nbars <= OWNER_BARS_MAX);
	must(m->nfds <= OWNER_FILES_MAX);
	for (size_t i = 0; i < m->nmaps; i++)
		must(m->map[i].file < m->nfds ||
		     m->map[i].file == OWNER_NO_FILE);
	for (size_t i = 0; i < m->nfds; i++)
		check_fd(m->fd[i]);
}

static void check_same_maps(const struct owner_maps *a,
			    const struct owner_maps *b)
{
	must(a->nmaps == b->nmaps && a->nfds == b->nfds);
	must(a->nbars == b->nbars);
	for (size_t i = 0; i < a->nmaps; i++)
		must(owner_map_same(&a->map[i], &b->map[i]) &&
		     a->map[i].file == b->map[i].file);
	for (size_t i = 0; i < a->nbars; i++)
		must(a->bars[i].start == b->bars[i].start &&
		     a->bars[i].end == b->bars[i].end &&
		     a->bars[i].no_read == b->bars[i].no_read &&
		     a->bars[i].no_write == b->bars[i].no_write);
}

/* Sends it on, and compares. */
static void pass_on(const struct ioctl_call *call,
		    const struct call_facts *facts)
{
	struct call_facts got_facts;
	struct ioctl_call got;
	struct wmsg_out out;
	struct wmsg_call c;

	must(wmsg_put_ioctl(&c, call, facts, &out) == 0);
	out.seq = 1;
	must(wmsg_send(ends[0], &out, MSG_DONTWAIT) == 0);
	wmsg_call_release(&c);
	must(wmsg_recv(ends[1], &again, MSG_DONTWAIT) == 0);
	must(wmsg_get_ioctl(&again, &got, &got_facts) == 0);
	must(got.cmd == call->cmd && got.arg == call->arg);
	must(got.in_len == call->in_len && got.out_room == call->out_room);
	must(sum(got.in, got.in_len) == sum(call->in, call->in_len));
	must(got_facts.is_owner == facts->is_owner);
	must(got_facts.owner_error == facts->owner_error);
	must(got_facts.fd_error == facts->fd_error);
	must(got_facts.maps_error == facts->maps_error);
	must(got_facts.pid == facts->pid);
	must((got_facts.fd < 0 && got_facts.fd == facts->fd) ||
	     (got_facts.fd >= 0 && facts->fd >= 0));
	must((got_facts.mem_fd < 0) == (facts->mem_fd < 0));
	check_same_maps(&got_facts.maps, &facts->maps);
	wmsg_facts_release(&got_facts);
	wmsg_in_release(&again);
}

static void take_ioctl(struct wmsg_in *in)
{
	struct call_facts facts;
	struct ioctl_call call;

	if (wmsg_get_ioctl(in, &call, &facts) < 0)
		return;
	must(call.in_len <= IOCTL_DATA_MAX && call.out_room <= IOCTL_DATA_MAX);
	must(facts.owner_error <= 0 && facts.owner_error >= -WMSG_ERRNO_MAX);
	must(facts.fd_error <= 0 && facts.fd_error >= -WMSG_ERRNO_MAX);
	must(facts.maps_error <= 0 && facts.maps_error >= -WMSG_ERRNO_MAX);
	must(facts.fd >= VDEV_FD_BAD && facts.mem_fd >= -1);
	check_fd(facts.fd);
	check_fd(facts.mem_fd);
	check_maps(&facts.maps);
	pass_on(&call, &facts);
	wmsg_facts_release(&facts);
}

static void take_start(struct wmsg_in *in)
{
	struct wmsg_start start;
	int mem_fd, ring[FRAMERING_FDS];

	if (wmsg_get_start(in, &start, &mem_fd, ring) < 0)
		return;
	must(strlen(start.build) < sizeof(start.build));
	must(strlen(start.tag) < sizeof(start.tag));
	check_fd(mem_fd);
	if (mem_fd >= 0)
		close(mem_fd);
	for (unsigned int i = 0; i < FRAMERING_FDS; i++) {
		check_fd(ring[i]);
		must((ring[i] >= 0) == (ring[0] >= 0));
		if (ring[i] >= 0)
			close(ring[i]);
	}
}

static void take_write(const struct wmsg_in *in)
{
	int mem_fd;

	if (wmsg_get_write(in, &mem_fd) < 0)
		return;
	must(in->nfds <= 1 && (mem_fd >= 0) == (in->nfds == 1));
	check_fd(mem_fd);
}

static void take_hello(const struct wmsg_in *in)
{
	struct wmsg_hello hello;

	if (wmsg_get_hello(in, &hello) == 0)
		must(strlen(hello.build) < sizeof(hello.build));
}

static void take_sock(const struct wmsg_in *in)
{
	struct wmsg_sock s;

	if (wmsg_get_sock(in, &s) < 0)
		return;
	must(strlen(s.build) < sizeof(s.build));
	must(strlen(s.tag) < sizeof(s.tag));
	must(strlen(s.port) < sizeof(s.port));
	must(s.queue_pairs >= 1 && s.queue_pairs <= WMSG_SOCK_PAIRS_MAX);
	must(in->hdr.type & WMSG_REPLY ? !in->nfds : in->nfds >= 1);
	if (s.flags & WMSG_SOCK_RINGS)
		must(!in->nfds ||
		     (s.queue_pairs <= WMSG_SOCK_RINGS_MAX &&
		      in->nfds <= 2 + s.queue_pairs * FRAMERING_FDS));
	else
		must(in->nfds <= 2 + s.queue_pairs);
}

static void take_number(const struct wmsg_in *in)
{
	int64_t n;

	if (wmsg_number(in, -5, 5, &n) == 0)
		must(n >= -5 && n <= 5);
}

static void process_takes(void)
{
	struct wmsg_in *in = &to_process;

	if (wmsg_recv(ends[1], in, MSG_DONTWAIT) < 0) {
		must(in->nfds == 0);
		return;
	}
	must(in->hdr.len <= WMSG_BODY_MAX && (uintptr_t)in->body % 8 == 0);
	sum(in->body, in->hdr.len);
	for (unsigned int i = 0; i < in->nfds; i++)
		check_fd(in->fd[i]);
	switch (in->hdr.type) {
	case WMSG_IOCTL:
		take_ioctl(in);
		break;
	case WMSG_START:
		take_start(in);
		break;
	case WMSG_HELLO:
		take_hello(in);
		break;
	case WMSG_SOCK_START:
		take_sock(in);
		break;
	case WMSG_WRITE:
		take_write(in);
		break;
	default:
		take_number(in);
	}
	wmsg_in_release(in);
}

/* ---- what a broker takes ---- */

static void take_verdict(const struct wmsg_in *in,
			 const struct ioctl_call *call)
{
	const struct ioctl_row *row = ioctl_row_of(call->cmd);
	struct ioctl_verdict v;

	if (wmsg_get_verdict(in, call, &v) < 0)
		return;
	must(v.error <= 0 && v.error >= -WMSG_ERRNO_MAX);
	must(v.out_len <= call->out_room);
	must(!v.out_len || (!v.again && !v.error));
	if (!v.again)
		return;
	must(v.fetch <= IOCTL_DATA_MAX && v.store <= IOCTL_DATA_MAX);
	must(v.fetch > call->in_len || v.store > call->out_room);
	must(!v.store || v.store_at - call->arg <= 8);
	if (!row->measure)
		must(v.fetch <= row->in && v.store <= row->out);
}

static void take_reply(const struct wmsg_in *in)
{
	const void *bytes;
	size_t len;
	int64_t n;

	if (wmsg_get_reply(in, -WMSG_ERRNO_MAX, 100, &n, &bytes, &len) < 0)
		return;
	must(n >= -WMSG_ERRNO_MAX && n <= 100);
	sum(bytes, len);
}

/* @which, @in_len and @out_room make the call at hand. */
static void broker_takes(uint8_t which, uint8_t in_len, uint8_t out_room)
{
	struct wmsg_in *in = &to_broker;
	uint8_t *arg = calloc(1, in_len + 1u), *out = malloc(out_room + 1u);
	struct ioctl_call call = {
		.cmd = commands[which % ARRAY_SIZE(commands)],
		.arg = 0x7000,
		.in = arg,
		.in_len = in_len,
		.out = out,
		.out_room = out_room
	};

	must(arg && out);
	arg[0] = which;
	if (wmsg_recv(ends[0], in, MSG_DONTWAIT) == 0) {
		must(in->nfds == 0 && !(in->hdr.flags & WMSG_IN_MEMFD));
		take_verdict(in, &call);
		take_reply(in);
		take_hello(in);
		take_sock(in);
		take_number(in);
		wmsg_in_release(in);
	}
	free(arg);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint8_t how = in_u8(&in), call[3];
	unsigned int fds;

	open_once();
	fds = lowest_fd();
	in_bytes(&in, call, sizeof(call));
	send_packet(&in, how);
	if (how & TO_BROKER)
		broker_takes(call[0], call[1], call[2]);
	else
		process_takes();
	must(lowest_fd() == fds);
	return 0;
}
