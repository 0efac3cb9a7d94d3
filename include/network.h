/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network: a learning switch between ports. Its ports belong to devices
 * (frames of a guest are sent on the device's worker) and to interfaces (tap,
 * pcap, ...; each has the thread of its uplink). Frames for a port wait in the
 * rxq of one of its queues until the device or interface takes them. Two ports
 * are a wire: there a sender waits while the rxq of the receiver is full. With
 * more ports the frame is dropped.
 *
 * Threads: a port sends on the thread of its device or interface. Frames are
 * copied out of the sender's memory before any lock is taken, so a guest whose
 * memory blocks stops only itself. Then the receivers are looked up, and the
 * packets are copied into their rxqs.
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
 * @mtu:   most bytes behind the Ethernet header (VLAN tag not counted) of a
 *         frame that leaves, 68...65535; of a GSO frame: of each segment. A
 *         longer frame is dropped (DROP_TOO_LONG). A GSO frame is segmented
 *         if its receiver lacks the offload, whatever the MTU is
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

/*
 * Why a frame was dropped: value and name. A frame is dropped as it comes in
 * (drop_in of the port that sent it) or for one receiver (drop_out of that
 * port). The list with causes and remedies is COUNTERS in cuse/uvhostd.8.
 */
#define NETWORK_DROP_REASONS(ROW)                                          \
	/* in: no Ethernet header, a wrong virtio_net_hdr, or truncated */ \
	ROW(DROP_MALFORMED, "malformed")                                   \
	/* in: longer than any frame (PKT_FRAME_MAX). out: it, or the      \
	 * longest of its segments, is longer than the receiver's MTU; or  \
	 * the receiver needs segments, of more than PKT_SEGMENTS_MAX */   \
	ROW(DROP_TOO_LONG, "too-long")                                     \
	/* in: the sending port is not in that VLAN */                     \
	ROW(DROP_VLAN, "vlan")                                             \
	/* in, out: untagged for the port, and with a tag inside */        \
	ROW(DROP_STACKED, "stacked-tags")                                  \
	/* in: over the port's limit (flood_fps) */                        \
	ROW(DROP_FLOOD, "flood-limit")                                     \
	/* in: source address is a group address, or 0 */                  \
	ROW(DROP_SOURCE, "source")                                         \
	/* in: to 01:80:c2:00:00:0x: link-local, not forwarded */          \
	ROW(DROP_RESERVED, "reserved")                                     \
	/* in: the receiver is the sender */                               \
	ROW(DROP_SAME_PORT, "same-port")                                   \
	/* out: the receiver's rxq is full, and it is no wire */           \
	ROW(DROP_FULL, "full")                                             \
	/* out: the receiving port did not accept it */                    \
	ROW(DROP_REFUSED, "refused")                                       \
	/* out: the receiver has no active queue, or closed it. in: the    \
	 * receiver left the network meanwhile */                          \
	ROW(DROP_NO_QUEUE, "no-queue")

enum network_drop {
#define DROP_VALUE(value, name) value,
	NETWORK_DROP_REASONS(DROP_VALUE) NETWORK_DROPS,
#undef DROP_VALUE
};

/** network_drop_name() - the name of @why, as printed and captured */
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
 * One thread at a time uses each port. A queue has one @rx and one @tx at most:
 * -EBUSY until both are closed. An open queue uses about 1 MiB of memory, most
 * of it only when it is needed: its rxq, copies of the frames that are being
 * sent, and their segments. Closing @rx drops the frames that are in its rxq
 * (DROP_NO_QUEUE). The header of frames has port->hdr_len bytes: 0, 10 or 12; a
 * device without one gets only frames that need none.
 *
 * Return: 0; -EBUSY; -EINVAL (@queue); -ENOMEM; -EMFILE.
 */
int swport_open(struct swport *swport, unsigned int queue, struct netport **rx,
		struct netport **tx);

/**
 * swport_enable() - whether @queue gets new frames; at first it does not
 *
 * Frames for the port are spread over its active queues, which are open and
 * enabled; a flow stays on one queue. If none is active new frames are dropped
 * (DROP_NO_QUEUE), also on a wire, whose waiting sender goes on. Frames that
 * are in the rxq of a queue stay there when it is disabled, without a limit of
 * time, until @rx receives or releases them or is closed.
 *
 * The caller enables a queue while its guest can receive; else the rxq fills,
 * and on a wire the sender waits. Any thread.
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
