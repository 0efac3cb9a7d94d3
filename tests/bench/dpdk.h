/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dpdk.c runs testpmd, DPDK's program for measurements, as a backend: it polls
 * one or more vhost-user sockets on processor BENCH_CPU_BACKEND, or on any.
 */
#ifndef DPDK_H
#define DPDK_H

#include "bench.h"

/** DPDK_SOCKET - format of the name, in the side's directory, of port N's */
#define DPDK_SOCKET "dpdk%u"
#define DPDK_FIRST "dpdk0"

/**
 * struct dpdk_config - what it does
 * @ports: vhost-user sockets
 * @mode:  --forward-mode: "rxonly" drops, "txonly" makes up frames, "io" sends
 *         what port 2n receives out of port 2n + 1 and the other way round (the
 *         last of an odd number: out of itself)
 * @size:  of frames that "txonly" makes up; else 0
 * @gso:   frames of up to 64 KiB, which keep their header
 * @roams: its threads may use both processors
 */
struct dpdk_config {
	unsigned int ports;
	const char *mode;
	unsigned int size;
	bool gso;
	bool roams;
};

/**
 * dpdk_start() - start testpmd and wait until its sockets listen
 * Return: its pid; or BENCH_LACKS or another -errno, with bench_why() called
 */
pid_t dpdk_start(struct bench *b, const struct dpdk_config *config);

/** dpdk_why() - bench_why() with @what and the last line that testpmd wrote */
int dpdk_why(struct bench *b, int err, const char *what);

/** dpdk_end() - kill it, which leaves nothing behind; 0 or less: nothing */
void dpdk_end(pid_t pid);

#endif
