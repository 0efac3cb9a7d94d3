/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qemunet.c drives QEMU's virtio-net-pci through qtest, see qemunet.h.
 *
 * Source: virtio 1.2 §4.1.4; QEMU docs/specs/ivshmem-spec.txt.
 */
#include "qemunet.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "agent.h"
#include "fdmsg.h"
#include "qtest.h"

#define MEMORY (UINT64_C(32) << 20)
/* Rings and buffers lie above what a PC has below 1 MiB. */
#define FIRST_FREE (UINT64_C(1) << 20)
#define FIRMWARE 65536
#define START_MS 60000
#define PROBE_MS 60000
#define PATH_ROOM 200

/* Where the two devices and their registers are. */
#define NET_SLOT 4
#define DOORBELL_SLOT 5
#define NET_BASE 0xe0000000u /* its BARs, NET_STEP apart */
#define NET_STEP 0x01000000u
#define NET_BARS 6
#define DOORBELL_BASE 0xf0000000u
#define DOORBELL (DOORBELL_BASE + 12) /* ivshmem's register */
/* What is written there: the peer with number 1 gets the eventfd of a queue. */
#define DOORBELL_PEER 1
#define DOORBELL_VALUE(qi) (DOORBELL_PEER << 16 | (qi))

static const char net_card[] = "virtio-net-pci,netdev=n0,addr=04.0,"
			       "disable-legacy=on,vectors=4,romfile=";

struct qemunet {
	struct bench *b;
	pid_t pid;
	struct qtest qtest;
	int doorbell; /* the ivshmem server's end */
	struct vmm_mem mem;
	struct vmm_queue queue[VMM_QUEUES];
	uint64_t common;   /* struct virtio_pci_common_cfg */
	const char *doing; /* what failed, if something did */
};

pid_t qemunet_pid(const struct qemunet *qn)
{
	return qn->pid;
}

struct vmm_mem *qemunet_mem(struct qemunet *qn)
{
	return &qn->mem;
}

struct vmm_queue *qemunet_queue(struct qemunet *qn)
{
	return qn->queue;
}

/* ---- rings ---- */

static int make_queue(struct qemunet *qn, unsigned int qi, uint64_t features,
		      unsigned int num)
{
	struct vmm_queue *q = &qn->queue[qi];

	q->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (q->call < 0)
		return -errno;
	q->ring_gpa = vmm_mem_alloc(&qn->mem, vmm_ring_bytes(num), 4096);
	if (!q->ring_gpa)
		return -ENOMEM;
	q->ring_mem = vmm_mem_ptr(&qn->mem, q->ring_gpa);
	return vmm_ring_init(&q->ring, q->ring_mem, num, features);
}

static int make_memory(struct qemunet *qn, uint64_t features, unsigned int num)
{
	int ret = vmm_mem_add(&qn->mem, VMM_MEM_MEMFD, 0, MEMORY);

	if (ret < 0)
		return ret;
	qn->mem.region[0].used = FIRST_FREE;
	for (unsigned int qi = 0; ret == 0 && qi < VMM_QUEUES; qi++)
		ret = make_queue(qn, qi, features, num);
	return ret;
}

/* ---- the process ---- */

/* What the processor starts with, at the end of the firmware: cli, and hlt for
 * ever. (-accel qtest has no processor at all, but Debian's QEMU does not have
 * it; -S would stop the devices too.) */
static int make_firmware(const char *dir)
{
	static const uint8_t code[] = { 0xfa, 0xf4, 0xeb, 0xfd };
	char path[PATH_ROOM];
	int ret = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/firmware", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, FIRMWARE) < 0 ||
	    pwrite(fd, code, sizeof(code), FIRMWARE - 16) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int spawn(struct qemunet *qn, int tap)
{
	char memory[PATH_ROOM], firmware[PATH_ROOM], net[64];
	char qtest[PATH_ROOM], doorbell[PATH_ROOM];
	const char *const argv[] = {
		"qemu-system-x86_64",
		"-machine",
		"pc,accel=tcg,memory-backend=m",
		"-bios",
		firmware,
		"-m",
		"32",
		"-object",
		memory,
		"-nodefaults",
		"-no-user-config",
		"-display",
		"none",
		"-qtest",
		qtest,
		"-qtest-log",
		"none",
		"-netdev",
		net,
		"-device",
		net_card,
		"-chardev",
		doorbell,
		"-device",
		"ivshmem-doorbell,chardev=d0,vectors=2,addr=05.0",
		NULL,
	};

	_Static_assert(MEMORY == 32 << 20, "-m");
	snprintf(memory, sizeof(memory),
		 "memory-backend-file,id=m,size=32M,share=on,"
		 "mem-path=/proc/%d/fd/%d",
		 getpid(), qn->mem.region[0].fd);
	snprintf(firmware, sizeof(firmware), "%s/firmware", qn->b->dir);
	snprintf(net, sizeof(net), "tap,id=n0,vhost=off,fd=%d", tap);
	snprintf(qtest, sizeof(qtest), "unix:%s/qtest", qn->b->dir);
	snprintf(doorbell, sizeof(doorbell), "socket,id=d0,path=%s/doorbell",
		 qn->b->dir);
	qn->pid = bench_spawn(qn->b, BENCH_CPU_BACKEND, "qemu.log", NULL, argv);
	return qn->pid < 0 ? qn->pid : 0;
}

static int say_to_doorbell(int sock, int64_t number, int fd)
{
	ssize_t n = fdmsg_send(sock, &number, sizeof(number), &fd, fd >= 0, 0);

	return n < 0 ? (int)n : 0;
}

/* QEMU waits for all this: version, its own number, the eventfds of the other
 * peer, and the shared memory, of which it wants some. */
static int serve_doorbell(struct qemunet *qn)
{
	int mem = memfd_create("ivshmem", MFD_CLOEXEC);
	int ret;

	if (mem < 0)
		return -errno;
	ret = ftruncate(mem, 4096) < 0 ? -errno : 0;
	if (ret == 0)
		ret = say_to_doorbell(qn->doorbell, 0, -1);
	if (ret == 0)
		ret = say_to_doorbell(qn->doorbell, 0, -1);
	for (unsigned int qi = 0; ret == 0 && qi < VMM_QUEUES; qi++)
		ret = say_to_doorbell(qn->doorbell, DOORBELL_PEER,
				      qn->queue[qi].call);
	if (ret == 0)
		ret = say_to_doorbell(qn->doorbell, -1, mem);
	close(mem);
	return ret;
}

/* As qtest_accept(). */
static int accept_doorbell(struct qemunet *qn, int listener)
{
	struct qtest as_qtest;
	int ret = qtest_accept(&as_qtest, listener, qn->pid, START_MS);

	qn->doorbell = as_qtest.fd;
	return ret ? ret : serve_doorbell(qn);
}

static int start_process(struct qemunet *qn, int tap)
{
	char path[PATH_ROOM];
	int qtest, doorbell, kept, ret;

	snprintf(path, sizeof(path), "%s/qtest", qn->b->dir);
	qtest = qtest_listen(path);
	if (qtest < 0)
		return qtest;
	snprintf(path, sizeof(path), "%s/doorbell", qn->b->dir);
	doorbell = qtest_listen(path);
	if (doorbell < 0) {
		close(qtest);
		return doorbell;
	}
	kept = dup(tap); /* without close-on-exec */
	ret = kept < 0 ? -errno : make_firmware(qn->b->dir);
	if (ret == 0)
		ret = spawn(qn, kept);
	if (kept >= 0)
		close(kept);
	if (ret < 0) {
		close(qtest);
		close(doorbell);
		return ret;
	}
	ret = accept_doorbell(qn, doorbell);
	if (ret < 0) {
		close(qtest);
		return ret;
	}
	return qtest_accept(&qn->qtest, qtest, qn->pid, START_MS);
}

/* ---- the card ---- */

static uint64_t net_bar(unsigned int bar)
{
	return NET_BASE + bar * (uint64_t)NET_STEP;
}

/* MSI-X on, a vector for each queue: its message rings the doorbell. */
static int set_up_vectors(struct qemunet *qn)
{
	struct qtest *q = &qn->qtest;
	unsigned int cap = qtest_pci_cap(q, NET_SLOT, PCI_CAP_ID_MSIX, 0);
	uint32_t where, flags;
	uint64_t table;

	if (!cap)
		return q->err ? q->err : -ENXIO;
	where = qtest_pci_read(q, NET_SLOT, 4, cap + PCI_MSIX_TABLE);
	table = net_bar(where & PCI_MSIX_TABLE_BIR) +
		(where & PCI_MSIX_TABLE_OFFSET);
	flags = qtest_pci_read(q, NET_SLOT, 2, cap + PCI_MSIX_FLAGS);
	qtest_pci_write(q, NET_SLOT, 2, cap + PCI_MSIX_FLAGS,
			flags | PCI_MSIX_FLAGS_ENABLE);
	for (unsigned int qi = 0; qi < VMM_QUEUES; qi++) {
		uint64_t entry = table + (uint64_t)qi * PCI_MSIX_ENTRY_SIZE;

		qtest_write(q, 4, entry + PCI_MSIX_ENTRY_LOWER_ADDR, DOORBELL);
		qtest_write(q, 4, entry + PCI_MSIX_ENTRY_UPPER_ADDR, 0);
		qtest_write(q, 4, entry + PCI_MSIX_ENTRY_DATA,
			    DOORBELL_VALUE(qi));
		qtest_write(q, 4, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
	}
	return q->err;
}

/* Finds the common configuration. */
static int set_up_pci(struct qemunet *qn)
{
	struct qtest *q = &qn->qtest;
	unsigned int cap = 0;

	for (unsigned int bar = 0; bar < NET_BARS; bar++)
		if (bar != 5) /* the upper half of BAR 4 */
			qtest_pci_bar(q, NET_SLOT, bar, net_bar(bar));
	qtest_pci_bar(q, DOORBELL_SLOT, 0, DOORBELL_BASE);
	qtest_pci_enable(q, NET_SLOT);
	qtest_pci_enable(q, DOORBELL_SLOT);
	do {
		cap = qtest_pci_cap(q, NET_SLOT, PCI_CAP_ID_VNDR, cap);
		if (!cap)
			return q->err ? q->err : -ENXIO;
	} while (
		qtest_pci_read(q, NET_SLOT, 1, cap + VIRTIO_PCI_CAP_CFG_TYPE) !=
		VIRTIO_PCI_CAP_COMMON_CFG);
	qn->common =
		net_bar(qtest_pci_read(q, NET_SLOT, 1,
				       cap + VIRTIO_PCI_CAP_BAR)) +
		qtest_pci_read(q, NET_SLOT, 4, cap + VIRTIO_PCI_CAP_OFFSET);
	return q->err;
}

static void set_status(struct qemunet *qn, uint8_t status)
{
	qtest_write(&qn->qtest, 1, qn->common + VIRTIO_PCI_COMMON_STATUS,
		    status);
}

static int set_features(struct qemunet *qn, uint64_t features)
{
	struct qtest *q = &qn->qtest;

	for (unsigned int half = 0; half < 2; half++) {
		uint32_t offered, want = (uint32_t)(features >> 32 * half);

		qtest_write(q, 4, qn->common + VIRTIO_PCI_COMMON_DFSELECT,
			    half);
		offered = (uint32_t)qtest_read(
			q, 4, qn->common + VIRTIO_PCI_COMMON_DF);
		if (!q->err && want & ~offered)
			return -EOPNOTSUPP; /* QEMU does not offer all */
		qtest_write(q, 4, qn->common + VIRTIO_PCI_COMMON_GFSELECT,
			    half);
		qtest_write(q, 4, qn->common + VIRTIO_PCI_COMMON_GF, want);
	}
	return q->err;
}

static void set_queue(struct qemunet *qn, unsigned int qi)
{
	const struct vmm_queue *vq = &qn->queue[qi];
	const struct vmm_ring *r = &vq->ring;
	const uint8_t *start = vq->ring_mem;
	const uint64_t part[3] = {
		vq->ring_gpa,
		vq->ring_gpa + (uint64_t)((const uint8_t *)r->avail - start),
		vq->ring_gpa + (uint64_t)((const uint8_t *)r->used - start),
	};
	struct qtest *q = &qn->qtest;
	uint64_t c = qn->common;

	qtest_write(q, 2, c + VIRTIO_PCI_COMMON_Q_SELECT, qi);
	qtest_write(q, 2, c + VIRTIO_PCI_COMMON_Q_SIZE, r->num);
	qtest_write(q, 2, c + VIRTIO_PCI_COMMON_Q_MSIX, qi);
	for (unsigned int i = 0; i < 3; i++) {
		uint64_t at = c + VIRTIO_PCI_COMMON_Q_DESCLO + i * UINT64_C(8);

		qtest_write(q, 4, at, (uint32_t)part[i]);
		qtest_write(q, 4, at + 4, (uint32_t)(part[i] >> 32));
	}
	qtest_write(q, 2, c + VIRTIO_PCI_COMMON_Q_ENABLE, 1);
}

/* virtio 1.2 §3.1.1 */
static int set_up_card(struct qemunet *qn, uint64_t features)
{
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	int ret;

	set_status(qn, 0);
	set_status(qn, status);
	ret = set_features(qn, features);
	if (ret < 0)
		return ret;
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	set_status(qn, status);
	if (!(qtest_read(&qn->qtest, 1, qn->common + VIRTIO_PCI_COMMON_STATUS) &
	      VIRTIO_CONFIG_S_FEATURES_OK))
		return qn->qtest.err ? qn->qtest.err : -EPROTO;
	for (unsigned int qi = 0; qi < VMM_QUEUES; qi++)
		set_queue(qn, qi);
	set_status(qn, status | VIRTIO_CONFIG_S_DRIVER_OK);
	return qn->qtest.err;
}

/* ---- kicks ---- */

#define NOTIFIERS 3 /* RX, TX, control: each queue has one */
#define FDS 256

static bool is_eventfd(pid_t pid, int fd)
{
	char path[64], target[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	n = readlink(path, target, sizeof(target));
	return n > 0 && memmem(target, (size_t)n, "[eventfd]", 9);
}

/* Which descriptors of QEMU are eventfds */
static void find_eventfds(pid_t pid, bool is[FDS])
{
	for (int fd = 0; fd < FDS; fd++)
		is[fd] = is_eventfd(pid, fd);
}

/*
 * At DRIVER_OK QEMU makes an eventfd for each queue, in the order of the
 * queues. A new descriptor is always the lowest that is free, so their order is
 * that of the queues as well.
 */
static int take_kicks(struct qemunet *qn, const bool before[FDS])
{
	int made[NOTIFIERS], pidfd;
	unsigned int n = 0;
	bool now[FDS];

	find_eventfds(qn->pid, now);
	for (int fd = 0; fd < FDS; fd++) {
		if (!now[fd] || before[fd])
			continue;
		if (n == NOTIFIERS)
			return -E2BIG;
		made[n++] = fd;
	}
	if (n < NOTIFIERS)
		return -ENOENT;
	pidfd = pidfd_open(qn->pid, 0);
	if (pidfd < 0)
		return -errno;
	for (unsigned int qi = 0; qi < VMM_QUEUES; qi++)
		qn->queue[qi].kick = pidfd_getfd(pidfd, made[qi], 0);
	close(pidfd);
	return qn->queue[VMM_RX].kick < 0 || qn->queue[VMM_TX].kick < 0 ? -EPERM
									: 0;
}

/* One frame of zeros: shows that kick and call of TX are the right ones. */
static int try_tx(struct qemunet *qn)
{
	struct vmm_queue *q = &qn->queue[VMM_TX];
	uint64_t one = 1, buf = vmm_mem_alloc(&qn->mem, 128, 64);
	struct vmm_seg seg = { .addr = buf, .len = 12 + 64 };
	struct vmm_used used;
	int ret;

	if (!buf || vmm_ring_add(&q->ring, &seg, 1, NULL) < 0)
		return -ENOMEM;
	vmm_ring_calls_on(&q->ring);
	vmm_ring_publish(&q->ring);
	if (write(q->kick, &one, sizeof(one)) < 0)
		return -errno;
	ret = vmm_wait_event(q->call, PROBE_MS);
	if (ret < 0)
		return ret;
	vmm_event_count(q->call);
	return vmm_ring_reap(&q->ring, &used, 1) == 1 ? 0 : -EPROTO;
}

/* ---- all of it ---- */

void qemunet_stop(struct qemunet *qn)
{
	if (!qn)
		return;
	qtest_close(&qn->qtest);
	if (qn->doorbell >= 0)
		close(qn->doorbell);
	bench_end(qn->pid);
	for (unsigned int qi = 0; qi < VMM_QUEUES; qi++) {
		struct vmm_queue *q = &qn->queue[qi];

		vmm_ring_free(&q->ring);
		if (q->call >= 0)
			close(q->call);
		if (q->kick >= 0)
			close(q->kick);
	}
	vmm_mem_free(&qn->mem);
	free(qn);
}

static int start(struct qemunet *qn, int tap, uint64_t features)
{
	bool eventfds[FDS];
	int ret;

	qn->doing = "QEMU's start";
	ret = start_process(qn, tap);
	if (ret < 0)
		return ret;
	qn->doing = "PCI configuration through qtest";
	ret = set_up_pci(qn);
	if (ret == 0)
		ret = set_up_vectors(qn);
	if (ret < 0)
		return ret;
	qn->doing = "virtio-net set-up through qtest";
	find_eventfds(qn->pid, eventfds);
	ret = set_up_card(qn, features);
	if (ret < 0)
		return ret;
	qn->doing = "QEMU's ioeventfds";
	ret = take_kicks(qn, eventfds);
	if (ret < 0)
		return ret;
	qn->doing = "a frame through QEMU, by ioeventfd and MSI-X";
	return try_tx(qn);
}

/* What was tried, and what QEMU said */
static void say_why(struct qemunet *qn, int err)
{
	char path[PATH_ROOM], line[200];

	snprintf(path, sizeof(path), "%s/qemu.log", qn->b->dir);
	agent_log_end(path, line, sizeof(line));
	bench_why(qn->b, err, "%s: %s%s%s", qn->doing, strerror(-err),
		  line[0] ? ": " : "", line);
}

int qemunet_start(struct bench *b, int tap, uint64_t features, unsigned int num,
		  struct qemunet **out)
{
	struct qemunet *qn = calloc(1, sizeof(*qn));
	int ret;

	if (!qn)
		return bench_why(b, -ENOMEM, "no memory");
	qn->b = b;
	qn->doing = "memory";
	qn->doorbell = qn->qtest.fd = -1;
	for (unsigned int qi = 0; qi < VMM_QUEUES; qi++)
		qn->queue[qi].call = qn->queue[qi].kick = -1;
	ret = make_memory(qn, features, num);
	if (ret == 0)
		ret = start(qn, tap, features);
	if (ret < 0) {
		say_why(qn, ret);
		qemunet_stop(qn);
		return ret;
	}
	*out = qn;
	return 0;
}
