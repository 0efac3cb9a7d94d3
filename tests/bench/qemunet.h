/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QEMU's own virtio-net (no vhost) with the bench in the guest's place.
 *
 * The processor of QEMU's machine is halted for ever. Its memory is a memfd of
 * ours, so that rings and buffers are reached by pointer. What a
 * guest's driver does once (PCI, features, queues) goes through the qtest
 * socket; frames do not:
 *
 * - The kick is the eventfd that QEMU has for the queue's doorbell
 *   (ioeventfd), which KVM would signal. It is taken from QEMU with
 *   pidfd_getfd(2).
 * - The call is an eventfd of ours: the queue's MSI-X message is a store to the
 *   doorbell register of an ivshmem device, which signals it. That takes
 *   QEMU's main loop one write(2), where a message to a guest under KVM would
 *   take it one ioctl(2).
 */
#ifndef QEMUNET_H
#define QEMUNET_H

#include <stdint.h>
#include <sys/types.h>

#include "bench.h"
#include "vmm.h"

struct qemunet;

/**
 * qemunet_start() - start QEMU and make its card ready to work
 * @tap:      tap queue; QEMU gets a duplicate
 * @features: to negotiate; all have to be offered
 * @num:      entries of a ring
 *
 * Return: 0, or -errno with bench_why() called and nothing left behind.
 */
int qemunet_start(struct bench *b, int tap, uint64_t features, unsigned int num,
		  struct qemunet **out);
void qemunet_stop(struct qemunet *qn);

/** qemunet_pid() - of QEMU */
pid_t qemunet_pid(const struct qemunet *qn);
/** qemunet_mem() - the machine's memory */
struct vmm_mem *qemunet_mem(struct qemunet *qn);
/** qemunet_queue() - RX and TX: ring, kick and call are valid */
struct vmm_queue *qemunet_queue(struct qemunet *qn);

#endif
