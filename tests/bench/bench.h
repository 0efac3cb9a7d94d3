/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bench: named scenarios, each with two sides that take turns in one run.
 *
 * A *scenario* measures one thing. A *side* is a contestant: this tree, the
 * peer or the limit that the scenario names, or the build of another commit
 * (BASE=REV). Each side runs in a process group of its own, with everything
 * that belongs to it: the agent (this program again, which drives the
 * frontends), its backend (uvhostd or the peer), and what else the scenario
 * starts. The engine stops the group of one side (SIGSTOP) while the other
 * runs, for slices of at most 250 ms. The result is the median of the ratios of
 * neighbouring slices.
 *
 * The engine judges nothing.
 *
 *   main.c     options; the list of scenarios; the order of the run
 *   engine.c   slices and pairs of one scenario;  side.c  processes of a side
 *   agent.c    the agent's side of the engine;  agent_proc.c  for scenarios
 *   stats.c    median and its 95 % interval; when a scenario is settled
 *   report.c   table and JSON;  svg.c  the picture;  machine.c  the machine
 *   sc_*.c     the scenarios
 *   guest.c, ringfeed.c  guests;  dpdk.c  DPDK's backend;  taps.c  taps
 *   bareguest.c, hops.c, wire.c  bare calls;  threads.c  threads in /proc
 *   vmdev.c, qemunet.c, qtest.c, vmtap.c   what sc_vm*.c measure
 */
#ifndef BENCH_H
#define BENCH_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** BENCH_DEVICE() - for --device: @name, whose guests have no worker process,
 * as the processor time that is counted is uvhostd's. An older uvhostd, which
 * has none, is not told so */
#define BENCH_NO_WORKERS ",worker-process=off"
#define BENCH_DEVICE(name) name BENCH_NO_WORKERS

/** BENCH_SLICE_MAX_NS - longest slice */
#define BENCH_SLICE_MAX_NS (UINT64_C(250) * 1000 * 1000)
/** BENCH_CPU_BACKEND, BENCH_CPU_FRONTEND - processors of the two halves */
#define BENCH_CPU_BACKEND 0
#define BENCH_CPU_FRONTEND 1
/**
 * BENCH_LACKS - what open() returns if the machine lacks something: a program,
 * huge pages, a processor, privileges. A smoke run then skips the scenario;
 * any other error is a failure there.
 */
#define BENCH_LACKS (-EOPNOTSUPP)

enum bench_side {
	BENCH_OURS,
	BENCH_PEER, /* or the limit */
};

/**
 * enum bench_measure - what the ratio is made of
 * @BENCH_RATE: operations a second; ratio = ours / peer
 * @BENCH_TIME: ns of the clock for an operation; ratio = peer / ours
 * @BENCH_CPU:  ns of processor time of the backend for an operation; ratio =
 *              peer / ours
 *
 * So a ratio above 1 always says that this tree is ahead.
 */
enum bench_measure { BENCH_RATE, BENCH_TIME, BENCH_CPU };

/**
 * struct bench_sample - what one slice saw
 * @ops:    operations (frames, round trips, calls) that were completed
 * @ns:     time of the clock in which they were
 * @bytes:  of payload in them; 0: not a matter of bytes
 * @cpu_ns: processor time of the backend in that time, kernel threads that work
 *          for it included; 0: unknown
 */
struct bench_sample {
	uint64_t ops;
	uint64_t ns;
	uint64_t bytes;
	uint64_t cpu_ns;
};

struct scenario;

/**
 * struct bench - one side of one scenario, in its agent
 * @scenario: what is measured
 * @side:     which side this agent is
 * @uvhostd:  path of the daemon of this side: of this tree, or of BASE
 * @dir:      directory of this side alone, empty at the start, removed at the
 *            end: sockets, logs
 * @daemon:   pid of the daemon if the engine started it (@scenario->device);
 *            else 0
 * @priv:     the scenario's
 */
struct bench {
	const struct scenario *scenario;
	enum bench_side side;
	const char *uvhostd;
	const char *dir;
	pid_t daemon;
	void *priv;
};

/**
 * struct scenario - one thing to measure; constant
 * @name:    words between '/', most general first: "ring/split/64/from-guest"
 * @what:    one line for the list: what goes from where to where
 * @op:      what an operation is: "frame", "round trip", "call"
 * @measure: see there
 * @peer:    name of the other side as the table shows it ("DPDK vhost",
 *           "pread(/proc/PID/mem)"); NULL: there is none here, and only the
 *           value is printed (BASE still compares)
 * @device:  options of uvhostd behind "--log-level warning", NULL-terminated,
 *           with "@DIR@" replaced: the engine starts the daemon
 *           with them and a character device for each "--device" among them
 *           (under the user-space CUSE host where there is no /dev/cuse), and
 *           runs the agent where it can open those by name. NULL: the agent
 *           starts what it needs. For the side BENCH_OURS only, unless
 *           @peer_device is set
 * @peer_device: likewise for BENCH_PEER
 * @linked:  the code that is measured is linked into the agent, not the daemon,
 *           and runs in one thread: BASE runs the agent of its own build, if
 * that has the scenario
 * @open:    set this side up, ready for slices, in at most 60 s. 0, or
 *           BENCH_LACKS or -errno with bench_why() called: the scenario is
 *           then reported as not measured, with that reason
 * @slice:   work for about @ns, complete at least one operation and say what
 *           was done; 0 or -errno (bench_why()). The engine calls it with a
 *           short @ns before each slice that counts and throws that sample
 *           away. epoll_wait(2) fails with EINTR after a SIGCONT
 * @close:   stop what open() started (processes are also killed by the engine);
 *           may be NULL; is called after a failed open() too
 * @arg:     the scenario's constants
 */
struct scenario {
	const char *name;
	const char *what;
	const char *op;
	enum bench_measure measure;
	const char *peer;
	const char *const *device;
	const char *const *peer_device;
	bool linked;
	int (*open)(struct bench *b);
	int (*slice)(struct bench *b, uint64_t ns, struct bench_sample *out);
	void (*close)(struct bench *b);
	const void *arg;
};

/** Each sc_*.c has one such list, ended by an entry without a name. */
extern const struct scenario scenarios_ring[], scenarios_guests[],
	scenarios_copy[], scenarios_port[], scenarios_table[],
	scenarios_roundtrip[], scenarios_control[], scenarios_sessions[],
	scenarios_offload[], scenarios_switch[];
/** The suite vm, see main.c */
extern const struct scenario scenarios_vmcost[], scenarios_vm[],
	scenarios_vmguest[];

/* ---- for scenarios, in the agent ---- */

/**
 * bench_why() - say why this side cannot be measured, or what it saw
 *
 * One line, without a newline. Return: @err, for "return bench_why(...)".
 */
__attribute__((format(printf, 3, 4))) int bench_why(struct bench *b, int err,
						    const char *format, ...);

/**
 * bench_note() - a value beside the measurement ("private_memory_bytes")
 *
 * @key has its unit at the end. Shown in the table's last column and in JSON
 * under "notes"; of several calls with one key the last counts.
 */
void bench_note(struct bench *b, const char *key, double value);

/**
 * bench_spawn() - start a process of this side
 * @cpu:  processor it is bound to; -1: any
 * @log:  file in @b->dir that gets its output
 * @in:   NULL, or gets the write end of a pipe on its standard input, which is
 *        the caller's to close
 *
 * It is a member of this side's process group and dies with the agent. Return:
 * pid or -errno.
 */
pid_t bench_spawn(struct bench *b, int cpu, const char *log, int *in,
		  const char *const *argv);

/** bench_end() - SIGTERM, after 2 s SIGKILL, and wait; 0 or less: nothing */
void bench_end(pid_t pid);

/**
 * bench_daemon() - start @b->uvhostd with vhost-user sockets, and wait until
 * @socket (in @b->dir) accepts; pid or -errno with bench_why() called
 * @args: options behind "--log-level warning", NULL-terminated; "@DIR@" in them
 *        is replaced by @b->dir
 */
pid_t bench_daemon(struct bench *b, int cpu, const char *socket,
		   const char *const *args);

/** bench_wait_socket() - until @name in @b->dir accepts; 0 or -ETIMEDOUT */
int bench_wait_socket(struct bench *b, const char *name, int ms);

/** bench_pin() - bind thread @tid (0: the caller) to a processor; 0 or -errno
 */
int bench_pin(pid_t tid, int cpu);

/** bench_huge_pages() - have @pages free pages of 2 MiB; 0, or BENCH_LACKS with
 * bench_why() called. The engine takes away at the end what was added. */
int bench_huge_pages(struct bench *b, unsigned int pages);

/** bench_cpu_ns() - processor time of a process; 0: no such process. While one
 * of its threads runs, the last tick's time may be missing. */
uint64_t bench_cpu_ns(pid_t pid);
/** bench_thread_ns() - processor time of one of its threads */
uint64_t bench_thread_ns(pid_t pid, pid_t tid);
/** bench_worker() - thread of @pid whose name begins with @prefix; 0: none */
pid_t bench_worker(pid_t pid, const char *prefix);
/** bench_now_ns() - CLOCK_MONOTONIC */
uint64_t bench_now_ns(void);

#endif
