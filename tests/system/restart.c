/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * restart [KILLS [split|packed private|memfd [viommu]]] - a daemon that is
 * killed again and again while its guest's frames flow both ways and its VMM
 * makes calls.
 *
 * Three threads: one moves numbered frames (flow.h), one makes all kinds of
 * calls, of which none may fail, and one kills the daemon, with SIGKILL, at
 * random moments; uvhost-keeper starts it again. One time in eight it has the
 * keeper restart the daemon instead, with SIGTERM. No frame may come twice,
 * none late, and no more may be missing than those of one batch for each kill.
 * Without kills none is missing.
 *
 * With "viommu" the device asks for addresses that it has not, and a fourth
 * thread answers: it waits in read(2) while daemons die. At random it takes
 * back all that it has said.
 *
 * $UVHOST_VICTIM: "broker": the daemon, whose guest has a worker process: that
 * goes on, no frame is lost. "upgrade": the same, but another worker process
 * goes on, as the next daemon is of another build. "worker": the guest's worker
 * process is killed instead, a second or more after it was started (the next
 * one comes at once then); "both": it and the daemon, and one time in two the
 * next daemon while it starts. "crash": the worker process gets signals of
 * crashes, while the VMM sets the memory table again and again. KILLS is how
 * often the guest has to be stopped for that, which the err eventfds say; then
 * its driver resets the device and goes on.
 *
 * In the end a worker process has the memory file of its guest if some memory
 * is private, and only then.
 *
 * $UVHOST_FAR: the device is in a network, and that is the interface at the far
 * side of its other port. A process that dies takes a batch at most of frames
 * that were in the network.
 *
 * Its standard error is the daemon's: so it knows its worker process.
 *
 * $UVHOST_KEEPER: file with the keeper's process id; or, without a keeper,
 * $UVHOST_PID_COMMAND prints the daemon's id, and $UVHOST_RESTART_COMMAND
 * restarts it. $UVHOST_DEV: the device; $UVHOST_SEED repeats the moments.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "another_session.h"
#include "die.h"
#include "flow.h"
#include "random.h"
#include "vmm.h"
#include "vmm_net.h"
#include "wprocs.h"

/* Frames that one batch of the daemon has at most. */
#define BATCH 256
#define STALL_MS 60000
#define KILL_WITHIN_MS 40
#define LIVED_MS 1100 /* WPROC_LIVED_MS and some */
/* More than LEAVE_WAIT_MS of server.c. */
#define BUSY_MS 700
/* Three within a minute stop the guest; on a slow host there may be more. */
#define CRASHES_FOR_A_STOP 20

static const char *device = "/dev/uvhost-net";

static struct {
	struct vmm *v;
	struct flow flow;
	int tap;
	bool calm;     /* the kills are over */
	bool crashing; /* the worker process is being sent a signal */
	bool stop;
	int moved_ret;
	unsigned int kills, calls, seed; /* the killer's */
	unsigned int stops, resets;      /* by crashes, and after them */
	pthread_mutex_t moving;          /* a step of the flow, or a reset */
	int64_t longest_ms;
	pid_t keeper;
	bool viommu;
	pthread_t iommu;
	pthread_mutex_t mapping; /* a ring is being started */
	unsigned int misses;
} t;

/* ---- frames ---- */

static void *move_frames(void *arg)
{
	int64_t last = vmm_now_ms();

	(void)arg;
	while (!__atomic_load_n(&t.calm, __ATOMIC_RELAXED)) {
		int64_t now;
		int ret;

		pthread_mutex_lock(&t.moving);
		ret = flow_step(&t.flow, true);
		pthread_mutex_unlock(&t.moving);
		now = vmm_now_ms();
		if (ret >= 0 && now - last > STALL_MS)
			ret = -ETIMEDOUT;
		if (ret < 0) {
			__atomic_store_n(&t.moved_ret, ret, __ATOMIC_RELAXED);
			break;
		}
		if (ret > 0) {
			last = now;
			continue;
		}
		if (now - last > t.longest_ms)
			t.longest_ms = now - last;
		flow_wait(&t.flow, 1);
	}
	return NULL;
}

/* ---- kills ---- */

static const char *victim(void)
{
	const char *name = getenv("UVHOST_VICTIM");

	return name ? name : "daemon";
}

static bool worker_dies(void)
{
	return strcmp(victim(), "worker") == 0 ||
	       strcmp(victim(), "both") == 0 || strcmp(victim(), "crash") == 0;
}

/* The worker process of our first session, whoever its parent is: its daemon
 * may have died. 0: there is none, as after a stop. */
static pid_t our_worker(void)
{
	static unsigned long session;
	unsigned long lowest = ULONG_MAX;
	pid_t found = 0;
	glob_t paths;

	if (glob("/proc/[0-9]*", 0, NULL, &paths) != 0)
		return 0;
	for (size_t i = 0; i < paths.gl_pathc; i++) {
		int pid = atoi(paths.gl_pathv[i] + strlen("/proc/"));
		unsigned long n = wprocs_session(pid);

		if (n && n < lowest && (!session || n == session) &&
		    wprocs_has_our_log(pid)) {
			lowest = n;
			found = pid;
		}
	}
	globfree(&paths);
	if (found)
		session = lowest;
	return found;
}

static pid_t daemon_pid(void)
{
	const char *command = getenv("UVHOST_PID_COMMAND");
	char path[64];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", t.keeper,
		 t.keeper);
	f = command ? popen(command, "re") : fopen(path, "re");
	if (f && fscanf(f, "%d", &pid) != 1)
		pid = 0;
	if (f && command)
		pclose(f);
	else if (f)
		fclose(f);
	return pid;
}

static void restart_daemon(void)
{
	const char *command = getenv("UVHOST_RESTART_COMMAND");

	if (!command)
		kill(t.keeper, SIGHUP);
	else if (system(command) != 0) // NOLINT(cert-env33-c)
		die(-EPROTO, "%s", command);
}

static void wait_for_traffic(void)
{
	uint64_t moved = __atomic_load_n(&t.flow.moved, __ATOMIC_RELAXED);
	int64_t end = vmm_now_ms() + STALL_MS;

	while (__atomic_load_n(&t.flow.moved, __ATOMIC_RELAXED) == moved &&
	       vmm_now_ms() < end)
		usleep(200);
}

/* A SIGBUS may be taken for one of the guest's memory, once. */
static void crash(pid_t pid)
{
	static const int numbers[] = { SIGSEGV, SIGABRT, SIGBUS };
	int64_t end = vmm_now_ms() + STALL_MS;

	while (our_worker() == pid) {
		if (vmm_now_ms() > end)
			die(-ETIMEDOUT, "a crash of the worker process");
		kill(pid, numbers[t.kills % 3]);
		usleep(20000);
	}
}

/* Has every ring said that the guest stays stopped? Waits until that is so or
 * another process goes on. */
static bool is_stopped(void)
{
	int64_t end = vmm_now_ms() + STALL_MS;

	while (vmm_now_ms() < end) {
		if (vmm_event_count(t.v->q[VMM_RX].err))
			return vmm_wait_event(t.v->q[VMM_TX].err, STALL_MS) ==
				       0 &&
			       vmm_event_count(t.v->q[VMM_TX].err);
		if (our_worker())
			return false;
		usleep(1000);
	}
	die(-ETIMEDOUT, "neither another worker process nor an error");
}

/* No moment is special: what crashes crashes at its work. */
static void *crash_worker(void *arg)
{
	unsigned int stops = *(unsigned int *)arg, crashes = 0;

	while (t.stops < stops && !__atomic_load_n(&t.calm, __ATOMIC_RELAXED)) {
		pid_t worker = our_worker();

		if (!worker ||
		    t.stops != __atomic_load_n(&t.resets, __ATOMIC_ACQUIRE)) {
			usleep(500);
			continue;
		}
		wait_for_traffic();
		usleep(LIVED_MS * 1000);
		__atomic_store_n(&t.crashing, true, __ATOMIC_RELAXED);
		crash(worker);
		__atomic_store_n(&t.crashing, false, __ATOMIC_RELAXED);
		t.kills++;
		if (++crashes > CRASHES_FOR_A_STOP)
			die(0, "%u crashes, and the guest goes on", crashes);
		if (!is_stopped())
			continue;
		crashes = 0;
		__atomic_fetch_add(&t.stops, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* One time in two while calls cannot end: the worker process stands still for
 * longer than the daemon waits for its sessions. */
static void restart_busy(unsigned int *seed)
{
	bool broker = strcmp(victim(), "broker") == 0;
	pid_t worker = broker && rand_r(seed) % 2 ? our_worker() : 0;

	if (worker)
		kill(worker, SIGSTOP);
	restart_daemon();
	if (worker) {
		usleep(BUSY_MS * 1000);
		kill(worker, SIGCONT);
	}
}

/* The next daemon dies while it adopts a worker process, or starts one and
 * tells it what the record says. */
static void kill_next(pid_t daemon, unsigned int *seed)
{
	int64_t end = vmm_now_ms() + STALL_MS;
	pid_t pid;

	while ((pid = daemon_pid()) == daemon || !pid) {
		if (vmm_now_ms() > end)
			return;
		usleep(500);
	}
	usleep(1000 * ((unsigned int)rand_r(seed) % KILL_WITHIN_MS));
	if (kill(pid, SIGKILL) == 0)
		__atomic_fetch_add(&t.kills, 1, __ATOMIC_RELAXED);
}

static void *kill_daemon(void *arg)
{
	unsigned int kills = *(unsigned int *)arg;
	unsigned int seed = t.seed;
	pid_t last = 0;

	while (t.kills < kills && !__atomic_load_n(&t.calm, __ATOMIC_RELAXED)) {
		pid_t daemon = daemon_pid();
		pid_t worker = worker_dies() ? our_worker() : 0;
		pid_t pid = worker_dies() ? worker : daemon;

		if (!daemon || !pid || pid == last) {
			usleep(500);
			continue;
		}
		/* One in four while it starts, the others under traffic. */
		if (rand_r(&seed) % 4)
			wait_for_traffic();
		if (worker)
			usleep(LIVED_MS * 1000);
		usleep(1000 * ((unsigned int)rand_r(&seed) % KILL_WITHIN_MS));
		if (strcmp(victim(), "both") == 0)
			kill(daemon, SIGKILL);
		if (!worker && rand_r(&seed) % 8 == 0)
			restart_busy(&seed);
		else if (kill(pid, SIGKILL) < 0)
			continue;
		__atomic_fetch_add(&t.kills, 1, __ATOMIC_RELAXED);
		if (strcmp(victim(), "both") == 0 && rand_r(&seed) % 2)
			kill_next(daemon, &seed);
		last = pid;
	}
	return NULL;
}

/* ---- vIOMMU: IOVAs are guest addresses ---- */

#define IOMMU_PAGE 65536u

/* stop_iommu()'s signal can end a write of its thread before the device gets
 * it. */
static void send_iotlb(uint8_t type, uint64_t iova, uint64_t size, uint64_t uva,
		       uint8_t perm, const char *what)
{
	int ret;

	do
		ret = vmm_iotlb_send(t.v->fd, type, iova, size, uva, perm);
	while (ret == -EINTR);
	must(ret, what);
}

static void map_page(uint64_t iova)
{
	uint64_t page = iova & ~(uint64_t)(IOMMU_PAGE - 1);
	uint64_t uva = vmm_mem_uva(&t.v->mem, page);

	if (!uva)
		die(-EFAULT, "a miss outside of guest memory");
	send_iotlb(VHOST_IOTLB_UPDATE, page, IOMMU_PAGE, uva, VHOST_ACCESS_RW,
		   "IOTLB update");
}

/* The device asks again; it may be in the middle of a batch. */
static void unmap_all(void)
{
	pthread_mutex_lock(&t.mapping);
	send_iotlb(VHOST_IOTLB_INVALIDATE, 0, UINT64_MAX, 0, 0,
		   "IOTLB invalidate");
	pthread_mutex_unlock(&t.mapping);
}

/* As QEMU does before it starts a ring. */
static void map_used(unsigned int qi)
{
	struct vhost_vring_addr addr = vmm_vring_addr(t.v, qi);

	if (t.viommu)
		map_page(addr.used_user_addr);
}

static void *answer_misses(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&t.stop, __ATOMIC_RELAXED)) {
		struct vhost_msg_v2 m;
		ssize_t n = read(t.v->fd, &m, sizeof(m));

		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(m))
			die(n < 0 ? -errno : -EPROTO, "reading a miss");
		if (m.iotlb.type != VHOST_IOTLB_MISS)
			die(-EPROTO, "no miss");
		map_page(m.iotlb.iova);
		if (++t.misses % 8 == 0)
			unmap_all();
	}
	return NULL;
}

static void on_signal(int number)
{
	(void)number;
}

static void start_iommu(void)
{
	const struct sigaction act = { .sa_handler = on_signal };

	sigaction(SIGUSR1, &act, NULL);
	must(vmm_init(t.v), "SET_OWNER");
	must(vmm_set_backend_features(t.v->fd, VMM_BACKEND_IOTLB_V2),
	     "SET_BACKEND_FEATURES");
	for (unsigned int i = 0; i < VMM_QUEUES; i++)
		t.v->q[i].ring_uva = t.v->q[i].ring_gpa;
	must(vmm_prepare(t.v), "prepare");
	map_used(VMM_RX);
	map_used(VMM_TX);
	if (pthread_create(&t.iommu, NULL, answer_misses, NULL))
		die(-EAGAIN, "thread");
	must(vmm_set_backends(t.v, t.tap), "SET_BACKEND");
}

/* The thread waits in read(2), whose request an earlier daemon may have got. */
static void stop_iommu(void)
{
	__atomic_store_n(&t.stop, true, __ATOMIC_RELAXED);
	while (pthread_tryjoin_np(t.iommu, NULL) != 0) {
		pthread_kill(t.iommu, SIGUSR1);
		usleep(10000);
	}
}

/* ---- calls ---- */

static void stop_and_start(unsigned int qi)
{
	unsigned int base;

	must(vmm_set_backend(t.v->fd, qi, -1), "SET_BACKEND -1");
	must(vmm_get_vring_base(t.v->fd, qi, &base), "GET_VRING_BASE");
	must(vmm_set_vring_base(t.v->fd, qi, base), "SET_VRING_BASE");
	pthread_mutex_lock(&t.mapping);
	map_used(qi);
	must(vmm_set_backend(t.v->fd, qi, t.tap), "SET_BACKEND");
	pthread_mutex_unlock(&t.mapping);
}

/* How far a ring has come that stopped by itself. */
static void stop_ring(unsigned int qi)
{
	const struct vmm_ring *ring = &t.v->q[qi].ring;
	unsigned int base;

	must(vmm_set_backend(t.v->fd, qi, -1), "SET_BACKEND -1");
	must(vmm_get_vring_base(t.v->fd, qi, &base), "GET_VRING_BASE");
	if (!ring->packed && (uint16_t)(ring->published - base) > ring->num)
		die(0, "ring %u has come to %u, and its base is %u", qi,
		    ring->published, base);
}

/* What was in flight when a guest was stopped comes back with a reset. */
static void reset_driver(void)
{
	pthread_mutex_lock(&t.moving);
	for (unsigned int i = 0; i < VMM_QUEUES; i++)
		stop_ring(i);
	flow_reset(&t.flow);
	pthread_mutex_lock(&t.mapping);
	for (unsigned int i = 0; i < VMM_QUEUES; i++) {
		must(vmm_set_vring_base(t.v->fd, i,
					vmm_ring_base(&t.v->q[i].ring)),
		     "SET_VRING_BASE");
		map_used(i);
		must(vmm_set_backend(t.v->fd, i, t.tap), "SET_BACKEND");
	}
	pthread_mutex_unlock(&t.mapping);
	pthread_mutex_unlock(&t.moving);
	__atomic_fetch_add(&t.resets, 1, __ATOMIC_RELEASE);
}

static void some_call(void)
{
	struct vhost_vring_addr addr;
	unsigned int qi = (unsigned int)random_below(2);
	uint64_t features;

	switch (random_below(8)) {
	case 0:
		/* A guest that crashes have stopped would go on. */
		if (strcmp(victim(), "crash") != 0)
			stop_and_start(qi);
		break;
	case 1:
		another_session(device, t.v);
		break;
	case 2:
		must(vmm_set_vring_call(t.v->fd, qi, t.v->q[qi].call),
		     "SET_VRING_CALL");
		break;
	case 3:
		must(vmm_set_mem_table(t.v->fd, &t.v->mem), "SET_MEM_TABLE");
		break;
	case 4:
		must(vmm_set_vring_kick(t.v->fd, qi, t.v->q[qi].kick),
		     "SET_VRING_KICK");
		break;
	case 5:
		addr = vmm_vring_addr(t.v, qi);
		must(vmm_ioctl(t.v->fd, VHOST_SET_VRING_ADDR, &addr),
		     "SET_VRING_ADDR");
		break;
	case 6:
		must(vmm_set_busyloop(t.v->fd, qi,
				      (unsigned int)random_below(20)),
		     "SET_VRING_BUSYLOOP_TIMEOUT");
		break;
	default:
		must(vmm_get_features(t.v->fd, &features), "GET_FEATURES");
		break;
	}
	t.calls++;
}

/* A process dies in the middle of such a call, most likely. What the call has
 * found of the guest's memory is of no use then. */
static void set_tables(void)
{
	while (__atomic_load_n(&t.crashing, __ATOMIC_RELAXED)) {
		must(vmm_set_mem_table(t.v->fd, &t.v->mem), "SET_MEM_TABLE");
		t.calls++;
	}
}

/* ---- the run ---- */

/* Where the frames of the guest come out. A network takes more of them at a
 * time than a tap, and passes them on at once: room for all that it can have.
 */
static int open_far(const char *ifname)
{
	const int room = 16 << 20;
	int far = must(vmm_packet_open(ifname, VMM_ETHERTYPE, false),
		       "packet socket");

	if (getenv("UVHOST_FAR") && setsockopt(far, SOL_SOCKET, SO_RCVBUFFORCE,
					       &room, sizeof(room)) < 0)
		die(-errno, "SO_RCVBUFFORCE");
	return far;
}

static void start(bool packed, enum vmm_mem_kind kind)
{
	const struct vmm_tap_config tap = { .hdr_len = 12 };
	const struct vmm_config config = {
		.path = device,
		.mem_kind = kind,
		.features = VMM_BIT(VIRTIO_F_VERSION_1) |
			    VMM_BIT(VIRTIO_RING_F_EVENT_IDX) |
			    VMM_BIT(VIRTIO_RING_F_INDIRECT_DESC) |
			    (packed ? VMM_BIT(VIRTIO_F_RING_PACKED) : 0) |
			    (t.viommu ? VMM_BIT(VIRTIO_F_ACCESS_PLATFORM) : 0),
	};
	const char *far = getenv("UVHOST_FAR");
	char ifname[IFNAMSIZ];

	must(vmm_new(&config, &t.v), device);
	must(flow_init(&t.flow, t.v, 2048), "flow");
	t.flow.lossy = true;
	t.tap = must(vmm_tap_open(&tap, ifname), "tap");
	flow_add_port(&t.flow, open_far(far ? far : ifname));
	if (t.viommu)
		start_iommu();
	else
		must(vmm_start(t.v, t.tap), "start");
	must(flow_run(&t.flow, 100, STALL_MS), "first frames");
}

static void run(unsigned int kills)
{
	bool crash = strcmp(victim(), "crash") == 0;
	unsigned int *done = crash ? &t.stops : &t.kills;
	pthread_t mover, killer;

	t.seed = (unsigned int)random_u64();
	if (pthread_create(&mover, NULL, move_frames, NULL) ||
	    pthread_create(&killer, NULL, crash ? crash_worker : kill_daemon,
			   &kills))
		die(-EAGAIN, "thread");
	while (__atomic_load_n(done, __ATOMIC_RELAXED) < kills &&
	       __atomic_load_n(&t.moved_ret, __ATOMIC_RELAXED) >= 0) {
		if (t.resets != __atomic_load_n(&t.stops, __ATOMIC_ACQUIRE))
			reset_driver();
		some_call();
		if (__atomic_load_n(&t.crashing, __ATOMIC_RELAXED))
			set_tables();
		else
			usleep((useconds_t)random_below(3000));
	}
	if (t.resets != __atomic_load_n(&t.stops, __ATOMIC_ACQUIRE))
		reset_driver();
	some_call();
	__atomic_store_n(&t.calm, true, __ATOMIC_RELAXED);
	pthread_join(mover, NULL);
	pthread_join(killer, NULL);
}

/* What the last kill has cost shows with the first frame, each way, that is
 * sent after it: others may have come out before it, and only be found now. */
static int await_new_frames(void)
{
	const struct flow_port *port = &t.flow.port[0];
	uint32_t rx_sent = port->rx_sent, tx_sent = t.flow.tx_sent;
	int64_t end = vmm_now_ms() + STALL_MS;
	bool rx = false, tx = false;

	while (!rx || !tx) {
		int ret = vmm_now_ms() < end ? flow_run(&t.flow, 50, STALL_MS)
					     : -ETIMEDOUT;

		if (ret == -ETIMEDOUT)
			snprintf(t.flow.error, sizeof(t.flow.error),
				 "no frame came to the %s for %d ms",
				 rx ? "tap" : "guest", STALL_MS);
		if (ret < 0)
			return ret;
		rx = (int32_t)(port->rx_got - rx_sent) > 0;
		tx = (int32_t)(port->tx_next - tx_sent) > 0;
	}
	return 0;
}

/* Nothing is lost without kills. */
static int run_quietly(void)
{
	int ret = await_new_frames();
	uint64_t tx, rx;

	tx = t.flow.tx_lost;
	rx = t.flow.rx_lost;
	if (ret == 0)
		ret = flow_run(&t.flow, 2000, STALL_MS);
	if (ret < 0)
		return ret;
	if (t.flow.tx_lost == tx && t.flow.rx_lost == rx)
		return 0;
	snprintf(t.flow.error, sizeof(t.flow.error),
		 "frames are lost without a kill");
	return -EPROTO;
}

static int judge(void)
{
	bool broker = strcmp(victim(), "broker") == 0;
	bool none = broker && !getenv("UVHOST_FAR");
	uint64_t allowed = none ? 0 : (uint64_t)t.kills * BATCH;
	int ret = t.moved_ret < 0 ? t.moved_ret : run_quietly();

	if (ret == 0 && t.flow.tx_lost > allowed) {
		snprintf(t.flow.error, sizeof(t.flow.error),
			 "too many frames are lost");
		ret = -EPROTO;
	}
	return ret;
}

/* ---- the memory file ---- */

static bool has_our_memory(int pid)
{
	char pattern[32], mine[32], target[64];
	bool found = false;
	glob_t fds;

	snprintf(mine, sizeof(mine), "/proc/%d/mem", getpid());
	snprintf(pattern, sizeof(pattern), "/proc/%d/fd/*", pid);
	if (glob(pattern, 0, NULL, &fds) != 0)
		return false;
	for (size_t i = 0; i < fds.gl_pathc && !found; i++) {
		ssize_t n =
			readlink(fds.gl_pathv[i], target, sizeof(target) - 1);

		target[n < 0 ? 0 : n] = 0;
		found = strcmp(target, mine) == 0;
	}
	globfree(&fds);
	return found;
}

static int check_memory_file(bool want, const char *when)
{
	pid_t worker;

	/* The daemon may just have come back. */
	for (int64_t end = vmm_now_ms() + STALL_MS; !(worker = our_worker());) {
		if (vmm_now_ms() > end)
			die(-ESRCH, "where is the worker process?");
		usleep(1000);
	}
	if (has_our_memory(worker) == want)
		return 0;
	snprintf(t.flow.error, sizeof(t.flow.error),
		 "%s: worker process %d has %s memory file", when, worker,
		 want ? "no" : "the");
	return -EPROTO;
}

/* The device gets memory to use that is not shared. */
static void use_private_memory(void)
{
	static uint8_t page[8192];
	uint64_t uva = ((uintptr_t)page + 4095) & ~(uint64_t)4095;

	if (t.viommu) {
		must(vmm_iotlb_send(t.v->fd, VHOST_IOTLB_UPDATE,
				    UINT64_C(1) << 40, 4096, uva,
				    VHOST_ACCESS_RW),
		     "IOTLB update");
		return;
	}
	must(vmm_ioctl(t.v->fd, VHOST_SET_LOG_BASE, &uva), "SET_LOG_BASE");
	must(vmm_set_features(t.v->fd,
			      t.v->features | VMM_BIT(VHOST_F_LOG_ALL)),
	     "SET_FEATURES");
}

/* Whatever was killed: a worker process has the owner's memory file if some
 * memory is not shared. */
static int judge_memory_file(bool shared)
{
	int ret;

	if (strcmp(victim(), "daemon") == 0)
		return 0;
	ret = check_memory_file(!shared, "after the kills");
	if (ret < 0)
		return ret;
	use_private_memory();
	return check_memory_file(true, "with private memory");
}

static pid_t read_pid(const char *path)
{
	FILE *f = path ? fopen(path, "re") : NULL;
	int pid = 0;

	if (!f || fscanf(f, "%d", &pid) != 1)
		die(-ENOENT, "UVHOST_KEEPER");
	fclose(f);
	return pid;
}

int main(int argc, char **argv)
{
	unsigned int kills = argc > 1 ? (unsigned int)atoi(argv[1]) : 20;
	bool packed = argc > 2 && strcmp(argv[2], "packed") == 0;
	bool memfd = argc > 3 && strcmp(argv[3], "memfd") == 0;
	const char *seed = getenv("UVHOST_SEED");
	int ret;

	if (getenv("UVHOST_DEV"))
		device = getenv("UVHOST_DEV");
	if (!getenv("UVHOST_PID_COMMAND"))
		t.keeper = read_pid(getenv("UVHOST_KEEPER"));
	random_state = seed ? strtoull(seed, NULL, 0) : (uint64_t)getpid();
	printf("UVHOST_SEED=%llu\n", (unsigned long long)random_state);
	fflush(stdout); /* in case it hangs */
	random_state = (random_state + 1) * 0x9e3779b97f4a7c15;
	t.viommu = argc > 4;
	pthread_mutex_init(&t.mapping, NULL);
	pthread_mutex_init(&t.moving, NULL);
	if (!getenv("UVHOST_FAR"))
		must(vmm_net_enter(), "network namespace");
	start(packed, memfd ? VMM_MEM_MEMFD : VMM_MEM_PRIVATE);
	run(kills);
	ret = judge();
	if (ret == 0)
		ret = judge_memory_file(memfd);
	if (t.viommu)
		stop_iommu();
	printf("%-6s %-7s %3u kills, %5u calls, %8llu frames, lost: %llu to "
	       "the tap, %llu to the guest; longest pause %lld ms: %s\n",
	       packed ? "packed" : "split", memfd ? "memfd" : "private",
	       t.kills, t.calls, (unsigned long long)t.flow.moved,
	       (unsigned long long)t.flow.tx_lost,
	       (unsigned long long)t.flow.rx_lost, (long long)t.longest_ms,
	       ret == 0 ? "none twice" : "FAILED");
	if (ret < 0)
		fprintf(stderr, "restart: %s\n",
			t.flow.error[0] ? t.flow.error : strerror(-ret));
	if (t.viommu)
		printf("%u misses were answered\n", t.misses);
	fflush(stdout);
	flow_free(&t.flow);
	/* close(2) of the device does not wait for it: rings that run on, in a
	 * daemon that has just been started for example, would find no memory.
	 */
	must(vmm_stop(t.v), "stop");
	vmm_free(t.v);
	return ret < 0;
}
