/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Both rings of a session use the two ends of one pair of ports, which is
 * opened with the first of them and stays as long as the session: rings stop
 * and start when the guest resets its driver, one at a time. So a ring gets its
 * end lent.
 *
 * In a network a guest is one member, though a VMM opens the device once for
 * each queue pair: sessions are of one guest if a process owns them that brings
 * descriptors of one tap. The first to come makes the member, the last to go
 * takes it along. The list of guests has a lock, since sessions have threads of
 * their own; a queue is its session's alone.
 */
#include "seat.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <unistd.h>
#include <linux/if_tun.h>

#include "bytes.h"
#include "log.h"
#include "netsource.h"
#include "vdev.h"

/* Queue pairs of a guest, so that a bit can stand for each. */
#define QUEUES_MAX 64
/* Seats that have a number, and with it a name: "NAME.N". */
#define NUMBERS 512

struct guest {
	LIST_ENTRY(guest) link;
	pid_t owner;
	char tap[IFNAMSIZ]; /* "": it shares with nobody */
	struct netmember *member;
	uint64_t queues; /* bit q: a session has queue q */
	int number;      /* -1: none */
};

struct seats {
	const struct option_dev *dev;
	struct nets *nets;
	struct capture *capture; /* of devices without a network */
	unsigned int capture_if; /* of seats without a number */
	pthread_mutex_t lock;
	LIST_HEAD(, guest) guests;      /* @lock */
	uint64_t numbers[NUMBERS / 64]; /* @lock; bit n: taken */
};

struct seat {
	struct seats *seats;
	struct netsource *source;       /* of the options' port */
	struct netport *ends[VDEV_VQS]; /* both or neither */
	struct guest *guest;            /* in a network, with @ends */
	unsigned int queue;             /* of @guest */
	bool enabled;                   /* the queue */
	int number;                     /* with a capture alone; -1: none */
	unsigned int capture_if;
};

/* ---- numbers and names ---- */

/* The lowest that is free, or -1; with the lock. */
static int take_number(struct seats *s)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(s->numbers); i++) {
		unsigned int bit;

		if (s->numbers[i] == UINT64_MAX)
			continue;
		bit = (unsigned int)__builtin_ctzll(~s->numbers[i]);
		s->numbers[i] |= BIT(bit);
		return (int)(64 * i + bit);
	}
	return -1;
}

static void give_number(struct seats *s, int number)
{
	if (number >= 0)
		s->numbers[number / 64] &= ~BIT(number % 64);
}

/* "NAME.N", cut so that N is whole; '!' is not for people. */
static void make_name(const struct seats *s, int number, char *to, size_t size)
{
	const struct option_dev *dev = s->dev;
	const char *base = dev->end.name[0] ? dev->end.name : dev->name;

	if (number < 0)
		snprintf(to, size, "%.*s", (int)size - 5, base);
	else
		snprintf(to, size, "%.*s.%u", (int)size - 5, base,
			 (unsigned int)number % NUMBERS);
	for (char *c = strchr(to, '!'); c; c = strchr(c, '!'))
		*c = '-';
}

/* ---- a device's ---- */

int seats_new(const struct option_dev *dev, struct nets *nets,
	      struct seats **out)
{
	struct seats *s = calloc(1, sizeof(*s));
	char name[NETWORK_NAME_MAX + 1];
	int ret = 0;

	if (!s)
		return -ENOMEM;
	s->dev = dev;
	s->nets = nets;
	LIST_INIT(&s->guests);
	pthread_mutex_init(&s->lock, NULL);
	if (!dev->end.net[0])
		s->capture = nets_capture(nets, &dev->end);
	make_name(s, -1, name, sizeof(name));
	if (s->capture)
		ret = capture_add(s->capture, name);
	if (ret < 0) {
		log_err(NULL, "capture %s: more than %d ports",
			dev->end.capture.file, CAPTURE_INTERFACES);
		seats_free(s);
		return ret;
	}
	s->capture_if = (unsigned int)ret;
	*out = s;
	return 0;
}

void seats_free(struct seats *s)
{
	if (!s)
		return;
	pthread_mutex_destroy(&s->lock);
	free(s);
}

bool seats_take_fd(const struct seats *s)
{
	return !s->dev->end.port[0] && !s->dev->end.net[0] && !s->capture;
}

/* ---- guests ---- */

/* Of which interface is @fd a queue? Packet sockets are of none. */
static void tap_name(int fd, char name[IFNAMSIZ])
{
	struct ifreq ifr = { 0 };

	name[0] = '\0';
	if (ioctl(fd, TUNGETIFF, &ifr) == 0)
		memcpy(name, ifr.ifr_name, IFNAMSIZ);
}

/* With the lock. */
static struct guest *find_guest(struct seats *s, pid_t owner, const char *tap)
{
	struct guest *g;

	LIST_FOREACH (g, &s->guests, link)
		if (tap[0] && g->owner == owner && ~g->queues &&
		    strncmp(g->tap, tap, IFNAMSIZ) == 0)
			return g;
	return NULL;
}

/* A name that others have taken is no reason to refuse a guest. */
static int join_network(struct seats *s, int number, struct netmember **out)
{
	struct network *net = nets_find(s->nets, s->dev->end.net);
	char name[NETWORK_NAME_MAX + 1];
	struct netmember_config config;
	int ret;

	make_name(s, number, name, sizeof(name));
	ret = nets_member(s->nets, &s->dev->end, name, &config);
	if (ret < 0)
		return ret;
	ret = netmember_new(net, &config, QUEUES_MAX, out);
	if (ret == -EEXIST) {
		config.name[0] = '\0';
		ret = netmember_new(net, &config, QUEUES_MAX, out);
	}
	return ret;
}

static int new_guest(struct seats *s, pid_t owner, const char *tap,
		     struct guest **out)
{
	struct guest *g = calloc(1, sizeof(*g));
	int ret;

	if (!g)
		return -ENOMEM;
	g->owner = owner;
	memcpy(g->tap, tap, IFNAMSIZ);
	g->number = take_number(s);
	ret = join_network(s, g->number, &g->member);
	if (ret < 0) {
		give_number(s, g->number);
		free(g);
		return ret;
	}
	LIST_INSERT_HEAD(&s->guests, g, link);
	*out = g;
	return 0;
}

/* With the lock; the last queue takes the member along. */
static void leave(struct seats *s, struct guest *g, unsigned int queue)
{
	g->queues &= ~BIT(queue);
	if (g->queues)
		return;
	LIST_REMOVE(g, link);
	netmember_free(g->member);
	give_number(s, g->number);
	free(g);
}

/* A queue of the guest that @owner and @fd tell. */
static int join(struct seat *s, int fd, pid_t owner)
{
	struct seats *seats = s->seats;
	char tap[IFNAMSIZ];
	struct guest *g;
	int ret = 0;

	tap_name(fd, tap);
	pthread_mutex_lock(&seats->lock);
	g = find_guest(seats, owner, tap);
	if (!g)
		ret = new_guest(seats, owner, tap, &g);
	if (ret < 0)
		goto out;
	s->queue = (unsigned int)__builtin_ctzll(~g->queues);
	g->queues |= BIT(s->queue);
	ret = netmember_open(g->member, s->queue, &s->ends[0], &s->ends[1]);
	if (ret < 0) {
		s->ends[0] = s->ends[1] = NULL;
		leave(seats, g, s->queue);
		goto out;
	}
	s->guest = g;
out:
	pthread_mutex_unlock(&seats->lock);
	return ret;
}

/* ---- a session's ---- */

int seat_new(struct seats *seats, struct seat **out)
{
	struct seat *s = calloc(1, sizeof(*s));
	char name[NETWORK_NAME_MAX + 1];
	int ret;

	if (!s)
		return -ENOMEM;
	s->seats = seats;
	s->number = -1;
	s->capture_if = seats->capture_if;
	if (seats->capture) {
		pthread_mutex_lock(&seats->lock);
		s->number = take_number(seats);
		pthread_mutex_unlock(&seats->lock);
		make_name(seats, s->number, name, sizeof(name));
		ret = capture_add(seats->capture, name);
		if (ret >= 0)
			s->capture_if = (unsigned int)ret;
	}
	*out = s;
	return 0;
}

void seat_free(struct seat *s)
{
	if (!s)
		return;
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		netport_close(s->ends[i]);
	netsource_free(s->source);
	pthread_mutex_lock(&s->seats->lock);
	if (s->guest)
		leave(s->seats, s->guest, s->queue);
	give_number(s->seats, s->number);
	pthread_mutex_unlock(&s->seats->lock);
	free(s);
}

/* null or loop: of this session alone. */
static int open_source(struct seat *s)
{
	char error[256];
	int ret;

	ret = netsource_new(s->seats->dev->end.port, 1, &s->source, error,
			    sizeof(error));
	if (ret < 0)
		return ret;
	ret = netsource_open(s->source, 0, &s->ends[0], &s->ends[1]);
	if (ret < 0) {
		netsource_free(s->source);
		s->source = NULL;
		s->ends[0] = s->ends[1] = NULL;
	}
	return ret;
}

void seat_enable(struct seat *s, bool on)
{
	if (s->guest && on != s->enabled)
		netmember_enable(s->guest->member, s->queue, on);
	s->enabled = s->guest && on;
}

static int open_end(struct seat *s, unsigned int qi, int fd, pid_t owner,
		    struct netport **port)
{
	const struct option_end *end = &s->seats->dev->end;
	int ret = netport_check_fd(fd);

	if (ret == 0 && !s->ends[0])
		ret = end->net[0] ? join(s, fd, owner) : open_source(s);
	if (ret < 0)
		return ret;
	*port = netport_get(s->ends[qi]);
	return 0;
}

/* The port of the descriptor itself. */
static int open_fd(int fd, struct netport **port)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	int ret;

	if (copy < 0)
		return -EMFILE;
	ret = netport_from_fd(copy, port);
	if (ret < 0)
		close(copy);
	return ret;
}

int seat_open(struct seat *s, unsigned int qi, int fd, pid_t owner,
	      struct netport **port)
{
	const struct option_end *end = &s->seats->dev->end;
	struct netport *inner;
	int ret;

	if (end->net[0] || end->port[0])
		ret = open_end(s, qi, fd, owner, &inner);
	else
		ret = open_fd(fd, &inner);
	if (ret < 0)
		return ret;
	if (!s->seats->capture) {
		*port = inner;
		return 0;
	}
	ret = capture_wrap(s->seats->capture, s->capture_if, inner, port);
	if (ret < 0)
		netport_close(inner);
	return ret;
}

const char *seat_name(const struct seat *s)
{
	return s->guest ? netmember_name(s->guest->member) : "";
}
