/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Private to tests/support/cusehost*.c. How it all works is told at the top of
 * cusehost.c; each part below is named after the file that holds it.
 *
 * One thread. Nothing here blocks on the daemon or on a client.
 */
#ifndef CUSEHOST_H
#define CUSEHOST_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <linux/fuse.h>
#include <linux/seccomp.h>

#define CH_MAX_DEVICES 16
/* CUSE's limits: 32 pages per request and one for iovecs (fs/fuse/fuse_i.h,
 * FUSE_DEFAULT_MAX_PAGES_PER_REQ). */
#define CH_PAGE ((size_t)4096)
#define CH_DATA_PAGES 32
#define CH_DATA_MAX (CH_DATA_PAGES * CH_PAGE)
#define CH_MSG_MAX (CH_DATA_MAX + 256)
/* How often outstanding calls are checked for a caller that died or that has a
 * signal to take; the kernel is told at once, we have to look. */
#define CH_TICK_MS 10
/* One per client thread, and per killed thread whose request is not answered.
 */
#define CH_MAX_CALLS 4096
/* A RELEASE or POLL that is not answered holds other calls up no longer. */
#define CH_BARRIER_MS 2000

#define ch_container_of(ptr, type, member) \
	((type *)(void *)((char *)(ptr) - offsetof(type, member)))

struct host;
struct device;
struct session;
struct call;

/* cusehost.c: the loop */

/* One descriptor in an epoll set. */
struct watch {
	void (*fn)(struct watch *w, uint32_t events);
	int fd;
};

/* cusehost_dev.c: the FUSE side */

/* One FUSE request that the daemon has not answered; embedded in whatever
 * waits for it. */
struct request {
	LIST_ENTRY(request) link; /* device.requests, while in flight */
	struct device *dev;       /* NULL: not in flight */
	uint64_t unique;
	uint64_t since_ms;
	uint32_t opcode;
	uint32_t fixed_bytes;   /* of the reply, header excluded */
	uint32_t var_max_bytes; /* of the reply, at most, after those */
	bool interrupted;       /* FUSE_INTERRUPT was sent */
	/* @err is 0 or -errno; @body is valid during the call only. */
	void (*done)(struct request *req, int err, const void *body,
		     size_t len);
};

struct out_msg {
	STAILQ_ENTRY(out_msg) link;
	size_t len;
	unsigned char data[];
};

struct device {
	struct host *host;
	struct watch watch; /* our end of the channel; fd -1 after it broke */
	struct request init;
	char path[256];     /* "/dev/NAME", empty until INIT is answered */
	bool no_poll;       /* daemon answered ENOSYS: always ready */
	bool no_interrupt;  /* likewise: never interrupt */
	uint32_t max_read;  /* bytes, from INIT */
	uint32_t max_write; /* bytes, from INIT */
	uint64_t last_unique;
	uint64_t last_kh;
	LIST_HEAD(, request) requests;
	STAILQ_HEAD(, out_msg) out; /* what the socket did not take yet */
};

/* One open of a device: an open file description of the client. */
struct session {
	LIST_ENTRY(session) link;
	struct host *host;
	struct device *dev;
	struct watch watch; /* the pipe's write end; POLLERR: no reader left */
	int read_fd;        /* the client's end until it has it, then -1 */
	ino_t pipe_ino;
	uint64_t fh; /* daemon's name for it */
	uint64_t kh; /* our name for it, in POLL */
	uint32_t open_flags;
	unsigned int calls; /* calls that refer to this session */
	bool gone;          /* no client reference left */
	struct request poll;
	struct request release;
	bool poll_again;
	uint64_t polls_sent;
	uint64_t polls_done;
};

/* Who asks, as the request header carries it. */
struct caller {
	uint32_t uid; /* fsuid */
	uint32_t gid; /* fsgid */
	pid_t tid;
	pid_t tgid;
};

/* cusehost_call.c: one trapped system call that concerns a device */

struct call {
	LIST_ENTRY(call) link;
	struct host *host;
	struct session *session; /* counted in session.calls; NULL for OPEN */
	struct device *dev;
	uint64_t id; /* of the notification */
	struct caller caller;
	struct request req;
	bool compat;    /* 32-bit caller */
	bool abandoned; /* the caller is dead; no answer is wanted */
	bool held;      /* finished, waits for polls_done >= hold_until */
	bool inject;    /* OPEN succeeded: the answer is a descriptor */
	uint64_t hold_until;
	uint64_t held_since_ms;
	int64_t result; /* while held */

	uint32_t open_flags; /* OPEN */

	/* IOCTL: the daemon's iovecs, in first, then out. READ, WRITE: the
	 * caller's. Same layout on purpose. */
	struct fuse_ioctl_iovec *iov;
	uint32_t cmd;
	uint64_t arg;
	unsigned int in_iovs;
	unsigned int out_iovs;
	size_t out_size;

	/* READ, WRITE */
	unsigned int iov_count;
	unsigned int iov_index; /* cursor */
	size_t iov_offset;      /* cursor, within iov[iov_index] */
	size_t left;
	size_t chunk;
	size_t done;
	uint32_t f_flags;
	bool is_write;
};

struct deferred {
	STAILQ_ENTRY(deferred) link;
	struct seccomp_notif notif;
};

struct host {
	/* options */
	bool trap_io;
	bool restarts; /* the daemon is started again when it has died */
	bool verbose;
	unsigned int device_count;
	unsigned int linger_ms;
	const char *pidfile;
	char **daemon_argv;
	char **client_argv;

	int epfd;
	struct watch sessions_watch; /* epoll set of all sessions' pipes */
	struct watch listener;
	struct watch signals;
	struct device dev[CH_MAX_DEVICES];
	LIST_HEAD(, session) sessions;
	LIST_HEAD(, call) calls;
	unsigned int call_count;
	STAILQ_HEAD(, deferred) deferred;
	unsigned int releasing; /* RELEASEs in flight */
	uint64_t releasing_since_ms;
	uint64_t next_tick_ms;
	struct seccomp_notif *notif; /* of the kernel's size */
	size_t notif_size;
	struct seccomp_notif_resp *resp;
	size_t resp_size;

	pid_t daemon_pid; /* 0: not started, or reaped */
	pid_t client_pid; /* likewise */
	pid_t client_pgid;
	int daemon_status;
	int client_status;
	bool daemon_exited;
	bool client_exited;
	bool client_started;
	bool listener_gone; /* no process is left under the filter */
	unsigned int protocol_errors;
	int stop_signal;    /* SIGTERM and such, sent to us */
	uint64_t stop_ms;   /* when it came */
	bool stop_insisted; /* and another one after a while */

	unsigned char in[CH_MSG_MAX];    /* the message being handled */
	unsigned char data[CH_DATA_MAX]; /* payload of the one being made */
};

/* cusehost.c */
uint64_t ch_now_ms(void);
int ch_watch(struct host *h, int epfd, struct watch *w, uint32_t events);
void ch_unwatch(int epfd, struct watch *w);
void ch_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void ch_log(const struct host *h, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* cusehost_dev.c */

/* Takes @chan; sends CUSE_INIT. Success shows in dev_ready(). */
void dev_start(struct host *h, struct device *d, int chan);
bool dev_ready(const struct device *d);
bool dev_broken(const struct device *d);
/* How many requests are in flight. */
unsigned int dev_unanswered(const struct device *d);
/* Closes the channel; everything in flight ends with ECONNABORTED. */
void dev_break(struct device *d);

/**
 * dev_request() - send one request
 * @req:   done, fixed_bytes and var_max_bytes are set; not in flight
 * @who:   or NULL for one that has no caller
 * @in:    the operation's struct
 * @extra: payload after it
 *
 * Return: 0, then @req->done runs once, later; -ENOTCONN or -ENOMEM, then it
 * does not run.
 */
int dev_request(struct device *d, struct request *req, uint32_t opcode,
		const struct caller *who, const void *in, size_t in_len,
		const void *extra, size_t extra_len);
void dev_interrupt(struct request *req);

/* A session with its pipe, which the daemon does not know yet. 0 or -errno. */
int session_new(struct device *d, uint32_t open_flags, struct session **out);
/* Only for one that the daemon does not know (any more). */
void session_free(struct session *s);
/* OPEN succeeded; asks for its readiness at once. */
void session_opened(struct session *s, uint64_t fh);
/* The client has its end: drop ours and watch for the last reference. */
void session_handed_over(struct session *s);
struct session *session_find(struct host *h, ino_t pipe_ino);
/* Counterpart of taking a call's reference. */
void session_put(struct session *s);
/* Whether a result must wait, until polls_done is @until, for the pipe to show
 * the readiness of now. @moved_data: the call was a READ or WRITE. */
bool session_unsettled(struct session *s, bool moved_data, uint64_t *until);
/* Likewise, but the poll in flight, if any, will do. */
bool session_polling(const struct session *s, uint64_t *until);
/* Sends RELEASE for each session whose last reference is gone. */
void session_sweep(struct host *h);
/* End of the run: closes all sessions. */
void session_release_all(struct host *h);

/* cusehost_call.c */

void call_open(struct host *h, const struct seccomp_notif *n);
void call_ioctl(struct host *h, const struct seccomp_notif *n);
void call_rw(struct host *h, const struct seccomp_notif *n, bool is_write,
	     bool vectored);
void call_lseek(struct host *h, const struct seccomp_notif *n);
/* polls_done of @s went up, or no poll will ever be answered. */
void call_settled(struct session *s);
/* Looks after callers that died or have a signal to take. */
void call_tick(struct host *h);

/* cusehost_trap.c */

/* The arguments of open, creat, openat and openat2 in one form. */
struct open_args {
	int dirfd;
	uint64_t path_uva;
	uint64_t flags;
	uint64_t how_uva; /* openat2: flags are there; else 0 */
};

/* In the child, before exec: returns the listener or -errno. */
int trap_install(bool trap_io);
int trap_start(struct host *h, int listener);
bool trap_is_compat(const struct seccomp_notif *n);
void trap_open_args(const struct seccomp_notif *n, struct open_args *out);
/* Negative @result: -errno. */
void trap_answer(struct host *h, uint64_t id, int64_t result);
void trap_continue(struct host *h, uint64_t id);
/* Return: the number it got, or -errno; -ENOENT if the caller is gone. */
int trap_answer_fd(struct host *h, uint64_t id, int fd, bool cloexec);
bool trap_valid(struct host *h, uint64_t id);
/* Runs what waited for RELEASEs, if they are done. */
void trap_run_deferred(struct host *h);

/* cusehost_peer.c: reaching into the client */

/* Both return how many bytes from the start could be copied. */
size_t peer_read(pid_t tid, uint64_t uva, void *buf, size_t len);
size_t peer_write(pid_t tid, uint64_t uva, const void *buf, size_t len);
/* How many bytes from the start are mapped writable. */
size_t peer_writable(pid_t tid, uint64_t uva, size_t len);
/* The inode of the pipe that descriptor @fd is. */
bool peer_fd_pipe(pid_t tid, int fd, ino_t *ino);
/* F_GETFL of its descriptor, or -errno. */
int peer_fd_flags(pid_t tid, int fd);
bool peer_caller(pid_t tid, struct caller *out);
bool peer_signal_pending(pid_t tid);
/* The file name at @uva as an absolute path without ".", ".." and "//"; false
 * if there is none or @wanted refuses its last part. */
bool peer_path(pid_t tid, int dirfd, uint64_t uva, char out[PATH_MAX],
	       bool (*wanted)(const struct host *h, const char *last),
	       const struct host *h);

#endif
