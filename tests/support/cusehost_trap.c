/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which system calls reach us, and how they are answered.
 *
 * One table row per call. From the rows the child builds its filter, before it
 * executes the client, and the host finds what a notification means. The
 * filter knows numbers only, no descriptors: whether a trapped call concerns a
 * device is found out here, and if not, the kernel goes on with it
 * (SECCOMP_USER_NOTIF_FLAG_CONTINUE). That is fit for tests, not for security.
 *
 * 32-bit callers on x86-64 are trapped by their own numbers and served with
 * the flags that the kernel gives to compat calls. x32 calls pass untouched.
 *
 * With WAIT_KILLABLE_RECV (Linux 5.19) a call that we have received is only
 * interrupted by death, as the kernel's CUSE does. Without it any handled
 * signal interrupts the call while the daemon still carries it out. (Up to
 * 6.17 there is a moment just after our answer in which that can still
 * happen.)
 *
 * Not seen: io_uring, and calls of a process that brings a listener of its
 * own (the kernel refuses a second one: EBUSY).
 */
#include "cusehost.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/audit.h>
#include <linux/filter.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS /* Linux 6.6 */
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

#if defined(__x86_64__)
#define ARCH_NATIVE AUDIT_ARCH_X86_64
#define ARCH_COMPAT AUDIT_ARCH_I386
#define X32_BIT 0x40000000u
#elif defined(__aarch64__)
#define ARCH_NATIVE AUDIT_ARCH_AARCH64
#else
#error "cusehost: which AUDIT_ARCH is this?"
#endif

/* Calls that newer architectures do not have */
#ifdef __NR_open
#define NR_OPEN __NR_open
#define NR_CREAT __NR_creat
#else
#define NR_OPEN -1
#define NR_CREAT -1
#endif

enum kind {
	OPEN,
	CREAT,
	OPENAT,
	OPENAT2,
	IOCTL,
	READ,
	READV,
	WRITE,
	WRITEV,
	LSEEK,
};

/* When a row traps without --trap-io */
enum when {
	ALWAYS,
	IF_VHOST, /* the ioctl's type byte is vhost's */
	IF_IOTLB_READ,
	IF_IOTLB_WRITE, /* by their sizes */
	NEVER,
};

static const struct trap {
	int nr;
	int nr_i386;
	enum kind kind;
	enum when when;
	bool positioned; /* a file offset in the fourth argument */
} traps[] = {
	/* clang-format off */
	{ __NR_ioctl,      54, IOCTL,   IF_VHOST, false },
	{ __NR_read,        3, READ,    IF_IOTLB_READ, false },
	{ __NR_write,       4, WRITE,   IF_IOTLB_WRITE, false },
	{ __NR_openat,    295, OPENAT,  ALWAYS, false },
	{ NR_OPEN,          5, OPEN,    ALWAYS, false },
	{ NR_CREAT,         8, CREAT,   ALWAYS, false },
	{ __NR_openat2,   437, OPENAT2, ALWAYS, false },
	{ __NR_readv,     145, READV,   NEVER, false },
	{ __NR_writev,    146, WRITEV,  NEVER, false },
	{ __NR_pread64,   180, READ,    NEVER, true },
	{ __NR_pwrite64,  181, WRITE,   NEVER, true },
	{ __NR_preadv,    333, READV,   NEVER, true },
	{ __NR_pwritev,   334, WRITEV,  NEVER, true },
	{ __NR_preadv2,   378, READV,   NEVER, true },
	{ __NR_pwritev2,  379, WRITEV,  NEVER, true },
	{ __NR_lseek,      19, LSEEK,   NEVER, false },
	/* clang-format on */
};

#define TRAP_COUNT (sizeof(traps) / sizeof(traps[0]))

/* struct vhost_msg and vhost_msg_v2 are 72 bytes; their shortest useful form
 * is 8 + 32, and i386 lays the former out in 68. */
#define IOTLB_MSG 72
#define IOTLB_MSG_I386 68
#define IOTLB_MSG_MIN 40

/* --- the filter --- */

#define DATA(field) ((uint32_t)offsetof(struct seccomp_data, field))
/* the low half of an argument; both architectures are little-endian */
#define ARG_LOW(i) (DATA(args) + 8u * (i))
#define ARG_HIGH(i) (ARG_LOW(i) + 4)

#define PROG_MAX 512

struct prog {
	struct sock_filter insn[PROG_MAX];
	unsigned short len;
};

static void emit(struct prog *p, uint16_t code, uint32_t k, uint8_t jt,
		 uint8_t jf)
{
	struct sock_filter insn = { code, jt, jf, k };

	if (p->len == PROG_MAX)
		abort();
	p->insn[p->len++] = insn;
}

static void emit_load(struct prog *p, uint32_t offset)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0);
}

/* Jumps are relative to the next instruction. */
static void emit_if_eq(struct prog *p, uint32_t k, uint8_t jt, uint8_t jf)
{
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, k, jt, jf);
}

static void emit_ret(struct prog *p, uint32_t action)
{
	emit(p, BPF_RET | BPF_K, action, 0, 0);
}

static void emit_row(struct prog *p, uint32_t nr, enum when when)
{
	unsigned short branch = p->len;

	emit_if_eq(p, nr, 0, 0); /* else past this row; patched below */
	switch (when) {
	case ALWAYS:
		break;
	case IF_VHOST:
		emit_load(p, ARG_LOW(1));
		emit(p, BPF_ALU | BPF_AND | BPF_K, 0xff00, 0, 0);
		emit_if_eq(p, 0xaf00, 1, 0);
		emit_ret(p, SECCOMP_RET_ALLOW);
		break;
	case IF_IOTLB_READ:
	case IF_IOTLB_WRITE:
		emit_load(p, ARG_HIGH(2));
		emit_if_eq(p, 0, 1, 0);
		emit_ret(p, SECCOMP_RET_ALLOW);
		emit_load(p, ARG_LOW(2));
		if (when == IF_IOTLB_WRITE) {
			emit_if_eq(p, IOTLB_MSG_MIN, 3, 0);
			emit_if_eq(p, IOTLB_MSG_I386, 2, 0);
		}
		emit_if_eq(p, IOTLB_MSG, 1, 0);
		emit_ret(p, SECCOMP_RET_ALLOW);
		break;
	case NEVER:
		p->len = branch;
		return;
	}
	emit_ret(p, SECCOMP_RET_USER_NOTIF);
	p->insn[branch].jf = (uint8_t)(p->len - branch - 1);
}

static void emit_rows(struct prog *p, bool trap_io, bool i386)
{
	emit_load(p, DATA(nr));
#ifdef X32_BIT
	if (!i386) {
		emit(p, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
		emit_ret(p, SECCOMP_RET_ALLOW);
	}
#endif
	for (size_t i = 0; i < TRAP_COUNT; i++) {
		int nr = i386 ? traps[i].nr_i386 : traps[i].nr;

		if (nr >= 0)
			emit_row(p, (uint32_t)nr,
				 trap_io ? ALWAYS : traps[i].when);
	}
	emit_ret(p, SECCOMP_RET_ALLOW);
}

static void emit_arch(struct prog *p, uint32_t arch, bool trap_io, bool i386)
{
	unsigned short jump;

	emit_load(p, DATA(arch));
	emit_if_eq(p, arch, 1, 0);
	jump = p->len;
	emit(p, BPF_JMP | BPF_JA, 0, 0, 0);
	emit_rows(p, trap_io, i386);
	p->insn[jump].k = (uint32_t)(p->len - jump - 1);
}

static int seccomp_listen(unsigned long flags, const struct prog *p)
{
	struct sock_fprog fprog = {
		.len = p->len,
		.filter = (struct sock_filter *)(uintptr_t)p->insn,
	};

	return (int)syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
			    flags | SECCOMP_FILTER_FLAG_NEW_LISTENER, &fprog);
}

int trap_install(bool trap_io)
{
	struct prog p = { .len = 0 };
	int fd;

	emit_arch(&p, ARCH_NATIVE, trap_io, false);
#ifdef ARCH_COMPAT
	emit_arch(&p, ARCH_COMPAT, trap_io, true);
#endif
	emit_ret(&p, SECCOMP_RET_ALLOW);

	fd = seccomp_listen(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &p);
	if (fd < 0 && errno == EACCES) {
		/* not root: set-user-ID programs must not be fooled */
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
			return -errno;
		fd = seccomp_listen(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &p);
	}
	if (fd < 0 && errno == EINVAL)
		fd = seccomp_listen(0, &p);
	return fd < 0 ? -errno : fd;
}

/* --- notifications --- */

static const struct trap *trap_find(const struct seccomp_notif *n)
{
	bool native = n->data.arch == ARCH_NATIVE;

	for (size_t i = 0; i < TRAP_COUNT; i++)
		if ((native ? traps[i].nr : traps[i].nr_i386) == n->data.nr)
			return &traps[i];
	return NULL;
}

bool trap_is_compat(const struct seccomp_notif *n)
{
	return n->data.arch != ARCH_NATIVE;
}

void trap_open_args(const struct seccomp_notif *n, struct open_args *out)
{
	const struct trap *t = trap_find(n);
	const __u64 *args = n->data.args;

	memset(out, 0, sizeof(*out));
	out->dirfd = AT_FDCWD;
	switch (t->kind) {
	case OPEN:
		out->path_uva = args[0];
		out->flags = args[1];
		break;
	case CREAT:
		out->path_uva = args[0];
		out->flags = O_CREAT | O_WRONLY | O_TRUNC;
		break;
	case OPENAT:
		out->dirfd = (int)args[0];
		out->path_uva = args[1];
		out->flags = args[2];
		break;
	default: /* OPENAT2 */
		out->dirfd = (int)args[0];
		out->path_uva = args[1];
		out->how_uva = args[2];
		break;
	}
}

static void trap_dispatch(struct host *h, const struct seccomp_notif *n)
{
	const struct trap *t = trap_find(n);

	/* A negative offset is refused before anyone looks at the file. */
	if (!t || (t->positioned && !trap_is_compat(n) &&
		   (int64_t)n->data.args[3] < -1)) {
		trap_continue(h, n->id);
		return;
	}
	switch (t->kind) {
	case OPEN:
	case CREAT:
	case OPENAT:
	case OPENAT2:
		call_open(h, n);
		return;
	case IOCTL:
		call_ioctl(h, n);
		return;
	case READ:
	case READV:
		call_rw(h, n, false, t->kind == READV);
		return;
	case WRITE:
	case WRITEV:
		call_rw(h, n, true, t->kind == WRITEV);
		return;
	case LSEEK:
		call_lseek(h, n);
		return;
	}
}

static void trap_send(struct host *h, uint64_t id, int64_t val, int error,
		      uint32_t flags)
{
	memset(h->resp, 0, h->resp_size);
	h->resp->id = id;
	h->resp->val = val;
	h->resp->error = error;
	h->resp->flags = flags;
	/* ENOENT: killed meanwhile, nothing to tell anyone */
	if (ioctl(h->listener.fd, SECCOMP_IOCTL_NOTIF_SEND, h->resp) < 0 &&
	    errno != ENOENT)
		ch_say("notification: answer: %s", strerror(errno));
}

void trap_answer(struct host *h, uint64_t id, int64_t result)
{
	if (result < 0)
		trap_send(h, id, 0, (int)result, 0);
	else
		trap_send(h, id, result, 0, 0);
}

void trap_continue(struct host *h, uint64_t id)
{
	trap_send(h, id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

int trap_answer_fd(struct host *h, uint64_t id, int fd, bool cloexec)
{
	struct seccomp_notif_addfd add = {
		.id = id,
		.flags = SECCOMP_ADDFD_FLAG_SEND,
		.srcfd = (uint32_t)fd,
		.newfd_flags = cloexec ? O_CLOEXEC : 0,
	};
	int ret;

	ret = ioctl(h->listener.fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
	return ret < 0 ? -errno : ret;
}

bool trap_valid(struct host *h, uint64_t id)
{
	return ioctl(h->listener.fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0 ||
	       errno != ENOENT;
}

/* close(2) of a CUSE file returns when the daemon has answered RELEASE. Ours
 * cannot wait, but what a client does next can: no trapped call gets past a
 * RELEASE that an earlier close has caused. */
static bool trap_barrier(struct host *h)
{
	session_sweep(h);
	return h->releasing &&
	       ch_now_ms() - h->releasing_since_ms < CH_BARRIER_MS;
}

void trap_run_deferred(struct host *h)
{
	struct deferred *d;

	while (!trap_barrier(h) && (d = STAILQ_FIRST(&h->deferred))) {
		STAILQ_REMOVE_HEAD(&h->deferred, link);
		trap_dispatch(h, &d->notif);
		free(d);
	}
}

static void trap_event(struct watch *w, uint32_t events)
{
	struct host *h = ch_container_of(w, struct host, listener);
	struct deferred *d;

	if (!(events & EPOLLIN)) {
		/* HUP: the last process under the filter is gone */
		ch_unwatch(h->epfd, w);
		h->listener_gone = true;
		return;
	}
	memset(h->notif, 0, h->notif_size);
	if (ioctl(w->fd, SECCOMP_IOCTL_NOTIF_RECV, h->notif) < 0) {
		if (errno != ENOENT && errno != EINTR)
			ch_say("notification: %s", strerror(errno));
		return;
	}
	if (!trap_barrier(h)) {
		trap_dispatch(h, h->notif);
		return;
	}
	d = calloc(1, sizeof(*d));
	if (!d) {
		trap_answer(h, h->notif->id, -ENOMEM);
		return;
	}
	d->notif = *h->notif;
	STAILQ_INSERT_TAIL(&h->deferred, d, link);
}

int trap_start(struct host *h, int listener)
{
	struct seccomp_notif_sizes sizes;

	h->listener = (struct watch){ .fn = trap_event, .fd = listener };
	if (syscall(__NR_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
		return -errno;
	h->notif_size = sizes.seccomp_notif > sizeof(*h->notif)
				? sizes.seccomp_notif
				: sizeof(*h->notif);
	h->resp_size = sizes.seccomp_notif_resp > sizeof(*h->resp)
			       ? sizes.seccomp_notif_resp
			       : sizeof(*h->resp);
	h->notif = calloc(1, h->notif_size);
	h->resp = calloc(1, h->resp_size);
	if (!h->notif || !h->resp)
		return -ENOMEM;
	/* The caller sleeps while we work and the other way round: the
	 * scheduler may as well hand the processor over. */
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS,
	      SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	return ch_watch(h, h->epfd, &h->listener, EPOLLIN);
}
