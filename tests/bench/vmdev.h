/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network device with the bench in the guest's place: ours, the kernel's
 * vhost-net or QEMU's virtio-net. Afterwards they are the same: rings, memory,
 * kick and call.
 */
#ifndef VMDEV_H
#define VMDEV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench.h"
#include "qemunet.h"
#include "vmm.h"

#define VMDEV_NODE "/dev/uvhost-net"
#define VMDEV_KERNEL_NODE "/dev/vhost-net"
/** VMDEV_NUM - entries of a ring */
#define VMDEV_NUM 256

enum vmdev_kind { VMDEV_OURS, VMDEV_KERNEL, VMDEV_QEMU };

#define VMDEV_SOFTIRQS 8

/**
 * struct vmdev
 * @mem:     guest memory
 * @q:       RX and TX
 * @worker:  VMDEV_KERNEL: vhost's worker, a thread of this process
 * @softirq: the kernel's threads for what an interrupt has left undone
 * @v, @qn:  one of them; the other is NULL
 */
struct vmdev {
	struct bench *b;
	enum vmdev_kind kind;
	struct vmm_mem *mem;
	struct vmm_queue *q;
	pid_t worker;
	pid_t softirq[VMDEV_SOFTIRQS];
	unsigned int softirqs;
	struct vmm *v;
	struct qemunet *qn;
};

/**
 * vmdev_config() - for vmm_new(): the device node, memory and features of a
 * measurement
 */
struct vmm_config vmdev_config(enum vmdev_kind kind, bool copied);

/** vmdev_lacks() - 0, or BENCH_LACKS with bench_why() called if this machine
 * does not have that device */
int vmdev_lacks(struct bench *b, enum vmdev_kind kind);

/**
 * vmdev_open() - open the device and start it on a tap
 * @copied: guest memory is private, so that we copy it; not for VMDEV_QEMU
 *
 * Its worker is bound to BENCH_CPU_BACKEND. Return: 0, or -errno with
 * bench_why() called.
 */
int vmdev_open(struct vmdev *d, struct bench *b, enum vmdev_kind kind,
	       bool copied, int tap);
void vmdev_close(struct vmdev *d);

/** vmdev_threads() - only for vmdev_cpu_ns(): a device that somebody else has
 * open; without the worker of VMDEV_KERNEL, and without QEMU */
void vmdev_threads(struct vmdev *d, struct bench *b, enum vmdev_kind kind);

/** vmdev_publish() - show queue @qi's new buffers, and kick if that is wanted
 */
void vmdev_publish(struct vmdev *d, unsigned int qi);

/**
 * vmdev_cpu_ns() - processor time of the device so far: of the daemon, the
 * worker or QEMU, and of kernel threads; exact while they sleep
 */
uint64_t vmdev_cpu_ns(const struct vmdev *d);

#endif
