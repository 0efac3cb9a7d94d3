/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmm_net.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int enter_user_namespace(void)
{
	char map[64];
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int ret;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return -errno;
	ret = write_file("/proc/self/setgroups", "deny");
	if (ret < 0)
		return ret;
	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	ret = write_file("/proc/self/uid_map", map);
	if (ret < 0)
		return ret;
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	return write_file("/proc/self/gid_map", map);
}

int vmm_net_enter(void)
{
	int ret;

	if (unshare(CLONE_NEWNET) < 0) {
		if (errno != EPERM)
			return -errno;
		ret = enter_user_namespace();
		if (ret < 0)
			return ret;
	}
	/* absent where the kernel has no IPv6: then it is not used either */
	write_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
	write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	return vmm_link_set("lo", true);
}

/* ---- interface ioctls ---- */

static int if_ioctl(unsigned long cmd, struct ifreq *ifr)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int ret = 0;

	if (s < 0)
		return -errno;
	if (ioctl(s, cmd, ifr) < 0)
		ret = -errno;
	close(s);
	return ret;
}

static struct ifreq if_request(const char *ifname)
{
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	return ifr;
}

int vmm_link_set(const char *ifname, bool up)
{
	struct ifreq ifr = if_request(ifname);
	int ret = if_ioctl(SIOCGIFFLAGS, &ifr);

	if (ret < 0)
		return ret;
	if (up)
		ifr.ifr_flags |= IFF_UP;
	else
		ifr.ifr_flags &= ~IFF_UP;
	return if_ioctl(SIOCSIFFLAGS, &ifr);
}

int vmm_link_set_mtu(const char *ifname, unsigned int mtu)
{
	struct ifreq ifr = if_request(ifname);

	ifr.ifr_mtu = (int)mtu;
	return if_ioctl(SIOCSIFMTU, &ifr);
}

static int tap_configure(int fd, const struct vmm_tap_config *c)
{
	int hdr_len = c->hdr_len ? c->hdr_len : 12;

	if (hdr_len > 0 && ioctl(fd, TUNSETVNETHDRSZ, &hdr_len) < 0)
		return -errno;
	if (c->sndbuf && ioctl(fd, TUNSETSNDBUF, &c->sndbuf) < 0)
		return -errno;
	if (c->offloads &&
	    ioctl(fd, TUNSETOFFLOAD, (unsigned long)c->offloads) < 0)
		return -errno;
	return 0;
}

int vmm_tap_open(const struct vmm_tap_config *c, char ifname[IFNAMSIZ])
{
	struct ifreq ifr = if_request(c->ifname ? c->ifname : "vmm%d");
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ifr.ifr_flags = (short)(IFF_NO_PI | (c->tun ? IFF_TUN : IFF_TAP) |
				(c->hdr_len >= 0 ? IFF_VNET_HDR : 0) |
				(c->multi_queue ? IFF_MULTI_QUEUE : 0));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
		ret = -errno;
		goto err;
	}
	ret = tap_configure(fd, c);
	if (ret < 0)
		goto err;
	if (c->mtu) {
		ret = vmm_link_set_mtu(ifr.ifr_name, c->mtu);
		if (ret < 0)
			goto err;
	}
	if (!c->down) {
		ret = vmm_link_set(ifr.ifr_name, true);
		if (ret < 0)
			goto err;
	}
	memcpy(ifname, ifr.ifr_name, IFNAMSIZ);
	return fd;
err:
	close(fd);
	return ret;
}

/* ---- rtnetlink: just enough to make a link ---- */

struct link_request {
	struct nlmsghdr hdr;
	struct ifinfomsg info;
	uint8_t attrs[256];
};

static struct rtattr *put_attr(struct link_request *r, unsigned short type,
			       const void *data, size_t len)
{
	uint32_t at = NLMSG_ALIGN(r->hdr.nlmsg_len);
	struct rtattr *a = (struct rtattr *)(void *)((uint8_t *)r + at);

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(a), data, len);
	r->hdr.nlmsg_len = at + (uint32_t)RTA_ALIGN(a->rta_len);
	return a;
}

static void end_attr(struct link_request *r, struct rtattr *a)
{
	uint8_t *end = (uint8_t *)r + r->hdr.nlmsg_len;

	a->rta_len = (unsigned short)(end - (uint8_t *)a);
}

static struct link_request link_request(const char *ifname)
{
	struct link_request r = {
		.hdr = {
			.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
			.nlmsg_type = RTM_NEWLINK,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE |
				       NLM_F_EXCL | NLM_F_ACK,
		},
		.info = { .ifi_family = AF_UNSPEC },
	};

	put_attr(&r, IFLA_IFNAME, ifname, strlen(ifname) + 1);
	return r;
}

static int send_link_request(struct link_request *r)
{
	struct {
		struct nlmsghdr hdr;
		struct nlmsgerr err;
		uint8_t rest[1024];
	} reply = { 0 };
	int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int ret = 0;

	if (s < 0)
		return -errno;
	if (send(s, r, r->hdr.nlmsg_len, 0) < 0 ||
	    recv(s, &reply, sizeof(reply), 0) < 0)
		ret = -errno;
	else if (reply.hdr.nlmsg_type != NLMSG_ERROR)
		ret = -EPROTO;
	else
		ret = reply.err.error;
	close(s);
	return ret;
}

static void unique_name(char ifname[IFNAMSIZ], const char *prefix)
{
	static unsigned int number;

	snprintf(ifname, IFNAMSIZ, "%s%u", prefix, number++);
}

#define OPER_UP 6 /* IF_OPER_UP; <linux/if.h> clashes with <net/if.h> */

/* IFLA_OPERSTATE; the flags of the ioctl say "running" too early. */
static int operstate(const char *ifname)
{
	struct link_request r = {
		.hdr = {
			.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
			.nlmsg_type = RTM_GETLINK,
			.nlmsg_flags = NLM_F_REQUEST,
		},
		.info = { .ifi_index = (int)if_nametoindex(ifname) },
	};
	static _Alignas(struct nlmsghdr) uint8_t reply[16384];
	struct nlmsghdr *hdr = (struct nlmsghdr *)(void *)reply;
	int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct rtattr *attr;
	ssize_t n = -1;
	int len;

	if (s < 0)
		return -errno;
	if (send(s, &r, r.hdr.nlmsg_len, 0) >= 0)
		n = recv(s, reply, sizeof(reply), 0);
	close(s);
	if (n < (ssize_t)sizeof(*hdr) || hdr->nlmsg_type != RTM_NEWLINK)
		return -EPROTO;
	attr = IFLA_RTA((struct ifinfomsg *)NLMSG_DATA(hdr));
	len = (int)IFLA_PAYLOAD(hdr);
	for (; RTA_OK(attr, len); attr = RTA_NEXT(attr, len))
		if (attr->rta_type == IFLA_OPERSTATE)
			return *(uint8_t *)RTA_DATA(attr);
	return -EPROTO;
}

/* The end that is brought up first sends nothing until the kernel has noticed
 * the carrier, which it does in its own time, under the lock that setting a
 * link takes. */
static int wait_running(const char *ifname)
{
	unsigned int i;
	int ret;

	for (i = 0; i < 5000; i++) {
		ret = operstate(ifname);
		if (ret < 0)
			return ret;
		if (ret == OPER_UP)
			return vmm_link_set(ifname, true);
		poll(NULL, 0, 1);
	}
	return -ETIMEDOUT;
}

int vmm_veth(char a[IFNAMSIZ], char b[IFNAMSIZ])
{
	struct ifinfomsg peer_info = { .ifi_family = AF_UNSPEC };
	struct rtattr *info;
	struct rtattr *data;
	struct rtattr *peer;
	struct link_request r;
	int ret;

	unique_name(a, "vmmv");
	unique_name(b, "vmmv");
	r = link_request(a);
	info = put_attr(&r, IFLA_LINKINFO, NULL, 0);
	put_attr(&r, IFLA_INFO_KIND, "veth", 5);
	data = put_attr(&r, IFLA_INFO_DATA, NULL, 0);
	peer = put_attr(&r, VETH_INFO_PEER, &peer_info, sizeof(peer_info));
	put_attr(&r, IFLA_IFNAME, b, strlen(b) + 1);
	end_attr(&r, peer);
	end_attr(&r, data);
	end_attr(&r, info);
	ret = send_link_request(&r);
	if (ret < 0)
		return ret;
	ret = vmm_link_set(a, true);
	if (ret == 0)
		ret = vmm_link_set(b, true);
	if (ret == 0)
		ret = wait_running(a);
	return ret ? ret : wait_running(b);
}

/*
 * The node of a macvtap is named after its ifindex, which another namespace
 * may use as well: its numbers are read from a sysfs of our namespace instead.
 */
int vmm_macvtap_node(const char *ifname, dev_t *dev)
{
	char dir[] = "/tmp/vmm-sysfs-XXXXXX";
	char path[128];
	unsigned int major, minor;
	FILE *f = NULL;
	int ret = 0;

	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	if (!mkdtemp(dir))
		return -errno;
	if (mount("sysfs", dir, "sysfs", 0, NULL) < 0) {
		ret = -errno;
		goto out_rmdir;
	}
	snprintf(path, sizeof(path), "%s/class/net/%s/macvtap/tap%u/dev", dir,
		 ifname, if_nametoindex(ifname));
	f = fopen(path, "re");
	if (!f) {
		ret = -errno;
		goto out_umount;
	}
	if (fscanf(f, "%u:%u", &major, &minor) == 2)
		*dev = makedev(major, minor);
	else
		ret = -EPROTO;
	fclose(f);
out_umount:
	umount2(dir, MNT_DETACH);
out_rmdir:
	rmdir(dir);
	return ret;
}

int vmm_macvtap(const char *lower, char ifname[IFNAMSIZ])
{
	const uint32_t mode = 4; /* bridge: MACVLAN_MODE_BRIDGE */
	uint32_t index = if_nametoindex(lower);
	char node[64];
	struct link_request r;
	struct rtattr *info;
	struct rtattr *data;
	dev_t dev = 0;
	int fd;
	int ret;

	unique_name(ifname, "vmmm");
	r = link_request(ifname);
	put_attr(&r, IFLA_LINK, &index, sizeof(index));
	info = put_attr(&r, IFLA_LINKINFO, NULL, 0);
	put_attr(&r, IFLA_INFO_KIND, "macvtap", 8);
	data = put_attr(&r, IFLA_INFO_DATA, NULL, 0);
	put_attr(&r, IFLA_MACVLAN_MODE, &mode, sizeof(mode));
	end_attr(&r, data);
	end_attr(&r, info);
	ret = send_link_request(&r);
	if (ret < 0)
		return ret;
	ret = vmm_macvtap_node(ifname, &dev);
	if (ret < 0)
		return ret;

	snprintf(node, sizeof(node), "/tmp/vmm-macvtap-%d-%s", (int)getpid(),
		 ifname);
	if (mknod(node, S_IFCHR | 0600, dev) < 0)
		return -errno;
	fd = open(node, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	ret = fd < 0 ? -errno : fd;
	unlink(node);
	if (ret >= 0) {
		int up = vmm_link_set(ifname, true);

		if (up < 0) {
			close(fd);
			return up;
		}
	}
	return ret;
}

/* ---- packet sockets and frames ---- */

int vmm_packet_open(const char *ifname, unsigned int ethertype, bool vnet_hdr)
{
	const int one = 1;
	struct sockaddr_ll sa = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons((uint16_t)ethertype),
	};
	int s = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(int);
	int ret;

	if (s < 0)
		return -errno;
	if (vnet_hdr &&
	    setsockopt(s, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) < 0)
		goto err;
	if (setsockopt(s, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one,
		       sizeof(one)) < 0)
		goto err;
	if (ifname) {
		sa.sll_ifindex = (int)if_nametoindex(ifname);
		if (!sa.sll_ifindex ||
		    bind(s, (struct sockaddr *)&sa, sizeof(sa)) < 0)
			goto err;
		/* bound to a link that is down: not worth an error */
		getsockopt(s, SOL_SOCKET, SO_ERROR, &ret, &len);
	}
	return s;
err:
	ret = -errno;
	close(s);
	return ret;
}

ssize_t vmm_packet_recv(int fd, void *buf, size_t room, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;
	int ret = poll(&p, 1, ms);

	if (ret <= 0)
		return ret < 0 ? -errno : -ETIMEDOUT;
	n = recv(fd, buf, room, MSG_TRUNC);
	return n < 0 ? -errno : n;
}

static uint8_t payload_byte(size_t i, size_t len, uint32_t seed)
{
	return (uint8_t)(i * 7 + len + seed * 31 + (seed >> 8));
}

static uint8_t header_byte(size_t i)
{
	static const uint8_t header[VMM_ETH_HLEN] = {
		0xff,
		0xff,
		0xff,
		0xff,
		0xff,
		0xff,
		0x02,
		0,
		0,
		0,
		0,
		1,
		VMM_ETHERTYPE >> 8,
		VMM_ETHERTYPE & 0xff,
	};

	return header[i];
}

void vmm_frame(uint8_t *buf, size_t len, uint32_t seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = i < VMM_ETH_HLEN ? header_byte(i)
					  : payload_byte(i, len, seed);
}

bool vmm_frame_is(const uint8_t *buf, size_t len, uint32_t seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (buf[i] != (i < VMM_ETH_HLEN ? header_byte(i)
						: payload_byte(i, len, seed)))
			return false;
	return true;
}
