/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An interface of the host by libpcap. The handle is opened once, before
 * privileges are given up, and outlives the ports, which have descriptors that
 * are copies of its socket.
 *
 * Received by pcap_dispatch(), whose callback copies into the frames. Sent past
 * libpcap, as it would be by pcap_inject() on the same socket, but in batches,
 * out of the frames' own memory, and so that a thread may send while another
 * one receives: a handle is for one.
 *
 * Only what comes in by the interface is received; what the host, or this port,
 * sends by it is not. Frames that are longer than the snapshot length are left
 * out, since a guest could do nothing with half a frame: in practice these are
 * the doings of GRO.
 *
 * Missing: what the kernel knows of a frame and libpcap does not tell. The TCP
 * and UDP checksums of a sender on this host, behind a veth, are unfinished:
 * the field has the sum of the pseudo header. A guest drops such frames, and
 * who wonders why is told; they are not finished here, since from the same
 * sender come frames of 64 KiB that would have to be cut up, by a size that is
 * not in them either.
 */
#include "netif_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_ether.h>

#include "bytes.h"
#include "log.h"
#include "port_priv.h"

#define SNAPLEN_MAX NETPORT_ETH_MAX
#define TAGS_LEN 8 /* two VLAN tags */
#define BUFFER_DEFAULT ((uint64_t)4 << 20)
#define BUFFER_MIN ((uint64_t)64 << 10)
#define BUFFER_MAX ((uint64_t)1 << 30)
#define STALE_MAX 65536  /* frames of before a device came */
#define UNFINISHED_MAX 4 /* of LOOKED_AT: no chance of that by chance */
#define LOOKED_AT 64
#define BATCH 64
#define IOVS 2048 /* of a batch; more than the 1024 of a frame */

enum { FILTER, SNAPLEN, PROMISC, BUFFER };
static const char *const keys[] = { "filter", "snaplen", "promisc", "buffer",
				    NULL };

/** struct pcap_options - @snaplen 0: what the interface's MTU asks for */
struct pcap_options {
	char ifname[IFNAMSIZ];
	const char *filter;
	uint64_t snaplen, buffer;
	bool promisc;
};

/**
 * struct pcap_netif - a live interface
 * @busy: the port that receives is open
 * @told_cut: that frames were left out
 * @told_unfinished: that checksums are unfinished
 * @looked, @unfinished: frames looked at, and those of them with such a
 * checksum
 */
struct pcap_netif {
	struct netif source;
	struct log_tag tag;
	pcap_t *pcap;
	bool busy, told_cut, told_unfinished;
	unsigned int looked, unfinished;
};

static struct pcap_netif *to_source(struct netif *s)
{
	return container_of(s, struct pcap_netif, source);
}

/* ---- the specification ---- */

static int parse_promisc(const char *text, bool *on, struct netif_error *e)
{
	*on = !text || !strcmp(text, "on");
	if (*on || !strcmp(text, "off"))
		return 0;
	return netif_fail(e, -EINVAL,
			  "pcap promisc: '%s' is neither on nor off", text);
}

static int pcap_parse(const struct netif_spec *spec, struct pcap_options *o,
		      struct netif_error *e)
{
	int ret = netif_ifname(e, "pcap", spec->arg, o->ifname);

	o->filter = spec->keys[FILTER];
	o->snaplen = 0;
	o->buffer = BUFFER_DEFAULT;
	if (ret == 0)
		ret = parse_promisc(spec->keys[PROMISC], &o->promisc, e);
	if (ret == 0 && spec->keys[SNAPLEN])
		ret = netif_number(e, "pcap snaplen", spec->keys[SNAPLEN],
				   NETPORT_ETH_MIN, SNAPLEN_MAX, &o->snaplen);
	if (ret == 0 && spec->keys[BUFFER])
		ret = netif_number(e, "pcap buffer", spec->keys[BUFFER],
				   BUFFER_MIN, BUFFER_MAX, &o->buffer);
	return ret;
}

static int pcap_check(const struct netif_spec *spec, struct netif_error *e)
{
	struct pcap_options o;

	return pcap_parse(spec, &o, e);
}

/* ---- receiving ---- */

struct rx_port {
	struct netport port;
	struct pcap_netif *source;
};

/** struct batch - the frames of a call, as they are filled */
struct batch {
	struct frame *frames;
	unsigned int n;
	size_t hdr_len;
	struct pcap_netif *source;
};

static void tell_cut(struct pcap_netif *s, uint32_t len)
{
	if (s->told_cut)
		return;
	s->told_cut = true;
	log_warn(&s->tag,
		 "a frame of %u bytes is left out, longer than the snapshot "
		 "length of %d: switch off GRO (ethtool -K) here, TSO and GSO "
		 "where it was sent, or set snaplen=",
		 len, pcap_snapshot(s->pcap));
}

/* The 16-bit words of @len bytes, an even number */
static uint32_t sum_words(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	return sum;
}

/**
 * struct l4 - where TCP or UDP is in a packet
 * @len: bytes of it
 * @sum: of the addresses
 */
struct l4 {
	size_t offset, len;
	uint8_t protocol;
	uint32_t sum;
};

/* False: neither IPv4 nor IPv6, or a fragment. */
static bool find_l4(const uint8_t *ip, size_t len, unsigned int type,
		    struct l4 *l4)
{
	if (type == ETH_P_IP && len >= 20 && !(load_be16(ip + 6) & 0x3fff)) {
		l4->offset = (size_t)(ip[0] & 0x0f) * 4;
		l4->len = load_be16(ip + 2) - l4->offset;
		l4->protocol = ip[9];
		l4->sum = sum_words(ip + 12, 8);
		return load_be16(ip + 2) >= l4->offset;
	}
	if (type == ETH_P_IPV6 && len >= 40) {
		l4->offset = 40;
		l4->len = load_be16(ip + 4);
		l4->protocol = ip[6];
		l4->sum = sum_words(ip + 8, 32);
		return true;
	}
	return false;
}

/* Is its checksum what skb->csum_start etc. were about, and nothing more? One
 * of 65536 good ones looks so too. */
static bool is_unfinished(const uint8_t *frame, size_t len)
{
	unsigned int type = load_be16(frame + 12);
	struct l4 l4;
	size_t field;
	uint32_t sum;

	if (!find_l4(frame + ETH_HLEN, len - ETH_HLEN, type, &l4) ||
	    (l4.protocol != IPPROTO_TCP && l4.protocol != IPPROTO_UDP))
		return false;
	field = ETH_HLEN + l4.offset + (l4.protocol == IPPROTO_TCP ? 16 : 6);
	if (field + 2 > len)
		return false;
	sum = l4.sum + l4.protocol + (uint32_t)l4.len;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return load_be16(frame + field) == sum;
}

static void look_at_checksum(struct pcap_netif *s, const uint8_t *frame,
			     size_t len)
{
	s->unfinished += is_unfinished(frame, len);
	if (s->unfinished >= UNFINISHED_MAX) {
		s->told_unfinished = true;
		log_warn(&s->tag,
			 "frames come with unfinished checksums, which guests "
			 "drop: switch off offloads where they are sent, on "
			 "the far end of a veth (ethtool -K NAME tx off), or "
			 "use a packet port");
	}
	if (++s->looked % LOOKED_AT == 0)
		s->unfinished = 0;
}

static void on_packet(u_char *user, const struct pcap_pkthdr *h,
		      const u_char *bytes)
{
	struct batch *b = (void *)user;

	if (unlikely(h->caplen < h->len))
		tell_cut(b->source, h->len);
	if (unlikely(h->caplen < h->len || h->len < ETH_HLEN))
		return;
	if (!b->source->told_unfinished)
		look_at_checksum(b->source, bytes, h->len);
	frame_store(&b->frames[b->n++], b->hdr_len, NULL, bytes, h->len);
}

static int rx_recv(struct netport *port, struct frame *frames, unsigned int n)
{
	struct rx_port *rx = container_of(port, struct rx_port, port);
	struct batch b = {
		.frames = frames,
		.hdr_len = port->hdr_len,
		.source = rx->source,
	};
	int ret;

	if (!n)
		return -EAGAIN;
	ret = pcap_dispatch(rx->source->pcap, (int)n, on_packet, (void *)&b);
	if (b.n)
		return (int)b.n;
	/* A link that is down is told once, and may come back. */
	if (ret >= 0 || ret == PCAP_ERROR_IFACE_NOT_UP)
		return -EAGAIN;
	return -EIO;
}

static void rx_close(struct netport *port)
{
	struct rx_port *rx = container_of(port, struct rx_port, port);

	__atomic_store_n(&rx->source->busy, false, __ATOMIC_RELEASE);
	close(port->fd);
	free(rx);
}

static void discard(u_char *user, const struct pcap_pkthdr *h,
		    const u_char *bytes)
{
	(void)user;
	(void)h;
	(void)bytes;
}

static int rx_new(struct pcap_netif *s, struct netport **out)
{
	static const struct netport_ops ops = {
		.name = "pcap",
		.send = port_send_drops,
		.recv = rx_recv,
		.close = rx_close,
	};
	struct rx_port *rx;

	if (__atomic_load_n(&s->busy, __ATOMIC_ACQUIRE))
		return -EBUSY;
	rx = calloc(1, sizeof(*rx));
	if (!rx)
		return -ENOMEM;
	rx->port.ops = &ops;
	rx->port.fd =
		fcntl(pcap_get_selectable_fd(s->pcap), F_DUPFD_CLOEXEC, 0);
	if (rx->port.fd < 0) {
		free(rx);
		return -errno;
	}
	rx->source = s;
	s->busy = true;
	/* Not fatal: rx_recv() meets the same error. */
	if (pcap_dispatch(s->pcap, STALE_MAX, discard, NULL) < 0)
		log_debug(&s->tag, "frames of before are not dropped: %s",
			  pcap_geterr(s->pcap));
	*out = &rx->port;
	return 0;
}

/* ---- sending ---- */

/**
 * struct tx_port - in front of a packet port, without the header
 * @frames, @iov: those of a batch, cut
 */
struct tx_port {
	struct netport port;
	struct netport *packet;
	struct frame frames[BATCH];
	struct iovec iov[IOVS];
};

/* @f without its first @skip bytes; false: there are not enough. */
static bool cut_frame(const struct frame *f, size_t skip, struct frame *to)
{
	to->iovcnt = 0;
	to->len = f->len - (uint32_t)skip;
	for (unsigned int i = 0; i < f->iovcnt; i++) {
		size_t part = MIN(skip, f->iov[i].iov_len);

		skip -= part;
		if (part == f->iov[i].iov_len)
			continue;
		to->iov[to->iovcnt++] = (struct iovec){
			(char *)f->iov[i].iov_base + part,
			f->iov[i].iov_len - part,
		};
	}
	return to->iovcnt > 0;
}

/* As many as there is room for; at least one. */
static unsigned int cut_batch(struct tx_port *tx, const struct frame *frames,
			      unsigned int n)
{
	size_t used = 0;
	unsigned int i;

	n = MIN(n, BATCH);
	for (i = 0; i < n && used + frames[i].iovcnt <= IOVS; i++) {
		tx->frames[i].iov = tx->iov + used;
		/* One that is nothing but header: sent empty, and refused. */
		if (!cut_frame(&frames[i], tx->port.hdr_len, &tx->frames[i]))
			tx->frames[i].len = 0;
		used += tx->frames[i].iovcnt;
	}
	return i;
}

static int pcap_tx_send(struct netport *port, const struct frame *frames,
			unsigned int n)
{
	struct tx_port *tx = container_of(port, struct tx_port, port);
	unsigned int done = 0;

	while (done < n) {
		unsigned int batch = cut_batch(tx, frames + done, n - done);
		int ret = tx->packet->ops->send(tx->packet, tx->frames, batch);

		if (ret > 0)
			done += (unsigned int)ret;
		if (ret != (int)batch)
			break;
	}
	port->tx_dropped = tx->packet->tx_dropped;
	return done ? (int)done : -EAGAIN;
}

static void tx_close(struct netport *port)
{
	struct tx_port *tx = container_of(port, struct tx_port, port);

	netport_close(tx->packet);
	free(tx);
}

static int tx_new(const struct pcap_netif *s, struct netport **out)
{
	static const struct netport_ops ops = {
		.name = "pcap",
		.send = pcap_tx_send,
		.recv = port_recv_none,
		.close = tx_close,
	};
	struct tx_port *tx = calloc(1, sizeof(*tx));
	int ret;

	if (!tx)
		return -ENOMEM;
	tx->port.ops = &ops;
	tx->port.fd = fcntl(pcap_fileno(s->pcap), F_DUPFD_CLOEXEC, 0);
	if (tx->port.fd < 0) {
		ret = -errno;
		goto err_free;
	}
	ret = packet_port_new(tx->port.fd, &tx->packet);
	if (ret < 0)
		goto err_close;
	*out = &tx->port;
	return 0;

err_close:
	close(tx->port.fd);
err_free:
	free(tx);
	return ret;
}

/* ---- the source ---- */

/* There is one queue: what is received comes by pair 0. */
static int pcap_open_pair(struct netif *source, unsigned int pair,
			  struct netport **rx, struct netport **tx)
{
	struct pcap_netif *s = to_source(source);
	struct netport *port = NULL;
	int ret;

	ret = pair == 0 ? rx_new(s, &port) : netport_null_new(0, false, &port);
	if (ret < 0)
		return ret;
	ret = tx_new(s, tx);
	if (ret < 0)
		netport_close(port);
	else
		*rx = port;
	return ret;
}

static void pcap_free(struct netif *source)
{
	struct pcap_netif *s = to_source(source);

	if (s->pcap)
		pcap_close(s->pcap);
	free(s);
}

/* The longest frame of the line; 0: no such interface. */
static int line_len(const char *ifname)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { 0 };
	int ret;

	memcpy(ifr.ifr_name, ifname, IFNAMSIZ);
	ret = ioctl(fd, SIOCGIFMTU, &ifr);
	close(fd);
	if (ret < 0)
		return 0;
	return MIN(ifr.ifr_mtu + ETH_HLEN + TAGS_LEN, SNAPLEN_MAX);
}

static int activation_failed(pcap_t *p, int ret, const char *ifname,
			     struct netif_error *e)
{
	switch (ret) {
	case PCAP_ERROR_NO_SUCH_DEVICE:
		return netif_fail(e, -ENODEV,
				  "pcap %s: there is no such "
				  "interface",
				  ifname);
	case PCAP_ERROR_PERM_DENIED:
		return netif_fail(e, -EPERM,
				  "pcap %s: not permitted: needs CAP_NET_RAW",
				  ifname);
	case PCAP_ERROR_IFACE_NOT_UP:
		return netif_fail(e, -ENETDOWN,
				  "pcap %s: it is down: run 'ip link set %s "
				  "up'",
				  ifname, ifname);
	default:
		return netif_fail(e, -EIO, "pcap %s: %s", ifname,
				  *pcap_geterr(p) ? pcap_geterr(p)
						  : pcap_statustostr(ret));
	}
}

static int activate(pcap_t *p, const struct pcap_options *o,
		    struct netif_error *e)
{
	int snaplen = o->snaplen ? (int)o->snaplen : line_len(o->ifname);
	int ret;

	ret = pcap_set_snaplen(p, snaplen ? snaplen : SNAPLEN_MAX);
	if (!ret)
		ret = pcap_set_promisc(p, o->promisc);
	if (!ret)
		ret = pcap_set_immediate_mode(p, 1);
	if (!ret)
		ret = pcap_set_buffer_size(p, (int)o->buffer);
	if (!ret)
		ret = pcap_activate(p); /* above 0: a warning */
	if (ret < 0)
		return activation_failed(p, ret, o->ifname, e);
	if (pcap_datalink(p) != DLT_EN10MB)
		return netif_fail(e, -EINVAL,
				  "pcap %s: its frames are not Ethernet",
				  o->ifname);
	return 0;
}

static int set_filter(pcap_t *p, const struct pcap_options *o,
		      struct netif_error *e)
{
	struct bpf_program program;
	int ret;

	if (!o->filter)
		return 0;
	if (pcap_compile(p, &program, o->filter, 1, PCAP_NETMASK_UNKNOWN) < 0)
		return netif_fail(e, -EINVAL, "pcap filter '%s': %s", o->filter,
				  pcap_geterr(p));
	ret = pcap_setfilter(p, &program);
	pcap_freecode(&program);
	if (ret < 0)
		return netif_fail(e, -EIO, "pcap %s: filter: %s", o->ifname,
				  pcap_geterr(p));
	return 0;
}

static int open_live(pcap_t *p, const struct pcap_options *o,
		     struct netif_error *e)
{
	char error[PCAP_ERRBUF_SIZE];
	int ret = activate(p, o, e);

	if (ret == 0)
		ret = set_filter(p, o, e);
	if (ret == 0 && pcap_setdirection(p, PCAP_D_IN) < 0)
		ret = netif_fail(e, -EIO, "pcap %s: %s", o->ifname,
				 pcap_geterr(p));
	if (ret == 0 && pcap_setnonblock(p, 1, error) < 0)
		ret = netif_fail(e, -EIO, "pcap %s: %s", o->ifname, error);
	return ret;
}

static int pcap_new(const struct netif_spec *spec, struct netif **out,
		    struct netif_error *e)
{
	static const struct netif_ops ops = {
		.open = pcap_open_pair,
		.free = pcap_free,
	};
	char error[PCAP_ERRBUF_SIZE] = "";
	struct pcap_netif *s;
	struct pcap_options o;
	int ret;

	ret = pcap_parse(spec, &o, e);
	if (ret < 0)
		return ret;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->source.ops = &ops;
	log_tag_init(&s->tag, "pcap %s", o.ifname);
	s->pcap = pcap_create(o.ifname, error);
	if (s->pcap)
		ret = open_live(s->pcap, &o, e);
	else
		ret = netif_fail(e, -EIO, "pcap %s: %s", o.ifname, error);
	if (ret < 0) {
		pcap_free(&s->source);
		return ret;
	}
	*out = &s->source;
	return 0;
}

const struct netif_kind netif_pcap = {
	.name = "pcap",
	.usage = "pcap:NAME[,filter=EXPRESSION][,snaplen=N][,promisc=on|off]"
		 "\n         [,buffer=BYTES]\n"
		 "    the interface NAME, by libpcap; EXPRESSION as in "
		 "pcap-filter(7)",
	.keys = keys,
	.check = pcap_check,
	.new = pcap_new,
};
