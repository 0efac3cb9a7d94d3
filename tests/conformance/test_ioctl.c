/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arguments of every ioctl: a row per interesting value and state, and then
 * what a return value alone does not show. test_calls.c has the callers and
 * states. The expectations are the kernel's (6.1 to 6.12); differences are in
 * conf_diffs.h by the name of the row.
 */
#include "conf.h"
#include "caller.h"
#include "fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

/* ---- rows[]: interesting values ---- */

struct value_row {
	const char *name;
	enum setup setup;
	unsigned long cmd;
	struct arg arg;
	int want;
};

#define KERNEL_U64 UINT64_C(0xffff888000000000)
#define ALL_BITS UINT64_MAX
#define F(n) VMM_BIT(n)

// clang-format off
#define R(name, setup, cmd, arg, want) { name, S_##setup, VHOST_##cmd, arg, want }
#define X(name, setup, cmd, arg, want) { name, S_##setup, cmd, arg, want }
static const struct value_row rows[] = {
X("no such ioctl, 8 bytes",       OWNED,  0x4008af99, U32(0), -ENOTTY),
X("no such ioctl 0",              OWNED,  0xaf99,  U32(0), -ENOTTY),
X("no such ioctl 5",              OWNED,  0xaf99,  U32(5), -ENOBUFS),
X("no such ioctl NULL",           OWNED,  0xaf99,  NULLARG, -EFAULT),
X("no such ioctl, no owner",      FRESH,  0xaf99,  U32(0), -EPERM),
X("no such ioctl, no owner NULL", FRESH,  0xaf99,  NULLARG, -EPERM),
X("TCGETS 0",       OWNED,  0x5401,  U32(0), -ENOTTY),
X("TCGETS 5",                     OWNED,  0x5401,  U32(5), -ENOBUFS),
X("VDPA_GET_DEVICE_ID",           OWNED,  0x8004af70, U32(7), -ENOBUFS),
X("VDPA_GET_DEVICE_ID 0",         OWNED,  0x8004af70, U32(0), -ENOTTY),
X("SCSI_SET_ENDPOINT",            OWNED,  0x40e8af40, U32(0), -ENOTTY),
X("VSOCK_SET_GUEST_CID 3",        OWNED,  0x4008af60, U32(3), -ENOBUFS),
X("cmd 0xffffffff",               OWNED,  0xffffffff, U32(0), -ENOTTY),
X("cmd 0",                        OWNED,  0,        U32(0), -ENOTTY),
R("FREE_WORKER 7",                OWNED,  FREE_WORKER, U32(7), -ENOBUFS),

R("features 0",                   FRESH,  SET_FEATURES, U64(0), 0),
R("features all",                 FRESH,  SET_FEATURES, U64(ALL_BITS), -EOPNOTSUPP),
R("features bit 0",               FRESH,  SET_FEATURES, U64(F(0)), -EOPNOTSUPP),
R("features bit 63",              FRESH,  SET_FEATURES, U64(F(63)), -EOPNOTSUPP),
R("features MAC",                 FRESH,  SET_FEATURES, U64(F(5)), -EOPNOTSUPP),
R("features packed",              FRESH,  SET_FEATURES, U64(F(34)), -EOPNOTSUPP),
R("features MRG_RXBUF",           FRESH,  SET_FEATURES, U64(F(15)), 0),
R("features NOTIFY_ON_EMPTY",     FRESH,  SET_FEATURES, U64(F(24)), 0),
R("features LOG_ALL",             FRESH,  SET_FEATURES, U64(F(26)), 0),
R("features NET_HDR",             FRESH,  SET_FEATURES, U64(F(27)), 0),
R("features INDIRECT",            FRESH,  SET_FEATURES, U64(F(28)), 0),
R("features EVENT_IDX",           FRESH,  SET_FEATURES, U64(F(29)), 0),
R("features VERSION_1",           FRESH,  SET_FEATURES, U64(F(32)), 0),
R("features ACCESS_PLATFORM",     FRESH,  SET_FEATURES, U64(F(33)), 0),
R("features IN_ORDER",            FRESH,  SET_FEATURES, U64(F(35)), -EOPNOTSUPP),
R("features RING_RESET",          FRESH,  SET_FEATURES, U64(F(40)), -EOPNOTSUPP),
R("features 0, reset",            RESET,  SET_FEATURES, U64(0), 0),
R("backend features 0",           FRESH,  SET_BACKEND_FEATURES, U64(0), 0),
R("backend features 1",           FRESH,  SET_BACKEND_FEATURES, U64(1), -EOPNOTSUPP),
R("backend features 2",           FRESH,  SET_BACKEND_FEATURES, U64(2), 0),
R("backend features 3",           FRESH,  SET_BACKEND_FEATURES, U64(3), -EOPNOTSUPP),
R("backend features 4",           FRESH,  SET_BACKEND_FEATURES, U64(4), -EOPNOTSUPP),
R("backend features all",         FRESH,  SET_BACKEND_FEATURES, U64(ALL_BITS), -EOPNOTSUPP),
R("features array count 0",       FRESH,  GET_FEATURES_ARRAY, ARRAY(0, 0, 0), -EPERM),
R("features array count 2",       FRESH,  GET_FEATURES_ARRAY, ARRAY(2, 0, 0), -EPERM),
R("features array count 4",       FRESH,  GET_FEATURES_ARRAY, ARRAY(4, 0, 0), -EPERM),
R("features array count 2^62",    FRESH,  GET_FEATURES_ARRAY, ARRAY(F(62), 0, 0), -EPERM),
R("set features array 0",         FRESH,  SET_FEATURES_ARRAY, ARRAY(0, 0, 0), -EPERM),
R("set features array bad 0",     FRESH,  SET_FEATURES_ARRAY, ARRAY(2, 1, 0), -EPERM),
R("set features array bad 1",     FRESH,  SET_FEATURES_ARRAY, ARRAY(2, 0, 1), -EPERM),
R("set features array 2^62",      FRESH,  SET_FEATURES_ARRAY, ARRAY(F(62), 0, 0), -EPERM),
R("fork from owner 0",            FRESH,  SET_FORK_FROM_OWNER, U8(0), -EPERM),
R("fork from owner 2",            FRESH,  SET_FORK_FROM_OWNER, U8(2), -EPERM),
R("fork from owner, owned",       OWNED,  SET_FORK_FROM_OWNER, U8(1), -ENOTTY),
R("owner after reset",            RESET,  SET_OWNER, ARG0, 0),
R("owner of reowned",             REOWNED, SET_OWNER, ARG0, -EBUSY),

R("num 0",                        OWNED,  SET_VRING_NUM, STATE(0, 0), -EINVAL),
R("num 1",                        OWNED,  SET_VRING_NUM, STATE(0, 1), 0),
R("num 2",                        OWNED,  SET_VRING_NUM, STATE(1, 2), 0),
R("num 3",                        OWNED,  SET_VRING_NUM, STATE(0, 3), -EINVAL),
R("num 1024",                     OWNED,  SET_VRING_NUM, STATE(1, 1024), 0),
R("num 32767",                    OWNED,  SET_VRING_NUM, STATE(0, 32767), -EINVAL),
R("num 32768",                    OWNED,  SET_VRING_NUM, STATE(0, 32768), 0),
R("num 65536",                    OWNED,  SET_VRING_NUM, STATE(0, 65536), -EINVAL),
R("num 2^31",                     OWNED,  SET_VRING_NUM, STATE(0, 0x80000000), -EINVAL),
R("num max",                      OWNED,  SET_VRING_NUM, STATE(0, 0xffffffff), -EINVAL),
R("num 3, active",                ACTIVE, SET_VRING_NUM, STATE(0, 3), -EBUSY),
R("num, active, index 2",         ACTIVE, SET_VRING_NUM, STATE(2, 256), -ENOBUFS),
R("num, stopped",                 STOPPED, SET_VRING_NUM, STATE(0, 128), 0),
R("base 65535",                   OWNED,  SET_VRING_BASE, STATE(0, 65535), 0),
R("base 65536",                   OWNED,  SET_VRING_BASE, STATE(0, 65536), -EINVAL),
R("base max",                     OWNED,  SET_VRING_BASE, STATE(1, 0xffffffff), -EINVAL),
R("base, active",                 ACTIVE, SET_VRING_BASE, STATE(1, 65536), -EBUSY),
R("base, stopped",                STOPPED, SET_VRING_BASE, STATE(1, 7), 0),
R("get base, stopped",            STOPPED, GET_VRING_BASE, STATE(1, 7), 0),
R("busyloop 1",                   OWNED,  SET_VRING_BUSYLOOP_TIMEOUT, STATE(0, 1), 0),
R("busyloop max",                 OWNED,  SET_VRING_BUSYLOOP_TIMEOUT, STATE(1, 0xffffffff), 0),
R("busyloop, active",             ACTIVE, SET_VRING_BUSYLOOP_TIMEOUT, STATE(1, 50), 0),

R("addr",                         OWNED,  SET_VRING_ADDR, ADDR(0, A_GOOD), 0),
R("addr flag 2",                  OWNED,  SET_VRING_ADDR, ADDR(0, A_FLAG2), -EOPNOTSUPP),
R("addr flag 2^31",               OWNED,  SET_VRING_ADDR, ADDR(0, A_FLAG31), -EOPNOTSUPP),
R("addr flag 2 & avail odd",      OWNED,  SET_VRING_ADDR, ADDR(0, A_FLAG2 | A_AVAIL_ODD), -EOPNOTSUPP),
R("addr desc odd",                OWNED,  SET_VRING_ADDR, ADDR(0, A_DESC_ODD), 0),
R("addr avail odd",               OWNED,  SET_VRING_ADDR, ADDR(0, A_AVAIL_ODD), -EINVAL),
R("addr used + 2",                OWNED,  SET_VRING_ADDR, ADDR(0, A_USED_PLUS2), -EINVAL),
R("addr log + 2",                 OWNED,  SET_VRING_ADDR, ADDR(0, A_LOG_PLUS2), -EINVAL),
R("addr log + 2 with F_LOG",      OWNED,  SET_VRING_ADDR, ADDR(1, A_LOG_PLUS2 | A_LOG), -EINVAL),
R("addr F_LOG",                   OWNED,  SET_VRING_ADDR, ADDR(1, A_LOG), 0),
R("addr F_LOG top",               OWNED,  SET_VRING_ADDR, ADDR(1, A_LOG | A_LOG_TOP), 0),
R("addr 0",                       OWNED,  SET_VRING_ADDR, ADDR(0, A_ZERO), 0),
R("addr kernel",                  OWNED,  SET_VRING_ADDR, ADDR(0, A_KERNEL), 0),
R("addr unmapped",                OWNED,  SET_VRING_ADDR, ADDR(0, A_UNMAPPED), 0),
R("addr, active",                 ACTIVE, SET_VRING_ADDR, ADDR(1, A_GOOD), 0),
R("addr kernel, active",          ACTIVE, SET_VRING_ADDR, ADDR(1, A_KERNEL), -EINVAL),
R("addr avail kernel, active",    ACTIVE, SET_VRING_ADDR, ADDR(1, A_AVAIL_KERNEL), -EINVAL),
R("addr used kernel, active",     ACTIVE, SET_VRING_ADDR, ADDR(0, A_USED_KERNEL), -EINVAL),
R("addr unmapped, active",        ACTIVE, SET_VRING_ADDR, ADDR(1, A_UNMAPPED), 0),
R("addr 0, active",               ACTIVE, SET_VRING_ADDR, ADDR(1, A_ZERO), 0),
R("addr F_LOG, active",           ACTIVE, SET_VRING_ADDR, ADDR(1, A_LOG), 0),
R("addr F_LOG top, active",       ACTIVE, SET_VRING_ADDR, ADDR(1, A_LOG | A_LOG_TOP), -EINVAL),
R("addr log top no flag, active", ACTIVE, SET_VRING_ADDR, ADDR(1, A_LOG_TOP), 0),
R("addr F_LOG, base top, active", LOG_TOP, SET_VRING_ADDR, ADDR(1, A_LOG), -EINVAL),
R("addr avail odd, active",       ACTIVE, SET_VRING_ADDR, ADDR(1, A_AVAIL_ODD), -EINVAL),
R("addr flag 2, active",          ACTIVE, SET_VRING_ADDR, ADDR(1, A_FLAG2), -EOPNOTSUPP),

#define EVENTFD_ROWS(what, cmd, arg) \
R(what " -1",                     OWNED,  cmd, arg(F_NONE), 0), \
R(what " -2",                     OWNED,  cmd, arg(F_MINUS2), -EBADF), \
R(what " 9999",                   OWNED,  cmd, arg(F_9999), -EBADF), \
R(what " closed",                 OWNED,  cmd, arg(F_CLOSED), -EBADF), \
R(what " O_PATH",                 OWNED,  cmd, arg(F_PATH), -EBADF), \
R(what " eventfd",                OWNED,  cmd, arg(F_EVENTFD), 0), \
R(what " pipe",                   OWNED,  cmd, arg(F_PIPE), -EINVAL), \
R(what " memfd",                  OWNED,  cmd, arg(F_FILE), -EINVAL), \
R(what " /dev/zero",              OWNED,  cmd, arg(F_ZERO), -EINVAL), \
R(what " socket",                 OWNED,  cmd, arg(F_UDP), -EINVAL), \
R(what " itself",                 OWNED,  cmd, arg(F_SELF), -EINVAL), \
R(what " tap",                    OWNED,  cmd, arg(F_TAP), -EINVAL), \
R(what " -1, active",             ACTIVE, cmd, arg(F_NONE), 0), \
R(what " -2, active",             ACTIVE, cmd, arg(F_MINUS2), -EBADF), \
R(what " pipe, active",           ACTIVE, cmd, arg(F_PIPE), -EINVAL), \
R(what " eventfd, active",        ACTIVE, cmd, arg(F_EVENTFD), 0)
#define FILE0(k) FILE_(0, k)
#define FILE1(k) FILE_(1, k)
EVENTFD_ROWS("kick", SET_VRING_KICK, FILE0),
EVENTFD_ROWS("call", SET_VRING_CALL, FILE1),
EVENTFD_ROWS("err", SET_VRING_ERR, FILE0),
EVENTFD_ROWS("log fd", SET_LOG_FD, FD),
R("kick -2, index 2",             OWNED,  SET_VRING_KICK, FILE_(2, F_MINUS2), -ENOBUFS),

R("log base 0",                   OWNED,  SET_LOG_BASE, U64(0), 0),
R("log base ~0",                  OWNED,  SET_LOG_BASE, U64(ALL_BITS), 0),
R("log base ~0, active",          ACTIVE, SET_LOG_BASE, U64(ALL_BITS), 0),
R("log base ~0, active LOG_ALL",  LOGGING, SET_LOG_BASE, U64(ALL_BITS), -EFAULT),
R("log base kernel, LOG_ALL",     LOGGING, SET_LOG_BASE, U64(KERNEL_U64), -EFAULT),
R("log base 4096, LOG_ALL",       LOGGING, SET_LOG_BASE, U64(4096), 0),
R("LOG_ALL, base ~0, active",     LOG_TOP, SET_FEATURES, U64(F(26)), -EFAULT),
R("LOG_ALL, base 0, active",      ACTIVE, SET_FEATURES, U64(F(26)), 0),
R("mem, base ~0",                LOG_TOP, SET_MEM_TABLE, MEM(1, M_GOOD), 0),
R("mem top, LOG_ALL",             LOGGING, SET_MEM_TABLE, MEM(1, M_TOP), -EFAULT),

R("mem NULL",                     OWNED,  SET_MEM_TABLE, NULLARG, -EFAULT),
R("mem 0",                        OWNED,  SET_MEM_TABLE, MEM(0, M_GOOD), 0),
R("mem 1",                        OWNED,  SET_MEM_TABLE, MEM(1, M_GOOD), 0),
R("mem 64",                       OWNED,  SET_MEM_TABLE, MEM(64, M_GOOD), 0),
R("mem 65",                       OWNED,  SET_MEM_TABLE, MEM(65, M_GOOD), -E2BIG),
R("mem 2^31",                     OWNED,  SET_MEM_TABLE, MEM(0x80000000, M_GOOD), -E2BIG),
R("mem 2^32-1",                   OWNED,  SET_MEM_TABLE, MEM(0xffffffff, M_GOOD), -E2BIG),
R("mem padding",                  OWNED,  SET_MEM_TABLE, MEMPAD(1, M_GOOD, 1), -EOPNOTSUPP),
R("mem padding 2^31",             OWNED,  SET_MEM_TABLE, MEMPAD(1, M_GOOD, 0x80000000), -EOPNOTSUPP),
R("mem padding and 600",          OWNED,  SET_MEM_TABLE, MEMPAD(600, M_GOOD, 1), -EOPNOTSUPP),
R("mem same",                     OWNED,  SET_MEM_TABLE, MEM(2, M_SAME), 0),
R("mem overlap",                  OWNED,  SET_MEM_TABLE, MEM(3, M_OVERLAP), 0),
R("mem size 0",                   OWNED,  SET_MEM_TABLE, MEM(1, M_SIZE0), -EFAULT),
R("mem size 0 at 0",              OWNED,  SET_MEM_TABLE, MEM(1, M_SIZE0_AT0), 0),
R("mem wrap",                     OWNED,  SET_MEM_TABLE, MEM(1, M_WRAP), -EFAULT),
R("mem top",                      OWNED,  SET_MEM_TABLE, MEM(1, M_TOP), 0),
R("mem kernel",                   OWNED,  SET_MEM_TABLE, MEM(1, M_KERNEL), 0),
R("mem flags",                    OWNED,  SET_MEM_TABLE, MEM(1, M_FLAGS), 0),
R("mem odd",                      OWNED,  SET_MEM_TABLE, MEM(1, M_ODD), 0),
R("mem unmapped",                 OWNED,  SET_MEM_TABLE, MEM(1, M_UNMAPPED), 0),
R("mem past limit",               OWNED,  SET_MEM_TABLE, MEM(1, M_PAST_LIMIT), 0),
R("mem uva wrap",                 OWNED,  SET_MEM_TABLE, MEM(1, M_UVA_WRAP), 0),
R("mem 0, active",                ACTIVE, SET_MEM_TABLE, MEM(0, M_GOOD), 0),
R("mem 64, active",               ACTIVE, SET_MEM_TABLE, MEM(64, M_GOOD), 0),
R("mem 65, active",               ACTIVE, SET_MEM_TABLE, MEM(65, M_GOOD), -E2BIG),
R("mem same, active",             ACTIVE, SET_MEM_TABLE, MEM(2, M_SAME), 0),
R("mem size 0 at 0, active",      ACTIVE, SET_MEM_TABLE, MEM(1, M_SIZE0_AT0), -EFAULT),
R("mem kernel, active",           ACTIVE, SET_MEM_TABLE, MEM(1, M_KERNEL), -EFAULT),
R("mem odd, active",              ACTIVE, SET_MEM_TABLE, MEM(1, M_ODD), 0),
R("mem unmapped, active",         ACTIVE, SET_MEM_TABLE, MEM(1, M_UNMAPPED), 0),
R("mem limit, active",            ACTIVE, SET_MEM_TABLE, MEM(1, M_LIMIT), 0),
R("mem past limit, active",       ACTIVE, SET_MEM_TABLE, MEM(1, M_PAST_LIMIT), -EFAULT),
R("mem uva wrap, active",         ACTIVE, SET_MEM_TABLE, MEM(1, M_UVA_WRAP), -EFAULT),
R("mem top, active",              ACTIVE, SET_MEM_TABLE, MEM(1, M_TOP), 0),
R("mem kernel, stopped",          STOPPED, SET_MEM_TABLE, MEM(1, M_KERNEL), 0),

R("backend -1, no table",         OWNED,  NET_SET_BACKEND, FILE_(0, F_NONE), -EFAULT),
R("backend -1, table",            TABLE,  NET_SET_BACKEND, FILE_(0, F_NONE), 0),
R("backend -1, ready",            READY,  NET_SET_BACKEND, FILE_(0, F_NONE), 0),
R("backend -1, empty table",      EMPTY_TABLE, NET_SET_BACKEND, FILE_(1, F_NONE), 0),
R("backend -1, kernel table",     KERNEL_TABLE, NET_SET_BACKEND, FILE_(1, F_NONE), -EFAULT),
R("backend -1, whole table",      WHOLE_TABLE, NET_SET_BACKEND, FILE_(1, F_NONE), -EFAULT),
R("backend -1, kernel rings",     KERNEL_RINGS, NET_SET_BACKEND, FILE_(1, F_NONE), -EFAULT),
R("backend -1, no rings",         NO_RINGS, NET_SET_BACKEND, FILE_(1, F_NONE), 0),
R("backend -1, unmapped rings",   UNMAPPED_RINGS, NET_SET_BACKEND, FILE_(1, F_NONE), 0),
R("backend -1, active",           ACTIVE, NET_SET_BACKEND, FILE_(1, F_NONE), 0),
R("backend -1, stopped",          STOPPED, NET_SET_BACKEND, FILE_(1, F_NONE), 0),
R("backend -1, reset",            RESET,  NET_SET_BACKEND, FILE_(1, F_NONE), -EPERM),
R("backend -1, reowned",          REOWNED, NET_SET_BACKEND, FILE_(0, F_NONE), 0),
R("backend -1, index 2",          OWNED,  NET_SET_BACKEND, FILE_(2, F_NONE), -ENOBUFS),
R("backend tap, no table",        OWNED,  NET_SET_BACKEND, FILE_(0, F_TAP), -EFAULT),
R("backend tap, only table",      TABLE,  NET_SET_BACKEND, FILE_(0, F_TAP), -EFAULT),
R("backend tap, no rings",        NO_RINGS, NET_SET_BACKEND, FILE_(1, F_TAP), -EFAULT),
R("backend tap, unmapped rings",  UNMAPPED_RINGS, NET_SET_BACKEND, FILE_(1, F_TAP), -EFAULT),
R("backend tap, kernel rings",    KERNEL_RINGS, NET_SET_BACKEND, FILE_(1, F_TAP), -EFAULT),
R("backend tap, kernel table",    KERNEL_TABLE, NET_SET_BACKEND, FILE_(1, F_TAP), -EFAULT),
R("backend tap, empty table",     EMPTY_TABLE, NET_SET_BACKEND, FILE_(0, F_TAP), 0),
R("backend tap, reowned",         REOWNED, NET_SET_BACKEND, FILE_(0, F_TAP), -EFAULT),
R("backend tap, other index",     ACTIVE, NET_SET_BACKEND, FILE_(1, F_TAP), 0),
R("backend tap, stopped",         STOPPED, NET_SET_BACKEND, FILE_(1, F_TAP), 0),
R("backend 9999",                 READY,  NET_SET_BACKEND, FILE_(0, F_9999), -ENOTSOCK),
R("backend -2",                   READY,  NET_SET_BACKEND, FILE_(0, F_MINUS2), -ENOTSOCK),
R("backend closed",               READY,  NET_SET_BACKEND, FILE_(0, F_CLOSED), -ENOTSOCK),
R("backend O_PATH",               READY,  NET_SET_BACKEND, FILE_(0, F_PATH), -ENOTSOCK),
R("backend eventfd",              READY,  NET_SET_BACKEND, FILE_(0, F_EVENTFD), -ENOTSOCK),
R("backend pipe",                 READY,  NET_SET_BACKEND, FILE_(0, F_PIPE), -ENOTSOCK),
R("backend memfd",                READY,  NET_SET_BACKEND, FILE_(0, F_FILE), -ENOTSOCK),
R("backend /dev/zero",            READY,  NET_SET_BACKEND, FILE_(0, F_ZERO), -ENOTSOCK),
R("backend itself",               READY,  NET_SET_BACKEND, FILE_(0, F_SELF), -ENOTSOCK),
R("backend udp",                  READY,  NET_SET_BACKEND, FILE_(0, F_UDP), -ENOTSOCK),
R("backend raw inet",             READY,  NET_SET_BACKEND, FILE_(0, F_RAW_INET), -ENOTSOCK),
R("backend unix",                 READY,  NET_SET_BACKEND, FILE_(0, F_UNIX), -ENOTSOCK),
R("backend packet dgram",         READY,  NET_SET_BACKEND, FILE_(0, F_PACKET_DGRAM), -ENOTSOCK),
R("backend packet raw, unbound",  READY,  NET_SET_BACKEND, FILE_(0, F_PACKET), 0),
R("backend tun, unattached",      READY,  NET_SET_BACKEND, FILE_(0, F_TUN), -EINVAL),
R("backend tap, detached queue",  READY,  NET_SET_BACKEND, FILE_(0, F_TAP_DETACHED), 0),
R("backend udp, active",          ACTIVE, NET_SET_BACKEND, FILE_(0, F_UDP), -ENOTSOCK),
R("backend tun, active",          ACTIVE, NET_SET_BACKEND, FILE_(0, F_TUN), -EINVAL),
R("backend packet, active",       ACTIVE, NET_SET_BACKEND, FILE_(0, F_PACKET), 0),
R("backend udp, no table",        OWNED,  NET_SET_BACKEND, FILE_(0, F_UDP), -EFAULT),
R("backend udp, index 2",         READY,  NET_SET_BACKEND, FILE_(2, F_UDP), -ENOBUFS),
};
// clang-format on

static void value_row(void **state)
{
	const struct value_row *row = *state;
	static uint8_t buf[ARG_BYTES];
	struct fixture f;
	const void *ptr;
	long want;
	int got;
	int len;

	check_ok(fixture_open(&f, conf_dev(), conf_shared_tap(), row->setup));
	len = fixture_arg(&f, &row->arg, buf);
	if (len == -ENODEV)
		skip_because("no descriptor of that kind here");
	ptr = row->arg.kind == ARG_NULL || row->arg.kind == ARG_NONE ? NULL
								     : buf;
	got = vmm_ioctl(f.fd, row->cmd, ptr);
	fixture_close(&f);
	want = conf_expect(row->name, row->want);
	if (got != want)
		fail_msg("%s: got %s, expected %s", row->name,
			 check_errname(got), check_errname(want));
}

/* ---- what a return value does not show ---- */

static struct fixture ready(enum setup setup)
{
	struct fixture f;

	check_ok(fixture_open(&f, conf_dev(), conf_shared_tap(), setup));
	return f;
}

static void offered_features_are_known(void **state)
{
	uint64_t features = 0;
	int fd = conf_open();

	(void)state;
	check_ret(vmm_get_features(fd, &features), 0);
	assert_int_equal(features,
			 conf_expect("offered features", 0x33d008000));
	check_ret(vmm_get_backend_features(fd, &features), 0);
	assert_int_equal(features, conf_expect("offered backend features", 2));
	close(fd);
}

static void base_is_read_back_and_index_kept(void **state)
{
	struct fixture f = ready(S_OWNED);
	struct vhost_vring_state s = { .index = 1 };

	(void)state;
	check_ret(vmm_set_vring_base(f.fd, 1, 4711), 0);
	check_ret(vmm_set_vring_base(f.fd, 0, 65535), 0);
	check_ret(vmm_ioctl(f.fd, VHOST_GET_VRING_BASE, &s), 0);
	assert_int_equal(s.index, 1);
	assert_int_equal(s.num, 4711);
	s.index = 0;
	check_ret(vmm_ioctl(f.fd, VHOST_GET_VRING_BASE, &s), 0);
	assert_int_equal(s.num, 65535);
	fixture_close(&f);
}

/* What the VHOST_NET test of rust-vmm's vhost crate calls: all that is offered
 * is acknowledged unread, and the ring is set up with addresses of nothing. */
static void base_is_read_back_by_one_that_acks_every_bit(void **state)
{
	struct vhost_vring_addr addr = { .index = 0,
					 .desc_user_addr = 0x1000,
					 .used_user_addr = 0x2000,
					 .avail_user_addr = 0x3000 };
	struct fixture f = ready(S_FRESH);
	int event = fixture_fd(&f, F_EVENTFD);
	uint64_t features = 0;
	unsigned int base = 0;

	(void)state;
	check_ret(vmm_get_features(f.fd, &features), 0);
	check_ret(vmm_set_features(f.fd, features), 0);
	check_ret(vmm_set_owner(f.fd), 0);
	check_ret(vmm_set_mem_table(f.fd, &f.v->mem), 0);
	check_ret(vmm_set_log_base(f.fd, 0x4000), 0);
	check_ret(vmm_set_log_fd(f.fd, event), 0);
	check_ret(vmm_set_vring_num(f.fd, 0, 32), 0);
	check_ret(vmm_ioctl(f.fd, VHOST_SET_VRING_ADDR, &addr), 0);
	check_ret(vmm_set_vring_base(f.fd, 0, 1), 0);
	check_ret(vmm_set_vring_call(f.fd, 0, event), 0);
	check_ret(vmm_set_vring_kick(f.fd, 0, event), 0);
	check_ret(vmm_set_vring_err(f.fd, 0, event), 0);
	check_ret(vmm_get_vring_base(f.fd, 0, &base), 0);
	assert_int_equal(base, 1);
	check_ret(vmm_set_backend(f.fd, 0, fixture_fd(&f, F_ZERO)), -ENOTSOCK);
	check_ret(vmm_set_backend(f.fd, 0, -1), 0);
	check_ret(vmm_get_vring_base(f.fd, 0, &base), 0);
	assert_int_equal(base, 1);
	fixture_close(&f);
}

static void failed_base_changes_nothing(void **state)
{
	struct fixture f = ready(S_OWNED);
	unsigned int base = 0;

	(void)state;
	check_ret(vmm_set_vring_base(f.fd, 1, 12), 0);
	check_ret(vmm_set_vring_base(f.fd, 1, 65536), -EINVAL);
	check_ret(vmm_get_vring_base(f.fd, 1, &base), 0);
	assert_int_equal(base, 12);
	fixture_close(&f);
}

static void busyloop_is_read_back_per_ring(void **state)
{
	struct fixture f = ready(S_OWNED);
	struct vhost_vring_state s = { .index = 0 };

	(void)state;
	check_ret(vmm_set_busyloop(f.fd, 0, 77), 0);
	check_ret(vmm_set_busyloop(f.fd, 1, 0xffffffff), 0);
	check_ret(vmm_ioctl(f.fd, VHOST_GET_VRING_BUSYLOOP_TIMEOUT, &s), 0);
	assert_int_equal(s.num, 77);
	s.index = 1;
	check_ret(vmm_ioctl(f.fd, VHOST_GET_VRING_BUSYLOOP_TIMEOUT, &s), 0);
	assert_int_equal(s.index, 1);
	assert_int_equal(s.num, 0xffffffff);
	fixture_close(&f);
}

static void reset_owner_forgets_everything(void **state)
{
	struct fixture f = ready(S_ACTIVE);
	struct vhost_vring_state s = { .index = 1 };
	unsigned int base = 1;

	(void)state;
	check_ret(vmm_set_busyloop(f.fd, 1, 9), 0);
	check_ret(vmm_reset_owner(f.fd), 0);
	check_ret(vmm_set_owner(f.fd), 0);
	check_ret(vmm_get_vring_base(f.fd, 1, &base), 0);
	assert_int_equal(base, 0);
	check_ret(vmm_ioctl(f.fd, VHOST_GET_VRING_BUSYLOOP_TIMEOUT, &s), 0);
	assert_int_equal(s.num, 0);
	fixture_close(&f);
}

static void reset_owner_leaves_all_calls_to_the_next(void **state)
{
	struct fixture f = ready(S_REOWNED);

	(void)state;
	check_ret(vmm_start(f.v, f.tap), 0);
	check_ret(vmm_stop(f.v), 0);
	fixture_close(&f);
}

static void bad_log_base_reaches_the_other_ring(void **state)
{
	struct fixture f = ready(S_LOGGING);

	(void)state;
	/* only the active ring refuses; the other one has it now */
	check_ret(vmm_set_backend(f.fd, VMM_RX, -1), 0);
	check_ret(vmm_set_log_base(f.fd, UINT64_MAX), -EFAULT);
	check_ret(vmm_set_backend(f.fd, VMM_RX, f.tap), -EFAULT);
	check_ret(vmm_set_log_base(f.fd, 0), 0);
	check_ret(vmm_set_backend(f.fd, VMM_RX, f.tap), 0);
	fixture_close(&f);
}

static void failed_table_leaves_the_old_one(void **state)
{
	struct fixture f = ready(S_ACTIVE);
	struct arg bad = MEM(1, M_KERNEL);
	static uint8_t buf[ARG_BYTES];

	(void)state;
	check_ok(fixture_arg(&f, &bad, buf));
	check_ret(vmm_ioctl(f.fd, VHOST_SET_MEM_TABLE, buf), -EFAULT);
	check_ret(vmm_set_backend(f.fd, VMM_RX, -1), 0);
	check_ret(vmm_set_backend(f.fd, VMM_RX, f.tap), 0);
	fixture_close(&f);
}

static void failed_backend_leaves_the_old_one(void **state)
{
	struct fixture f = ready(S_ACTIVE);

	(void)state;
	check_ret(vmm_set_backend(f.fd, VMM_RX, fixture_fd(&f, F_TUN)),
		  -EINVAL);
	check_ret(vmm_set_vring_num(f.fd, VMM_RX, 256), -EBUSY);
	fixture_close(&f);
}

static void two_devices_are_independent(void **state)
{
	struct fixture a = ready(S_OWNED);
	struct fixture b = ready(S_FRESH);
	unsigned int base = 1;

	(void)state;
	check_ret(vmm_set_vring_base(a.fd, 0, 5), 0);
	check_ret(vmm_set_vring_base(b.fd, 0, 5), -EPERM);
	check_ret(vmm_set_owner(b.fd), 0);
	check_ret(vmm_get_vring_base(b.fd, 0, &base), 0);
	assert_int_equal(base, 0);
	fixture_close(&b);
	check_ret(vmm_get_vring_base(a.fd, 0, &base), 0);
	assert_int_equal(base, 5);
	fixture_close(&a);
}

static void read_only_descriptor_can_do_everything_but_write(void **state)
{
	struct vhost_msg_v2 msg = { .type = VHOST_IOTLB_MSG_V2 };
	struct vmm_config c = { .mem_size = 4U << 20 };
	struct vmm *v;

	(void)state;
	c.fd = open(conf_dev(), O_RDONLY | O_CLOEXEC);
	assert_true(c.fd >= 0);
	check_ret(vmm_new(&c, &v), 0);
	check_ret(vmm_start(v, conf_shared_tap()), 0);
	check_ret(vmm_stop(v), 0);
	check_errno(write(v->fd, &msg, sizeof(msg)), EBADF);
	vmm_free(v);
}

static void owner_may_be_another_than_the_opener(void **state)
{
	struct caller_other other;
	struct vhost_vring_state s = { .index = 0, .num = 256 };
	int fd;

	(void)state;
	check_ret(caller_other_start(&other), 0);
	fd = conf_open();
	check_ret(caller_other_call(&other, fd, 1, VHOST_SET_VRING_NUM, &s,
				    sizeof(s)),
		  0);
	check_ret(vmm_set_vring_num(fd, 0, 256), -EPERM);
	check_ret(vmm_set_owner(fd), -EBUSY);
	check_ret(caller_other_call(&other, fd, 0, VHOST_SET_VRING_NUM, &s,
				    sizeof(s)),
		  0);
	caller_other_kill(&other);
	close(fd);
}

static void dead_owner_still_owns(void **state)
{
	struct vhost_vring_state s = { .index = 0, .num = 256 };
	struct caller_other other;
	uint64_t features = 0;
	int fd;

	(void)state;
	check_ret(caller_other_start(&other), 0);
	fd = conf_open();
	check_ret(caller_other_call(&other, fd, 1, VHOST_SET_VRING_NUM, &s,
				    sizeof(s)),
		  0);
	caller_other_kill(&other);
	check_ret(vmm_set_owner(fd), -EBUSY);
	check_ret(vmm_set_vring_num(fd, 0, 256), -EPERM);
	check_ret(vmm_reset_owner(fd), -EPERM);
	check_ret(vmm_get_features(fd, &features), 0);
	close(fd);
}

static void *own_and_exit(void *fd)
{
	static int ret;

	ret = caller_self(*(int *)fd, VHOST_SET_OWNER, NULL);
	return &ret;
}

static void owning_thread_may_exit(void **state)
{
	int fd = conf_open();
	pthread_t t;
	void *ret;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, own_and_exit, &fd), 0);
	pthread_join(t, &ret);
	check_ret(*(int *)ret, 0);
	check_ret(vmm_set_vring_num(fd, 0, 256), 0);
	check_ret(vmm_set_owner(fd), -EBUSY);
	close(fd);
}

static void device_lives_until_the_last_descriptor_closes(void **state)
{
	int fd = conf_open();
	int copy = dup(fd);

	(void)state;
	check_ret(vmm_set_owner(fd), 0);
	close(fd);
	check_ret(vmm_set_owner(copy), -EBUSY);
	check_ret(vmm_set_vring_num(copy, 0, 256), 0);
	close(copy);
}

static void descriptors_given_may_be_closed_at_once(void **state)
{
	struct fixture f = ready(S_READY);
	int e = eventfd(0, EFD_CLOEXEC);

	(void)state;
	check_ret(vmm_set_vring_kick(f.fd, 0, e), 0);
	check_ret(vmm_set_vring_call(f.fd, 0, e), 0);
	close(e);
	check_ret(vmm_set_backend(f.fd, 0, f.tap), 0);
	check_ret(vmm_set_backend(f.fd, 0, -1), 0);
	fixture_close(&f);
}

static void no_device_behind_the_descriptor(void **state)
{
	uint64_t features;
	int e = eventfd(0, EFD_CLOEXEC);
	int fd = conf_open();

	(void)state;
	check_ret(vmm_get_features(-1, &features), -EBADF);
	check_ret(vmm_get_features(e, &features), -ENOTTY);
	close(fd);
	check_ret(vmm_get_features(fd, &features), -EBADF);
	close(e);
}

static void features_take_effect_with_any_caller(void **state)
{
	struct fixture f = ready(S_OWNED);
	uint64_t features = VMM_BIT(VIRTIO_F_VERSION_1);

	(void)state;
	check_ret(caller_child(f.fd, VHOST_SET_FEATURES, &features), 0);
	fixture_close(&f);
}

static void compat_calls_are_the_same(void **state)
{
	struct fixture f = ready(S_OWNED);
	struct low {
		uint64_t u64;
		struct vhost_vring_state s;
		uint32_t nregions, padding; /* struct vhost_memory */
		struct vhost_memory_region region;
	} *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	unsigned int at = (unsigned int)(uintptr_t)low;
	int ret;

	(void)state;
	assert_ptr_not_equal(low, MAP_FAILED);
	ret = caller_compat(f.fd, VHOST_GET_FEATURES, at);
	if (ret == -ENOSYS || ret == -ENOTTY)
		skip_because("no 32-bit system calls here");
	check_ret(ret, 0);
	assert_int_not_equal(low->u64, 0);
	low->s = (struct vhost_vring_state){ .index = 1, .num = 3 };
	check_ret(caller_compat(f.fd, VHOST_SET_VRING_NUM,
				at + offsetof(struct low, s)),
		  -EINVAL);
	low->s.num = 55;
	check_ret(caller_compat(f.fd, VHOST_SET_VRING_BASE,
				at + offsetof(struct low, s)),
		  0);
	low->s.num = 0;
	check_ret(caller_compat(f.fd, VHOST_GET_VRING_BASE,
				at + offsetof(struct low, s)),
		  0);
	assert_int_equal(low->s.num, 55);
	low->nregions = 1;
	low->region = (struct vhost_memory_region){ 0, 4096, at, 0 };
	check_ret(caller_compat(f.fd, VHOST_SET_MEM_TABLE,
				at + offsetof(struct low, nregions)),
		  0);
	low->nregions = 65;
	check_ret(caller_compat(f.fd, VHOST_SET_MEM_TABLE,
				at + offsetof(struct low, nregions)),
		  -E2BIG);
	check_ret(caller_compat(f.fd, VHOST_GET_FEATURES, 0), -EFAULT);
	munmap(low, 4096);
	fixture_close(&f);
}

static void feature_array_fills_all_words(void **state)
{
	uint64_t words[6] = { 4, 1, 1, 1, 1, 1 };
	uint64_t features = 0;
	int fd = conf_open();
	int ret = vmm_ioctl(fd, VHOST_GET_FEATURES_ARRAY, words);

	(void)state;
	if (ret == -EPERM) {
		close(fd);
		skip_because("no VHOST_GET_FEATURES_ARRAY here");
	}
	check_ret(ret, 0);
	check_ret(vmm_get_features(fd, &features), 0);
	assert_int_equal(words[0], 4);
	assert_int_equal(words[1], features);
	assert_int_equal(words[2], conf_expect("feature array word 1", 0));
	assert_int_equal(words[3], 0);
	assert_int_equal(words[4], 0);
	assert_int_equal(words[5], 1);
	close(fd);
}

static void every_style_starts_and_stops(void **state)
{
	static const enum vmm_style styles[] = { VMM_QEMU, VMM_DPDK,
						 VMM_KVMTOOL, VMM_VPP,
						 VMM_CROSVM };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(styles) / sizeof(styles[0]); i++) {
		struct vmm_config c = {
			.path = conf_dev(),
			.style = styles[i],
			.mem_size = 4U << 20,
			.features = VMM_BIT(VIRTIO_F_VERSION_1) |
				    VMM_BIT(VIRTIO_RING_F_EVENT_IDX),
			.rings_outside = styles[i] == VMM_VPP,
		};
		struct vmm *v;

		check_ret(vmm_new(&c, &v), 0);
		check_ret(vmm_start(v, conf_shared_tap()), 0);
		check_ret(vmm_stop(v), 0);
		vmm_free(v);
	}
}

static void reset_per_queue_as_kvmtool_does(void **state)
{
	struct fixture f = ready(S_ACTIVE);

	(void)state;
	check_ret(vmm_set_vring_call(f.fd, 0, -1), 0);
	check_ret(vmm_reset_owner(f.fd), 0);
	check_ret(vmm_set_vring_call(f.fd, 1, -1), -EPERM);
	check_ret(vmm_reset_owner(f.fd), -EPERM);
	fixture_close(&f);
}

static void base_is_readable_after_kick_is_gone(void **state)
{
	struct fixture f = ready(S_STOPPED);
	unsigned int base = 1;

	(void)state;
	/* ACRN's order */
	check_ret(vmm_set_vring_kick(f.fd, 0, -1), 0);
	check_ret(vmm_set_vring_call(f.fd, 0, -1), 0);
	check_ret(vmm_get_vring_base(f.fd, 0, &base), 0);
	assert_int_equal(base, 0);
	check_ret(vmm_reset_owner(f.fd), 0);
	fixture_close(&f);
}

/* ---- all of them ---- */

static const struct CMUnitTest functions[] = {
	cmocka_unit_test(offered_features_are_known),
	cmocka_unit_test(base_is_read_back_and_index_kept),
	cmocka_unit_test(base_is_read_back_by_one_that_acks_every_bit),
	cmocka_unit_test(failed_base_changes_nothing),
	cmocka_unit_test(busyloop_is_read_back_per_ring),
	cmocka_unit_test(reset_owner_forgets_everything),
	cmocka_unit_test(reset_owner_leaves_all_calls_to_the_next),
	cmocka_unit_test(bad_log_base_reaches_the_other_ring),
	cmocka_unit_test(failed_table_leaves_the_old_one),
	cmocka_unit_test(failed_backend_leaves_the_old_one),
	cmocka_unit_test(two_devices_are_independent),
	cmocka_unit_test(read_only_descriptor_can_do_everything_but_write),
	cmocka_unit_test(owner_may_be_another_than_the_opener),
	cmocka_unit_test(dead_owner_still_owns),
	cmocka_unit_test(owning_thread_may_exit),
	cmocka_unit_test(device_lives_until_the_last_descriptor_closes),
	cmocka_unit_test(descriptors_given_may_be_closed_at_once),
	cmocka_unit_test(no_device_behind_the_descriptor),
	cmocka_unit_test(features_take_effect_with_any_caller),
	cmocka_unit_test(compat_calls_are_the_same),
	cmocka_unit_test(feature_array_fills_all_words),
	cmocka_unit_test(every_style_starts_and_stops),
	cmocka_unit_test(reset_per_queue_as_kvmtool_does),
	cmocka_unit_test(base_is_readable_after_kick_is_gone),
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

int main(int argc, char **argv)
{
	static struct CMUnitTest tests[COUNT(rows) + COUNT(functions)];
	size_t n = 0;
	size_t i;

	for (i = 0; i < COUNT(rows); i++)
		tests[n++] = (struct CMUnitTest){
			.name = rows[i].name,
			.test_func = value_row,
			.initial_state = (void *)(uintptr_t)&rows[i],
		};
	for (i = 0; i < COUNT(functions); i++)
		tests[n++] = functions[i];
	return conf_main("ioctl", tests, n, argc, argv);
}
