/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netif_pcap.c has the kind pcap: an interface of the host by libpcap. The
 * handle is opened once, before privileges are given up, and outlives the
 * ports, whose descriptors are duplicates of its socket.
 *
 * Frames are received by pcap_dispatch(), whose callback copies them. They are
 * sent through the same socket, as pcap_inject() does it, but without libpcap:
 * in batches, without a copy, and so that one thread may send while another one
 * receives, since a handle is for one thread.
 *
 * Only frames that arrive at the interface are received; those that the host or
 * this port sends through it are not. Frames that are longer than the snapshot
 * length are skipped, since a guest cannot use a part of a frame; usually GRO
 * made them.
 *
 * Missing: virtio_net_hdr, since libpcap does not return what the kernel knows
 * of a frame. A sender on this host, behind a veth, leaves TCP and UDP
 * checksums partial, and guests drop its frames; a line in the log says so. The
 * checksums are not completed here, since the same sender sends GSO frames of
 * 64 KiB, whose segment size is unknown.
 */
#include "netif_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_ether.h>

#include "bytes.h"
#include "log.h"
#include "offload.h"
#include "port_priv.h"

#define SNAPLEN_MAX NETPORT_ETH_MAX
#define TAGS_LEN 8 /* two VLAN tags */
#define BUFFER_DEFAULT ((uint64_t)4 << 20)
#define BUFFER_MIN ((uint64_t)64 << 10)
#define BUFFER_MAX ((uint64_t)1 << 30)
#define STALE_MAX \
	65536         /* frames that arrived before a device opened the port */
#define PARTIAL_MAX 4 /* of CHECKED: too many to be chance */
#define CHECKED 64

/** struct pcap_config - @snaplen 0: enough for the interface's MTU */
struct pcap_config {
	char ifname[IFNAMSIZ];
	const char *filter;
	uint64_t snaplen, buffer;
	unsigned int no_promisc; /* in PROMISC */
};
#define PROMISC "on|off"

static const struct netif_key pcap_arg =
	NETIF_ARG(ifname, struct pcap_config, ifname);

static const struct netif_key pcap_keys[] = {
	NETIF_KEY("filter", text, struct pcap_config, filter),
	NETIF_KEY("snaplen", number, struct pcap_config, snaplen,
		  .min = NETPORT_ETH_MIN, .max = SNAPLEN_MAX),
	NETIF_KEY("promisc", choice, struct pcap_config, no_promisc,
		  .choices = PROMISC),
	NETIF_KEY("buffer", number, struct pcap_config, buffer,
		  .min = BUFFER_MIN, .max = BUFFER_MAX),
	{ 0 },
};

/**
 * struct pcap_netif - a live interface
 * @busy: the receiving port is open
 * @told_cut: it was logged that frames are skipped
 * @told_partial: it was logged that checksums are partial
 * @checked, @partial: frames checked, and those of them with a partial
 *           checksum
 */
struct pcap_netif {
	struct netif netif;
	struct log_tag tag;
	pcap_t *pcap;
	bool busy, told_cut, told_partial;
	unsigned int checked, partial;
};

static struct pcap_netif *to_pcap_netif(struct netif *s)
{
	return container_of(s, struct pcap_netif, netif);
}

/* ---- receiving ---- */

struct rx_port {
	struct netport port;
	struct pcap_netif *netif;
};

/** struct batch - the frames of a call */
struct batch {
	struct frame *frames;
	unsigned int n;
	size_t hdr_len;
	struct pcap_netif *netif;
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

static void check_checksum(struct pcap_netif *s, const uint8_t *frame,
			   size_t len)
{
	s->partial += checksum_is_partial(frame, len);
	if (s->partial >= PARTIAL_MAX) {
		s->told_partial = true;
		log_warn(&s->tag,
			 "frames come with unfinished checksums, which guests "
			 "drop: switch off offloads where they are sent, on "
			 "the far end of a veth (ethtool -K NAME tx off), or "
			 "use a packet port");
	}
	if (++s->checked % CHECKED == 0)
		s->partial = 0;
}

static void on_packet(u_char *user, const struct pcap_pkthdr *h,
		      const u_char *bytes)
{
	struct batch *b = (void *)user;

	if (unlikely(h->caplen < h->len))
		tell_cut(b->netif, h->len);
	if (unlikely(h->caplen < h->len || h->len < ETH_HLEN))
		return;
	if (!b->netif->told_partial)
		check_checksum(b->netif, bytes, h->len);
	frame_store(&b->frames[b->n++], b->hdr_len, NULL, bytes, h->len);
}

static int rx_recv(struct netport *port, struct frame *frames, unsigned int n)
{
	struct rx_port *rx = container_of(port, struct rx_port, port);
	struct batch b = {
		.frames = frames,
		.hdr_len = port->hdr_len,
		.netif = rx->netif,
	};
	int ret;

	if (!n)
		return -EAGAIN;
	ret = pcap_dispatch(rx->netif->pcap, (int)n, on_packet, (void *)&b);
	if (b.n)
		return (int)b.n;
	/* A link that is down is reported once, and may come up again. */
	if (ret >= 0 || ret == PCAP_ERROR_IFACE_NOT_UP)
		return -EAGAIN;
	return -EIO;
}

static void rx_close(struct netport *port)
{
	struct rx_port *rx = container_of(port, struct rx_port, port);

	__atomic_store_n(&rx->netif->busy, false, __ATOMIC_RELEASE);
	port_free(port);
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
	int fd;

	if (__atomic_load_n(&s->busy, __ATOMIC_ACQUIRE))
		return -EBUSY;
	fd = fcntl(pcap_get_selectable_fd(s->pcap), F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	rx = port_new(sizeof(*rx), &ops, fd);
	if (!rx) {
		close(fd);
		return -ENOMEM;
	}
	rx->netif = s;
	s->busy = true;
	/* Not fatal: rx_recv() meets the same error. */
	if (pcap_dispatch(s->pcap, STALE_MAX, discard, NULL) < 0)
		log_debug(&s->tag, "frames of before are not dropped: %s",
			  pcap_geterr(s->pcap));
	*out = &rx->port;
	return 0;
}

/* ---- sending ---- */

static int tx_new(const struct pcap_netif *s, struct netport **out)
{
	int fd = fcntl(pcap_fileno(s->pcap), F_DUPFD_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return -errno;
	ret = packet_tx_port_new(fd, out);
	if (ret < 0)
		close(fd);
	return ret;
}

/* ---- the interface ---- */

/* There is one queue: all frames are received on pair 0. */
static int pcap_open_port(struct netif *netif, unsigned int pair,
			  enum netif_dir dir, struct netport **out)
{
	struct pcap_netif *s = to_pcap_netif(netif);

	if (dir == NETIF_TX)
		return tx_new(s, out);
	return pair == 0 ? rx_new(s, out) : netport_null_new(0, false, out);
}

static void pcap_free(struct netif *netif)
{
	struct pcap_netif *s = to_pcap_netif(netif);

	if (s->pcap)
		pcap_close(s->pcap);
	free(s);
}

/* The longest frame of the interface; 0: there is no such interface. */
static int longest_frame(const char *ifname)
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
			     struct error_line *e)
{
	switch (ret) {
	case PCAP_ERROR_NO_SUCH_DEVICE:
		return error_line(e, -ENODEV,
				  "pcap %s: there is no such "
				  "interface",
				  ifname);
	case PCAP_ERROR_PERM_DENIED:
		return error_line(e, -EPERM,
				  "pcap %s: not permitted: needs CAP_NET_RAW",
				  ifname);
	case PCAP_ERROR_IFACE_NOT_UP:
		return error_line(e, -ENETDOWN,
				  "pcap %s: it is down: run 'ip link set %s "
				  "up'",
				  ifname, ifname);
	default:
		return error_line(e, -EIO, "pcap %s: %s", ifname,
				  *pcap_geterr(p) ? pcap_geterr(p)
						  : pcap_statustostr(ret));
	}
}

static int activate(pcap_t *p, const struct pcap_config *o,
		    struct error_line *e)
{
	int snaplen = o->snaplen ? (int)o->snaplen : longest_frame(o->ifname);
	int ret;

	ret = pcap_set_snaplen(p, snaplen ? snaplen : SNAPLEN_MAX);
	if (!ret)
		ret = pcap_set_promisc(p, !o->no_promisc);
	if (!ret)
		ret = pcap_set_immediate_mode(p, 1);
	if (!ret)
		ret = pcap_set_buffer_size(p, (int)o->buffer);
	if (!ret)
		ret = pcap_activate(p); /* above 0: a warning */
	if (ret < 0)
		return activation_failed(p, ret, o->ifname, e);
	if (pcap_datalink(p) != DLT_EN10MB)
		return error_line(e, -EINVAL,
				  "pcap %s: its frames are not Ethernet",
				  o->ifname);
	return 0;
}

static int set_filter(pcap_t *p, const struct pcap_config *o,
		      struct error_line *e)
{
	struct bpf_program program;
	int ret;

	if (!o->filter)
		return 0;
	if (pcap_compile(p, &program, o->filter, 1, PCAP_NETMASK_UNKNOWN) < 0)
		return error_line(e, -EINVAL, "pcap filter '%s': %s", o->filter,
				  pcap_geterr(p));
	ret = pcap_setfilter(p, &program);
	pcap_freecode(&program);
	if (ret < 0)
		return error_line(e, -EIO, "pcap %s: filter: %s", o->ifname,
				  pcap_geterr(p));
	return 0;
}

static int open_live(pcap_t *p, const struct pcap_config *o,
		     struct error_line *e)
{
	char error[PCAP_ERRBUF_SIZE];
	int ret = activate(p, o, e);

	if (ret == 0)
		ret = set_filter(p, o, e);
	if (ret == 0 && pcap_setdirection(p, PCAP_D_IN) < 0)
		ret = error_line(e, -EIO, "pcap %s: %s", o->ifname,
				 pcap_geterr(p));
	if (ret == 0 && pcap_setnonblock(p, 1, error) < 0)
		ret = error_line(e, -EIO, "pcap %s: %s", o->ifname, error);
	return ret;
}

static int pcap_new(const void *config, unsigned int queues, struct netif **out,
		    struct error_line *e)
{
	static const struct netif_ops ops = {
		.open = pcap_open_port,
		.free = pcap_free,
	};
	const struct pcap_config *c = config;
	char error[PCAP_ERRBUF_SIZE] = "";
	struct pcap_netif *s = calloc(1, sizeof(*s));
	int ret;

	(void)queues;
	if (!s)
		return -ENOMEM;
	s->netif.ops = &ops;
	log_tag_init(&s->tag, "pcap %s", c->ifname);
	s->pcap = pcap_create(c->ifname, error);
	if (s->pcap)
		ret = open_live(s->pcap, c, e);
	else
		ret = error_line(e, -EIO, "pcap %s: %s", c->ifname, error);
	if (ret < 0)
		pcap_free(&s->netif);
	else
		*out = &s->netif;
	return ret;
}

const struct netif_kind netif_pcap = {
	.name = "pcap",
	.usage = "pcap:NAME[,filter=EXPRESSION][,snaplen=N][,promisc=" PROMISC
		 "]\n         [,buffer=BYTES]\n"
		 "    the interface NAME, by libpcap; EXPRESSION as in "
		 "pcap-filter(7)",
	.arg = &pcap_arg,
	.keys = pcap_keys,
	.defaults = &(const struct pcap_config){ .buffer = BUFFER_DEFAULT },
	.config_size = sizeof(struct pcap_config),
	.new = pcap_new,
};
