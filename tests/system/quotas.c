/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * quotas users|subusers|owners|process|maps|space|storm LIMIT - what one user
 * can take from others.
 *
 *   users   one user opens the device until it is refused, which has to be at
 *           LIMIT; another one still gets a session, and the first one too once
 *           it has closed its own
 *   subusers  the same with the user ids that a user namespace gives one user
 *   owners  the same with files that root has opened and passes on
 *   process  one process becomes the owner of files until it is refused, which
 *           has to be at LIMIT; another one of its user gets a session
 *   maps    a guest of one user has more pieces of shared memory than LIMIT,
 *           which is what its user may have mapped, and all of them can be sent
 *           from; a guest of another user works beside it
 *   space   a process has LIMIT pieces of shared memory, the first of them half
 * of all addresses that a process has, the next half of that, and so on;
 *           another user gets a session
 *   storm   LIMIT times, a session breaks its ring and starts it again
 *
 * $UVHOST_DEV: the device.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <net/if.h>
#include <linux/if_packet.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <sys/ioctl.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "die.h"
#include "vmm.h"
#include "vmm_net.h"

#define ALICE 12345
#define BOB 12346
#define MOST 1000
#define WAIT_MS 60000

static const char *device = "/dev/uvhost-net";

static int open_device(void)
{
	int fd = open(device, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Runs @fn as @uid in a child, which exits with what @fn returns. */
static int as_user(uid_t uid, int (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (setgid(uid) < 0 || setuid(uid) < 0)
			die(-errno, "setuid");
		_exit(fn(arg));
	}
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		die(0, "a child died");
	return WEXITSTATUS(status);
}

/* The same until it returns 0: a place is free a moment after the close. */
static int eventually(uid_t uid, int (*fn)(void *arg), void *arg)
{
	int64_t end = vmm_now_ms() + WAIT_MS;
	int ret;

	while ((ret = as_user(uid, fn, arg)) != 0 && vmm_now_ms() < end)
		poll(NULL, 0, 10);
	return ret;
}

/* Opens one and becomes its owner. */
static int use_one(void *arg)
{
	int fd = open_device();

	(void)arg;
	return fd < 0 ? -fd : -vmm_set_owner(fd);
}

/* Opens all it gets; then BOB tries. */
static int open_all(void *arg)
{
	unsigned int n = 0, limit = *(unsigned int *)arg;
	int fd;

	while ((fd = open_device()) >= 0 && n < MOST)
		n++;
	printf("a user opens %u, then: %s\n", n, strerror(-fd));
	fflush(stdout);
	if (fd != -ENOMEM)
		die(fd, "not refused with ENOMEM");
	if (n != limit)
		die(0, "expected %u", limit);
	/* until the parent says so */
	raise(SIGSTOP);
	return 0;
}

static pid_t start_hoarder(unsigned int limit)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (setgid(ALICE) < 0 || setuid(ALICE) < 0)
			die(-errno, "setuid");
		_exit(open_all(&limit));
	}
	if (waitpid(pid, &status, WUNTRACED) < 0 || !WIFSTOPPED(status))
		die(0, "the first user: status 0x%x", status);
	return pid;
}

static void users(unsigned int limit)
{
	pid_t hoarder = start_hoarder(limit);
	int ret = as_user(BOB, use_one, NULL);

	if (ret)
		die(-ret, "another user gets no session");
	kill(hoarder, SIGKILL);
	waitpid(hoarder, NULL, 0);
	ret = eventually(ALICE, use_one, NULL);
	if (ret)
		die(-ret, "the first user, after it has closed all");
}

/* ---- subusers ---- */

#define SUBUSERS 10
#define NOT_HERE 77 /* exit status */

/* As each of the users of the namespace in turn. */
static int open_as_subusers(unsigned int limit)
{
	unsigned int n = 0;
	int fd;

	do {
		setfsuid(1 + n % SUBUSERS);
		fd = open_device();
	} while (fd >= 0 && ++n < MOST);
	printf("a user with others of its own opens %u, then: %s\n", n,
	       strerror(-fd));
	fflush(stdout);
	if (fd != -ENOMEM || n != limit)
		die(fd, "expected %u, then ENOMEM", limit);
	return 0;
}

static void map_users(pid_t pid)
{
	char path[64], map[64];
	int fd, len;

	snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
	len = snprintf(map, sizeof(map), "0 %d 1\n1 200000 %d\n", ALICE,
		       SUBUSERS);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, map, (size_t)len) != len)
		die(-errno, "uid_map");
	close(fd);
}

static void subusers(unsigned int limit)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (setgid(ALICE) < 0 || setuid(ALICE) < 0)
			die(-errno, "setuid");
		/* None at all, or not in a chroot. */
		if (unshare(CLONE_NEWUSER) < 0)
			_exit(NOT_HERE);
		raise(SIGSTOP); /* until it has users */
		_exit(open_as_subusers(limit));
	}
	if (waitpid(pid, &status, WUNTRACED) < 0)
		die(-errno, "waitpid");
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_HERE)
		exit(NOT_HERE);
	if (!WIFSTOPPED(status))
		die(0, "the namespace: status 0x%x", status);
	map_users(pid);
	kill(pid, SIGCONT);
	if (waitpid(pid, &status, 0) < 0 || status)
		die(0, "in the namespace: status 0x%x", status);
}

/* ---- owners ---- */

struct passed {
	unsigned int limit;
	int fd[MOST];
};

static int own_all(void *arg)
{
	struct passed *p = arg;
	unsigned int n = 0;
	int ret;

	while ((ret = vmm_set_owner(p->fd[n])) == 0 && n < p->limit)
		n++;
	printf("a user owns %u, then: %s\n", n, strerror(-ret));
	fflush(stdout);
	if (ret != -ENOMEM || n != p->limit)
		die(ret, "expected %u, then ENOMEM", p->limit);
	return 0;
}

static int own_last(void *arg)
{
	const struct passed *p = arg;

	return -vmm_set_owner(p->fd[p->limit]);
}

static void owners(unsigned int limit)
{
	struct passed p = { .limit = limit };
	int ret;

	for (unsigned int i = 0; i <= limit; i++)
		p.fd[i] = must(open_device(), "root's open");
	ret = as_user(ALICE, own_all, &p);
	if (ret)
		die(-ret, "the first user");
	ret = as_user(BOB, own_last, &p);
	if (ret)
		die(-ret, "another user cannot own a session");
}

/* ---- process ---- */

static int own_until_refused(void *arg)
{
	unsigned int n = 0, limit = *(unsigned int *)arg;
	int ret;

	while ((ret = vmm_set_owner(must(open_device(), "open"))) == 0 &&
	       n < limit)
		n++;
	printf("a process owns %u, then: %s\n", n, strerror(-ret));
	fflush(stdout);
	if (ret != -ENOMEM || n != limit)
		die(ret, "expected %u, then ENOMEM", limit);
	ret = as_user(ALICE, use_one, NULL);
	if (ret)
		die(-ret, "another process of the user gets no session");
	return 0;
}

static void process(unsigned int limit)
{
	int ret = as_user(ALICE, own_until_refused, &limit);

	if (ret)
		die(-ret, "the process");
}

static int open_port(void)
{
	const struct sockaddr_ll lo = {
		.sll_family = AF_PACKET,
		.sll_ifindex = (int)if_nametoindex("lo"),
	};
	int port = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (port < 0 || bind(port, (const struct sockaddr *)&lo, sizeof(lo)))
		die(-errno, "packet socket");
	return port;
}

/* ---- maps ---- */

#define PIECES 40
#define PIECE (UINT64_C(1) << 20)

static void send_from(struct vmm *v, uint64_t gpa)
{
	struct vmm_seg seg = { .addr = gpa, .len = 72 };
	struct vmm_used used;

	memset(vmm_mem_ptr(&v->mem, gpa), 0, seg.len);
	must(vmm_ring_add(&v->q[VMM_TX].ring, &seg, 1, NULL), "chain");
	vmm_ring_publish(&v->q[VMM_TX].ring);
	vmm_kick(v, VMM_TX);
	must(vmm_wait_used(v, VMM_TX, 1, WAIT_MS), "a frame");
	vmm_ring_reap(&v->q[VMM_TX].ring, &used, 1);
}

/* A guest with many pieces of memory, which sends from each. */
static int use_pieces(void *arg)
{
	struct vmm_mem mem = { .n = 0 };
	struct vmm_config config = {
		.path = device,
		.features = VMM_BIT(VIRTIO_F_VERSION_1),
		.own_mem = &mem,
	};
	int port = *(int *)arg;
	struct vmm *v;

	for (unsigned int i = 0; i < PIECES; i++)
		must(vmm_mem_add(&mem, VMM_MEM_MEMFD, (i + 1) * 4 * PIECE,
				 PIECE),
		     "memory");
	must(vmm_new(&config, &v), "vmm_new");
	must(vmm_start(v, port), "vmm_start");
	for (unsigned int i = 0; i < PIECES; i++)
		send_from(v, v->mem.region[i].gpa + PIECE / 2);
	raise(SIGSTOP); /* until the parent kills it */
	return 0;
}

static pid_t start_pieces(uid_t uid)
{
	int status, port = open_port();
	pid_t pid = fork();

	if (pid == 0) {
		if (setgid(uid) < 0 || setuid(uid) < 0)
			die(-errno, "setuid");
		_exit(use_pieces(&port));
	}
	close(port);
	if (waitpid(pid, &status, WUNTRACED) < 0 || !WIFSTOPPED(status))
		die(0, "a guest of %d pieces: status 0x%x", PIECES, status);
	return pid;
}

static void maps(void)
{
	static const uid_t user[] = { ALICE, BOB };
	pid_t pid[2];

	for (unsigned int i = 0; i < 2; i++)
		pid[i] = start_pieces(user[i]);
	puts("ready");
	fflush(stdout);
	if (getchar() == 'x') /* when the script has seen the counters */
		return;
	for (unsigned int i = 0; i < 2; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
}

/* ---- space ---- */

#define HALF_OF_ALL (UINT64_C(1) << 46)
#define SPACE_SESSIONS 6

/* Gives a new session a table of sparse memory: as much as fits. */
static void fill_space(unsigned int pieces, int fd)
{
	struct vhost_memory *table;
	int dev = must(open_device(), "open");

	table = calloc(1, sizeof(*table) +
				  pieces * sizeof(struct vhost_memory_region));
	if (!table)
		die(-ENOMEM, "table");
	/* The last has the lowest address, and is the first to be mapped. */
	for (unsigned int i = pieces; i-- > 0;) {
		uint64_t size = HALF_OF_ALL >> i;
		struct vhost_memory_region *r =
			&table->regions[table->nregions];
		void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_NORESERVE, fd, 0);

		if (p == MAP_FAILED)
			continue;
		r->guest_phys_addr = HALF_OF_ALL - size;
		r->memory_size = size / 2;
		r->userspace_addr = (uintptr_t)p;
		table->nregions++;
	}
	must(vmm_set_owner(dev), "SET_OWNER");
	if (ioctl(dev, VHOST_SET_MEM_TABLE, table) < 0)
		die(-errno, "SET_MEM_TABLE");
	for (unsigned int i = 0; i < table->nregions; i++)
		munmap((void *)(uintptr_t)table->regions[i].userspace_addr,
		       2 * table->regions[i].memory_size);
	free(table);
}

static int use_space(void *arg)
{
	int fd = memfd_create("sparse", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)HALF_OF_ALL) < 0)
		die(-errno, "sparse memory");
	for (unsigned int i = 0; i < SPACE_SESSIONS; i++)
		fill_space(*(unsigned int *)arg, fd);
	raise(SIGSTOP); /* until the parent kills it */
	return 0;
}

static void space(unsigned int pieces)
{
	int status, ret;
	pid_t pid = fork();

	if (pid == 0) {
		if (setgid(ALICE) < 0 || setuid(ALICE) < 0)
			die(-errno, "setuid");
		_exit(use_space(&pieces));
	}
	if (waitpid(pid, &status, WUNTRACED) < 0 || !WIFSTOPPED(status))
		die(0, "a guest of sparse memory: status 0x%x", status);
	ret = as_user(BOB, use_one, NULL);
	if (ret)
		die(-ret, "another user gets no session");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* ---- storm ---- */

static void storm(unsigned int rounds)
{
	struct vmm_config config = { .path = device,
				     .features = VMM_BIT(VIRTIO_F_VERSION_1) };
	int port = open_port();
	struct vmm *v;

	must(vmm_new(&config, &v), "vmm_new");
	must(vmm_start(v, port), "vmm_start");
	v->q[VMM_TX].ring.avail->ring[0] = 9999;
	v->q[VMM_TX].ring.avail->idx = 1;
	for (unsigned int i = 0; i < rounds; i++) {
		vmm_kick(v, VMM_TX);
		must(vmm_wait_event(v->q[VMM_TX].err, WAIT_MS), "err");
		vmm_event_count(v->q[VMM_TX].err);
		must(vmm_set_backend(v->fd, VMM_TX, -1), "stop");
		must(vmm_set_backend(v->fd, VMM_TX, port), "start");
	}
	vmm_free(v);
}

int main(int argc, char **argv)
{
	unsigned int limit = argc > 2 ? (unsigned int)atoi(argv[2]) : 0;

	if (getenv("UVHOST_DEV"))
		device = getenv("UVHOST_DEV");
	if (!limit || limit >= MOST)
		die(0, "users|subusers|owners|process|maps|space|storm LIMIT");
	if (strcmp(argv[1], "users") == 0)
		users(limit);
	else if (strcmp(argv[1], "subusers") == 0)
		subusers(limit);
	else if (strcmp(argv[1], "owners") == 0)
		owners(limit);
	else if (strcmp(argv[1], "process") == 0)
		process(limit);
	else if (strcmp(argv[1], "maps") == 0)
		maps();
	else if (strcmp(argv[1], "space") == 0)
		space(limit);
	else if (strcmp(argv[1], "storm") == 0)
		storm(limit);
	else
		die(0, "what is %s?", argv[1]);
	return 0;
}
