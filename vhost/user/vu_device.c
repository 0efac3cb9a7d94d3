/* SPDX-License-Identifier: BSD-3-Clause */
/* vu_device.c handles messages about the whole device: features, status, reset,
 * configuration space, RARP. It runs on the control thread. */
#include "vu_priv.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

/* The protocol features that are offered. */
#define PF(name) BIT(VHOST_USER_PROTOCOL_F_##name)
#define PROTOCOL_FEATURES                                                     \
	(PF(MQ) | PF(LOG_SHMFD) | PF(RARP) | PF(REPLY_ACK) | PF(MTU) |        \
	 PF(BACKEND_REQ) | PF(CONFIG) | PF(BACKEND_SEND_FD) |                 \
	 PF(RESET_DEVICE) | PF(INFLIGHT_SHMFD) | PF(DEVICE_STATE) |           \
	 PF(PAGEFAULT) | PF(INBAND_NOTIFICATIONS) | PF(CONFIGURE_MEM_SLOTS) | \
	 PF(STATUS) | PF(GET_VRING_BASE_INFLIGHT) | PF(GPA_ADDRESSES))

/* The feature bit with which protocol features exist. */
#define F_PROTOCOL BIT(VHOST_USER_F_PROTOCOL_FEATURES)

#define MTU_MIN 68 /* virtio 1.2 §5.1.4.1 */
#define MTU_MAX 65535

/* ---- features ---- */

static bool has_mac(const struct vu_session *s)
{
	static const uint8_t none[6];

	return memcmp(s->cfg.mac, none, sizeof(none)) != 0;
}

/* Guest and frontend use ANNOUNCE, but the backend has to offer it; the others
 * belong to fields of the configuration space. */
static uint64_t net_features(const struct vu_session *s)
{
	uint64_t features = s->cfg.net_features | BIT(VIRTIO_NET_F_MTU) |
			    BIT(VIRTIO_NET_F_STATUS) |
			    BIT(VIRTIO_NET_F_GUEST_ANNOUNCE);

	if (s->cfg.queue_pairs > 1)
		features |= BIT(VIRTIO_NET_F_MQ);
	if (has_mac(s))
		features |= BIT(VIRTIO_NET_F_MAC);
	return features;
}

uint64_t vu_device_features(const struct vu_session *s)
{
	/* Packed rings are always offered: vhost-user.rst defines their base,
	 * and frontends ack only features that the driver has acked. */
	return vdev_features(0) | VDEV_OPTIONAL_FEATURES | net_features(s) |
	       F_PROTOCOL;
}

uint64_t vu_protocol_features(const struct vu_session *s)
{
	uint64_t features = PROTOCOL_FEATURES;

	/* QEMU's net device does not support CONFIG and logs a warning. */
	if (!has_mac(s) && !s->cfg.mtu)
		features &= ~PF(CONFIG);

	/* vhost-user.rst, Migration: no postcopy once memory slots are
	 * negotiated. QEMU negotiates all that is offered. */
	features &= s->postcopy ? ~PF(CONFIGURE_MEM_SLOTS) : ~PF(PAGEFAULT);
	return features;
}

int vu_get_features(struct vu_op *op)
{
	return vu_op_reply_u64(op, vu_device_features(op->s));
}

int vu_pair_set_features(struct vu_pair *p, void *unused)
{
	const struct vu_session *s = p->s;

	(void)unused;
	return vdev_set_features(p->vdev, s->features & ~F_PROTOCOL);
}

/* ACCESS_PLATFORM changes the meaning of ring addresses; the vdev has cleared
 * them. */
static void forget_addresses(struct vu_session *s)
{
	for (unsigned int i = 0; i < s->cfg.queue_pairs; i++)
		for (unsigned int k = 0; s->pair[i] && k < VDEV_VQS; k++)
			s->pair[i]->ring[k].has_addr = false;
}

/* vhost-user.rst, Ring states: without F_PROTOCOL_FEATURES rings are enabled
 * from the start, also those of pairs that are made later. */
static void enable_all(struct vu_session *s)
{
	bool on = true;

	s->enabled = true;
	vu_each_pair(s, vu_pair_enable, &on);
	vu_update_ports(s);
}

int vu_set_features(struct vu_op *op)
{
	struct vu_session *s = op->s;
	uint64_t features = op->m->payload.u64, old = s->features;
	int ret;

	s->features_failed = true;
	if (features & ~vu_device_features(s))
		return -EOPNOTSUPP;
	s->features = features;
	ret = vu_each_pair(s, vu_pair_set_features, NULL);
	if (ret < 0) {
		s->features = old;
		vu_each_pair(s, vu_pair_set_features, NULL);
		return ret;
	}
	s->features_failed = false;
	if ((old ^ features) & BIT(VIRTIO_F_ACCESS_PLATFORM))
		forget_addresses(s);
	if (!(features & F_PROTOCOL))
		enable_all(s);
	if (s->cfg.set_offload)
		s->cfg.set_offload(s->cfg.ctx, features & ~F_PROTOCOL);
	return 0;
}

int vu_get_protocol_features(struct vu_op *op)
{
	return vu_op_reply_u64(op, vu_protocol_features(op->s));
}

/* Has an address been set whose meaning GPA_ADDRESSES changes? */
static bool has_addresses(const struct vu_session *s)
{
	bool found = s->mem.have_table;

	for (unsigned int i = 0; i < s->cfg.queue_pairs; i++)
		for (unsigned int k = 0; s->pair[i] && k < VDEV_VQS; k++)
			found |= s->pair[i]->ring[k].has_addr;
	return found;
}

int vu_set_protocol_features(struct vu_op *op)
{
	struct vu_session *s = op->s;
	uint64_t features = op->m->payload.u64;
	uint64_t needed = PF(BACKEND_REQ) | PF(REPLY_ACK);

	if (features & ~vu_protocol_features(s))
		return -EOPNOTSUPP;
	if ((features & PF(GET_VRING_BASE_INFLIGHT)) &&
	    !(features & PF(INFLIGHT_SHMFD)))
		return -EINVAL;
	if (((features ^ s->protocol_features) & PF(GPA_ADDRESSES)) &&
	    has_addresses(s))
		return -EBUSY;
	if ((features & PF(INBAND_NOTIFICATIONS)) &&
	    (features & needed) != needed) {
		vu_drop(s, "INBAND_NOTIFICATIONS without BACKEND_REQ and "
			   "REPLY_ACK");
		return -EPROTO;
	}
	s->protocol_features = features;
	return 0;
}

int vu_get_queue_num(struct vu_op *op)
{
	return vu_op_reply_u64(op, (uint64_t)op->s->cfg.queue_pairs * VDEV_VQS);
}

/* ---- owner, status, reset ---- */

int vu_set_owner(struct vu_op *op)
{
	(void)op; /* the connection is the owner */
	return 0;
}

int vu_reset_owner(struct vu_op *op)
{
	bool on = false;

	op->s->enabled = false;
	vu_each_pair(op->s, vu_pair_enable, &on);
	vu_update_ports(op->s);
	return 0;
}

/* Stops the rings and resets them. Memory and call descriptors stay, as QEMU
 * does not send them again. */
static int reset_pair(struct vu_pair *p, void *unused)
{
	int ret;

	vu_pair_stop(p, unused);
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		struct vu_ring *r = &p->ring[i];
		uint32_t base = 0;

		/* Read before the features, which its format depends on. */
		if (r->base >= 0)
			continue;
		vdev_get_vring_base(p->vdev, i, &base);
		r->base = base;
	}
	ret = vu_pair_set_features(p, NULL);
	for (unsigned int i = 0; i < VDEV_VQS; i++) {
		p->ring[i].has_addr = p->ring[i].enabled = false;
		vdev_set_vring_base(p->vdev, i, 0);
	}
	return ret;
}

static int reset(struct vu_session *s)
{
	int ret;

	s->features = 0;
	s->features_failed = s->enabled = false;
	s->status = 0;
	ret = vu_each_pair(s, reset_pair, NULL);
	vu_channel_forget(s); /* after the last call of the last ring */
	vu_update_ports(s);
	return ret;
}

int vu_reset_device(struct vu_op *op)
{
	return reset(op->s);
}

int vu_set_status(struct vu_op *op)
{
	struct vu_session *s = op->s;
	uint64_t status = op->m->payload.u64;

	if (status > UINT8_MAX)
		return -EINVAL;
	if (status == 0)
		return reset(s);
	s->status = (uint8_t)status;
	/* virtio 1.2 §3.1.1: the driver reads it back. */
	if (s->features_failed)
		s->status &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	return 0;
}

int vu_get_status(struct vu_op *op)
{
	return vu_op_reply_u64(op, op->s->status);
}

/* ---- configuration ---- */

/* Fields of newer versions of the structure are 0. */
static void make_config(const struct vu_session *s,
			uint8_t space[VU_CONFIG_MAX])
{
	struct virtio_net_config c = {
		.status = htole16(VIRTIO_NET_S_LINK_UP),
		.max_virtqueue_pairs = htole16((uint16_t)s->cfg.queue_pairs),
		.mtu = htole16(s->mtu ? s->mtu : ETH_DATA_LEN),
		.speed = htole32(UINT32_MAX), /* not known */
		.duplex = 0xff,
	};

	memcpy(c.mac, s->mac, sizeof(c.mac));
	memset(space, 0, VU_CONFIG_MAX);
	memcpy(space, &c, sizeof(c));
}

int vu_measure_config(const struct vu_op *op)
{
	return op->m->hdr.size == VU_CONFIG_HDR + op->m->payload.config.size
		       ? 0
		       : -EPROTO;
}

static int check_window(const struct vu_config *c)
{
	return c->offset > VU_CONFIG_MAX || c->size > VU_CONFIG_MAX - c->offset
		       ? -EINVAL
		       : 0;
}

int vu_get_config(struct vu_op *op)
{
	const struct vu_config *c = &op->m->payload.config;
	struct vu_config *out = &op->reply.payload.config;
	uint8_t space[VU_CONFIG_MAX];
	int ret = check_window(c);

	if (ret < 0)
		return ret;
	make_config(op->s, space);
	*out = (struct vu_config){ .offset = c->offset,
				   .size = c->size,
				   .flags = c->flags };
	memcpy(out->region, space + c->offset, c->size);
	op->reply.hdr.size = op->m->hdr.size;
	return 0;
}

/* May byte @i of the space be written, by a driver or for @migration? */
static bool writable(const struct vu_session *s, bool migration, size_t i)
{
	const size_t mtu = offsetof(struct virtio_net_config, mtu);

	if (i < sizeof(s->mac))
		return migration || !(s->features & BIT(VIRTIO_F_VERSION_1));
	return migration && i >= mtu && i < mtu + sizeof(s->mtu);
}

int vu_set_config(struct vu_op *op)
{
	struct vu_session *s = op->s;
	const struct vu_config *c = &op->m->payload.config;
	struct virtio_net_config new;
	uint8_t space[VU_CONFIG_MAX];
	bool migration = c->flags == VU_CONFIG_F_MIGRATION ||
			 c->flags == VU_CONFIG_F_MIGRATION_BIT;
	int ret = check_window(c);

	if (ret < 0 || c->flags > VU_CONFIG_F_MIGRATION_BIT)
		return -EINVAL;
	make_config(s, space);
	for (uint32_t i = 0; i < c->size; i++) {
		uint8_t *p = &space[c->offset + i];

		if (writable(s, migration, c->offset + i))
			*p = c->region[i];
		else if (!migration)
			return -EPERM;
	}
	memcpy(&new, space, sizeof(new));
	memcpy(s->mac, new.mac, sizeof(s->mac));
	s->mtu = le16toh(new.mtu);
	return 0;
}

int vu_net_set_mtu(struct vu_op *op)
{
	struct vu_session *s = op->s;
	uint64_t mtu = op->m->payload.u64;
	uint64_t max = s->cfg.mtu ? s->cfg.mtu : MTU_MAX;

	if (mtu < MTU_MIN || mtu > max)
		return -EINVAL;
	if (s->mtu == mtu)
		return 0;
	s->mtu = (uint16_t)mtu;
	vu_config_changed(s);
	return 0;
}

/* ---- RARP ---- */

struct rarp {
	struct ethhdr eth;
	struct arphdr arp;
	uint8_t sender[ETH_ALEN], sender_ip[4];
	uint8_t target[ETH_ALEN], target_ip[4];
	uint8_t pad[18]; /* to the shortest frame */
} __attribute__((packed));
_Static_assert(sizeof(struct rarp) == ETH_ZLEN, "RARP frame");

static int send_rarp(struct vu_pair *p, void *mac)
{
	struct netport *port = p->port[VHOST_NET_VQ_TX];
	uint8_t hdr[sizeof(struct virtio_net_hdr_mrg_rxbuf)] = { 0 };
	struct rarp rarp = {
		.eth.h_proto = htobe16(ETH_P_RARP),
		.arp = {
			.ar_hrd = htobe16(ARPHRD_ETHER),
			.ar_pro = htobe16(ETH_P_IP),
			.ar_hln = ETH_ALEN,
			.ar_pln = 4,
			.ar_op = htobe16(ARPOP_RREQUEST),
		},
	};
	struct iovec iov[] = { { hdr, 0 }, { &rarp, sizeof(rarp) } };
	struct frame f = { .iov = iov, .iovcnt = 2 };

	if (!port)
		return -ENOTCONN;
	memset(rarp.eth.h_dest, 0xff, ETH_ALEN);
	memcpy(rarp.eth.h_source, mac, ETH_ALEN);
	memcpy(rarp.sender, mac, ETH_ALEN);
	memcpy(rarp.target, mac, ETH_ALEN);
	iov[0].iov_len = MIN(port->hdr_len, sizeof(hdr));
	if (!iov[0].iov_len) {
		f.iov = &iov[1];
		f.iovcnt = 1;
	}
	f.len = (uint32_t)(iov[0].iov_len + sizeof(rarp));
	return port->ops->send(port, &f, 1) == 1 ? 0 : -EAGAIN;
}

int vu_send_rarp(struct vu_op *op)
{
	struct vu_pair *p = op->s->pair[0];

	if (!p)
		return -ENOTCONN;
	return vu_pair_call(p, send_rarp, op->m->payload.bytes);
}
