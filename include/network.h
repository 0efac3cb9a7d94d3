/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network: a learning switch between ports. Its ports belong to devices
 * (frames of a guest are sent on the device's worker) and to interfaces (tap,
 * pcap, ...; each has the thread of its uplink). Two ports are a wire: there a
 * sender waits while the receive ring (rxq) of the receiver is full. With more
 * ports the frame is dropped.
 *
 * Threads: a port sends on the thread of its device or interface. Frames are
 * copied out of the sender's memory before any lock is taken, so a guest whose
 * memory blocks stops only itself. Then the receivers are looked up, and the
 * packets are copied into their receive rings.
 *
 * VLANs are those of IEEE 802.1Q: an access port sends and receives untagged
 * frames of one VLAN; a trunk port sends and receives tagged frames of its
 * VLANs, and untagged ones of its native VLAN. Untagged and priority-tagged
 * frames must not have a further tag inside: the next switch would take its
 * VLAN from it.
 */
#ifndef NETWORK_H
#define NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "capture.h"
#include "netport.h"

#define NETWORK_NAME_MAX 31
/** NETWORK_PORTS_MAX - ports of a network */
#define NETWORK_PORTS_MAX 256
/** NETWORK_MACS_MAX - largest table of addresses */
#define NETWORK_MACS_MAX (1u << 20)
#define NETWORK_VLANS 4096

struct network;
struct swport;

/**
 * struct network_config - copied
 * @name:  for log lines and options
 * @macs:  entries of the table of addresses, 16...NETWORK_MACS_MAX. A port may
 *         hold at most eight times the free entries
 * @age_s: an address that is not seen for this time is removed, seconds,
 *         1...1000000
 * @mtu:   bytes behind the Ethernet header (VLAN tag not counted) of a frame
 *         that leaves, 68...65535; longer frames are segmented if they are GSO,
 *         else dropped
 */
struct network_config {
	char name[NETWORK_NAME_MAX + 1];
	unsigned int macs, age_s, mtu;
};

/** network_new() - 0; -EINVAL; -ENOMEM */
int network_new(const struct network_config *config, struct network **out);
/** network_free() - when it has no ports */
void network_free(struct network *n);
/** network_print() - write counters and drop reasons of all ports as text */
void network_print(struct network *n, FILE *out);

/** Why a frame was dropped; network_drop_name() gives the names */
enum network_drop {
	DROP_MALFORMED, /* no Ethernet header, or a wrong virtio_net_hdr */
	DROP_TOO_LONG,  /* longer than the MTU, and cannot be segmented */
	DROP_VLAN,      /* the port is not in that VLAN */
	DROP_STACKED,   /* untagged for the port, and with a tag inside */
	DROP_FLOOD,     /* over the port's limit (flood_fps) */
	DROP_SOURCE,    /* source address is a group address, or 0 */
	DROP_RESERVED,  /* 01:80:c2:00:00:0x: link-local, not forwarded */
	DROP_SAME_PORT, /* the receiver is the sender */
	DROP_FULL,      /* the receiver's rxq is full */
	DROP_REFUSED,   /* the receiving port did not accept it */
	DROP_NO_QUEUE,  /* the receiver has no active queue */
	NETWORK_DROPS,
};
const char *network_drop_name(enum network_drop why);

/**
 * struct swport_config - a port of a network; copied
 * @name:    unique in the network; "": the network makes one
 * @vlan:    access: its VLAN; trunk: the native one, 0: untagged frames are
 *           dropped. 1...4094
 * @trunk:   bit v set: carries VLAN v tagged; all 0: an access port
 * @macs:    addresses that are learnt on this port at a time; 0: no limit but
 *           the table's. Frames from further addresses are forwarded
 * @flood_fps: broadcast, multicast and unknown-unicast frames it may send, a
 *           second (bursts of a tenth of that); 0: no limit
 * @mtu:     0: the network's
 * @guest_offloads: VIRTIO_NET_F_GUEST_* bits of the offloads that the receiver
 *           accepts (csum, TSO4, TSO6, ECN, UFO, USO4, USO6); the network
 *           completes the others
 * @capture, @capture_if: where its frames are recorded; NULL: nowhere
 */
struct swport_config {
	char name[NETWORK_NAME_MAX + 1];
	unsigned int vlan;
	uint64_t trunk[NETWORK_VLANS / 64];
	unsigned int macs, flood_fps, mtu;
	uint64_t guest_offloads;
	struct capture *capture;
	unsigned int capture_if;
};

/**
 * swport_new() - join a network
 * @queues: queues it can have, 1...256
 *
 * Any thread, also while others send. Return: 0; -EEXIST (@name); -ENOSPC
 * (ports); -EINVAL; -ENOMEM.
 */
int swport_new(struct network *n, const struct swport_config *config,
	       unsigned int queues, struct swport **out);

/** swport_name() - the name that it was given, or that the network made */
const char *swport_name(const struct swport *swport);

/** swport_free() - leave; all ports of swport_open() are closed before */
void swport_free(struct swport *swport);

/** swport_set_guest_offloads() - the guest has acked @features; any thread */
void swport_set_guest_offloads(struct swport *swport, uint64_t features);

/**
 * swport_open() - open the two ports of queue @queue for a device
 * @rx: frames for the port; its fd polls EPOLLIN
 * @tx: frames from the port; its fd polls EPOLLOUT after an -EAGAIN
 *
 * Each for one thread; at most one pair a queue at a time, of up to 1 MiB.
 * Their header has port->hdr_len bytes: 0, 10 or 12; a device without one gets
 * only frames that need none. Return: 0; -EBUSY; -EINVAL (@queue); -ENOMEM;
 * -EMFILE.
 */
int swport_open(struct swport *swport, unsigned int queue, struct netport **rx,
		struct netport **tx);

/**
 * swport_enable() - whether @queue gets frames
 *
 * Frames for the port are spread over the queues that are open and enabled; a
 * flow stays on one queue. Any thread.
 */
void swport_enable(struct swport *swport, unsigned int queue, bool on);

/** struct swport_counters - since it joined; sent and received by the port */
struct swport_counters {
	uint64_t sent, sent_bytes;         /* into the network */
	uint64_t received, received_bytes; /* out of it */
	uint64_t flooded;                  /* of those sent: to more than one */
	uint64_t segmented;                /* GSO frames segmented for it */
	uint64_t checksummed;              /* checksums completed for it */
	uint64_t moved; /* addresses that it took over from other ports */
	uint64_t drop_in[NETWORK_DROPS];  /* frames that it sent */
	uint64_t drop_out[NETWORK_DROPS]; /* frames for it */
};
/** swport_read_counters() - any thread */
void swport_read_counters(const struct swport *swport,
			  struct swport_counters *out);

#endif
