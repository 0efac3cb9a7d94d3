/* SPDX-License-Identifier: BSD-3-Clause */
/* vmdev.c opens the three devices that are compared; see vmdev.h. */
#include "vmdev.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#define MEMORY (UINT64_C(32) << 20)
#define RING_FEATURES                                                    \
	(VMM_BIT(VIRTIO_F_VERSION_1) | VMM_BIT(VIRTIO_NET_F_MRG_RXBUF) | \
	 VMM_BIT(VIRTIO_RING_F_EVENT_IDX) |                              \
	 VMM_BIT(VIRTIO_RING_F_INDIRECT_DESC))
/* vhost leaves these to the tap. */
#define OFFLOADS                                                         \
	(VMM_BIT(VIRTIO_NET_F_CSUM) | VMM_BIT(VIRTIO_NET_F_GUEST_CSUM) | \
	 VMM_BIT(VIRTIO_NET_F_HOST_TSO4) | VMM_BIT(VIRTIO_NET_F_GUEST_TSO4))

struct vmm_config vmdev_config(enum vmdev_kind kind, bool copied)
{
	return (struct vmm_config){
		.path = kind == VMDEV_OURS ? VMDEV_NODE : VMDEV_KERNEL_NODE,
		.mem_kind = copied ? VMM_MEM_PRIVATE : VMM_MEM_MEMFD,
		.mem_size = MEMORY,
		.num = { VMDEV_NUM, VMDEV_NUM },
		.features = RING_FEATURES,
	};
}

static bool is_program(const char *name)
{
	const char *at = getenv("PATH");
	char path[300];

	while (at && *at) {
		int len = (int)strcspn(at, ":");

		snprintf(path, sizeof(path), "%.*s/%s", len, at, name);
		if (access(path, X_OK) == 0)
			return true;
		at += len;
		at += *at == ':';
	}
	return false;
}

int vmdev_lacks(struct bench *b, enum vmdev_kind kind)
{
	if (kind == VMDEV_QEMU && !is_program("qemu-system-x86_64"))
		return bench_why(b, BENCH_LACKS, "no qemu-system-x86_64");
	/* The engine makes ours. */
	if (kind != VMDEV_KERNEL || access(VMDEV_KERNEL_NODE, R_OK | W_OK) == 0)
		return 0;
	return bench_why(b, BENCH_LACKS, "%s: %s", VMDEV_KERNEL_NODE,
			 strerror(errno));
}

/* ---- kernel threads ---- */

static void find_softirqs(struct vmdev *d)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;

	while (dir && (e = readdir(dir)) && d->softirqs < VMDEV_SOFTIRQS) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);

		if (pid > 0 && bench_worker(pid, "ksoftirqd/"))
			d->softirq[d->softirqs++] = pid;
	}
	if (dir)
		closedir(dir);
}

/* ---- open and close ---- */

static void find_worker(struct vmdev *d)
{
	pid_t tid;

	if (d->kind == VMDEV_OURS) {
		tid = bench_worker(d->b->daemon, "uvhost-");
	} else {
		tid = bench_worker(getpid(), "vhost-");
		d->worker = tid;
	}
	if (tid)
		bench_pin(tid, BENCH_CPU_BACKEND);
}

static int open_vhost(struct vmdev *d, bool copied, int tap)
{
	struct vmm_config config = vmdev_config(d->kind, copied);
	int ret = vmm_new(&config, &d->v);

	if (ret < 0)
		return bench_why(d->b, ret, "%s: %s", config.path,
				 strerror(-ret));
	ret = vmm_start(d->v, tap);
	if (ret < 0)
		return bench_why(d->b, ret, "start of %s: %s", config.path,
				 strerror(-ret));
	d->mem = &d->v->mem;
	d->q = d->v->q;
	find_worker(d);
	if (d->kind == VMDEV_KERNEL && !d->worker)
		return bench_why(d->b, -ESRCH,
				 "vhost's worker is no thread of its owner "
				 "(it is since Linux 6.4)");
	return 0;
}

static int open_qemu(struct vmdev *d, int tap)
{
	int ret = qemunet_start(d->b, tap, RING_FEATURES | OFFLOADS, VMDEV_NUM,
				&d->qn);

	if (ret < 0)
		return ret;
	d->mem = qemunet_mem(d->qn);
	d->q = qemunet_queue(d->qn);
	return 0;
}

int vmdev_open(struct vmdev *d, struct bench *b, enum vmdev_kind kind,
	       bool copied, int tap)
{
	int ret;

	*d = (struct vmdev){ .b = b, .kind = kind };
	ret = vmdev_lacks(b, kind);
	if (ret == 0)
		ret = kind == VMDEV_QEMU ? open_qemu(d, tap)
					 : open_vhost(d, copied, tap);
	if (ret == 0)
		find_softirqs(d);
	return ret;
}

void vmdev_threads(struct vmdev *d, struct bench *b, enum vmdev_kind kind)
{
	*d = (struct vmdev){ .b = b, .kind = kind };
	find_softirqs(d);
}

void vmdev_close(struct vmdev *d)
{
	vmm_free(d->v);
	qemunet_stop(d->qn);
	d->v = NULL;
	d->qn = NULL;
}

void vmdev_publish(struct vmdev *d, unsigned int qi)
{
	const uint64_t one = 1;

	if (vmm_ring_publish(&d->q[qi].ring) &&
	    write(d->q[qi].kick, &one, sizeof(one)) < 0)
		bench_why(d->b, 0, "kick: %s", strerror(errno));
}

uint64_t vmdev_cpu_ns(const struct vmdev *d)
{
	uint64_t ns = 0;

	if (d->kind == VMDEV_OURS)
		ns = bench_cpu_ns(d->b->daemon);
	else if (d->qn)
		ns = bench_cpu_ns(qemunet_pid(d->qn));
	else if (d->worker)
		ns = bench_thread_ns(getpid(), d->worker);
	for (unsigned int i = 0; i < d->softirqs; i++)
		ns += bench_cpu_ns(d->softirq[i]);
	return ns;
}
