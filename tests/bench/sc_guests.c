/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sc_guests.c: from guest to guest through a network of the daemon, against
 * testpmd that forwards between net_vhost ports (--forward-mode=io: without a
 * look at addresses, so it is a limit rather than a switch).
 *
 * Guests 2i and 2i + 1 are a pair. Guests of the first N pairs are busy, the
 * others have sent one frame and idle. Two ports are a wire, where the sender
 * waits for the receiver; with more the network is a switch, which drops frames
 * that find no room; frames received are counted. A network of three has a
 * third port that idles.
 *
 * One thread (guest.c) plays all guests, the same before both backends, which
 * have one processor each: uvhostd has a thread for every port, testpmd polls
 * all of them on one.
 *
 * With "gso" a guest sends TCP of 60 KiB, which its peer takes whole. Guests on
 * a character device have no peer here; their memory is mapped or copied.
 */
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpdk.h"
#include "guest.h"

#define PORTS_MAX 8
#define DEVICE "uvbench-net"

enum kind { SOCKET, MAPPED, COPIED };

struct guests_arg {
	unsigned int ports, pairs, size;
	bool both;
	enum kind kind;
};

struct guests {
	pid_t backend;
	struct guest *guest[PORTS_MAX];
	struct guest_pair pair[PORTS_MAX / 2];
};

/* ---- backends ---- */

static pid_t start_uvhostd(struct bench *b, const struct guests_arg *a)
{
	const char *args[2 * PORTS_MAX + 3] = { "--net", "lan" };
	char option[PORTS_MAX][64], last[16];
	unsigned int n = 2;

	for (unsigned int i = 0; i < a->ports; i++) {
		snprintf(option[i], sizeof(option[i]), "@DIR@/s%u,net=lan", i);
		args[n++] = "--socket-path";
		args[n++] = option[i];
	}
	args[n] = NULL;
	snprintf(last, sizeof(last), "s%u", a->ports - 1);
	return bench_daemon(b, BENCH_CPU_BACKEND, last, args);
}

static pid_t start_backend(struct bench *b, const struct guests_arg *a)
{
	const struct dpdk_config config = {
		.ports = a->ports,
		.mode = "io",
		.gso = a->size == GUEST_GSO,
	};

	if (a->kind != SOCKET)
		return b->daemon;
	return b->side == BENCH_OURS ? start_uvhostd(b, a)
				     : dpdk_start(b, &config);
}

/* The daemon of a character device, and threads of its sessions. */
static void pin_threads(pid_t pid)
{
	char path[64];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			bench_pin((pid_t)strtol(e->d_name, NULL, 10),
				  BENCH_CPU_BACKEND);
	if (d)
		closedir(d);
}

/* ---- guests ---- */

static int start_guest(struct bench *b, const struct guests_arg *a,
		       struct guests *g, unsigned int i)
{
	char socket[128];
	const struct guest_config config = {
		.socket = a->kind == SOCKET ? socket : NULL,
		.device = "/dev/" DEVICE,
		.copied = a->kind == COPIED,
		.size = a->size,
		.number = (uint8_t)(i + 1),
		.to = (uint8_t)((i ^ 1) + 1),
	};
	int ret;

	if (b->side == BENCH_OURS)
		snprintf(socket, sizeof(socket), "%s/s%u", b->dir, i);
	else
		snprintf(socket, sizeof(socket), "%s/" DPDK_SOCKET, b->dir, i);
	ret = guest_new(&config, &g->guest[i]);
	if (ret < 0)
		return guest_why(b, ret, "a guest");
	return 0;
}

static int begin(struct bench *b, const struct guests_arg *a, struct guests *g)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < a->ports; i++)
		ret = guest_hello(g->guest[i]);
	for (size_t i = 0; i < a->pairs; i++)
		g->pair[i] = (struct guest_pair){ .from = g->guest[2 * i],
						  .to = g->guest[2 * i + 1],
						  .both = a->both };
	if (ret == 0)
		ret = guest_begin(g->pair, a->pairs);
	if (ret < 0)
		return guest_why(b, ret, "no frames");
	return 0;
}

/* ---- scenarios ---- */

static int guests_open(struct bench *b)
{
	const struct guests_arg *a = b->scenario->arg;
	struct guests *g = calloc(1, sizeof(*g));
	int ret = 0;

	if (!g)
		return bench_why(b, -ENOMEM, "no memory");
	b->priv = g;
	if (bench_pin(0, BENCH_CPU_FRONTEND) < 0)
		return bench_why(b, BENCH_LACKS, "needs two processors");
	g->backend = start_backend(b, a);
	if (g->backend < 0)
		return g->backend;
	for (unsigned int i = 0; ret == 0 && i < a->ports; i++)
		ret = start_guest(b, a, g, i);
	if (ret < 0)
		return ret;
	if (a->kind != SOCKET)
		pin_threads(g->backend);
	return begin(b, a, g);
}

static int guests_slice(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	const struct guests_arg *a = b->scenario->arg;
	struct guests *g = b->priv;
	uint64_t cpu = bench_cpu_ns(g->backend);
	struct guest_flow f;
	int ret = guest_run(g->pair, a->pairs, ns, &f);

	if (ret < 0)
		return guest_why(b, ret, "no frames");
	out->ops = f.frames;
	out->ns = f.ns;
	out->bytes = f.frames * guest_frame_bytes(g->guest[0]);
	out->cpu_ns = bench_cpu_ns(g->backend) - cpu;
	bench_note(b, "frontend_idle_percent",
		   100.0 * (double)f.idle_ns / (double)f.ns);
	return 0;
}

static void guests_close(struct bench *b)
{
	const struct guests_arg *a = b->scenario->arg;
	struct guests *g = b->priv;

	if (!g)
		return;
	for (unsigned int i = 0; i < PORTS_MAX; i++)
		guest_free(g->guest[i]);
	if (b->side == BENCH_PEER)
		dpdk_end(g->backend);
	else if (a->kind == SOCKET)
		bench_end(g->backend);
	free(g);
	b->priv = NULL;
}

#define ARG(...) (&(const struct guests_arg){ __VA_ARGS__ })
#define GUESTS(name_, what_, peer_, device_, ...) \
	{                                         \
		.name = "guests/" name_,          \
		.what = what_,                    \
		.op = "frame",                    \
		.measure = BENCH_RATE,            \
		.peer = peer_,                    \
		.device = device_,                \
		.open = guests_open,              \
		.slice = guests_slice,            \
		.close = guests_close,            \
		.arg = ARG(__VA_ARGS__),          \
	}
#define SOCKETS(name, what, ...) \
	GUESTS(name, what, "testpmd io", NULL, .kind = SOCKET, __VA_ARGS__)
#define DEVICES(name, what, ...)                                          \
	GUESTS(name, "guest to guest on a character device, " what, NULL, \
	       device, .ports = 2, .pairs = 1, __VA_ARGS__)
#define EIGHT "network of 8 ports over vhost-user, "

static const char *const device[] = { "--net", "lan", "--device",
				      DEVICE ",net=lan,offloads=all", NULL };

const struct scenario scenarios_guests[] = {
	SOCKETS("one-way/64", "guest to guest over vhost-user", .ports = 2,
		.pairs = 1, .size = 64),
	SOCKETS("one-way/1500", "guest to guest over vhost-user", .ports = 2,
		.pairs = 1, .size = 1500),
	SOCKETS("one-way/gso", "guest to guest over vhost-user, TCP of 60 KiB",
		.ports = 2, .pairs = 1, .size = GUEST_GSO),
	SOCKETS("both-ways/64", "two guests over vhost-user to each other",
		.ports = 2, .pairs = 1, .size = 64, .both = true),
	SOCKETS("both-ways/1500", "two guests over vhost-user to each other",
		.ports = 2, .pairs = 1, .size = 1500, .both = true),
	SOCKETS("both-ways/gso",
		"two guests over vhost-user to each other, TCP of 60 KiB",
		.ports = 2, .pairs = 1, .size = GUEST_GSO, .both = true),
	SOCKETS("3-ports/64", "guest to guest, a third one is idle", .ports = 3,
		.pairs = 1, .size = 64),
	SOCKETS("3-ports/1500", "guest to guest, a third one is idle",
		.ports = 3, .pairs = 1, .size = 1500),
	SOCKETS("8-ports/1-pair/64", EIGHT "one pair busy, one way", .ports = 8,
		.pairs = 1, .size = 64),
	SOCKETS("8-ports/1-pair/1500", EIGHT "one pair busy, one way",
		.ports = 8, .pairs = 1, .size = 1500),
	SOCKETS("8-ports/4-pairs/64", EIGHT "four pairs busy, one way",
		.ports = 8, .pairs = 4, .size = 64),
	SOCKETS("8-ports/4-pairs/1500", EIGHT "four pairs busy, one way",
		.ports = 8, .pairs = 4, .size = 1500),
	DEVICES("mapped/64", "mapped memory", .kind = MAPPED, .size = 64),
	DEVICES("mapped/1500", "mapped memory", .kind = MAPPED, .size = 1500),
	DEVICES("mapped/gso", "mapped memory, TCP of 60 KiB", .kind = MAPPED,
		.size = GUEST_GSO),
	DEVICES("copied/64", "copied memory", .kind = COPIED, .size = 64),
	DEVICES("copied/1500", "copied memory", .kind = COPIED, .size = 1500),
	DEVICES("copied/gso", "copied memory, TCP of 60 KiB", .kind = COPIED,
		.size = GUEST_GSO),
	{ .name = NULL },
};
