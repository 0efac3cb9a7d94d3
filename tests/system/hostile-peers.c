/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hostile-peers DIR PID SECONDS - a good vhost-user session, and clients that
 * do everything wrong on the other sockets of the same daemon.
 *
 * DIR has the sockets "good" (port=loop) and one for each attack, named after
 * it; PID is the daemon. The good session moves numbered frames through the
 * loop all the time: each has to come back once, in order, and soon. Behind
 * the attacks the daemon must hold as many descriptors, threads and mapped
 * files as before, and serve a good session on each of the sockets.
 *
 * $UVHOST_SEED repeats what the attackers do (not their timing).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "die.h"
#include "fdmsg.h"
#include "flow.h"
#include "random.h"
#include "uvhost/frontend.h"
#include "vmm.h"
#include "vmm_net.h"
#include "vu_proto.h"

#define MEM_SIZE (UINT64_C(1) << 20)
#define NUM 128
#define HDR 12
#define BUF 2048
#define WINDOW 32
#define STALL_MS 60000
#define CONNECT_MS 60000

/* ---- a session as it should be ---- */

struct session {
	struct uvh *fe;
	struct vmm_mem mem;
	struct vmm_ring ring[2];
	int kick[2], call[2];
	uint64_t tx[WINDOW];
	unsigned int tx_nfree;
	uint32_t sent, got;
	char error[160];
};

static void *at(struct session *s, uint64_t gpa)
{
	return vmm_mem_ptr(&s->mem, gpa);
}

static int session_ring(struct session *s, unsigned int qi)
{
	struct vmm_ring *r = &s->ring[qi];
	struct vhost_vring_addr addr = { .index = qi };
	int ret;

	s->kick[qi] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->call[qi] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = vmm_ring_init(
		r, at(s, vmm_mem_alloc(&s->mem, vmm_ring_bytes(NUM), 4096)),
		NUM, VMM_BIT(VIRTIO_F_VERSION_1));
	addr.desc_user_addr = (uintptr_t)r->desc;
	addr.avail_user_addr = (uintptr_t)r->avail;
	addr.used_user_addr = (uintptr_t)r->used;
	if (ret == 0)
		ret = uvh_set_vring_num(s->fe, qi, NUM);
	if (ret == 0)
		ret = uvh_set_vring_base(s->fe, qi, 0);
	if (ret == 0)
		ret = uvh_set_vring_addr(s->fe, &addr);
	if (ret == 0)
		ret = uvh_set_vring_call(s->fe, qi, s->call[qi]);
	if (ret == 0)
		ret = uvh_vring_start(s->fe, qi, -1);
	if (ret == 0)
		ret = uvh_set_vring_kick(s->fe, qi, s->kick[qi]);
	return ret;
}

static int session_memory(struct session *s)
{
	const struct vmm_region *m = &s->mem.region[0];
	struct uvh_region r;
	int ret = vmm_mem_add(&s->mem, VMM_MEM_MEMFD, 0x100000, MEM_SIZE);

	if (ret < 0)
		return ret;
	r = (struct uvh_region){ m->gpa, m->size, (uintptr_t)m->hva, m->fd,
				 m->fd_offset };
	return uvh_set_mem_table(s->fe, &r, 1);
}

/* Connected, with both rings running. @s may be closed whatever comes back. */
static int session_open(struct session *s, const char *path, int ms,
			uint64_t protocol)
{
	uint64_t offered;
	int ret;

	*s = (struct session){ .kick = { -1, -1 }, .call = { -1, -1 } };
	ret = uvh_user_connect(path, ms, &s->fe);
	if (ret == 0)
		ret = uvh_get_features(s->fe, &offered);
	if (ret == 0)
		ret = uvh_get_protocol_features(s->fe, &offered);
	if (ret == 0)
		ret = uvh_set_protocol_features(s->fe, offered & protocol);
	if (ret == 0)
		ret = uvh_set_owner(s->fe);
	if (ret == 0)
		ret = uvh_set_features(s->fe, VMM_BIT(VIRTIO_F_VERSION_1));
	if (ret == 0 && (protocol & VMM_BIT(UVH_PROTOCOL_F_PAGEFAULT))) {
		int uffd;

		ret = uvh_postcopy_advise(s->fe, &uffd);
		if (ret == 0)
			ret = uvh_postcopy_listen(s->fe);
	}
	if (ret == 0)
		ret = session_memory(s);
	for (unsigned int i = 0; i < 2 && ret == 0; i++)
		ret = session_ring(s, i);
	return ret;
}

static void session_close(struct session *s)
{
	uvh_close(s->fe);
	for (unsigned int i = 0; i < 2; i++) {
		vmm_ring_free(&s->ring[i]);
		if (s->kick[i] >= 0)
			close(s->kick[i]);
		if (s->call[i] >= 0)
			close(s->call[i]);
	}
	vmm_mem_free(&s->mem);
}

static void kick(const struct session *s, unsigned int qi)
{
	uint64_t one = 1;

	if (write(s->kick[qi], &one, sizeof(one)) < 0)
		return; /* it counts that high? no matter */
}

static void offer(struct session *s, uint64_t gpa)
{
	struct vmm_seg seg = { gpa, BUF, true };

	vmm_ring_add(&s->ring[VMM_RX], &seg, 1, (void *)(uintptr_t)gpa);
}

static void session_buffers(struct session *s)
{
	for (; s->tx_nfree < WINDOW; s->tx_nfree++)
		s->tx[s->tx_nfree] = vmm_mem_alloc(&s->mem, BUF, 64);
	for (unsigned int i = 0; i < NUM; i++)
		offer(s, vmm_mem_alloc(&s->mem, BUF, 64));
	vmm_ring_publish(&s->ring[VMM_RX]);
	kick(s, VMM_RX);
}

static size_t frame_len(uint32_t seq)
{
	return 60 + seq * 97 % 1400;
}

static int session_look(struct session *s)
{
	struct vmm_used u;
	int n = 0, ret;

	while ((ret = vmm_ring_reap(&s->ring[VMM_RX], &u, 1)) == 1) {
		const uint8_t *p = at(s, (uintptr_t)u.token);

		if (u.len != HDR + frame_len(s->got) ||
		    !vmm_frame_is(p + HDR, u.len - HDR, s->got)) {
			snprintf(s->error, sizeof(s->error),
				 "frame %u is another (%u bytes)", s->got,
				 u.len);
			return -EPROTO;
		}
		s->got++;
		offer(s, (uintptr_t)u.token);
		n++;
	}
	while (ret >= 0 && (ret = vmm_ring_reap(&s->ring[VMM_TX], &u, 1)) == 1)
		s->tx[s->tx_nfree++] = (uintptr_t)u.token;
	if (ret < 0)
		snprintf(s->error, sizeof(s->error),
			 "a chain came back that was not out");
	return ret < 0 ? ret : n;
}

/* Moves what can be moved; frames that came back, or -EPROTO and @error. */
static int session_step(struct session *s)
{
	int n = session_look(s);

	if (n < 0)
		return n;
	if (vmm_ring_publish(&s->ring[VMM_RX]))
		kick(s, VMM_RX);
	while (s->tx_nfree && s->sent - s->got < WINDOW) {
		uint64_t gpa = s->tx[--s->tx_nfree];
		size_t len = frame_len(s->sent);
		struct vmm_seg seg = { gpa, (uint32_t)(HDR + len), false };
		uint8_t *p = at(s, gpa);

		memset(p, 0, HDR);
		vmm_frame(p + HDR, len, s->sent++);
		vmm_ring_add(&s->ring[VMM_TX], &seg, 1, (void *)(uintptr_t)gpa);
	}
	if (vmm_ring_publish(&s->ring[VMM_TX]))
		kick(s, VMM_TX);
	return n;
}

static void session_wait(struct session *s, int ms)
{
	struct pollfd p = { .fd = s->call[VMM_RX], .events = POLLIN };

	poll(&p, 1, ms);
	vmm_event_count(s->call[VMM_RX]);
}

/* @frames more, none of them waited for longer than STALL_MS; the longest
 * wait into @worst. */
static int session_run(struct session *s, uint32_t frames, int64_t *worst)
{
	uint32_t want = s->got + frames;
	int64_t last = vmm_now_ms();

	while ((int32_t)(want - s->got) > 0) {
		int n = session_step(s);

		if (n < 0)
			return n;
		*worst = MAX(*worst, vmm_now_ms() - last);
		if (n > 0) {
			last = vmm_now_ms();
		} else if (vmm_now_ms() - last > STALL_MS) {
			snprintf(s->error, sizeof(s->error),
				 "no frame for %d ms: %u sent, %u back",
				 STALL_MS, s->sent, s->got);
			return -ETIMEDOUT;
		} else {
			session_wait(s, 10);
		}
	}
	return 0;
}

/* ---- sockets by hand ---- */

static int dial(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (fd >= 0 &&
	    connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool tell(int sock, const void *bytes, size_t len, const int *fds,
		 unsigned int nfds)
{
	return fdmsg_send(sock, bytes, len, fds, nfds, MSG_DONTWAIT) >= 0;
}

static struct vu_hdr header(uint32_t request, uint32_t size)
{
	return (struct vu_hdr){ request, 1 | (one_in(2) ? 8 : 0), size };
}

/* ---- attacks: one go at the socket each ---- */

static void attack_half(const char *path)
{
	uint8_t buf[64];
	struct vu_hdr h = header(random_below(45), random_below(40));
	int sock = dial(path);

	random_fill(buf, sizeof(buf));
	memcpy(buf, &h, sizeof(h));
	if (sock < 0)
		return;
	tell(sock, buf, 1 + random_below(sizeof(h) + h.size), NULL, 0);
	if (one_in(4))
		usleep(random_below(5000));
	close(sock);
}

static void attack_fds(const char *path)
{
	static int fds[FDMSG_MAX];
	int sock = dial(path);

	for (unsigned int i = 0; !fds[0] || i < FDMSG_MAX; i++) {
		if (i == FDMSG_MAX)
			break;
		if (!fds[i])
			fds[i] = i % 2 ? eventfd(0, EFD_CLOEXEC)
				       : memfd_create("hostile", MFD_CLOEXEC);
	}
	for (unsigned int i = 0; sock >= 0 && i < 50; i++) {
		struct vu_hdr h = header(one_in(2) ? 1 : random_below(45), 0);
		size_t len = one_in(3) ? 1 : sizeof(h);

		if (!tell(sock, &h, len, fds, 1 + random_below(FDMSG_MAX)))
			break;
		if (one_in(3))
			tell(sock, (uint8_t *)&h + len, sizeof(h) - len, fds,
			     random_below(9));
	}
	close(sock);
}

static void attack_random(const char *path)
{
	int sock = dial(path), fds[8];
	uint8_t buf[600], drain[4096];

	for (unsigned int i = 0; i < 8; i++)
		fds[i] = i % 2 ? eventfd(0, EFD_CLOEXEC)
			       : memfd_create("random", MFD_CLOEXEC);
	for (unsigned int i = 0; sock >= 0 && i < 200; i++) {
		static const uint16_t sizes[] = { 0, 8, 8, 8, 40, 40, 72, 24 };
		uint32_t size = sizes[random_below(8)];
		struct vu_hdr h = header(random_below(45), size);

		random_fill(buf, sizeof(buf));
		for (unsigned int k = 0; k < size; k += 4)
			if (!one_in(8)) /* small numbers pass more checks */
				memset(buf + sizeof(h) + k, 0, 4),
					buf[sizeof(h) + k] =
						(uint8_t)random_below(4);
		if (!one_in(20))
			memcpy(buf, &h, sizeof(h));
		if (!tell(sock, buf, sizeof(h) + size, fds,
			  one_in(2) ? 0 : 1 + random_below(3)))
			break;
		while (recv(sock, drain, sizeof(drain), MSG_DONTWAIT) > 0)
			continue;
	}
	close(sock);
	for (unsigned int i = 0; i < 8; i++)
		close(fds[i]);
}

static void attack_rings(const char *path)
{
	struct session s;

	if (session_open(&s, path, CONNECT_MS,
			 UINT64_MAX & VMM_BIT(UVH_PROTOCOL_F_REPLY_ACK)) == 0) {
		for (unsigned int i = 0; i < 20; i++) {
			uint8_t *p = s.mem.region[0].hva;

			random_fill(p + random_below(12) * 1024, 1024);
			s.ring[VMM_TX].avail->idx += (uint16_t)random_below(9);
			kick(&s, random_below(2));
			usleep(random_below(1000));
		}
		if (one_in(2))
			uvh_vring_stop(s.fe, random_below(2), NULL);
	}
	session_close(&s);
}

static void attack_deaf(const char *path)
{
	struct vu_hdr h = { 1, 1, 0 };
	struct pollfd p = { .fd = dial(path), .events = POLLIN };
	int size = 1;

	if (p.fd < 0)
		return;
	setsockopt(p.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	for (unsigned int i = 0; i < 20000; i++)
		if (!tell(p.fd, &h, sizeof(h), NULL, 0))
			break;
	/* until it has enough of us, or we of it */
	p.events = 0;
	poll(&p, 1, 1 + (int)random_below(4000));
	close(p.fd);
}

static void attack_cut(const char *path)
{
	struct session s;

	if (session_open(&s, path, CONNECT_MS,
			 VMM_BIT(UVH_PROTOCOL_F_REPLY_ACK)) == 0) {
		session_buffers(&s);
		for (unsigned int i = 0; i < 20; i++)
			if (session_step(&s) < 0)
				break;
		/* From here on we must not look at it ourselves. */
		if (ftruncate(s.mem.region[0].fd,
			      (off_t)random_below(3) * 8192) < 0)
			exit(1);
		for (unsigned int i = 0; i < 10; i++) {
			kick(&s, i % 2);
			usleep(random_below(500));
		}
		if (one_in(2))
			uvh_vring_stop(s.fe, random_below(2), NULL);
		if (one_in(2))
			uvh_vring_stop(s.fe, random_below(2), NULL);
	}
	session_close(&s);
}

static void attack_storm(const char *path)
{
	char good[120];
	int fd[20];

	snprintf(good, sizeof(good), "%.*s/good",
		 (int)(strrchr(path, '/') - path), path);
	for (unsigned int i = 0; i < 20; i++)
		fd[i] = dial(one_in(4) ? good : path);
	for (unsigned int i = 0; i < 20; i++)
		if (fd[i] >= 0)
			close(fd[i]);
}

/* Frames in pages that no userfaultfd handler delivers: the device waits. */
static void attack_absent(const char *path)
{
	struct session s;
	int ret = session_open(&s, path, 500,
			       VMM_BIT(UVH_PROTOCOL_F_REPLY_ACK) |
				       VMM_BIT(UVH_PROTOCOL_F_PAGEFAULT));

	if (ret == 0) {
		struct vmm_seg seg = { vmm_mem_alloc(&s.mem, 8192, 4096), 4096,
				       false };

		vmm_ring_add(&s.ring[VMM_TX], &seg, 1, NULL);
		vmm_ring_publish(&s.ring[VMM_TX]);
		kick(&s, VMM_TX);
		usleep(random_below(20000));
		if (one_in(2))
			uvh_vring_stop(s.fe, VMM_TX, NULL);
	} else {
		usleep(10000); /* we may be too early for a second one */
	}
	session_close(&s);
}

/* A TCP socket with bytes that its other end, @other, does not take: who closes
 * the last descriptor waits, for an hour. */
static int lingering_socket(int other[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct linger hour = { .l_onoff = 1, .l_linger = 3600 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(a);
	static char junk[65536];

	other[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(other[0], (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(other[0], 1) < 0 ||
	    getsockname(other[0], (struct sockaddr *)&a, &len) < 0 ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die(-errno, "a TCP socket on the loopback");
	other[1] = accept(other[0], NULL, NULL);
	while (send(fd, junk, sizeof(junk), MSG_DONTWAIT) > 0)
		continue;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hour, sizeof(hour));
	return fd;
}

/* Is a connection answered, or turned away? */
static void check_served(const char *path)
{
	const struct vu_hdr get_features = { 1, 1, 0 };
	struct pollfd p = { .fd = dial(path), .events = POLLIN };

	tell(p.fd, &get_features, sizeof(get_features), NULL, 0);
	if (poll(&p, 1, STALL_MS) == 0)
		die(0, "%s: no connection is accepted any more", path);
	close(p.fd);
}

/* Such a socket stays unread in the queue of a connection that ends. */
static void attack_linger(const char *path)
{
	const uint8_t nonsense[12] = { 1, 0, 0, 0, 99 };
	int other[2], fd = lingering_socket(other), first, second;
	pid_t holder;

	first = dial(path);
	second = one_in(2) ? dial(path) : dup(first);
	if (one_in(2))
		tell(second, nonsense, sizeof(nonsense), NULL, 0);
	tell(second, nonsense, 1, &fd, 1);
	/* Not ours to wait for: a process that exits does not. */
	holder = fork();
	if (holder == 0)
		for (;;)
			pause();
	close(fd);
	kill(holder, SIGKILL);
	waitpid(holder, NULL, 0);
	close(first);
	close(second);
	check_served(path);
	close(other[0]);
	close(other[1]);
}

static const struct attack {
	const char *name;
	void (*fn)(const char *path);
} attacks[] = {
	{ "half", attack_half },     { "fds", attack_fds },
	{ "random", attack_random }, { "rings", attack_rings },
	{ "deaf", attack_deaf },     { "cut", attack_cut },
	{ "storm", attack_storm },   { "absent", attack_absent },
	{ "linger", attack_linger },
};

static unsigned int *goes; /* shared: of each attack */

static pid_t attack_start(unsigned int i, const char *dir, int seconds)
{
	pid_t pid = fork();
	int64_t end = vmm_now_ms() + seconds * 1000;
	char path[108];

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	random_state += 77777 * (i + 1);
	snprintf(path, sizeof(path), "%s/%s", dir, attacks[i].name);
	while (vmm_now_ms() < end) {
		attacks[i].fn(path);
		goes[i]++;
	}
	_exit(0);
}

/* ---- the daemon, before and after ---- */

static unsigned int mapped_files(pid_t pid)
{
	char path[40], line[512];
	unsigned int n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, "memfd:") != NULL;
	if (f)
		fclose(f);
	return n;
}

static int check_footprint(pid_t pid, struct footprint want, unsigned int maps)
{
	int ret = footprint_wait(pid, want, CONNECT_MS);
	struct footprint now = footprint_of(pid);

	if (ret == 0 && mapped_files(pid) == maps)
		return 0;
	fprintf(stderr,
		"hostile-peers: %u descriptors, %u threads, %u mapped files "
		"before; %u, %u, %u after\n",
		want.fds, want.threads, maps, now.fds, now.threads,
		mapped_files(pid));
	return -ETIMEDOUT;
}

/* A socket that was attacked takes a good guest, if not at once. */
static int check_socket(const char *dir, const char *name)
{
	int64_t end = vmm_now_ms() + CONNECT_MS, worst = 0;
	struct session s;
	char path[108];
	int ret;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	do {
		ret = session_open(&s, path, CONNECT_MS,
				   VMM_BIT(UVH_PROTOCOL_F_REPLY_ACK));
		if (ret == 0) {
			session_buffers(&s);
			ret = session_run(&s, 1000, &worst);
			if (ret < 0)
				fprintf(stderr, "%s\n", s.error);
		} else {
			usleep(50000);
		}
		session_close(&s);
	} while (ret < 0 && vmm_now_ms() < end);
	if (ret < 0)
		fprintf(stderr, "hostile-peers: %s takes no guest: %s\n", name,
			strerror(-ret));
	return ret;
}

static int run(const char *dir, pid_t daemon_pid, int seconds)
{
	pid_t pid[ARRAY_SIZE(attacks)];
	int64_t end, worst = 0, quiet = 0;
	struct footprint before;
	unsigned int maps;
	struct session s;
	char path[108];
	int ret, alive;

	snprintf(path, sizeof(path), "%s/good", dir);
	ret = session_open(&s, path, CONNECT_MS,
			   VMM_BIT(UVH_PROTOCOL_F_REPLY_ACK));
	if (ret < 0) {
		fprintf(stderr, "hostile-peers: %s: %s\n", path,
			strerror(-ret));
		return ret;
	}
	session_buffers(&s);
	ret = session_run(&s, 10000, &quiet);
	before = footprint_of(daemon_pid);
	maps = mapped_files(daemon_pid);
	for (unsigned int i = 0; i < ARRAY_SIZE(attacks); i++)
		pid[i] = attack_start(i, dir, seconds);
	end = vmm_now_ms() + seconds * 1000 + CONNECT_MS;
	for (alive = ARRAY_SIZE(attacks); alive && ret == 0;) {
		int status;
		pid_t one;

		ret = session_run(&s, 500, &worst);
		for (; (one = waitpid(-1, &status, WNOHANG)) > 0; alive--) {
			if (status)
				ret = -EPROTO; /* it has said why */
			for (unsigned int i = 0; i < ARRAY_SIZE(pid); i++)
				pid[i] = pid[i] == one ? 0 : pid[i];
		}
		if (vmm_now_ms() > end)
			break;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(pid); i++)
		if (pid[i] > 0) {
			fprintf(stderr, "hostile-peers: %s is still busy\n",
				attacks[i].name);
			kill(pid[i], SIGKILL);
			waitpid(pid[i], NULL, 0);
		}
	if (ret == 0)
		ret = session_run(&s, 10000, &worst);
	if (ret < 0)
		fprintf(stderr, "hostile-peers: the good session: %s\n",
			s.error);
	if (ret == 0)
		ret = check_footprint(daemon_pid, before, maps);
	for (unsigned int i = 0; i < ARRAY_SIZE(attacks); i++) {
		int one = check_socket(dir, attacks[i].name);

		ret = ret ? ret : one;
	}
	ret = ret ? ret : check_footprint(daemon_pid, before, maps);
	printf("%u frames of a good session, none waited for longer than "
	       "%lld ms (%lld before);",
	       s.got, (long long)worst, (long long)quiet);
	for (unsigned int i = 0; i < ARRAY_SIZE(attacks); i++)
		printf(" %s %u", attacks[i].name, goes[i]);
	printf("\n");
	session_close(&s);
	return ret;
}

int main(int argc, char **argv)
{
	const char *seed = getenv("UVHOST_SEED");

	if (argc != 4) {
		fprintf(stderr, "usage: hostile-peers DIR PID SECONDS\n");
		return 2;
	}
	random_state = seed ? strtoull(seed, NULL, 0) : (uint64_t)getpid();
	fprintf(stderr, "UVHOST_SEED=%llu\n", (unsigned long long)random_state);
	random_state = (random_state + 1) * 0x9e3779b97f4a7c15;
	goes = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (goes == MAP_FAILED)
		return 1;
	return run(argv[1], (pid_t)atoi(argv[2]), atoi(argv[3])) < 0;
}
