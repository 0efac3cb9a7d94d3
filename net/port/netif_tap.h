/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kinds tap and macvtap share. */
#ifndef NETIF_TAP_H
#define NETIF_TAP_H

#include "port_priv.h"
#include "netif_priv.h"

/**
 * struct tap_opener - opens the queues of an interface
 * @open_queue: opens one more queue; @multi: there will be several. Return: a
 *              non-blocking descriptor, or -errno
 * @fail: writes the line for that errno, returns it
 */
struct tap_opener {
	enum tap_kind kind;
	int (*open_queue)(const char *ifname, bool multi);
	int (*fail)(struct error_line *e, int err, const char *ifname);
};

/** netif_ifname_arg, netif_no_ifname - row and default of an argument that is
 * the name of an interface, and is all of a kind's configuration */
extern const struct netif_key netif_ifname_arg;
extern const char netif_no_ifname[IFNAMSIZ];

/** tap_netif_new() - open @queues queues of @ifname; 0 or -errno with a line */
int tap_netif_new(const struct tap_opener *how, const char *ifname,
		  unsigned int queues, struct netif **out,
		  struct error_line *e);

/** tap_netif_adopt() - the same with @n descriptors of queues; 0, -ENOMEM,
 * -EINVAL (@n), -ENODEV (the interface was deleted) */
int tap_netif_adopt(enum tap_kind kind, unsigned int queues, const int *fds,
		    unsigned int n, struct netif **out);

/** tap_attach() - TUNSETIFF: frames with a virtio_net_hdr; @extra: IFF_* */
int tap_attach(int fd, const char *ifname, short extra);

#endif
