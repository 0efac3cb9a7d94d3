/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * attach.c opens the interface of an attachment, joins guests to its network,
 * and opens their ports.
 *
 * Threads: attachments are made and freed on the main loop; guests are added
 * and removed there or on the workers of open files, so the list of guests and
 * their numbers have a lock. The worker of an open file owns its pair.
 */
#include "attach.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <unistd.h>

#include <linux/if_tun.h>

#include "bytes.h"
#include "log_limit.h"
#include "log.h"
#include "mutex.h"
#include "uplink.h"
#include "netif.h"
#include "offload.h"

/* Numbers of guests. */
#define NUMBERS 512

/**
 * struct attach - an attachment
 * @netif:  the interface; NULL: none
 * @capture_if: interface of the capture for guests without one of their own
 * @host, @uplink: set by attach_start()
 */
struct attach {
	struct attach_config config;
	struct netif *netif;
	unsigned int capture_if;
	struct attach_guest *host;
	struct uplink *uplink;
	struct mutex lock;
	LIST_HEAD(, attach_guest) guests; /* @lock */
	uint64_t numbers[NUMBERS / 64];   /* @lock; bit n: taken */
};

/**
 * struct attach_guest - a guest
 * @swport: its port of the network; NULL: there is none in this process
 * @remote: its port of a network in another process; NULL: none
 * @number: -1: none
 * @owner, @tap: open files of @owner with a queue of @tap belong to this guest;
 *          @tap "": no other open file does
 * @pairs:  bit p: an open file has queue pair p; attach.lock
 * @uplink: of attach_connect(), for each queue pair; NULL: none
 */
struct attach_guest {
	LIST_ENTRY(attach_guest) link;
	struct attach *attach;
	struct swport *swport;
	struct remotenet_port *remote;
	unsigned int capture_if;
	int number;
	pid_t owner;
	char tap[IFNAMSIZ];
	uint64_t pairs;
	struct uplink **uplink;
};

/**
 * struct attach_pair - the queue pair of an open file
 * @guest:   NULL: in a network, before the VMM passes a descriptor
 * @pair:    of @guest
 * @port:    both or none; none with descriptors
 * @rx, @tx: rings that run, of @guest's queue pair
 * @uplink:  of a device in another process
 * @ring:    that is connected to a network in another process
 */
struct attach_pair {
	struct attach *attach;
	struct attach_guest *guest;
	struct uplink *uplink;
	struct framering *ring;
	unsigned int pair;
	struct netport *port[2];
	bool rx, tx;
};

/* How long the process of a network may take to enable a queue. */
#define FOLLOW_MS 500

static bool has_network(const struct attach *a)
{
	return a->config.network || a->config.remote;
}

bool attach_is_remote(const struct attach *a)
{
	return a->config.remote;
}

/* ---- numbers and names ---- */

/* Return: the lowest free number, or -1. */
static int take_number(struct attach *a) NEEDS(a->lock)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(a->numbers); i++) {
		unsigned int bit;

		if (a->numbers[i] == UINT64_MAX)
			continue;
		bit = (unsigned int)__builtin_ctzll(~a->numbers[i]);
		a->numbers[i] |= BIT(bit);
		return (int)(64 * i + bit);
	}
	return -1;
}

void attach_clean_name(char *name)
{
	for (char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-_.:+", *p))
			*p = '-';
}

/* "NAME" or "NAME.N", cut so that N is whole. */
static void make_name(const struct attach_config *c, int number,
		      char name[NETWORK_NAME_MAX + 1])
{
	const int max = NETWORK_NAME_MAX - (c->numbered ? 4 : 0);

	if (number < 0)
		snprintf(name, NETWORK_NAME_MAX + 1, "%.*s", max,
			 c->swport.name);
	else
		snprintf(name, NETWORK_NAME_MAX + 1, "%.*s.%u", max,
			 c->swport.name, (unsigned int)number % NUMBERS);
	attach_clean_name(name);
}

/* ---- captures ---- */

static int add_interface(const struct attach *a, const char *name,
			 unsigned int *interface)
{
	int ret = 0;

	if (a->config.capture)
		ret = capture_add(a->config.capture, name);
	if (ret < 0)
		return ret;
	*interface = (unsigned int)ret;
	return 0;
}

static const char *const too_many = "capture %s: more than %d ports";

/* Replaces @port by a port that the capture records; on failure it stays. */
static int record(const struct attach_guest *g, struct netport **port)
{
	struct capture *c = g->attach->config.capture;

	return c ? capture_wrap(c, g->capture_if, *port, port) : 0;
}

/* ---- attachments ---- */

static int open_attachment(struct attach *a, char *error, size_t size)
{
	const struct attach_config *c = &a->config;
	char name[NETWORK_NAME_MAX + 1];
	int ret;

	if (c->port) {
		ret = c->nfds ? netif_adopt(c->port, c->queues, c->fds, c->nfds,
					    &a->netif, error, size)
			      : netif_new(c->port, c->queues, &a->netif, error,
					  size);
		if (ret < 0)
			return ret;
	}
	if (has_network(a))
		return 0;
	make_name(c, -1, name);
	ret = add_interface(a, name, &a->capture_if);
	if (ret < 0)
		snprintf(error, size, too_many, c->capture_file,
			 CAPTURE_INTERFACES);
	return ret;
}

int attach_new(const struct attach_config *config, struct attach **out,
	       char *error, size_t size)
{
	struct attach *a = calloc(1, sizeof(*a));
	int ret;

	if (!a) {
		snprintf(error, size, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	a->config = *config;
	LIST_INIT(&a->guests);
	mutex_init(&a->lock);
	ret = open_attachment(a, error, size);
	if (ret < 0) {
		attach_free(a);
		return ret;
	}
	*out = a;
	return 0;
}

int attach_start(struct attach *a)
{
	const struct attach_config *c = &a->config;
	int ret = attach_join(a, &a->host);

	if (ret == 0)
		ret = uplink_new(a->netif, a->host->swport, c->queues,
				 &a->uplink);
	if (ret == 0 && c->guest_offloads_given)
		swport_set_guest_offloads(a->host->swport,
					  c->swport.guest_offloads);
	return ret;
}

void attach_free(struct attach *a)
{
	if (!a)
		return;
	uplink_free(a->uplink);
	attach_leave(a->host);
	netif_free(a->netif);
	mutex_destroy(&a->lock);
	free(a);
}

/* ---- guests ---- */

static int join_network(struct attach_guest *g, const char *name)
{
	const struct attach_config *c = &g->attach->config;
	struct swport_config m = c->swport;
	int ret;

	memcpy(m.name, name, sizeof(m.name));
	m.capture = c->capture;
	ret = add_interface(g->attach, name, &m.capture_if);
	if (ret < 0) {
		log_limited(&log_limit_all, NULL, LOG_LEVEL_ERROR, too_many,
			    c->capture_file, CAPTURE_INTERFACES);
		return ret;
	}
	ret = swport_new(c->network, &m, c->queues, &g->swport);
	if (ret != -EEXIST || (c->fixed_name && !c->numbered))
		return ret;
	m.name[0] = '\0';
	return swport_new(c->network, &m, c->queues, &g->swport);
}

static int join_remote(struct attach_guest *g, const char *name)
{
	const struct attach_config *c = &g->attach->config;
	struct swport_config m = c->swport;

	memcpy(m.name, name, sizeof(m.name));
	return c->remote->ops->join(c->remote, &m,
				    c->fixed_name && !c->numbered, c->queues,
				    c->remote_capture, &g->remote);
}

/* Joins the network, or adds an interface to the capture. */
static int open_guest(struct attach_guest *g)
{
	struct attach *a = g->attach;
	char name[NETWORK_NAME_MAX + 1];

	make_name(&a->config, g->number, name);
	if (a->config.network)
		return join_network(g, name);
	if (a->config.remote)
		return join_remote(g, name);
	g->capture_if = a->capture_if;
	/* If the capture is full, the guest shares the attachment's. */
	if (a->config.numbered)
		add_interface(a, name, &g->capture_if);
	return 0;
}

static void guest_free(struct attach *a, struct attach_guest *g) NEEDS(a->lock)
{
	for (unsigned int i = 0; g->uplink && i < a->config.queues; i++)
		uplink_free(g->uplink[i]);
	free(g->uplink);
	if (g->remote)
		a->config.remote->ops->leave(g->remote);
	LIST_REMOVE(g, link);
	swport_free(g->swport);
	if (g->number >= 0)
		a->numbers[g->number / 64] &= ~BIT(g->number % 64);
	free(g);
}

static int guest_new(struct attach *a, struct attach_guest **out) NEEDS(a->lock)
{
	struct attach_guest *g = calloc(1, sizeof(*g));
	int ret;

	if (!g)
		return -ENOMEM;
	g->attach = a;
	g->number = a->config.numbered ? take_number(a) : -1;
	LIST_INSERT_HEAD(&a->guests, g, link);
	ret = open_guest(g);
	if (ret < 0) {
		guest_free(a, g);
		return ret;
	}
	*out = g;
	return 0;
}

int attach_join(struct attach *a, struct attach_guest **out)
{
	int ret;

	mutex_lock(&a->lock);
	ret = guest_new(a, out);
	mutex_unlock(&a->lock);
	return ret;
}

void attach_leave_running(struct attach_guest *g)
{
	struct attach *a;

	if (!g)
		return;
	a = g->attach;
	mutex_lock(&a->lock);
	guest_free(a, g);
	mutex_unlock(&a->lock);
}

void attach_leave(struct attach_guest *g)
{
	if (!g)
		return;
	for (unsigned int i = 0; i < g->attach->config.queues; i++)
		attach_enable(g, i, false, false);
	attach_leave_running(g);
}

int attach_fds(const struct attach *a, const char **port, int *fds)
{
	const struct attach_config *c = &a->config;

	if (has_network(a) || c->capture || !a->netif)
		return -EOPNOTSUPP;
	*port = c->port;
	return netif_fds(a->netif, fds);
}

uint64_t attach_features(const struct attach_guest *g)
{
	return has_network(g->attach) ? OFFLOADS_BOTH
				      : netif_features(g->attach->netif);
}

static int open_recorded(struct attach_guest *g, unsigned int pair,
			 struct netport **rx, struct netport **tx)
{
	int ret = netif_open(g->attach->netif, pair, rx, tx);

	if (ret < 0)
		return ret;
	ret = record(g, rx);
	if (ret == 0)
		ret = record(g, tx);
	if (ret < 0) {
		netport_close(*rx);
		netport_close(*tx);
	}
	return ret;
}

int attach_open(struct attach_guest *g, unsigned int pair, struct netport **rx,
		struct netport **tx)
{
	/* A network records frames itself, and those that it drops. */
	if (g->swport)
		return swport_open(g->swport, pair, rx, tx);
	/* A guest of a remote network is connected. */
	return g->remote ? -EOPNOTSUPP : open_recorded(g, pair, rx, tx);
}

int attach_connect(struct attach_guest *g, unsigned int pair,
		   struct framering *ring)
{
	if (g->remote) {
		g->attach->config.remote->ops->connect(g->remote, pair, ring,
						       true);
		return 0;
	}
	if (!g->uplink)
		g->uplink =
			calloc(g->attach->config.queues, sizeof(*g->uplink));
	if (!g->uplink)
		return -ENOMEM;
	return uplink_ring_new(ring, g->swport, pair, true, &g->uplink[pair]);
}

void attach_enable(struct attach_guest *g, unsigned int pair, bool rx, bool tx)
{
	if (g->swport)
		swport_enable(g->swport, pair, rx);
	else if (g->attach->netif)
		netif_enable(g->attach->netif, pair, rx || tx);
}

void attach_set_offload(struct attach_guest *g, uint64_t features)
{
	if (g->swport)
		swport_set_guest_offloads(g->swport, features);
	else if (g->attach->netif)
		netif_set_offload(g->attach->netif, features);
}

/* ---- queue pairs of open files ---- */

int attach_pair_new(struct attach *a, struct attach_pair **out)
{
	struct attach_pair *p = calloc(1, sizeof(*p));
	int ret = 0;

	if (!p)
		return -ENOMEM;
	p->attach = a;
	if (!has_network(a))
		ret = attach_join(a, &p->guest);
	if (ret < 0) {
		free(p);
		return ret;
	}
	*out = p;
	return 0;
}

/* A guest is freed with its last pair. */
static void leave_guest(struct attach_pair *p) NEEDS(p->attach->lock)
{
	struct attach_guest *g = p->guest;

	g->pairs &= ~BIT(p->pair);
	if (!g->pairs)
		guest_free(p->attach, g);
	p->guest = NULL;
}

void attach_pair_free(struct attach_pair *p)
{
	if (!p)
		return;
	uplink_free(p->uplink);
	if (p->ring)
		p->attach->config.remote->ops->disconnect(p->guest->remote,
							  p->pair);
	netport_close(p->port[0]);
	netport_close(p->port[1]);
	mutex_lock(&p->attach->lock);
	if (p->guest)
		leave_guest(p);
	mutex_unlock(&p->attach->lock);
	free(p);
}

/* The name of the tap of @fd; "" for a packet socket. */
static void tap_name(int fd, char name[IFNAMSIZ])
{
	struct ifreq ifr = { 0 };

	name[0] = '\0';
	if (ioctl(fd, TUNGETIFF, &ifr) == 0)
		memcpy(name, ifr.ifr_name, IFNAMSIZ);
}

/* NULL: there is none with a free queue pair. */
static struct attach_guest *find_guest(struct attach *a, pid_t owner,
				       const char *tap) NEEDS(a->lock)
{
	struct attach_guest *g;

	LIST_FOREACH (g, &a->guests, link)
		if (tap[0] && g->owner == owner && ~g->pairs &&
		    strncmp(g->tap, tap, IFNAMSIZ) == 0)
			return g;
	return NULL;
}

/* Takes a queue pair of the guest with @owner and @fd's tap. */
static int join_guest(struct attach_pair *p, int fd, pid_t owner)
	NEEDS(p->attach->lock)
{
	char tap[IFNAMSIZ];
	int ret = 0;

	tap_name(fd, tap);
	p->guest = find_guest(p->attach, owner, tap);
	if (!p->guest)
		ret = guest_new(p->attach, &p->guest);
	if (ret < 0)
		return ret;
	p->guest->owner = owner;
	memcpy(p->guest->tap, tap, IFNAMSIZ);
	p->pair = (unsigned int)__builtin_ctzll(~p->guest->pairs);
	p->guest->pairs |= BIT(p->pair);
	return 0;
}

static int open_ports(struct attach_pair *p, int fd, pid_t owner)
{
	bool joins = !p->guest;
	struct netport *rx, *tx;
	int ret = 0;

	mutex_lock(&p->attach->lock);
	if (joins)
		ret = join_guest(p, fd, owner);
	if (ret == 0) {
		ret = attach_open(p->guest, p->pair, &rx, &tx);
		if (ret < 0 && joins)
			leave_guest(p);
	}
	mutex_unlock(&p->attach->lock);
	if (ret < 0)
		return ret;
	p->port[0] = rx;
	p->port[1] = tx;
	return 0;
}

/* The port of the descriptor itself. A recorded port gets a duplicate, since
 * capture_wrap() may fail. */
static int open_fd(const struct attach_pair *p, int fd, struct netport **out)
{
	bool copied = p->attach->config.capture;
	struct netport *port;
	int ret;

	if (copied)
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -EMFILE;
	ret = netport_from_fd(fd, &port);
	if (ret < 0) {
		if (copied)
			close(fd);
		return ret;
	}
	ret = record(p->guest, &port);
	if (ret < 0)
		netport_close(port);
	else
		*out = port;
	return ret;
}

int attach_pair_open(struct attach_pair *p, unsigned int qi, int fd,
		     pid_t owner, struct netport **port)
{
	const struct attach_config *c = &p->attach->config;
	int ret;

	/* Without a worker process there is no way to it. */
	if (c->remote)
		return -EOPNOTSUPP;
	if (!c->network && !c->port)
		return open_fd(p, fd, port);
	ret = netport_check_fd(fd);
	if (ret == 0 && !p->port[0])
		ret = open_ports(p, fd, owner);
	if (ret < 0)
		return ret;
	*port = netport_get(p->port[qi]);
	return 0;
}

static void connect_remote(struct attach_pair *p, struct framering *ring)
{
	p->ring = ring;
	p->attach->config.remote->ops->connect(p->guest->remote, p->pair, ring,
					       false);
}

int attach_pair_connect(struct attach_pair *p, int fd, pid_t owner,
			struct framering *ring)
{
	int ret = 0;

	if (p->uplink || p->ring)
		return 0;
	mutex_lock(&p->attach->lock);
	if (!p->guest)
		ret = join_guest(p, fd, owner);
	mutex_unlock(&p->attach->lock);
	if (ret < 0)
		return ret;
	if (p->guest->remote) {
		connect_remote(p, ring);
		return 0;
	}
	ret = uplink_ring_new(ring, p->guest->swport, p->pair, false,
			      &p->uplink);
	if (ret == 0)
		return 0;
	mutex_lock(&p->attach->lock);
	leave_guest(p);
	mutex_unlock(&p->attach->lock);
	return ret;
}

bool attach_pair_follow(struct attach_pair *p)
{
	if (p->uplink)
		uplink_follow(p->uplink);
	return !p->ring || framering_await(p->ring, FOLLOW_MS);
}

void attach_pair_enable(struct attach_pair *p, bool rx, bool tx)
{
	if (!p->guest || (rx == p->rx && tx == p->tx))
		return;
	attach_enable(p->guest, p->pair, rx, tx);
	p->rx = rx;
	p->tx = tx;
}

const char *attach_pair_name(const struct attach_pair *p)
{
	const struct attach_guest *g = p->guest;

	if (g && g->remote)
		return p->attach->config.remote->ops->name(g->remote);
	return g && g->swport ? swport_name(g->swport) : "";
}
