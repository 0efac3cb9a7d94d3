/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_calls.c tests every ioctl with every kind of argument, in every state
 * and by every caller. The expectations are the kernel's (6.1 to 6.12);
 * differences are in conf_diffs.h as "SET_VRING_NUM/active".
 */
#include "conf.h"
#include "caller.h"
#include "fixture.h"

#include <stdlib.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PASS 0
#define NONE 1 /* does not apply */

struct call_row {
	const char *name;
	unsigned long cmd;
	struct arg arg;
	/* owner; rings idle but set up */
	int ok, again, null, tail, rdonly, index;
	/* owner; active */
	int active;
	/* a process that is not the owner; no owner; no owner and NULL */
	int other, fresh, fresh_null;
};

// clang-format off
#define IOTLB_V2 VMM_BACKEND_IOTLB_V2
#define ENOUNIT ENOTTY /* the vring handler does not know it */

#define C(name, ...) { #name, VHOST_##name, __VA_ARGS__ }
static const struct call_row calls[] = {
/*                                              owner ........................................................  act.     stranger, no owner, and NULL */
/* name                       argument          ok        again     NULL      cut off   r/o page  index 2       active   other     fresh    fresh+NULL */
C(GET_FEATURES,               U64(0),           PASS,     PASS,    -EFAULT,  -EFAULT,  -EFAULT,   NONE,         PASS,    PASS,     PASS,   -EFAULT),
C(SET_FEATURES,               U64(0),           PASS,     PASS,    -EFAULT,  -EFAULT,   PASS,     NONE,         PASS,    PASS,     PASS,   -EFAULT),
C(GET_BACKEND_FEATURES,       U64(0),           PASS,     PASS,    -EFAULT,  -EFAULT,  -EFAULT,   NONE,         PASS,    PASS,     PASS,   -EFAULT),
C(SET_BACKEND_FEATURES,       U64(IOTLB_V2),    PASS,     PASS,    -EFAULT,  -EFAULT,   PASS,     NONE,         PASS,    PASS,     PASS,   -EFAULT),
C(SET_OWNER,                  ARG0,            -EBUSY,   -EBUSY,   -EBUSY,    NONE,     NONE,     NONE,        -EBUSY,  -EBUSY,    PASS,    PASS),
C(RESET_OWNER,                ARG0,             PASS,    -EPERM,    PASS,     NONE,     NONE,     NONE,         PASS,   -EPERM,   -EPERM,  -EPERM),
C(SET_MEM_TABLE,              MEM(2, M_GOOD),   PASS,     PASS,    -EFAULT,  -EFAULT,   PASS,     NONE,         PASS,   -EPERM,   -EPERM,  -EPERM),
C(SET_LOG_BASE,               U64(0),           PASS,     PASS,    -EFAULT,  -EFAULT,   PASS,     NONE,         PASS,   -EPERM,   -EPERM,  -EPERM),
C(SET_LOG_FD,                 FD(F_EVENTFD),    PASS,     PASS,    -EFAULT,  -EFAULT,   PASS,     NONE,         PASS,   -EPERM,   -EPERM,  -EPERM),
C(SET_VRING_NUM,              STATE(0, 256),    PASS,     PASS,    -EFAULT,  -EFAULT,   PASS,    -ENOBUFS,     -EBUSY,  -EPERM,   -EPERM,  -EPERM),
C(SET_VRING_ADDR,             ADDR(0, A_GOOD),  PASS,     PASS,    -EFAULT,  -EFAULT,   PASS,    -ENOBUFS,      PASS,   -EPERM,   -EPERM,  -EPERM),
C(SET_VRING_BASE,             STATE(0, 0),      PASS,     PASS,    -EFAULT,  -EFAULT,   PASS,    -ENOBUFS,     -EBUSY,  -EPERM,   -EPERM,  -EPERM),
C(GET_VRING_BASE,             STATE(0, 0),      PASS,     PASS,    -EFAULT,  -EFAULT,  -EFAULT,  -ENOBUFS,      PASS,   -EPERM,   -EPERM,  -EPERM),
C(SET_VRING_ENDIAN,           STATE(0, 0),     -ENOUNIT, -ENOUNIT, -EFAULT,  -ENOUNIT, -ENOUNIT, -ENOBUFS,     -ENOUNIT,-EPERM,   -EPERM,  -EPERM),
C(GET_VRING_ENDIAN,           STATE(0, 0),     -ENOUNIT, -ENOUNIT, -EFAULT,  -ENOUNIT, -ENOUNIT, -ENOBUFS,     -ENOUNIT,-EPERM,   -EPERM,  -EPERM),
C(SET_VRING_KICK,             FILE_(0, F_EVENTFD), PASS,  PASS,    -EFAULT,  -EFAULT,   PASS,    -ENOBUFS,      PASS,   -EPERM,   -EPERM,  -EPERM),
C(SET_VRING_CALL,             FILE_(0, F_EVENTFD), PASS,  PASS,    -EFAULT,  -EFAULT,   PASS,    -ENOBUFS,      PASS,   -EPERM,   -EPERM,  -EPERM),
C(SET_VRING_ERR,              FILE_(0, F_EVENTFD), PASS,  PASS,    -EFAULT,  -EFAULT,   PASS,    -ENOBUFS,      PASS,   -EPERM,   -EPERM,  -EPERM),
C(SET_VRING_BUSYLOOP_TIMEOUT, STATE(0, 0),      PASS,     PASS,    -EFAULT,  -EFAULT,   PASS,    -ENOBUFS,      PASS,   -EPERM,   -EPERM,  -EPERM),
C(GET_VRING_BUSYLOOP_TIMEOUT, STATE(0, 0),      PASS,     PASS,    -EFAULT,  -EFAULT,  -EFAULT,  -ENOBUFS,      PASS,   -EPERM,   -EPERM,  -EPERM),
C(NET_SET_BACKEND,            FILE_(0, F_TAP),  PASS,     PASS,    -EFAULT,  -EFAULT,   PASS,    -ENOBUFS,      PASS,   -EPERM,   -EPERM,  -EFAULT),
C(NEW_WORKER,                 U32(0),          -ENOUNIT, -ENOUNIT, -EFAULT,  -EFAULT,  -ENOUNIT, -ENOBUFS,     -ENOUNIT,-EPERM,   -EPERM,  -EPERM),
C(FREE_WORKER,                U32(0),          -ENOUNIT, -ENOUNIT, -EFAULT,  -EFAULT,  -ENOUNIT, -ENOBUFS,     -ENOUNIT,-EPERM,   -EPERM,  -EPERM),
C(ATTACH_VRING_WORKER,        STATE(0, 0),     -ENOUNIT, -ENOUNIT, -EFAULT,  -ENOUNIT, -ENOUNIT, -ENOBUFS,     -ENOUNIT,-EPERM,   -EPERM,  -EPERM),
C(GET_VRING_WORKER,           STATE(0, 0),     -ENOUNIT, -ENOUNIT, -EFAULT,  -ENOUNIT, -ENOUNIT, -ENOBUFS,     -ENOUNIT,-EPERM,   -EPERM,  -EPERM),
C(GET_FEATURES_ARRAY,         ARRAY(1, 0, 0),  -ENOUNIT, -ENOUNIT, -EFAULT,  -ENOUNIT, -ENOUNIT,  NONE,        -ENOUNIT,-EPERM,   -EPERM,  -EPERM),
C(SET_FEATURES_ARRAY,         ARRAY(1, 0, 0),  -ENOUNIT, -ENOUNIT, -EFAULT,  -ENOUNIT, -ENOUNIT,  NONE,        -ENOUNIT,-EPERM,   -EPERM,  -EPERM),
C(SET_FORK_FROM_OWNER,        U8(1),           -ENOUNIT, -ENOUNIT, -EFAULT,  -EFAULT,  -ENOUNIT,  NONE,        -ENOUNIT,-EPERM,   -EPERM,  -EPERM),
C(GET_FORK_FROM_OWNER,        U8(1),           -ENOUNIT, -ENOUNIT, -EFAULT,  -EFAULT,  -ENOUNIT,  NONE,        -ENOUNIT,-EPERM,   -EPERM,  -EPERM),
};
// clang-format on

/* Two pages, the second without access; arguments are put against the edge. */
static uint8_t *edge(void)
{
	static uint8_t *page;

	if (!page) {
		page = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_ptr_not_equal(page, MAP_FAILED);
		assert_int_equal(mprotect(page + 4096, 4096, PROT_NONE), 0);
	}
	return page + 4096;
}

/* The argument with its last byte beyond the edge. */
static int call_cut(int fd, unsigned long cmd, const uint8_t *arg, int len)
{
	uint8_t *p = edge() - len + 1;

	memcpy(p, arg, (size_t)len - 1);
	return vmm_ioctl(fd, cmd, p);
}

static int call_rdonly(int fd, unsigned long cmd, const uint8_t *arg, int len)
{
	uint8_t *page = edge() - 4096;
	int ret;

	memset(page, 0, 64);
	memcpy(page, arg, (size_t)len);
	mprotect(page, 4096, PROT_READ);
	ret = vmm_ioctl(fd, cmd, page);
	mprotect(page, 4096, PROT_READ | PROT_WRITE);
	return ret;
}

static int call_odd(int fd, unsigned long cmd, const uint8_t *arg, int len)
{
	static uint8_t buf[ARG_BYTES + 8];

	memset(buf, 0, sizeof(buf));
	memcpy(buf + 1, arg, (size_t)len);
	return vmm_ioctl(fd, cmd, buf + 1);
}

/* Circumstances: how a column (or a group of them) is tried. */
struct trial {
	struct fixture f;
	const struct call_row *row;
	uint8_t arg[ARG_BYTES];
	int len;
	const void *ptr; /* arg, or NULL where the call has none */
};

static int try_again(struct trial *t)
{
	vmm_ioctl(t->f.fd, t->row->cmd, t->ptr);
	return vmm_ioctl(t->f.fd, t->row->cmd, t->ptr);
}

static int try_plain(struct trial *t)
{
	return vmm_ioctl(t->f.fd, t->row->cmd, t->ptr);
}

static int try_odd_pointer(struct trial *t)
{
	return t->ptr ? call_odd(t->f.fd, t->row->cmd, t->arg, t->len)
		      : try_plain(t);
}

static int try_thread(struct trial *t)
{
	return caller_thread(t->f.fd, t->row->cmd, t->ptr);
}

static int try_vfork(struct trial *t)
{
	return caller_vfork(t->f.fd, t->row->cmd, t->ptr);
}

static int try_high_bits(struct trial *t)
{
	return vmm_ioctl(t->f.fd, t->row->cmd | UINT64_C(1) << 40, t->ptr);
}

static int try_null(struct trial *t)
{
	return vmm_ioctl(t->f.fd, t->row->cmd, NULL);
}

static int try_unmapped(struct trial *t)
{
	return vmm_ioctl(t->f.fd, t->row->cmd, edge());
}

static int try_kernel_pointer(struct trial *t)
{
	return vmm_ioctl(t->f.fd, t->row->cmd,
			 (const void *)(uintptr_t)0xffff888000000000);
}

static int try_cut(struct trial *t)
{
	return call_cut(t->f.fd, t->row->cmd, t->arg, t->len);
}

static int try_rdonly(struct trial *t)
{
	return call_rdonly(t->f.fd, t->row->cmd, t->arg, t->len);
}

static int try_index_2(struct trial *t)
{
	const uint32_t index = 2;

	memcpy(t->arg, &index, 4);
	return try_plain(t);
}

static int try_index_max(struct trial *t)
{
	memset(t->arg, 0xff, 4);
	return try_plain(t);
}

static int try_child(struct trial *t)
{
	return caller_child(t->f.fd, t->row->cmd, t->ptr);
}

/* The command with another size in its code is another command. */
static int try_other_size(struct trial *t)
{
	unsigned long cmd = t->row->cmd ^ (0x100UL << _IOC_SIZESHIFT);

	memset(t->arg, 0, 8);
	return vmm_ioctl(t->f.fd, cmd, t->arg);
}

#define COLUMN(field) offsetof(struct call_row, field)
#define FIXED(value) (-1000000 + (value))

static const struct circumstance {
	const char *name;
	enum setup setup;
	long column; /* offset in call_row, or FIXED() */
	int (*try)(struct trial *t);
} circumstances[] = {
	// clang-format off
	{ "ok",             S_READY,   COLUMN(ok),         try_plain },
	{ "odd pointer",    S_READY,   COLUMN(ok),         try_odd_pointer },
	{ "thread",         S_READY,   COLUMN(ok),         try_thread },
	{ "vfork",          S_READY,   COLUMN(ok),         try_vfork },
	{ "high bits",      S_READY,   COLUMN(ok),         try_high_bits },
	{ "stopped",        S_STOPPED, COLUMN(ok),         try_plain },
	{ "again",          S_READY,   COLUMN(again),      try_again },
	{ "null",           S_READY,   COLUMN(null),       try_null },
	{ "unmapped",       S_READY,   COLUMN(null),       try_unmapped },
	{ "kernel pointer", S_READY,   COLUMN(null),       try_kernel_pointer },
	{ "cut",            S_READY,   COLUMN(tail),       try_cut },
	{ "rdonly",         S_READY,   COLUMN(rdonly),     try_rdonly },
	{ "index 2",        S_READY,   COLUMN(index),      try_index_2 },
	{ "index max",      S_READY,   COLUMN(index),      try_index_max },
	{ "other size",     S_READY,   FIXED(-ENOTTY),     try_other_size },
	{ "active",         S_ACTIVE,  COLUMN(active),     try_plain },
	{ "child",          S_READY,   COLUMN(other),      try_child },
	{ "active child",   S_ACTIVE,  COLUMN(other),      try_child },
	{ "fresh",          S_FRESH,   COLUMN(fresh),      try_plain },
	{ "fresh null",     S_FRESH,   COLUMN(fresh_null), try_null },
	{ "fresh size",     S_FRESH,   FIXED(-EPERM),      try_other_size },
	{ "reset",          S_RESET,   COLUMN(fresh),      try_plain },
	// clang-format on
};

static int column_value(const struct call_row *row, long column)
{
	int value;

	if (column < 0)
		return (int)(column - FIXED(0));
	memcpy(&value, (const char *)row + column, sizeof(value));
	return value;
}

static bool agrees(const char *row, const char *column, int got, int base)
{
	char name[96];
	long want;

	snprintf(name, sizeof(name), "%s/%s", row, column);
	want = conf_expect(name, base);
	if (got == want)
		return true;
	print_error("%s: got %s, expected %s\n", name, check_errname(got),
		    check_errname(want));
	return false;
}

static bool try_circumstance(const struct call_row *row,
			     const struct circumstance *c)
{
	int base = column_value(row, c->column);
	struct trial t = { .row = row };
	int got;

	if (base == NONE)
		return true;
	check_ok(fixture_open(&t.f, conf_dev(), conf_shared_tap(), c->setup));
	t.len = check_ok(fixture_arg(&t.f, &row->arg, t.arg));
	t.ptr = row->arg.kind == ARG_NONE ? NULL : t.arg;
	got = c->try(&t);
	fixture_close(&t.f);
	return agrees(row->name, c->name, got, base);
}

/* The device goes to a process that was there before. */
static bool try_passed(const struct call_row *row)
{
	struct caller_other other;
	struct trial t = { .row = row };
	int got;

	check_ret(caller_other_start(&other), 0);
	check_ok(fixture_open(&t.f, conf_dev(), conf_shared_tap(), S_READY));
	t.len = check_ok(fixture_arg(&t.f, &row->arg, t.arg));
	got = caller_other_call(&other, t.f.fd, 0, row->cmd, t.arg,
				(size_t)t.len);
	fixture_close(&t.f);
	caller_other_kill(&other);
	return agrees(row->name, "passed", got, row->other);
}

/* The owner executes another program, which makes the call. */
static bool try_exec(const struct call_row *row)
{
	int tap = conf_shared_tap();
	struct trial t = { .row = row };
	int status = -1;
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		if (fixture_open(&t.f, conf_dev(), tap, S_READY) < 0)
			_exit(EPROTO);
		t.len = fixture_arg(&t.f, &row->arg, t.arg);
		if (t.len < 0)
			_exit(EPROTO);
		caller_exec(t.f.fd, row->cmd, t.arg, (size_t)t.len);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return agrees(row->name, "exec", -WEXITSTATUS(status), row->other);
}

static void call_in_all_circumstances(void **state)
{
	const struct call_row *row = *state;
	unsigned int bad = 0;
	size_t i;

	for (i = 0; i < sizeof(circumstances) / sizeof(circumstances[0]); i++)
		bad += !try_circumstance(row, &circumstances[i]);
	bad += !try_passed(row);
	bad += !try_exec(row);
	if (bad)
		fail_msg("%s: %u unexplained differences", row->name, bad);
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

int main(int argc, char **argv)
{
	static struct CMUnitTest tests[COUNT(calls)];
	size_t i;

	caller_exec_main(argc, argv);
	for (i = 0; i < COUNT(calls); i++)
		tests[i] = (struct CMUnitTest){
			.name = calls[i].name,
			.test_func = call_in_all_circumstances,
			.initial_state = (void *)(uintptr_t)&calls[i],
		};
	return conf_main("calls", tests, COUNT(calls), argc, argv);
}
