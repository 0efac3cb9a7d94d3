/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * attach_fd.c is attach.h for a program that knows no interface by name, no
 * network and no capture: each ring sends to the descriptor that its VMM
 * passed, or both to the frame ring of a network in another process. It stands
 * in for attach.c, which would bring all of those along.
 */
#include "attach.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct attach {
	struct framering *ring; /* NULL: descriptors */
	unsigned int pairs;     /* that are not freed; any thread */
};

/* struct attach_pair - @port: of the frame ring, or none */
struct attach_pair {
	struct attach *attach;
	struct netport *port[2];
};

int attach_new(const struct attach_config *config, struct attach **out,
	       char *error, size_t size)
{
	struct attach *a = calloc(1, sizeof(*a));

	assert(!config->port && !config->network && !config->capture);
	if (!a) {
		snprintf(error, size, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	a->ring = config->ring;
	*out = a;
	return 0;
}

void attach_free(struct attach *a)
{
	assert(!a || !__atomic_load_n(&a->pairs, __ATOMIC_ACQUIRE));
	free(a);
}

int attach_pair_new(struct attach *a, struct attach_pair **out)
{
	struct attach_pair *p = calloc(1, sizeof(*p));
	int ret = 0;

	if (!p)
		return -ENOMEM;
	p->attach = a;
	if (a->ring)
		ret = framering_open(a->ring, FRAMERING_GUEST, &p->port[0],
				     &p->port[1]);
	if (ret < 0) {
		free(p);
		return ret;
	}
	__atomic_fetch_add(&a->pairs, 1, __ATOMIC_RELAXED);
	*out = p;
	return 0;
}

void attach_pair_free(struct attach_pair *p)
{
	if (!p)
		return;
	netport_close(p->port[0]);
	netport_close(p->port[1]);
	__atomic_fetch_sub(&p->attach->pairs, 1, __ATOMIC_RELEASE);
	free(p);
}

int attach_pair_open(struct attach_pair *p, unsigned int qi, int fd,
		     pid_t owner, struct netport **port)
{
	int ret;

	(void)owner;
	if (!p->attach->ring)
		return netport_from_fd(fd, port);
	ret = netport_check_fd(fd);
	if (ret == 0)
		*port = netport_get(p->port[qi]);
	return ret;
}

void attach_pair_enable(struct attach_pair *p, bool rx, bool tx)
{
	(void)tx;
	if (p->attach->ring)
		framering_enable(p->attach->ring, rx);
}

const char *attach_pair_name(const struct attach_pair *p)
{
	(void)p;
	return "";
}
