/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wire.c has the packet port and the pcap port beside the bare calls that they
 * stand for, on one end of a veth in a network namespace of its own.
 *
 * Sending: processor time of the calls, with what the kernel does in them to
 * bring a frame to the far end, where nobody receives. Receiving: a burst of
 * frames is brought into the socket's buffer at rest, then the calls are timed
 * that take them out. The bare calls copy nothing that the ports do
 * not copy: the callback of pcap_dispatch copies a frame into a buffer.
 */
#ifndef WIRE_H
#define WIRE_H

#include "bench.h"

/** struct wire_kind - arg of a scenario; @size: bytes of a frame, up to 1514 */
struct wire_kind {
	bool pcap; /* else packet */
	bool receives;
	unsigned int size;
};

int wire_open(struct bench *b);
int wire_slice(struct bench *b, uint64_t ns, struct bench_sample *out);
void wire_close(struct bench *b);

#endif
