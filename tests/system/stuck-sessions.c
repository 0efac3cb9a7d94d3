/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stuck-sessions N [uffd|mute|SOCKET] - N sessions whose guest memory lies on a
 * FUSE file system that answers no read, so that their workers hang where no
 * signal reaches them. "hanging" is printed then, and a line or the end of the
 * input waited for. Their owners, of one user, are killed. Another user's open
 * has to succeed soon, though the device has no more than N places, and its
 * session has to work.
 *
 * With "uffd" it is private memory, whose pages another process holds back with
 * a userfaultfd. With "mute" the guests do not use that memory, but the file
 * system does not answer the close of a descriptor either; its server ends
 * before them. With SOCKET it is one vhost-user session there, and that is all.
 *
 * $UVHOST_DEV: the device. What holds the memory lives on for LIFE_S after we
 * end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <net/if.h>
#include <linux/if_packet.h>
#include <linux/userfaultfd.h>
#include <linux/virtio_config.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "deaf_file.h"
#include "die.h"
#include "vmm.h"
#include "vmm_net.h"

#define WAIT_MS 60000
#define LIFE_S 60
#define ALICE 12345 /* their user */
#define GUESTS_MAX 64
#define FILE_MEM (UINT64_C(1) << 20) /* of each guest */
#define FILE_GPA (UINT64_C(1) << 32)

static const char *device = "/dev/uvhost-net";
static const char *socket_path; /* of a vhost-user server with a port; NULL */
static bool use_uffd, mute;

struct shared {
	bool asked[GUESTS_MAX]; /* the file system was asked for its memory;
				 * with "mute": the guest has started */
};
static struct shared *shared;

static void note_read(uint64_t offset)
{
	shared->asked[offset / FILE_MEM % GUESTS_MAX] = true;
}

/* A descriptor of a file whose reads never end. */
static int open_file(pid_t *server)
{
	const struct deaf_file deaf = { .size = GUESTS_MAX * FILE_MEM,
					.life_s = LIFE_S,
					.reads = mute ? NULL : note_read,
					.no_flush = mute };
	int file = deaf_file_open(&deaf, server);

	if (file < 0) {
		printf("SKIP: no FUSE file system: %s\n", strerror(-file));
		exit(77);
	}
	printf("file system: process %d\n", *server);
	fflush(stdout);
	return file;
}

/* ---- a userfaultfd ---- */

/* Takes events and answers none. Ours must go, or we keep the owner's memory.
 */
static _Noreturn void hold_pages(int uffd, unsigned int n)
{
	struct uffd_msg msg;

	alarm(LIFE_S);
	for (;;) {
		ssize_t got = read(uffd, &msg, sizeof(msg));

		if (got < 0 && errno != EINTR)
			_exit(1);
		if (got == sizeof(msg) && msg.event == UFFD_EVENT_PAGEFAULT)
			shared->asked[n] = true;
	}
}

/* Private memory of this process, whose pages never come. */
static void *held_memory(unsigned int n)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	void *p = mmap(NULL, FILE_MEM, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	reg.range.start = (uintptr_t)p;
	reg.range.len = FILE_MEM;
	if (uffd < 0 || p == MAP_FAILED || ioctl(uffd, UFFDIO_API, &api) < 0 ||
	    ioctl(uffd, UFFDIO_REGISTER, &reg) < 0)
		die(-errno, "userfaultfd");
	if (fork() == 0)
		hold_pages(uffd, n);
	close(uffd);
	return p;
}

/* ---- guests ---- */

/* The memory of guest @n whose pages never come; made by root. */
static struct vmm_region hanging_memory(int file, unsigned int n)
{
	void *p = use_uffd ? held_memory(n)
			   : mmap(NULL, FILE_MEM, PROT_READ | PROT_WRITE,
				  MAP_SHARED, file, (off_t)(n * FILE_MEM));

	if (p == MAP_FAILED)
		die(-errno, "mmap");
	return (struct vmm_region){
		.gpa = FILE_GPA,
		.size = FILE_MEM,
		.hva = p,
		.fd = use_uffd ? 0 : dup(file),
		.fd_offset = use_uffd ? 0 : n * FILE_MEM,
	};
}

static int open_port(void)
{
	const struct sockaddr_ll lo = {
		.sll_family = AF_PACKET,
		.sll_ifindex = (int)if_nametoindex("lo"),
	};
	int port = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (port < 0 ||
	    bind(port, (const struct sockaddr *)&lo, sizeof(lo)) < 0)
		die(-errno, "packet socket");
	return port;
}

/* @more: memory that it has too; NULL: none */
static struct vmm *guest_start(const struct vmm_region *more, unsigned int n,
			       int port)
{
	struct vmm_mem mem = { .files = socket_path };
	struct vmm_config config = {
		.transport = socket_path ? VMM_USER : VMM_KERNEL,
		.path = device,
		.socket = socket_path,
		.features = VMM_BIT(VIRTIO_F_VERSION_1),
		.own_mem = &mem,
	};
	struct vmm *v;
	int ret = vmm_mem_add(&mem, VMM_MEM_PRIVATE, 0x100000, 4U << 20);

	if (ret == 0 && more)
		mem.region[mem.n++] = *more;
	if (ret == 0)
		ret = vmm_new(&config, &v);
	if (ret < 0)
		return NULL;
	ret = vmm_start(v, port);
	if (ret < 0)
		die(ret, "guest %u", n);
	return v;
}

static void offer(struct vmm *v, uint64_t gpa)
{
	struct vmm_seg seg = { .addr = gpa, .len = 72 };

	vmm_ring_add(&v->q[VMM_TX].ring, &seg, 1, NULL);
	vmm_ring_publish(&v->q[VMM_TX].ring);
	vmm_kick(v, VMM_TX);
}

static pid_t guest_fork(int file, unsigned int n)
{
	pid_t pid = fork();
	struct vmm_region more;
	struct vmm *v;
	int port;

	if (pid)
		return pid;
	port = open_port();
	more = hanging_memory(file, n);
	if (!socket_path && (setgid(ALICE) < 0 || setuid(ALICE) < 0))
		die(-errno, "setuid");
	v = guest_start(&more, n, port);
	if (!v)
		die(0, "guest %u: cannot open %s", n, device);
	if (mute)
		__atomic_store_n(&shared->asked[n], true, __ATOMIC_RELEASE);
	else
		offer(v, FILE_GPA);
	for (;;)
		pause();
}

static bool all_asked(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (!__atomic_load_n(&shared->asked[i], __ATOMIC_ACQUIRE))
			return false;
	return true;
}

static void wait_all_asked(unsigned int n)
{
	int64_t end = vmm_now_ms() + WAIT_MS;

	while (!all_asked(n)) {
		if (vmm_now_ms() > end)
			die(0, mute ? "a guest cannot start"
				    : "a worker does not touch its guest's "
				      "memory");
		poll(NULL, 0, 10);
	}
}

/* A session that works, as soon as there is a place. */
static void serve_another(void)
{
	int64_t start = vmm_now_ms(), end = start + WAIT_MS;
	int port = open_port();
	struct vmm *v;

	while (!(v = guest_start(NULL, 0, port))) {
		if (vmm_now_ms() > end)
			die(-errno, "after %d s the device cannot be opened",
			    WAIT_MS / 1000);
		poll(NULL, 0, 10);
	}
	offer(v, vmm_mem_alloc(&v->mem, 72, 8));
	if (vmm_wait_used(v, VMM_TX, 1, WAIT_MS) < 0)
		die(0, "the session beside them does not work");
	printf("another session after %d ms\n", (int)(vmm_now_ms() - start));
	vmm_free(v);
}

int main(int argc, char **argv)
{
	unsigned int n = argc > 1 ? (unsigned int)atoi(argv[1]) : 4;
	pid_t pid[GUESTS_MAX], server = 0;
	int file = -1;

	use_uffd = argc > 2 && strcmp(argv[2], "uffd") == 0;
	mute = argc > 2 && strcmp(argv[2], "mute") == 0;
	if (argc > 2 && !use_uffd && !mute)
		socket_path = argv[2];
	if (getenv("UVHOST_DEV"))
		device = getenv("UVHOST_DEV");
	if (!n || n > GUESTS_MAX)
		die(0, "1...%d sessions", GUESTS_MAX);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die(-errno, "mmap");
	if (!use_uffd)
		file = open_file(&server);
	for (unsigned int i = 0; i < n; i++)
		pid[i] = guest_fork(file, i);
	wait_all_asked(n);
	puts("hanging");
	fflush(stdout);
	getchar();
	if (mute) {
		serve_another();
		kill(server, SIGKILL);
	}
	for (unsigned int i = 0; i < n; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	if (!socket_path && !mute)
		serve_another();
	return 0;
}
