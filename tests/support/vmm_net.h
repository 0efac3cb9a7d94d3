/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmm_net.h makes network interfaces for tests and benches, all in a network
 * namespace of their own: the host's network is not touched.
 */
#ifndef VMM_NET_H
#define VMM_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <net/if.h>

/** VMM_ETHERTYPE - what our frames carry (IEEE 802 local experimental) */
#define VMM_ETHERTYPE 0x88b5
/** VMM_ETH_HLEN - bytes in front of the payload */
#define VMM_ETH_HLEN 14

/**
 * vmm_net_enter() - move this process into a fresh network namespace
 *
 * Without privilege a user namespace is made first. The loopback is brought
 * up, IPv6 is turned off, so that the kernel sends nothing by itself.
 * Return: 0 or -errno.
 */
int vmm_net_enter(void);

/**
 * struct vmm_tap_config - zero is a plain tap with a 12-byte header
 * @hdr_len:  virtio_net_hdr, 10 or 12; 0: 12; -1: no header at all
 * @sndbuf:   TUNSETSNDBUF; 0: the tap's default (INT_MAX)
 * @offloads: TUNSETOFFLOAD (TUN_F_*)
 * @mtu:      0: 1500
 * @multi_queue: IFF_MULTI_QUEUE
 * @tun:      IFF_TUN instead of IFF_TAP
 * @down:     leave the interface down
 * @ifname:   attach to this name; NULL: a new one
 */
struct vmm_tap_config {
	int hdr_len;
	int sndbuf;
	unsigned int offloads;
	unsigned int mtu;
	bool multi_queue;
	bool tun;
	bool down;
	const char *ifname;
};

/** vmm_tap_open() - a tap queue; its interface's name into @ifname; fd */
int vmm_tap_open(const struct vmm_tap_config *c, char ifname[IFNAMSIZ]);

/** vmm_link_set() - bring an interface up or down; 0 or -errno */
int vmm_link_set(const char *ifname, bool up);
int vmm_link_set_mtu(const char *ifname, unsigned int mtu);

/** vmm_veth() - a new pair, both up; 0 or -errno */
int vmm_veth(char a[IFNAMSIZ], char b[IFNAMSIZ]);

/**
 * vmm_macvtap() - a macvtap over @lower, up
 * Return: its descriptor; -errno. Needs root of the machine (mounts a sysfs).
 */
int vmm_macvtap(const char *lower, char ifname[IFNAMSIZ]);

/**
 * vmm_macvtap_node() - the device number of a macvtap's node
 *
 * Moves the process into a mount namespace of its own. Return: 0 or -errno.
 */
int vmm_macvtap_node(const char *ifname, dev_t *dev);

/**
 * vmm_packet_open() - AF_PACKET raw socket on an interface
 * @ifname:    NULL: not bound
 * @ethertype: 0: sends only; ETH_P_ALL; or one type
 * @vnet_hdr:  PACKET_VNET_HDR: frames start with a 10-byte header
 * Return: nonblocking descriptor or -errno. Own frames are not seen.
 */
int vmm_packet_open(const char *ifname, unsigned int ethertype, bool vnet_hdr);

/** vmm_packet_recv() - wait for a frame; bytes, -ETIMEDOUT or -errno */
ssize_t vmm_packet_recv(int fd, void *buf, size_t room, int ms);

/**
 * vmm_frame() - a frame of @len bytes: broadcast, VMM_ETHERTYPE, and a payload
 * that depends on @seed and the length
 */
void vmm_frame(uint8_t *buf, size_t len, uint32_t seed);
/** vmm_frame_is() - is it that frame, every byte? */
bool vmm_frame_is(const uint8_t *buf, size_t len, uint32_t seed);

#endif
