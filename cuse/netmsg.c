/* SPDX-License-Identifier: BSD-3-Clause */
/* netmsg.c checks the messages to a worker process that has a network. */
#include "netmsg.h"

#include <errno.h>
#include <string.h>

_Static_assert(sizeof(struct netmsg_start) ==
		       WMSG_BUILD_MAX + 48 + NETWORK_NAME_MAX + 1 + 20,
	       "no padding");
_Static_assert(sizeof(struct netmsg_capture) == NETMSG_PATH_MAX + 8,
	       "no padding");
_Static_assert(sizeof(struct netmsg_port) == NETWORK_NAME_MAX + 1 +
						     NETIF_SPEC_MAX + 1 +
						     NETWORK_VLANS / 8 + 8 + 32,
	       "no padding");
_Static_assert(sizeof(struct netmsg_spoiled) >= sizeof(struct wmsg_number),
	       "the longest from the process");
_Static_assert(sizeof(struct netmsg_port) + sizeof(struct wmsg_hdr) <=
		       WMSG_PACKET_MAX,
	       "the longest fits the socket");

/* Whether a text is terminated within its @size bytes. */
static bool ends(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

/* Return: the body, if it has @size bytes and @min...@max descriptors; or NULL.
 */
static const void *netmsg_body(const struct wmsg_in *in, size_t size,
			       unsigned int min, unsigned int max)
{
	return in->hdr.len == size && in->nfds >= min && in->nfds <= max
		       ? in->body
		       : NULL;
}

int netmsg_get_start(const struct wmsg_in *in, struct netmsg_start *out)
{
	const struct netmsg_start *s = netmsg_body(in, sizeof(*s), 0, 0);

	if (!s || !ends(s->build, sizeof(s->build)) ||
	    !ends(s->tag, sizeof(s->tag)) || !ends(s->name, sizeof(s->name)))
		return -EPROTO;
	*out = *s;
	return 0;
}

int netmsg_get_capture(const struct wmsg_in *in, struct netmsg_capture *out)
{
	const struct netmsg_capture *c = netmsg_body(in, sizeof(*c), 2, 2);

	if (!c || !ends(c->path, sizeof(c->path)) || c->vnet_hdr > 1)
		return -EPROTO;
	*out = *c;
	return 0;
}

int netmsg_get_port(const struct wmsg_in *in, struct netmsg_port *out)
{
	const struct netmsg_port *p =
		netmsg_body(in, sizeof(*p), 0, NETMSG_PORT_FDS);

	if (!p || !ends(p->name, sizeof(p->name)) ||
	    !ends(p->spec, sizeof(p->spec)) || !p->queues ||
	    p->queues > NETMSG_QUEUES_MAX || (p->spec[0] && p->queues != 1) ||
	    (!p->spec[0] && in->nfds) || p->capture < -1 ||
	    p->flags & ~(uint32_t)NETMSG_OFFLOADS)
		return -EPROTO;
	*out = *p;
	return 0;
}

int netmsg_get_ring(const struct wmsg_in *in, struct netmsg_ring *out)
{
	const struct netmsg_ring *r =
		netmsg_body(in, sizeof(*r), FRAMERING_FDS, FRAMERING_FDS);

	if (!r || r->queue >= NETMSG_QUEUES_MAX || r->offload > 1)
		return -EPROTO;
	*out = *r;
	return 0;
}

int netmsg_get_leave(const struct wmsg_in *in, struct netmsg_leave *out)
{
	const struct netmsg_leave *l = wmsg_body(in, sizeof(*l));

	if (!l || (l->queue >= NETMSG_QUEUES_MAX && l->queue != NETMSG_ALL))
		return -EPROTO;
	*out = *l;
	return 0;
}

int netmsg_get_spoiled(const struct wmsg_in *in, struct netmsg_spoiled *out)
{
	const struct netmsg_spoiled *s = wmsg_body(in, sizeof(*s));

	if (!s || s->queue >= NETMSG_QUEUES_MAX || s->unused)
		return -EPROTO;
	*out = *s;
	return 0;
}

void netmsg_put_swport(struct netmsg_port *p, const struct swport_config *c)
{
	memcpy(p->name, c->name, sizeof(p->name));
	memcpy(p->trunk, c->trunk, sizeof(p->trunk));
	p->guest_offloads = c->guest_offloads;
	p->vlan = c->vlan;
	p->macs = c->macs;
	p->flood_fps = c->flood_fps;
	p->mtu = c->mtu;
}

void netmsg_swport(const struct netmsg_port *p, struct swport_config *c)
{
	*c = (struct swport_config){
		.vlan = p->vlan,
		.macs = p->macs,
		.flood_fps = p->flood_fps,
		.mtu = p->mtu,
		.guest_offloads = p->guest_offloads,
	};
	memcpy(c->name, p->name, sizeof(c->name));
	memcpy(c->trunk, p->trunk, sizeof(c->trunk));
}
