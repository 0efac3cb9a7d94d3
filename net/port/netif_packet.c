/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packet sockets by name of an interface. Each queue has a socket, made before
 * privileges are given up; each device works on duplicates of them.
 *
 * One queue that shall carry nothing gets a filter that drops all. With several
 * the kernel spreads frames over the sockets of a group, which none can leave
 * again: a queue joins when it is first enabled, and one that is disabled later
 * gets a buffer so small that frames roll over to the next; a few may get stuck
 * in it, and are thrown away when it is enabled again.
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
#include "offloads.h"
#include "port_priv.h"

#define BUFFER_BYTES (4 << 20) /* a thousand frames of 1500 bytes */

enum { FANOUT, QDISC_BYPASS };

static const char *const keys[] = { "fanout", "qdisc-bypass", NULL };

struct packet_queue {
	int fd;
	bool joined;
};

/**
 * struct packet_netif - an interface
 * @takes:  what the guest has acked; read by ports
 * @fanout: PACKET_FANOUT_*
 * @group:  of the sockets that have joined; -1: none has
 */
struct packet_netif {
	struct netif source;
	uint64_t takes;
	int fanout, group;
	struct log_tag tag;
	struct log_limit limit; /* lines that the guest can provoke */
	unsigned int nqueue;
	struct packet_queue queue[];
};

static struct packet_netif *to_packet_netif(struct netif *s)
{
	return container_of(s, struct packet_netif, source);
}

/* ---- what the specification says ---- */

static int packet_parse(const struct netif_spec *spec, char ifname[IFNAMSIZ],
			int *fanout, struct netif_error *e)
{
	static const struct {
		const char *name;
		int mode;
	} modes[] = {
		{ "hash", PACKET_FANOUT_HASH }, { "lb", PACKET_FANOUT_LB },
		{ "cpu", PACKET_FANOUT_CPU },   { "rnd", PACKET_FANOUT_RND },
		{ "qm", PACKET_FANOUT_QM },
	};
	const char *mode = spec->keys[FANOUT], *bypass;
	int ret = netif_ifname(e, "packet", spec->arg, ifname);

	if (ret < 0)
		return ret;
	bypass = spec->keys[QDISC_BYPASS];
	if (bypass && *bypass)
		return netif_fail(e, -EINVAL,
				  "packet: qdisc-bypass: '%s': it takes no "
				  "value",
				  bypass);
	*fanout = PACKET_FANOUT_HASH;
	if (!mode)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		if (strcmp(mode, modes[i].name) == 0) {
			*fanout = modes[i].mode;
			return 0;
		}
	}
	return netif_fail(e, -EINVAL,
			  "packet: fanout: '%s': expected hash, lb, cpu, rnd "
			  "or qm",
			  mode);
}

static int packet_check(const struct netif_spec *spec, struct netif_error *e)
{
	char ifname[IFNAMSIZ];
	int fanout;

	return packet_parse(spec, ifname, &fanout, e);
}

/* ---- sockets ---- */

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno
									: 0;
}

/* A filter that drops all, or none. */
static void set_deaf(int fd, bool deaf)
{
	struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog prog = { 1, &drop };

	/* Fails if there is none to detach. */
	if (deaf)
		setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog,
			   sizeof(prog));
	else
		set_int(fd, SOL_SOCKET, SO_DETACH_FILTER, 0);
}

/* Beyond the system's limit only with CAP_NET_ADMIN. */
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
	set_deaf(fd, true);
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

static int packet_open_fail(struct netif_error *e, int err, const char *name)
{
	switch (-err) {
	case ENODEV:
		return netif_fail(e, err,
				  "packet %s: there is no such "
				  "interface in this network "
				  "namespace ('ip link' lists them)",
				  name);
	case EPERM:
		return netif_fail(e, err, "packet %s: %s: needs CAP_NET_RAW",
				  name, strerror(-err));
	default:
		return netif_fail(e, err, "packet %s: %s", name,
				  strerror(-err));
	}
}

/* ---- the source ---- */

static void packet_free(struct netif *s)
{
	struct packet_netif *p = to_packet_netif(s);

	for (unsigned int i = 0; i < p->nqueue; i++)
		close(p->queue[i].fd);
	free(p);
}

static uint64_t packet_features(const struct netif *s)
{
	(void)s;
	return OFFLOADS_BOTH_KERNEL;
}

static int packet_open_port(struct packet_netif *p, int fd,
			    struct netport **out)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0), ret;

	if (copy < 0)
		return -errno;
	ret = packet_own_port_new(copy, &p->takes, out);
	if (ret < 0)
		close(copy);
	return ret;
}

static int packet_open_pair(struct netif *s, unsigned int pair,
			    struct netport **rx, struct netport **tx)
{
	struct packet_netif *p = to_packet_netif(s);
	struct netport *port = NULL;
	int ret = packet_open_port(p, p->queue[pair].fd, &port);

	if (ret < 0)
		return ret;
	ret = packet_open_port(p, p->queue[pair].fd, tx);
	if (ret < 0)
		netport_close(port);
	else
		*rx = port;
	return ret;
}

/* The first makes the group. */
static int join_fanout(struct packet_netif *p, struct packet_queue *q)
{
	int flags = PACKET_FANOUT_FLAG_ROLLOVER, value, ret;
	socklen_t len = sizeof(value);

	if (p->group < 0)
		flags |= PACKET_FANOUT_FLAG_UNIQUEID;
	ret = set_int(q->fd, SOL_PACKET, PACKET_FANOUT,
		      MAX(p->group, 0) | (p->fanout | flags) << 16);
	if (ret < 0)
		return ret;
	q->joined = true;
	if (p->group < 0 &&
	    getsockopt(q->fd, SOL_PACKET, PACKET_FANOUT, &value, &len) == 0)
		p->group = value & 0xffff;
	return 0;
}

/* Frames of the time before. */
static void throw_away(int fd)
{
	struct virtio_net_hdr hdr;

	for (unsigned int i = 0; i < BUFFER_BYTES / 64; i++)
		if (recv(fd, &hdr, sizeof(hdr), MSG_DONTWAIT | MSG_TRUNC) < 0)
			break;
}

static void packet_enable(struct netif *s, unsigned int pair, bool on)
{
	struct packet_netif *p = to_packet_netif(s);
	struct packet_queue *q = &p->queue[pair];
	int ret;

	if (!on) {
		if (q->joined)
			set_int(q->fd, SOL_SOCKET, SO_RCVBUF, 0);
		else
			set_deaf(q->fd, true);
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
	throw_away(q->fd);
	if (q->joined)
		set_buffer(q->fd, BUFFER_BYTES);
	set_deaf(q->fd, false);
}

static void packet_set_offload(struct netif *s, uint64_t acked)
{
	__atomic_store_n(&to_packet_netif(s)->takes, acked, __ATOMIC_RELAXED);
}

static int packet_new(const struct netif_spec *spec, struct netif **out,
		      struct netif_error *e)
{
	static const struct netif_ops ops = {
		.features = packet_features,
		.open = packet_open_pair,
		.enable = packet_enable,
		.set_offload = packet_set_offload,
		.free = packet_free,
	};
	char ifname[IFNAMSIZ] = { 0 };
	struct packet_netif *p;
	int fanout = PACKET_FANOUT_HASH;
	int ret = packet_parse(spec, ifname, &fanout, e);

	if (ret < 0)
		return ret;
	p = calloc(1, sizeof(*p) + spec->queues * sizeof(p->queue[0]));
	if (!p)
		return -ENOMEM;
	p->source.ops = &ops;
	p->fanout = fanout;
	p->group = -1;
	log_tag_init(&p->tag, "packet:%s", ifname);
	log_limit_init(&p->limit, LOG_LINES_SESSION, &log_limit_all);
	while (p->nqueue < spec->queues) {
		int fd = open_socket(ifname, spec->keys[QDISC_BYPASS]);

		if (fd < 0) {
			packet_free(&p->source);
			return packet_open_fail(e, fd, ifname);
		}
		p->queue[p->nqueue++].fd = fd;
	}
	*out = &p->source;
	return 0;
}

const struct netif_kind netif_packet = {
	.name = "packet",
	.usage = "packet:IFNAME[,fanout=hash|lb|cpu|rnd|qm][,qdisc-bypass]\n"
		 "    the interface IFNAME, beside what the host does with it; "
		 "fanout:\n"
		 "    how frames are spread over queues",
	.keys = keys,
	.check = packet_check,
	.new = packet_new,
};
