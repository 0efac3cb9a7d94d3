/* SPDX-License-Identifier: BSD-3-Clause */
/* vmtap.c makes the tap of a measurement, and frames for it; see vmtap.h. */
#include "vmtap.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>

#include "netframe.h"
#include "vmm_net.h"

/* 64 KiB of IP, and no more: 45 segments. */
#define GSO_SIZE 1448
#define GSO_PAYLOAD ((size_t)45 * GSO_SIZE)
#define TAP_ADDR 0x0a420001u   /* 10.66.0.1 */
#define GUEST_ADDR 0x0a420002u /* 10.66.0.2 */
#define BATCH 64

static const uint8_t guest_mac[6] = { 2, 0, 0, 0, 0, 2 };

static struct sockaddr_in inet(uint32_t addr)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(addr),
	};
}

static int set_address(int s, struct ifreq *ifr, unsigned long what,
		       uint32_t addr)
{
	struct sockaddr_in sa = inet(addr);

	memcpy(&ifr->ifr_addr, &sa, sizeof(sa));
	return ioctl(s, what, ifr) < 0 ? -errno : 0;
}

/* The guest's hardware address for good: nobody answers ARP for it. */
static int set_neighbour(int s, const char *ifname)
{
	struct sockaddr_in sa = inet(GUEST_ADDR);
	struct arpreq arp = { .arp_flags = ATF_PERM | ATF_COM };

	memcpy(&arp.arp_pa, &sa, sizeof(sa));
	arp.arp_ha.sa_family = ARPHRD_ETHER;
	memcpy(arp.arp_ha.sa_data, guest_mac, sizeof(guest_mac));
	memcpy(arp.arp_dev, ifname, sizeof(arp.arp_dev) - 1);
	return ioctl(s, SIOCSARP, &arp) < 0 ? -errno : 0;
}

static int configure(struct vmtap *t, int s)
{
	struct ifreq ifr = { .ifr_qlen = VMTAP_QUEUE };
	int ret;

	memcpy(ifr.ifr_name, t->ifname, IFNAMSIZ);
	if (ioctl(s, SIOCSIFTXQLEN, &ifr) < 0)
		return -errno;
	if (ioctl(s, SIOCGIFHWADDR, &ifr) < 0)
		return -errno;
	memcpy(t->mac, ifr.ifr_hwaddr.sa_data, sizeof(t->mac));
	ret = set_address(s, &ifr, SIOCSIFADDR, TAP_ADDR);
	if (ret == 0)
		ret = set_address(s, &ifr, SIOCSIFNETMASK, 0xffffff00u);
	return ret ? ret : set_neighbour(s, t->ifname);
}

int vmtap_open(struct vmtap *t)
{
	struct vmm_tap_config config = {
		.hdr_len = VMTAP_HDR,
		.offloads = TUN_F_CSUM | TUN_F_TSO4,
	};
	const int one = 1;
	int ret = vmm_net_enter();
	int s;

	t->fd = t->packet = -1;
	if (ret < 0)
		return ret;
	t->fd = vmm_tap_open(&config, t->ifname);
	if (t->fd < 0)
		return t->fd;
	t->packet = vmm_packet_open(t->ifname, 0, true);
	if (t->packet < 0)
		return t->packet;
	/* straight into the tap's queue, whatever stands in front of it */
	if (setsockopt(t->packet, SOL_PACKET, PACKET_QDISC_BYPASS, &one,
		       sizeof(one)) < 0)
		return -errno;
	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return -errno;
	ret = configure(t, s);
	close(s);
	return ret;
}

void vmtap_close(struct vmtap *t)
{
	if (t->fd >= 0)
		close(t->fd);
	if (t->packet >= 0)
		close(t->packet);
	t->fd = t->packet = -1;
}

/* ---- frames ---- */

size_t vmtap_frame(size_t len, uint8_t *buf)
{
	static uint8_t whole[NETFRAME_MAX];
	struct netframe_order order = {
		.payload = GSO_PAYLOAD,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = GSO_SIZE,
		.tcp_flags = 0x10, /* ACK */
	};
	struct virtio_net_hdr hdr;

	memset(buf, 0, VMTAP_HDR);
	if (len != VMTAP_GSO) {
		vmm_frame(buf + VMTAP_HDR, len, 1);
		return VMTAP_HDR + len;
	}
	len = netframe_make(&order, &hdr, whole);
	memcpy(buf, &hdr, sizeof(hdr));
	memcpy(buf + VMTAP_HDR, whole, len);
	return VMTAP_HDR + len;
}

int vmtap_fill(struct vmtap *t, size_t len, unsigned int n)
{
	static uint8_t buf[VMTAP_ROOM];
	struct iovec iov[2];
	struct mmsghdr m[BATCH];
	unsigned int done = 0;

	len = vmtap_frame(len, buf);
	/* a packet socket's header has no num_buffers */
	iov[0] = (struct iovec){ buf, sizeof(struct virtio_net_hdr) };
	iov[1] = (struct iovec){ buf + VMTAP_HDR, len - VMTAP_HDR };
	memset(m, 0, sizeof(m));
	for (unsigned int i = 0; i < BATCH; i++) {
		m[i].msg_hdr.msg_iov = iov;
		m[i].msg_hdr.msg_iovlen = 2;
	}
	while (done < n) {
		int k = sendmmsg(t->packet, m,
				 n - done < BATCH ? n - done : BATCH, 0);

		if (k <= 0)
			return k ? -errno : -EIO;
		done += (unsigned int)k;
	}
	return 0;
}

/* ---- echo ---- */

static uint16_t checksum(const void *p, size_t len)
{
	return htons((uint16_t)~netframe_sum(0, p, len));
}

size_t vmtap_echo_request(const struct vmtap *t, uint16_t number, size_t len,
			  uint8_t *buf)
{
	struct ethhdr eth = { .h_proto = htons(ETH_P_IP) };
	size_t ip_len = len - sizeof(eth);
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = htons((uint16_t)ip_len),
		.ttl = 64,
		.protocol = IPPROTO_ICMP,
		.saddr = htonl(GUEST_ADDR),
		.daddr = htonl(TAP_ADDR),
	};
	struct icmphdr icmp = {
		.type = ICMP_ECHO,
		.un.echo = { .id = htons(1), .sequence = htons(number) },
	};
	uint8_t *at = buf + VMTAP_HDR;

	memset(buf, 0, VMTAP_HDR + len);
	memcpy(eth.h_dest, t->mac, sizeof(t->mac));
	memcpy(eth.h_source, guest_mac, sizeof(guest_mac));
	memcpy(at, &eth, sizeof(eth));
	at += sizeof(eth);
	ip.check = checksum(&ip, sizeof(ip));
	memcpy(at, &ip, sizeof(ip));
	/* the rest is zeros */
	icmp.checksum = checksum(&icmp, sizeof(icmp));
	memcpy(at + sizeof(ip), &icmp, sizeof(icmp));
	return VMTAP_HDR + len;
}

bool vmtap_is_reply(const uint8_t *buf, size_t len, uint16_t number)
{
	const uint8_t *ip = buf + VMTAP_HDR + ETH_HLEN;
	struct icmphdr icmp;

	if (len < VMTAP_HDR + ETH_HLEN + sizeof(struct iphdr) + sizeof(icmp) ||
	    ip[9] != IPPROTO_ICMP)
		return false;
	memcpy(&icmp, ip + sizeof(struct iphdr), sizeof(icmp));
	return icmp.type == ICMP_ECHOREPLY &&
	       ntohs(icmp.un.echo.sequence) == number;
}
