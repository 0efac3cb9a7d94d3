/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wmsg.c sends and receives the messages between broker and worker process. It
 * reads hostile bytes: a worker process may have been taken over by its guest.
 *
 * A message is copied to private memory before a byte of it is checked, also
 * the body in a memfd: the sender cannot change it meanwhile. A memfd is read
 * only if it is sealed against writing and shrinking: reading such a file
 * never blocks.
 */
#include "wmsg.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "bytes.h"
#include "fd.h"
#include "fdsend.h"
#include "vdev.h"

_Static_assert(sizeof(struct wmsg_hdr) == 24, "no padding");
_Static_assert(sizeof(struct wmsg_start) == WMSG_BUILD_MAX + 72, "no padding");
_Static_assert(sizeof(struct wmsg_hello) == WMSG_BUILD_MAX + 8, "no padding");
_Static_assert(sizeof(struct wmsg_ioctl) == 56, "no padding");
_Static_assert(sizeof(struct wmsg_sock) ==
		       WMSG_BUILD_MAX + 48 + NETIF_SPEC_MAX + 1 + 32,
	       "no padding");
_Static_assert(sizeof(struct wmsg_map) == 48, "no padding");
_Static_assert(sizeof(struct wmsg_bar) == 24, "no padding");
_Static_assert(sizeof(struct wmsg_reply) == 40, "no padding");
_Static_assert(IOCTL_DATA_MAX + sizeof(struct wmsg_hdr) +
			       sizeof(struct wmsg_ioctl) <=
		       WMSG_PACKET_MAX,
	       "the longest ioctl fits the socket");
_Static_assert(sizeof(struct wmsg_ioctl) + IOCTL_DATA_MAX +
			       PEER_MAPS_MAX * sizeof(struct wmsg_map) +
			       OWNER_BARS_MAX * sizeof(struct wmsg_bar) <=
		       WMSG_BODY_MAX,
	       "the longest memory table fits a memfd");
_Static_assert(OWNER_FILES_MAX + 3 <= WMSG_FDS_MAX,
	       "its descriptors fit, the memfd too");

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* With these a file neither changes nor shrinks while it is read. */
#define SEALS_NEEDED (F_SEAL_SHRINK | F_SEAL_WRITE)

/* The upper bound of --max-mem-regions; the worker process knows the limit. */
#define WMSG_REGIONS_MAX 4095

/* Since Linux 6.16. Off: the sender of a message with descriptors gets an
 * error. */
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

/* Bytes that the kernel needs in a send buffer besides the message. */
#define SNDBUF_EXTRA 32

union wmsg_control {
	char bytes[CMSG_SPACE(WMSG_FDS_MAX * sizeof(int))];
	struct cmsghdr hdr;
};

const char *wmsg_build(void)
{
	return UVHOST_BUILD;
}

/* Raises the send buffer if the host's default is too small for the longest
 * message. */
static void wmsg_raise_sndbuf(int sock)
{
	const int want = (int)(WMSG_PACKET_MAX + SNDBUF_EXTRA);
	socklen_t len = sizeof(int);
	int have = 0;

	if (getsockopt(sock, SOL_SOCKET, SO_SNDBUF, &have, &len) == 0 &&
	    have >= want)
		return;
	if (setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &want, sizeof(want)) <
	    0)
		setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &want, sizeof(want));
}

int wmsg_pair(int ends[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	wmsg_raise_sndbuf(ends[0]);
	wmsg_raise_sndbuf(ends[1]);
	return 0;
}

bool wmsg_is_unix(int fd, int type)
{
	int is = 0, domain = 0;
	socklen_t len = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &is, &len) == 0 &&
	       domain == AF_UNIX && is == type;
}

void wmsg_refuse_fds(int sock)
{
	const int no = 0;

	setsockopt(sock, SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof(no));
}

/* ---- sending ---- */

static int wmsg_send_error(int error)
{
	switch (error) {
	case EAGAIN:
	case EINTR:
	case EMSGSIZE:
		return -error;
	case EPIPE:
	case ECONNRESET:
	case ENOTCONN:
		return -ECONNRESET;
	default: /* memory, descriptors in flight (RLIMIT_NOFILE) */
		return -ENOMEM;
	}
}

/* @memfd: -1: the body goes on the socket. */
static int wmsg_send_packet(int sock, const struct wmsg_out *m, size_t len,
			    int memfd, int flags)
{
	struct wmsg_hdr hdr = { .magic = WMSG_MAGIC,
				.type = (uint16_t)m->type,
				.seq = m->seq,
				.len = (uint32_t)len,
				.nfds = m->nfds };
	struct iovec iov[1 + WMSG_PARTS] = { { &hdr, sizeof(hdr) } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 1 };
	int fds[WMSG_FDS_MAX];
	union wmsg_control control;

	if (m->inherited)
		hdr.flags = WMSG_INHERITED;
	else if (m->nfds)
		memcpy(fds, m->fd, m->nfds * sizeof(int));
	if (memfd >= 0) {
		fds[hdr.nfds++] = memfd;
		hdr.flags = WMSG_IN_MEMFD;
	} else {
		memcpy(iov + 1, m->part, m->nparts * sizeof(*iov));
		msg.msg_iovlen += m->nparts;
	}
	if (hdr.nfds && !m->inherited) {
		memset(&control, 0, sizeof(control));
		fd_attach(&msg, &control.hdr, fds, hdr.nfds);
	}
	flags |= MSG_NOSIGNAL;
	if ((m->no_wait ? sendmsg(sock, &msg, flags)
			: fdsend(sock, &msg, flags)) < 0)
		return wmsg_send_error(errno);
	return 0;
}

/* A sealed memfd with the body, or -1 */
static int wmsg_make_memfd(const struct wmsg_out *m, size_t len)
{
	int fd =
		memfd_create("uvhost-message", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -1;
	if (writev(fd, m->part, (int)m->nparts) == (ssize_t)len &&
	    fcntl(fd, F_ADD_SEALS, SEALS) == 0)
		return fd;
	close(fd);
	return -1;
}

static int wmsg_send_memfd(int sock, const struct wmsg_out *m, size_t len,
			   int flags)
{
	int memfd = wmsg_make_memfd(m, len);
	int ret;

	if (memfd < 0)
		return -ENOMEM;
	ret = wmsg_send_packet(sock, m, len, memfd, flags);
	close(memfd);
	return ret;
}

int wmsg_send(int sock, const struct wmsg_out *m, int flags)
{
	size_t len = 0;
	int ret = -EMSGSIZE;

	for (unsigned int i = 0; i < m->nparts; i++)
		len += m->part[i].iov_len;
	if (sizeof(struct wmsg_hdr) + len <= WMSG_PACKET_MAX)
		ret = wmsg_send_packet(sock, m, len, -1, flags);
	if (ret == -EMSGSIZE && m->memfd && len <= WMSG_BODY_MAX)
		ret = wmsg_send_memfd(sock, m, len, flags);
	return ret;
}

/* ---- receiving ---- */

int wmsg_in_init(struct wmsg_in *in, size_t packet_max, bool takes_fds)
{
	memset(in, 0, sizeof(*in));
	in->packet = malloc(packet_max);
	if (!in->packet)
		return -ENOMEM;
	in->room = packet_max;
	in->takes_fds = takes_fds;
	return 0;
}

void wmsg_in_release(struct wmsg_in *in)
{
	while (in->nfds)
		close(in->fd[--in->nfds]);
	free(in->big);
	in->big = NULL;
	in->body = NULL;
}

void wmsg_in_free(struct wmsg_in *in)
{
	wmsg_in_release(in);
	free(in->packet);
	in->packet = NULL;
}

/* The kernel puts all descriptors into one header, but is not asked to. What
 * does not fit the control buffer was closed by the kernel. */
static void wmsg_take_fds(struct wmsg_in *in, struct msghdr *msg)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = MIN(n, (size_t)WMSG_FDS_MAX - in->nfds);
		memcpy(in->fd + in->nfds, CMSG_DATA(c), n * sizeof(int));
		in->nfds += (unsigned int)n;
	}
}

static bool wmsg_hdr_ok(const struct wmsg_hdr *hdr)
{
	unsigned int type = hdr->type & ~(unsigned int)WMSG_REPLY;

	return hdr->magic == WMSG_MAGIC && type >= WMSG_START &&
	       type < WMSG_TYPES &&
	       (!hdr->flags || hdr->flags == WMSG_IN_MEMFD ||
		hdr->flags == WMSG_INHERITED) &&
	       hdr->len <= WMSG_BODY_MAX && hdr->nfds <= WMSG_FDS_MAX;
}

static int wmsg_read_all(int fd, uint8_t *to, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, to + done, len - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EPROTO;
		done += (size_t)n;
	}
	return 0;
}

/* The last descriptor is the body. */
static int wmsg_read_memfd(struct wmsg_in *in)
{
	struct stat st;
	int seals, fd, ret = -EPROTO;

	if (!in->nfds)
		return -EPROTO;
	fd = in->fd[--in->nfds];
	seals = fcntl(fd, F_GET_SEALS);
	if (seals >= 0 && (seals & SEALS_NEEDED) == SEALS_NEEDED &&
	    fstat(fd, &st) == 0 && st.st_size == (off_t)in->hdr.len) {
		in->big = malloc(in->hdr.len + 1);
		ret = in->big ? wmsg_read_all(fd, in->big, in->hdr.len)
			      : -ENOMEM;
	}
	close(fd);
	in->body = in->big;
	return ret;
}

/* Takes the inherited descriptors for those of the message; they become
 * close-on-exec. */
static int wmsg_inherit(struct wmsg_in *in)
{
	int first = in->inherits;

	in->inherits = 0;
	if (!first || in->nfds)
		return -EPROTO;
	for (; in->nfds < in->hdr.nfds; in->nfds++) {
		in->fd[in->nfds] = first + (int)in->nfds;
		if (fcntl(in->fd[in->nfds], F_SETFD, FD_CLOEXEC) < 0)
			return -EPROTO;
	}
	return 0;
}

/* Checks a message of which @n bytes have arrived. */
static int wmsg_check(struct wmsg_in *in, size_t n, int flags)
{
	if (n >= sizeof(in->hdr))
		memcpy(&in->hdr, in->packet, sizeof(in->hdr));
	if (n < sizeof(in->hdr) || !wmsg_hdr_ok(&in->hdr))
		return -EPROTO;
	if (flags & MSG_TRUNC)
		return -EMSGSIZE;
	/* This process has no free descriptors, or does not take any. */
	if (flags & MSG_CTRUNC)
		return in->takes_fds ? -ENOMEM : -EPROTO;
	if (in->hdr.flags == WMSG_INHERITED && wmsg_inherit(in) < 0)
		return -EPROTO;
	if (in->hdr.nfds != in->nfds)
		return -EPROTO;
	n -= sizeof(in->hdr);
	if (in->hdr.flags & WMSG_IN_MEMFD)
		return n ? -EPROTO : wmsg_read_memfd(in);
	in->body = in->packet + sizeof(in->hdr);
	return n == in->hdr.len ? 0 : -EPROTO;
}

int wmsg_recv(int sock, struct wmsg_in *in, int flags)
{
	struct iovec iov = { in->packet, in->room };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union wmsg_control control;
	ssize_t n;
	int ret;

	wmsg_in_release(in);
	memset(&in->hdr, 0, sizeof(in->hdr));
	if (in->takes_fds) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	n = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -errno : -ECONNRESET;
	wmsg_take_fds(in, &msg);
	/* An empty message looks like the end of the stream, and neither side
	 * sends one. */
	ret = n ? wmsg_check(in, (size_t)n, msg.msg_flags) : -ECONNRESET;
	if (ret < 0)
		wmsg_in_release(in);
	return ret;
}

const void *wmsg_body(const struct wmsg_in *in, size_t size)
{
	return in->hdr.len == size && !in->nfds ? in->body : NULL;
}

int wmsg_number(const struct wmsg_in *in, int64_t min, int64_t max, int64_t *n)
{
	const struct wmsg_number *number = wmsg_body(in, sizeof(*number));

	if (!number || number->n < min || number->n > max)
		return -EPROTO;
	*n = number->n;
	return 0;
}

/* ---- an ioctl ---- */

#define PAD8(n) (((n) + 7) & ~(size_t)7)

static const uint8_t zeros[8];

/* The maps, then the bars, malloc()ed; NULL: no memory */
static void *wmsg_put_tables(const struct owner_maps *m, size_t *len)
{
	struct wmsg_map *map;
	struct wmsg_bar *bar;

	*len = m->nmaps * sizeof(*map) + m->nbars * sizeof(*bar);
	map = calloc(1, *len);
	if (!map)
		return NULL;
	bar = (struct wmsg_bar *)(map + m->nmaps);
	for (size_t i = 0; i < m->nmaps; i++)
		map[i] = (struct wmsg_map){ .uva = m->map[i].uva,
					    .size = m->map[i].size,
					    .off = m->map[i].off,
					    .dev = m->map[i].dev,
					    .ino = m->map[i].ino,
					    .file = m->map[i].file };
	for (size_t i = 0; i < m->nbars; i++)
		bar[i] = (struct wmsg_bar){
			.start = m->bars[i].start,
			.end = m->bars[i].end,
			.flags = (m->bars[i].no_read ? WMSG_NO_READ : 0u) |
				 (m->bars[i].no_write ? WMSG_NO_WRITE : 0u)
		};
	return map;
}

/* Lists the descriptors in the order of enum wmsg_ioctl_flags, and sets their
 * flags. */
static void wmsg_put_fds(struct wmsg_call *c, const struct call_facts *facts,
			 struct wmsg_out *out)
{
	if (facts->mem_fd >= 0) {
		c->head.flags |= WMSG_MEM_FD;
		c->fd[out->nfds++] = facts->mem_fd;
	}
	if (facts->fd >= 0) {
		c->head.flags |= WMSG_FD;
		c->fd[out->nfds++] = facts->fd;
	} else if (facts->fd == VDEV_FD_BAD) {
		c->head.flags |= WMSG_FD_BAD;
	}
	for (size_t i = 0; i < facts->maps.nfds; i++)
		c->fd[out->nfds++] = facts->maps.fd[i];
	out->fd = c->fd;
}

static void wmsg_put_part(struct wmsg_out *out, const void *p, size_t len)
{
	if (len)
		out->part[out->nparts++] =
			(struct iovec){ (void *)(uintptr_t)p, len };
}

int wmsg_put_ioctl(struct wmsg_call *c, const struct ioctl_call *call,
		   const struct call_facts *facts, struct wmsg_out *out)
{
	const struct owner_maps *m = &facts->maps;
	size_t tables = 0;

	c->tables = NULL;
	if (call->in_len > IOCTL_DATA_MAX || call->out_room > IOCTL_DATA_MAX ||
	    m->nmaps > PEER_MAPS_MAX || m->nbars > OWNER_BARS_MAX ||
	    m->nfds > OWNER_FILES_MAX)
		return -EMSGSIZE;
	if (m->nmaps || m->nbars) {
		c->tables = wmsg_put_tables(m, &tables);
		if (!c->tables)
			return -ENOMEM;
	}
	c->head = (struct wmsg_ioctl){
		.cmd = call->cmd,
		.flags = (facts->is_owner ? WMSG_IS_OWNER : 0) |
			 (facts->repeated ? WMSG_REPEATED : 0),
		.arg = call->arg,
		.in_len = (uint32_t)call->in_len,
		.out_room = (uint32_t)call->out_room,
		.owner_error = facts->owner_error,
		.pid = facts->pid,
		.fd_error = facts->fd_error,
		.maps_error = facts->maps_error,
		.nmaps = (uint32_t)m->nmaps,
		.nbars = (uint32_t)m->nbars,
		.map_fds = (uint32_t)m->nfds,
	};
	*out = (struct wmsg_out){ .type = WMSG_IOCTL, .memfd = true };
	wmsg_put_part(out, &c->head, sizeof(c->head));
	wmsg_put_part(out, call->in, call->in_len);
	wmsg_put_part(out, zeros, PAD8(call->in_len) - call->in_len);
	wmsg_put_part(out, c->tables, tables);
	wmsg_put_fds(c, facts, out);
	return 0;
}

void wmsg_call_release(struct wmsg_call *c)
{
	free(c->tables);
	c->tables = NULL;
}

static bool wmsg_error_ok(int64_t error)
{
	return error <= 0 && error >= -WMSG_ERRNO_MAX;
}

static bool wmsg_is_file(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static int wmsg_get_maps(const uint8_t *p, const struct wmsg_ioctl *head,
			 struct owner_maps *m)
{
	if (!head->nmaps)
		return 0;
	m->map = calloc(head->nmaps, sizeof(*m->map));
	if (!m->map)
		return -ENOMEM;
	for (; m->nmaps < head->nmaps;
	     m->nmaps++, p += sizeof(struct wmsg_map)) {
		struct wmsg_map map;

		memcpy(&map, p, sizeof(map));
		if (map.unused ||
		    (map.file != OWNER_NO_FILE && map.file >= head->map_fds))
			return -EPROTO;
		m->map[m->nmaps] = (struct owner_map){ .uva = map.uva,
						       .size = map.size,
						       .off = map.off,
						       .dev = map.dev,
						       .ino = map.ino,
						       .file = map.file };
	}
	return 0;
}

static int wmsg_get_bars(const uint8_t *p, const struct wmsg_ioctl *head,
			 struct owner_maps *m)
{
	const uint32_t known = WMSG_NO_READ | WMSG_NO_WRITE;

	if (!head->nbars)
		return 0;
	m->bars = calloc(head->nbars, sizeof(*m->bars));
	if (!m->bars)
		return -ENOMEM;
	for (; m->nbars < head->nbars;
	     m->nbars++, p += sizeof(struct wmsg_bar)) {
		struct wmsg_bar bar;

		memcpy(&bar, p, sizeof(bar));
		if (bar.unused || bar.flags & ~known)
			return -EPROTO;
		m->bars[m->nbars] = (struct aspace_bar){
			.start = bar.start,
			.end = bar.end,
			.no_read = bar.flags & WMSG_NO_READ,
			.no_write = bar.flags & WMSG_NO_WRITE,
		};
	}
	return 0;
}

/* Are the head, the lengths that it gives and the descriptors in order? */
static bool wmsg_ioctl_ok(const struct wmsg_in *in,
			  const struct wmsg_ioctl *head)
{
	const uint32_t known = WMSG_IS_OWNER | WMSG_MEM_FD | WMSG_FD |
			       WMSG_FD_BAD | WMSG_REPEATED;
	const uint32_t both = WMSG_FD | WMSG_FD_BAD;

	if (head->flags & ~known || (head->flags & both) == both ||
	    head->in_len > IOCTL_DATA_MAX || head->out_room > IOCTL_DATA_MAX ||
	    head->nmaps > PEER_MAPS_MAX || head->nbars > OWNER_BARS_MAX ||
	    head->map_fds > OWNER_FILES_MAX || head->unused || head->pid < 0 ||
	    !wmsg_error_ok(head->owner_error) ||
	    !wmsg_error_ok(head->fd_error) || !wmsg_error_ok(head->maps_error))
		return false;
	if (in->nfds != head->map_fds + !!(head->flags & WMSG_MEM_FD) +
				!!(head->flags & WMSG_FD))
		return false;
	return in->hdr.len == sizeof(*head) + PAD8(head->in_len) +
				      head->nmaps * sizeof(struct wmsg_map) +
				      head->nbars * sizeof(struct wmsg_bar);
}

static int wmsg_get_facts(struct wmsg_in *in, const struct wmsg_ioctl *head,
			  const uint8_t *tables, struct call_facts *facts)
{
	int *fd = in->fd;
	int ret;

	*facts = CALL_FACTS_NONE;
	facts->is_owner = head->flags & WMSG_IS_OWNER;
	facts->repeated = head->flags & WMSG_REPEATED;
	facts->owner_error = head->owner_error;
	facts->pid = head->pid;
	facts->fd_error = head->fd_error;
	facts->maps_error = head->maps_error;
	facts->fd = head->flags & WMSG_FD_BAD ? VDEV_FD_BAD : VDEV_FD_NONE;
	if (head->flags & WMSG_MEM_FD) {
		if (!wmsg_is_file(*fd))
			return -EPROTO;
		facts->mem_fd = *fd++;
	}
	if (head->flags & WMSG_FD)
		facts->fd = *fd++;
	facts->maps.fd = head->map_fds ? fd : NULL;
	facts->maps.nfds = head->map_fds;
	ret = wmsg_get_maps(tables, head, &facts->maps);
	if (ret == 0)
		ret = wmsg_get_bars(tables + head->nmaps *
						     sizeof(struct wmsg_map),
				    head, &facts->maps);
	if (ret < 0)
		wmsg_facts_release(facts);
	return ret;
}

int wmsg_get_ioctl(struct wmsg_in *in, struct ioctl_call *call,
		   struct call_facts *facts)
{
	struct wmsg_ioctl head;

	if (in->hdr.len < sizeof(head))
		return -EPROTO;
	memcpy(&head, in->body, sizeof(head));
	if (!wmsg_ioctl_ok(in, &head))
		return -EPROTO;
	*call = (struct ioctl_call){ .cmd = head.cmd,
				     .arg = head.arg,
				     .in = in->body + sizeof(head),
				     .in_len = head.in_len,
				     .out_room = head.out_room };
	return wmsg_get_facts(
		in, &head, in->body + sizeof(head) + PAD8(head.in_len), facts);
}

void wmsg_facts_release(struct call_facts *facts)
{
	free(facts->maps.map);
	free(facts->maps.bars);
	*facts = CALL_FACTS_NONE;
}

int wmsg_get_write(const struct wmsg_in *in, int *mem_fd)
{
	if (in->nfds > 1 || (in->nfds && !wmsg_is_file(in->fd[0])))
		return -EPROTO;
	*mem_fd = in->nfds ? in->fd[0] : -1;
	return 0;
}

/* ---- start and hello ---- */

/* Does the text end within @size bytes? */
static bool wmsg_text_ok(const char *text, size_t size)
{
	return memchr(text, 0, size) != NULL;
}

int wmsg_get_start(struct wmsg_in *in, struct wmsg_start *start, int *mem_fd,
		   int ring[FRAMERING_FDS])
{
	unsigned int mem = in->nfds % FRAMERING_FDS;

	if (in->hdr.type != WMSG_START || in->hdr.len != sizeof(*start) ||
	    mem > 1 || in->nfds > 1 + FRAMERING_FDS)
		return -EPROTO;
	memcpy(start, in->body, sizeof(*start));
	if (!wmsg_text_ok(start->build, sizeof(start->build)) ||
	    !wmsg_text_ok(start->tag, sizeof(start->tag)))
		return -EPROTO;
	*mem_fd = mem ? in->fd[0] : -1;
	for (unsigned int i = 0; i < FRAMERING_FDS; i++)
		ring[i] = in->nfds > mem ? in->fd[mem + i] : -1;
	in->nfds = 0;
	return 0;
}

/* Descriptors: none with the reply to hello. */
static bool wmsg_sock_fds_ok(const struct wmsg_in *in,
			     const struct wmsg_sock *s)
{
	unsigned int first = s->flags & WMSG_SOCK_USERFAULT ? 2 : 1;

	if (in->hdr.type & WMSG_REPLY)
		return in->nfds == 0;
	if (s->flags & WMSG_SOCK_RINGS)
		return s->queue_pairs <= WMSG_SOCK_RINGS_MAX &&
		       in->nfds == first + s->queue_pairs * FRAMERING_FDS;
	return in->nfds >= first && in->nfds - first <= s->queue_pairs;
}

int wmsg_get_sock(const struct wmsg_in *in, struct wmsg_sock *sock)
{
	const uint32_t known = WMSG_SOCK_POSTCOPY | WMSG_SOCK_USERFAULT |
			       WMSG_SOCK_STORED | WMSG_SOCK_RINGS;

	if (in->hdr.len != sizeof(*sock))
		return -EPROTO;
	memcpy(sock, in->body, sizeof(*sock));
	if (!wmsg_text_ok(sock->build, sizeof(sock->build)) ||
	    !wmsg_text_ok(sock->tag, sizeof(sock->tag)) ||
	    !wmsg_text_ok(sock->port, sizeof(sock->port)) ||
	    sock->flags & ~known || !sock->queue_pairs ||
	    sock->queue_pairs > WMSG_SOCK_PAIRS_MAX ||
	    !wmsg_sock_fds_ok(in, sock))
		return -EPROTO;
	return 0;
}

int wmsg_get_hello(const struct wmsg_in *in, struct wmsg_hello *hello)
{
	const struct wmsg_hello *body = wmsg_body(in, sizeof(*body));

	if (!body || !wmsg_text_ok(body->build, sizeof(body->build)))
		return -EPROTO;
	*hello = *body;
	return 0;
}

/* ---- replies ---- */

int wmsg_get_reply(const struct wmsg_in *in, int64_t min, int64_t max,
		   int64_t *n, const void **bytes, size_t *len)
{
	struct wmsg_reply reply;

	if (in->hdr.len < sizeof(reply) || in->nfds)
		return -EPROTO;
	memcpy(&reply, in->body, sizeof(reply));
	if (reply.again || reply.fetch || reply.store_at || reply.store ||
	    reply.n < min || reply.n > max)
		return -EPROTO;
	*n = reply.n;
	*bytes = in->body + sizeof(reply);
	*len = in->hdr.len - sizeof(reply);
	return 0;
}

/*
 * The device asks for another pass, which fetches and stores bytes of the
 * caller's memory: a worker process that was taken over must not reach more of
 * it than the ioctl does.
 */
static bool wmsg_again_ok(const struct wmsg_reply *r,
			  const struct ioctl_call *call)
{
	const struct ioctl_row *row = ioctl_row_of(call->cmd);
	struct ioctl_size size = { .in = row->in, .out = row->out };

	if (row->measure && call->in_len >= row->head &&
	    row->measure(call->in, WMSG_REGIONS_MAX, &size) < 0)
		return false;
	if (r->fetch > MIN(size.in, IOCTL_DATA_MAX) ||
	    r->store > MIN(size.out, IOCTL_DATA_MAX))
		return false;
	if (r->store && r->store_at != call->arg + size.out_offset)
		return false;
	/* each pass asks for more, so the passes end */
	return r->fetch > call->in_len || r->store > call->out_room;
}

int wmsg_get_verdict(const struct wmsg_in *in, const struct ioctl_call *call,
		     struct ioctl_verdict *v)
{
	struct wmsg_reply r;
	size_t len;

	if (in->hdr.len < sizeof(r) || in->nfds)
		return -EPROTO;
	memcpy(&r, in->body, sizeof(r));
	len = in->hdr.len - sizeof(r);
	if (r.again > 1 || !wmsg_error_ok(r.n))
		return -EPROTO;
	if (r.again && (r.n || len || !wmsg_again_ok(&r, call)))
		return -EPROTO;
	if (!r.again && (r.fetch || r.store_at || r.store))
		return -EPROTO;
	if (len > (r.n ? 0 : call->out_room))
		return -EPROTO;
	*v = (struct ioctl_verdict){ .again = r.again,
				     .fetch = r.fetch,
				     .store_at = r.store_at,
				     .store = r.store,
				     .error = (int)r.n,
				     .out_len = len };
	if (len)
		memcpy(call->out, in->body + sizeof(r), len);
	return 0;
}
