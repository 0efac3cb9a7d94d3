/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the rings of a character device's open files are connected to: the
 * descriptor that the VMM brings, a port that the options name, or a network.
 *
 *   seats   one a device, made at the start
 *   seat    one a session, from its open to its end, on its worker
 */
#ifndef SEAT_H
#define SEAT_H

#include <stdbool.h>
#include <sys/types.h>
#include "nets.h"
#include "netport.h"
#include "options.h"

struct seats;
struct seat;

/**
 * seats_new() - for a device
 * @dev, @nets: borrowed, outlive it
 *
 * Return: 0; -ENOMEM; -ENOSPC (interfaces of its capture; logged).
 */
int seats_new(const struct option_dev *dev, struct nets *nets,
	      struct seats **out);
/** seats_free() - when no seat is left; NULL is harmless */
void seats_free(struct seats *s);

/** seats_take_fd() - is it always the descriptor itself, with nothing between?
 * Then no seat is needed. Any thread */
bool seats_take_fd(const struct seats *s);

/** seat_new() - 0 or -ENOMEM; any thread */
int seat_new(struct seats *s, struct seat **out);
/** seat_free() - when all ports it gave are closed; NULL is harmless */
void seat_free(struct seat *s);

/**
 * seat_open() - the port of ring @qi; see struct vdev_config.open_port
 * @fd:    as VHOST_NET_SET_BACKEND got it; borrowed
 * @owner: process that owns the session: its sessions with descriptors of one
 *         tap are queues of one guest
 *
 * Return: as netport_from_fd(); -ENOMEM, -EMFILE; -ENOSPC (ports of the
 * network).
 */
int seat_open(struct seat *s, unsigned int qi, int fd, pid_t owner,
	      struct netport **port);

/** seat_enable() - whether the RX ring has its port, and takes frames */
void seat_enable(struct seat *s, bool on);

/** seat_name() - its name in the network; "" while it is in none */
const char *seat_name(const struct seat *s);

#endif
