/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netif_packet.c has the kind packet: packet sockets on an interface. Each
 * queue has a socket, made before privileges are given up; each port works on a
 * duplicate of one.
 *
 * A disabled socket has a filter that drops all. With several queues the kernel
 * spreads frames over the sockets of a fanout group, which no socket can leave:
 * a queue joins when it is first enabled. A queue that is disabled later gets a
 * buffer so small that its frames roll over to the next queue; a few may stay
 * in the buffer, and are dropped when the queue is enabled again.
 *
 * Another process may have the sockets meanwhile (netif_adopt()), so the socket
 * is asked whether it has joined.
 */
#include "netif_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "log.h"
#include "log_limit.h"
#include "offload.h"
#include "port_priv.h"

#define BUFFER_BYTES (4 << 20) /* a thousand frames of 1500 bytes */

/* struct packet_config.fanout indexes both. */
#define FANOUT_NAMES "hash|lb|cpu|rnd|qm"
static const int fanout_mode[] = { PACKET_FANOUT_HASH, PACKET_FANOUT_LB,
				   PACKET_FANOUT_CPU, PACKET_FANOUT_RND,
				   PACKET_FANOUT_QM };

struct packet_config {
	char ifname[IFNAMSIZ];
	unsigned int fanout;
	bool qdisc_bypass;
};

static const struct netif_key packet_arg =
	NETIF_ARG(ifname, struct packet_config, ifname);

static const struct netif_key packet_keys[] = {
	NETIF_KEY("fanout", choice, struct packet_config, fanout,
		  .choices = FANOUT_NAMES),
	NETIF_KEY("qdisc-bypass", flag, struct packet_config, qdisc_bypass),
	{ 0 },
};

struct packet_queue {
	int fd;
	bool joined;
};

/**
 * struct packet_netif - an interface
 * @guest_offloads: what the guest has acked; read by ports
 * @fanout: PACKET_FANOUT_*
 * @group:  of the sockets that have joined; -1: none has
 */
struct packet_netif {
	struct netif netif;
	uint64_t guest_offloads;
	int fanout, group;
	struct log_tag tag;
	struct log_limit limit; /* lines that the guest can provoke */
	unsigned int nqueue;
	struct packet_queue queue[];
};

static struct packet_netif *to_packet_netif(struct netif *s)
{
	return container_of(s, struct packet_netif, netif);
}

/* ---- sockets ---- */

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno
									: 0;
}

/* Sets or removes a filter that drops all. */
static void set_drop_filter(int fd, bool drop_all)
{
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog prog = { 1, &drop };

	/* Fails if there is none to detach. */
	if (drop_all)
		setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog,
			   sizeof(prog));
	else
		set_int(fd, SOL_SOCKET, SO_DETACH_FILTER, 0);
}

/* Above the system's limit only with CAP_NET_ADMIN. */
static void set_buffer(int fd, int bytes)
{
	if (set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes) < 0)
		set_int(fd, SOL_SOCKET, SO_RCVBUF, bytes);
}

static int set_options(int fd, bool qdisc_bypass)
{
	static const int options[] = { PACKET_VNET_HDR, PACKET_AUXDATA,
				       PACKET_IGNORE_OUTGOING };
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < ARRAY_SIZE(options); i++)
		ret = set_int(fd, SOL_PACKET, options[i], 1);
	if (ret == 0 && qdisc_bypass)
		ret = set_int(fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1);
	return ret;
}

static int bind_to(int fd, int index)
{
	struct sockaddr_ll sll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = index,
	};
	struct packet_mreq promisc = {
		.mr_ifindex = index,
		.mr_type = PACKET_MR_PROMISC,
	};
	socklen_t len = sizeof(int);
	int err;

	if (bind(fd, (struct sockaddr *)&sll, sizeof(sll)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promisc,
		       sizeof(promisc)) < 0)
		return -errno;
	/* ENETDOWN if it is down now: it may come up. */
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
	return 0;
}

static int open_socket(const char *ifname, bool qdisc_bypass)
{
	int index = (int)if_nametoindex(ifname), fd, ret;

	if (!index)
		return -ENODEV;
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	set_drop_filter(fd, true);
	ret = set_options(fd, qdisc_bypass);
	if (ret == 0)
		ret = bind_to(fd, index);
	if (ret < 0) {
		close(fd);
		return ret;
	}
	set_buffer(fd, BUFFER_BYTES);
	return fd;
}

static int packet_open_fail(struct error_line *e, int err, const char *name)
{
	switch (-err) {
	case ENODEV:
		return error_line(e, err,
				  "packet %s: there is no such "
				  "interface in this network "
				  "namespace ('ip link' lists them)",
				  name);
	case EPERM:
		return error_line(e, err, "packet %s: %s: needs CAP_NET_RAW",
				  name, strerror(-err));
	default:
		return error_line(e, err, "packet %s: %s", name,
				  strerror(-err));
	}
}

/* ---- the interface ---- */

static void packet_free(struct netif *s)
{
	struct packet_netif *p = to_packet_netif(s);

	for (unsigned int i = 0; i < p->nqueue; i++)
		close(p->queue[i].fd);
	free(p);
}

static int packet_open(struct netif *s, unsigned int pair, enum netif_dir dir,
		       struct netport **out)
{
	struct packet_netif *p = to_packet_netif(s);
	int copy = fcntl(p->queue[pair].fd, F_DUPFD_CLOEXEC, 0), ret;

	(void)dir;
	if (copy < 0)
		return -errno;
	ret = packet_own_port_new(copy, &p->guest_offloads, out);
	if (ret < 0)
		close(copy);
	return ret;
}

/* Notes whether @q is in a group, and in which. */
static void ask_fanout(struct packet_netif *p, struct packet_queue *q)
{
	socklen_t len = sizeof(int);
	int value = 0;

	if (getsockopt(q->fd, SOL_PACKET, PACKET_FANOUT, &value, &len) < 0 ||
	    !value)
		return;
	q->joined = true;
	p->group = value & 0xffff;
}

/* The first queue makes the group. */
static int join_fanout(struct packet_netif *p, struct packet_queue *q)
{
	int flags = PACKET_FANOUT_FLAG_ROLLOVER, ret;

	if (p->group < 0)
		flags |= PACKET_FANOUT_FLAG_UNIQUEID;
	ret = set_int(q->fd, SOL_PACKET, PACKET_FANOUT,
		      MAX(p->group, 0) | (p->fanout | flags) << 16);
	if (ret < 0)
		return ret;
	q->joined = true;
	if (p->group < 0)
		ask_fanout(p, q);
	return 0;
}

/* Drops frames that were received before. */
static void drop_received(int fd)
{
	struct virtio_net_hdr hdr;
	struct iovec iov = { &hdr, sizeof(hdr) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	for (unsigned int i = 0; i < BUFFER_BYTES / 64; i++)
		if (recvmsg(fd, &msg, MSG_DONTWAIT | MSG_TRUNC) < 0)
			break;
}

static void packet_enable(struct netif *s, unsigned int pair, bool on)
{
	struct packet_netif *p = to_packet_netif(s);
	struct packet_queue *q = &p->queue[pair];
	int ret;

	if (p->nqueue > 1 && !q->joined)
		ask_fanout(p, q);
	if (!on) {
		if (q->joined)
			set_int(q->fd, SOL_SOCKET, SO_RCVBUF, 0);
		else
			set_drop_filter(q->fd, true);
		return;
	}
	if (p->nqueue > 1 && !q->joined) {
		ret = join_fanout(p, q);
		if (ret < 0) {
			log_limited(&p->limit, &p->tag, LOG_LEVEL_WARNING,
				    "queue %u cannot join the others: %s (is "
				    "the interface up?)",
				    pair, strerror(-ret));
			return;
		}
	}
	drop_received(q->fd);
	if (q->joined)
		set_buffer(q->fd, BUFFER_BYTES);
	set_drop_filter(q->fd, false);
}

static void packet_set_offload(struct netif *s, uint64_t acked)
{
	__atomic_store_n(&to_packet_netif(s)->guest_offloads, acked,
			 __ATOMIC_RELAXED);
}

static int packet_fds(const struct netif *s, int *fds)
{
	const struct packet_netif *p =
		container_of(s, const struct packet_netif, netif);

	for (unsigned int i = 0; i < p->nqueue; i++)
		fds[i] = p->queue[i].fd;
	return (int)p->nqueue;
}

static struct packet_netif *packet_alloc(const struct packet_config *c,
					 unsigned int queues)
{
	static const struct netif_ops ops = {
		.features = OFFLOADS_BOTH_KERNEL,
		.open = packet_open,
		.enable = packet_enable,
		.set_offload = packet_set_offload,
		.fds = packet_fds,
		.free = packet_free,
	};
	struct packet_netif *p =
		calloc(1, sizeof(*p) + queues * sizeof(p->queue[0]));

	if (!p)
		return NULL;
	p->netif.ops = &ops;
	p->fanout = fanout_mode[c->fanout];
	p->group = -1;
	log_tag_init(&p->tag, "packet:%s", c->ifname);
	log_limit_init(&p->limit, LOG_LINES_SESSION, &log_limit_all);
	return p;
}

static int packet_new(const void *config, unsigned int queues,
		      struct netif **out, struct error_line *e)
{
	const struct packet_config *c = config;
	struct packet_netif *p = packet_alloc(c, queues);

	if (!p)
		return -ENOMEM;
	while (p->nqueue < queues) {
		int fd = open_socket(c->ifname, c->qdisc_bypass);

		if (fd < 0) {
			packet_free(&p->netif);
			return packet_open_fail(e, fd, c->ifname);
		}
		p->queue[p->nqueue++].fd = fd;
	}
	*out = &p->netif;
	return 0;
}

/* False: its interface was deleted. */
static bool is_bound(int fd)
{
	struct sockaddr_ll sll = { 0 };
	socklen_t len = sizeof(sll);

	return getsockname(fd, (struct sockaddr *)&sll, &len) == 0 &&
	       sll.sll_family == AF_PACKET && sll.sll_ifindex > 0;
}

static int packet_adopt(const void *config, unsigned int queues, const int *fds,
			unsigned int n, struct netif **out)
{
	struct packet_netif *p;

	if (n != queues)
		return -EINVAL;
	for (unsigned int i = 0; i < n; i++)
		if (!is_bound(fds[i]))
			return -ENODEV;
	p = packet_alloc(config, queues);
	if (!p)
		return -ENOMEM;
	for (; p->nqueue < n; p->nqueue++)
		p->queue[p->nqueue].fd = fds[p->nqueue];
	/* The process that had them before may have let them join. */
	for (unsigned int i = 0; n > 1 && i < n; i++)
		ask_fanout(p, &p->queue[i]);
	*out = &p->netif;
	return 0;
}

const struct netif_kind netif_packet = {
	.name = "packet",
	.usage = "packet:IFNAME[,fanout=" FANOUT_NAMES "][,qdisc-bypass]\n"
		 "    the interface IFNAME, beside what the host does with it; "
		 "fanout:\n"
		 "    how frames are spread over queues",
	.arg = &packet_arg,
	.keys = packet_keys,
	.defaults = &(const struct packet_config){ .fanout = 0 },
	.config_size = sizeof(struct packet_config),
	.new = packet_new,
	.adopt = packet_adopt,
};
