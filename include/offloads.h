/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The offloads of virtio-net, virtio 1.2 §5.1.3. Of each: its name in options,
 * the bit by which a device takes frames that need it (HOST), and the bit by
 * which a guest does (GUEST).
 */
#ifndef OFFLOADS_H
#define OFFLOADS_H

#include "abi.h"
#include "bytes.h"

/* Those of tap devices and packet sockets. */
#define OFFLOADS_OF_KERNEL(X)          \
	X(csum, CSUM, GUEST_CSUM)      \
	X(tso4, HOST_TSO4, GUEST_TSO4) \
	X(tso6, HOST_TSO6, GUEST_TSO6) \
	X(ecn, HOST_ECN, GUEST_ECN)
/* Those that net/offload/ can do. */
#define OFFLOADS_OF_NETWORK(X)        \
	OFFLOADS_OF_KERNEL(X)         \
	X(ufo, HOST_UFO, GUEST_UFO)   \
	X(uso4, HOST_USO, GUEST_USO4) \
	X(uso6, HOST_USO, GUEST_USO6)

#define OFFLOAD_GUEST_BIT(name, host, guest) | BIT(VIRTIO_NET_F_##guest)
#define OFFLOAD_BITS(name, host, guest) \
	| BIT(VIRTIO_NET_F_##host) | BIT(VIRTIO_NET_F_##guest)

/** OFFLOADS_GUEST - VIRTIO_NET_F_GUEST_* of all */
#define OFFLOADS_GUEST (UINT64_C(0) OFFLOADS_OF_NETWORK(OFFLOAD_GUEST_BIT))
/** Both bits of each, for what a port takes and gives */
#define OFFLOADS_BOTH (UINT64_C(0) OFFLOADS_OF_NETWORK(OFFLOAD_BITS))
#define OFFLOADS_BOTH_KERNEL (UINT64_C(0) OFFLOADS_OF_KERNEL(OFFLOAD_BITS))

#endif
