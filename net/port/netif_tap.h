/* SPDX-License-Identifier: BSD-3-Clause */
/* What taps and macvtaps share; private to net/. */
#ifndef NETIF_TAP_H
#define NETIF_TAP_H

#include "port_priv.h"
#include "netif_priv.h"

/**
 * struct tap_opener - how the queues of an interface are opened
 * @open_queue: one more; @multi: there will be several. A non-blocking
 *              descriptor, or -errno
 * @fail: writes the line for that errno, returns it
 */
struct tap_opener {
	enum tap_kind kind;
	int (*open_queue)(const char *ifname, bool multi);
	int (*fail)(struct netif_error *e, int err, const char *ifname);
};

/** tap_netif_new() - open spec->queues queues of @ifname; 0 or -errno */
int tap_netif_new(const struct tap_opener *how, const char *ifname,
		  const struct netif_spec *spec, struct netif **out,
		  struct netif_error *e);

/** tap_attach() - TUNSETIFF: frames with a virtio_net_hdr; @extra: IFF_* */
int tap_attach(int fd, const char *ifname, short extra);

#endif
