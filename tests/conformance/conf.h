/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the conformance programs share: which device and whose implementation
 * is under test, the known differences, and main().
 *
 * Environment: UVHOST_TRANSPORT=kernel|user|inproc|vdpa, how the device is
 * reached (default kernel; programs of raw ioctls know no other; user and
 * inproc make one themselves); UVHOST_DEV, the device (default
 * /dev/uvhost-net; vdpa: a device of vduse-net, whose socket is UVHOST_PORTS);
 * UVHOST_GPA=1, with user: negotiate GPA_ADDRESSES;
 * UVHOST_DEV_PACKED, a device that also offers packed rings and in-order use
 * (default: UVHOST_DEV);
 * UVHOST_IMPL=kernel|uvhost, whose it is (default uvhost);
 * UVHOST_TEST=GLOB, run only tests with such names; UVHOST_LIST=1 or
 * --list, only print the names.
 */
#ifndef CONF_H
#define CONF_H

#include "check.h"
#include "vmm.h"
#include "vmm_net.h"

/** CONF_MS - deadline for what must happen */
#define CONF_MS 60000
/** CONF_QUIET_MS - how long to look for what must not happen */
#define CONF_QUIET_MS 20

/** Whose rows of known differences apply. The device of uvhost is one device:
 * rows of the transports come before CONF_UVHOST's, which hold for all */
enum conf_impl {
	CONF_KERNEL = 1,
	CONF_UVHOST = 2,
	CONF_USER = 3,
	CONF_INPROC = 4,
	CONF_VDPA = 5,
};

/** conf_impl() - under test */
enum conf_impl conf_impl(void);
/** conf_transport() - how it is reached */
enum vmm_transport conf_transport(void);
/** conf_mem() - for memory of a test's own: empty, of the kind it takes */
struct vmm_mem conf_mem(void);
/** conf_dev() - path of the device */
const char *conf_dev(void);
/** conf_want_packed() - from now on conf_dev() is UVHOST_DEV_PACKED; before
 * conf_main() */
void conf_want_packed(void);
/** conf_ports() - vduse-net's socket, or NULL */
const char *conf_ports(void);

/**
 * conf_expect() - what is expected here and now
 * @row:  name of the expectation
 * @base: value of the baseline: kernel 6.1 to 6.12
 *
 * Return: @base, or the value of the row of known differences that applies.
 */
long conf_expect(const char *row, long base);

/** CONF_SKIP - value of a row: the test makes no sense here */
#define CONF_SKIP 77

/** conf_has() - are all of these features offered by the device? */
bool conf_has(uint64_t features);

/** conf_open() - open the device, test fails if it cannot */
int conf_open(void);

/** conf_net() - enter a network namespace once per process; skips if not
 * allowed */
void conf_net(void);
/** conf_tap() - vmm_tap_open() in that namespace; skips if not possible */
int conf_tap(const struct vmm_tap_config *c, char ifname[IFNAMSIZ]);

/** conf_shared_tap() - one for all tests of a program that need no traffic:
 * making and destroying a tap costs more than such a test */
int conf_shared_tap(void);

/**
 * conf_settle() - let the device finish what earlier kicks asked for, as far
 * as a call can wait for that; takes the log eventfd away
 */
void conf_settle(struct vmm *v);
/** conf_settle_logged() - the same, and @log_fd is the log eventfd */
void conf_settle_logged(struct vmm *v, int log_fd);

/** conf_quiet() - eventfd @fd stays 0, after conf_settle() */
void conf_quiet(struct vmm *v, int fd);

/**
 * conf_main() - main() of a conformance program
 *
 * A test of name T for which a row "test T" of value CONF_SKIP applies is
 * skipped, with the row's reason.
 */
int conf_main(const char *name, const struct CMUnitTest *tests, size_t n,
	      int argc, char **argv);

#endif
