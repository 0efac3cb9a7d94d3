/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sc_sessions.c: many sessions of one daemon, each with a guest that sends to a
 * port null. The limit is the same daemon with one session: what is lost is the
 * price of having so many. (A daemon has at most 64 sockets.)
 *
 * All threads of the daemon share processor BENCH_CPU_BACKEND; one thread plays
 * the guests in turns on the other.
 *
 * Notes, of the daemon with its sessions at rest (made once, in open()):
 *
 *   private_bytes_per_session      memory that no other process maps
 *   idle_context_switches_per_s    of all its threads
 */
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "guest.h"

#define SESSIONS_MAX 256
#define FRAME 64
#define ROOM 128 /* so many guests in less memory */
#define CONFIG "sessions.conf"
#define REST_US 100000 /* until the last worker no longer polls */
#define IDLE_US 200000
#define DEVICE "uvbench-null"

struct sessions_arg {
	unsigned int n;
	bool device;
};

struct sessions {
	pid_t daemon;
	unsigned int n;
	struct guest *guest[SESSIONS_MAX];
	struct guest_pair pair[SESSIONS_MAX];
};

/* ---- the daemon, from outside ---- */

/* Sum of the numbers behind lines that begin with @key. */
static uint64_t sum_lines(const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	uint64_t sum = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, key, strlen(key)) == 0)
			sum += strtoull(line + strlen(key), NULL, 10);
	if (f)
		fclose(f);
	return sum;
}

static uint64_t private_bytes(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	return 1024 * (sum_lines(path, "Private_Clean:") +
		       sum_lines(path, "Private_Dirty:"));
}

typedef uint64_t per_thread(pid_t pid, const char *tid);

static uint64_t sum_threads(pid_t pid, per_thread *f)
{
	uint64_t sum = 0;
	struct dirent *e;
	char path[64];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			sum += f(pid, e->d_name);
	if (d)
		closedir(d);
	return sum;
}

static uint64_t switches(pid_t pid, const char *tid)
{
	char path[320];

	snprintf(path, sizeof(path), "/proc/%d/task/%s/status", pid, tid);
	return sum_lines(path, "voluntary_ctxt_switches:") +
	       sum_lines(path, "nonvoluntary_ctxt_switches:");
}

static uint64_t pin(pid_t pid, const char *tid)
{
	(void)pid;
	bench_pin((pid_t)strtol(tid, NULL, 10), BENCH_CPU_BACKEND);
	return 1;
}

static void note_idle(struct bench *b, const struct sessions *s,
		      uint64_t before)
{
	uint64_t count, start, ns;

	usleep(REST_US);
	start = bench_now_ns();
	count = sum_threads(s->daemon, switches);
	usleep(IDLE_US);
	count = sum_threads(s->daemon, switches) - count;
	ns = bench_now_ns() - start;
	bench_note(b, "idle_context_switches_per_s",
		   (double)count * 1e9 / (double)ns);
	bench_note(b, "private_bytes_per_session",
		   ((double)private_bytes(s->daemon) - (double)before) / s->n);
}

/* ---- setting up ---- */

static int write_config(struct bench *b, unsigned int n)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/" CONFIG, b->dir);
	f = fopen(path, "we");
	for (unsigned int i = 0; f && i < n; i++)
		fprintf(f, "[socket-path %s/s%u]\nport = null\n", b->dir, i);
	if (!f || fclose(f) < 0)
		return bench_why(b, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

static pid_t start_daemon(struct bench *b, unsigned int n)
{
	static const char *const args[] = { "--config", "@DIR@/" CONFIG, NULL };
	char last[16];
	int ret = write_config(b, n);

	if (ret < 0)
		return ret;
	snprintf(last, sizeof(last), "s%u", n - 1);
	return bench_daemon(b, BENCH_CPU_BACKEND, last, args);
}

/* Each guest has eventfds, memory and a socket. */
static void raise_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

static int start_guests(struct bench *b, struct sessions *s, bool device)
{
	char socket[128];
	const struct guest_config config = {
		.socket = device ? NULL : socket,
		.device = "/dev/" DEVICE,
		.size = FRAME,
		.room = ROOM,
		.number = 2,
		.to = 1,
	};

	raise_files();
	for (unsigned int i = 0; i < s->n; i++) {
		int ret;

		snprintf(socket, sizeof(socket), "%s/s%u", b->dir, i);
		ret = guest_new(&config, &s->guest[i]);
		if (ret < 0)
			return guest_why(b, ret, "a session");
		s->pair[i].from = s->guest[i];
	}
	return 0;
}

/* ---- scenarios ---- */

static int sessions_open(struct bench *b)
{
	const struct sessions_arg *a = b->scenario->arg;
	struct sessions *s = calloc(1, sizeof(*s));
	uint64_t before;
	int ret;

	if (!s)
		return bench_why(b, -ENOMEM, "no memory");
	b->priv = s;
	s->n = b->side == BENCH_OURS ? a->n : 1;
	if (bench_pin(0, BENCH_CPU_FRONTEND) < 0)
		return bench_why(b, BENCH_LACKS, "needs two processors");
	s->daemon = a->device ? b->daemon : start_daemon(b, s->n);
	if (s->daemon < 0)
		return s->daemon;
	before = private_bytes(s->daemon);
	ret = start_guests(b, s, a->device);
	if (ret < 0)
		return ret;
	sum_threads(s->daemon, pin);
	ret = guest_begin(s->pair, s->n);
	if (ret < 0)
		return guest_why(b, ret, "no frames");
	note_idle(b, s, before);
	return 0;
}

static int sessions_slice(struct bench *b, uint64_t ns,
			  struct bench_sample *out)
{
	struct sessions *s = b->priv;
	uint64_t cpu = bench_cpu_ns(s->daemon);
	struct guest_flow f;
	int ret = guest_run(s->pair, s->n, ns, &f);

	if (ret < 0)
		return guest_why(b, ret, "no frames");
	out->ops = f.frames;
	out->ns = f.ns;
	out->bytes = f.frames * FRAME;
	out->cpu_ns = bench_cpu_ns(s->daemon) - cpu;
	return 0;
}

static void sessions_close(struct bench *b)
{
	const struct sessions_arg *a = b->scenario->arg;
	struct sessions *s = b->priv;

	if (!s)
		return;
	for (unsigned int i = 0; i < s->n; i++)
		guest_free(s->guest[i]);
	if (!a->device)
		bench_end(s->daemon);
	free(s);
	b->priv = NULL;
}

#define ARG(...) (&(const struct sessions_arg){ __VA_ARGS__ })
#define SESSIONS(name_, what_, peer_, device_, ...) \
	{                                           \
		.name = "sessions/" name_,          \
		.what = what_,                      \
		.op = "frame",                      \
		.measure = BENCH_RATE,              \
		.peer = peer_,                      \
		.device = device_,                  \
		.peer_device = device_,             \
		.open = sessions_open,              \
		.slice = sessions_slice,            \
		.close = sessions_close,            \
		.arg = ARG(__VA_ARGS__),            \
	}
#define SOCKETS(n_, peer)                                                      \
	SESSIONS("socket/" #n_,                                                \
		 #n_ " over vhost-user, 64 B frames to port null", peer, NULL, \
		 .n = (n_))
#define DEVICES(n_, peer)                                                     \
	SESSIONS("device/" #n_, #n_ " on a device, 64 B frames to port null", \
		 peer, device, .n = (n_), .device = true)

static const char *const device[] = { "--device", DEVICE ",port=null", NULL };

/* clang-format off */
const struct scenario scenarios_sessions[] = {
	SOCKETS(1, NULL),
	SOCKETS(8, "one session"),
	SOCKETS(64, "one session"),
	DEVICES(1, NULL),
	DEVICES(8, "one session"),
	DEVICES(64, "one session"),
	DEVICES(256, "one session"),
	{ .name = NULL },
};
/* clang-format on */
