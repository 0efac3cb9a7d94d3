/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tap behind a device that is measured, in a network namespace of its own,
 * and frames for it. It drops what a guest sends, is filled with frames for the
 * guest, or answers echo requests.
 */
#ifndef VMTAP_H
#define VMTAP_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** VMTAP_HDR - bytes of the virtio_net_hdr in front of each frame */
#define VMTAP_HDR 12
/** VMTAP_GSO - length that stands for a TCP frame of 64 KiB, to be segmented */
#define VMTAP_GSO 65536
/** VMTAP_ROOM - the longest frame, header included */
#define VMTAP_ROOM 65536
/** VMTAP_HEADERS - Ethernet, IPv4 and TCP */
#define VMTAP_HEADERS 54

/**
 * struct vmtap
 * @fd:     of the tap, for a device
 * @packet: packet socket: frames sent there go to the guest
 * @mac:    of the tap
 */
struct vmtap {
	int fd;
	int packet;
	char ifname[IFNAMSIZ];
	uint8_t mac[6];
};

/** vmtap_open() - enter a namespace, make the tap; 0 or -errno */
int vmtap_open(struct vmtap *t);
void vmtap_close(struct vmtap *t);

/**
 * vmtap_frame() - a frame with its header
 * @len: 60...1514, or VMTAP_GSO
 * Return: bytes of @buf (VMTAP_ROOM), VMTAP_HDR included.
 */
size_t vmtap_frame(size_t len, uint8_t *buf);

/** VMTAP_QUEUE - frames that the tap's queue holds */
#define VMTAP_QUEUE 4096
/** vmtap_fill() - put @n such frames into the queue, which has to have room for
 * them; 0 or -errno */
int vmtap_fill(struct vmtap *t, size_t len, unsigned int n);

/** vmtap_echo_request() - an ICMP echo request with this number, of @len bytes,
 * which the tap's kernel answers; as vmtap_frame() */
size_t vmtap_echo_request(const struct vmtap *t, uint16_t number, size_t len,
			  uint8_t *buf);
/** vmtap_is_reply() - is it the answer? @buf has a header in front */
bool vmtap_is_reply(const uint8_t *buf, size_t len, uint16_t number);

#endif
