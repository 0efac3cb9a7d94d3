/* SPDX-License-Identifier: BSD-3-Clause */
#include "conf.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/utsname.h>

#define EXIT_SKIPPED 77

#define V(major, minor, patch) ((major) * 1000000 + (minor) * 1000 + (patch))
#define ANY 0

struct diff {
	enum conf_impl impl;
	long from;
	long below;
	const char *row;
	long value;
	const char *why;
};

static const struct diff diffs[] = {
#define DIFF(impl_, from_, below_, row_, value_, why_) \
	{ .impl = CONF_##impl_,                        \
	  .from = (from_),                             \
	  .below = (below_),                           \
	  .row = (row_),                               \
	  .value = (value_),                           \
	  .why = (why_) },
#include "conf_diffs.h"
#undef DIFF
};

enum conf_impl conf_impl(void)
{
	const char *name = getenv("UVHOST_IMPL");

	return name && !strcmp(name, "kernel") ? CONF_KERNEL : CONF_UVHOST;
}

enum vmm_transport conf_transport(void)
{
	const char *name = getenv("UVHOST_TRANSPORT");

	if (!name || !strcmp(name, "kernel"))
		return VMM_KERNEL;
	if (!strcmp(name, "user"))
		return VMM_USER;
	if (!strcmp(name, "inproc"))
		return VMM_INPROC;
	if (!strcmp(name, "vdpa"))
		return VMM_VDPA;
	fail_msg("UVHOST_TRANSPORT=%s: what is that?", name);
	return VMM_KERNEL;
}

struct vmm_mem conf_mem(void)
{
	enum vmm_transport t = conf_transport();

	return (struct vmm_mem){ .files = t == VMM_USER || t == VMM_VDPA };
}

const char *conf_dev(void)
{
	const char *path = getenv("UVHOST_DEV");

	return path ? path : "/dev/uvhost-net";
}

void conf_want_packed(void)
{
	const char *path = getenv("UVHOST_DEV_PACKED");

	if (path && conf_impl() == CONF_UVHOST &&
	    conf_transport() == VMM_KERNEL)
		setenv("UVHOST_DEV", path, 1);
}

const char *conf_ports(void)
{
	return getenv("UVHOST_PORTS");
}

static long kernel_version(void)
{
	struct utsname u;
	char *end;
	long v[3] = { 0 };
	unsigned int i;
	const char *p;

	uname(&u);
	p = u.release;
	for (i = 0; i < 3; i++) {
		v[i] = strtol(p, &end, 10);
		if (*end != '.')
			break;
		p = end + 1;
	}
	return V(v[0], v[1], v[2]);
}

static bool applies(const struct diff *d, enum conf_impl impl, const char *row,
		    long version)
{
	return d->impl == impl && fnmatch(d->row, row, 0) == 0 &&
	       version >= d->from && (!d->below || version < d->below);
}

static const struct diff *find_diff(enum conf_impl impl, const char *row)
{
	long version = kernel_version();
	size_t i;

	for (i = 0; i < sizeof(diffs) / sizeof(diffs[0]); i++)
		if (applies(&diffs[i], impl, row, version))
			return &diffs[i];
	return NULL;
}

static const struct diff *find_row(const char *row)
{
	static const enum conf_impl impls[] = {
		[VMM_USER] = CONF_USER,
		[VMM_INPROC] = CONF_INPROC,
		[VMM_VDPA] = CONF_VDPA,
	};
	enum vmm_transport transport = conf_transport();
	const struct diff *d = NULL;

	if (transport != VMM_KERNEL)
		d = find_diff(impls[transport], row);
	return d ? d : find_diff(conf_impl(), row);
}

long conf_expect(const char *row, long base)
{
	const struct diff *d = find_row(row);

	return d ? d->value : base;
}

int conf_open(void)
{
	int fd = open(conf_dev(), O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail_msg("%s: %s", conf_dev(), strerror(errno));
	return fd;
}

bool conf_has(uint64_t features)
{
	struct vmm_config c = { .transport = conf_transport(),
				.path = conf_dev() };
	uint64_t offered = 0;

	check_ret(vmm_offered(&c, &offered), 0);
	return (offered & features) == features;
}

void conf_net(void)
{
	static int entered = 1;

	if (entered > 0)
		entered = vmm_net_enter();
	if (entered < 0)
		skip_because("no network namespace: %s", strerror(-entered));
}

int conf_tap(const struct vmm_tap_config *c, char ifname[IFNAMSIZ])
{
	int fd;

	conf_net();
	fd = vmm_tap_open(c, ifname);
	if (fd == -EPERM || fd == -ENOENT || fd == -EACCES || fd == -ENXIO ||
	    fd == -ENODEV)
		skip_because("no tap: %s", strerror(-fd));
	return check_ok(fd);
}

int conf_shared_tap(void)
{
	static int tap;
	static char ifname[IFNAMSIZ];

	if (!tap)
		tap = conf_tap(&(struct vmm_tap_config){ 0 }, ifname);
	return tap;
}

/* A call that is answered by the thread that runs the rings. */
static int ask_worker(struct vmm *v, int log_fd)
{
	uint32_t base;

	if (conf_transport() == VMM_VDPA)
		return uvh_get_vring_base(v->fe, VMM_RX, &base);
	if (conf_transport() == VMM_USER)
		return uvh_set_vring_err(v->fe, VMM_RX, v->q[VMM_RX].err);
	return uvh_set_log_fd(v->fe, log_fd);
}

void conf_settle(struct vmm *v)
{
	conf_settle_logged(v, -1);
}

void conf_settle_logged(struct vmm *v, int log_fd)
{
	unsigned int i;

	/* The kernel flushes its worker in this call. */
	check_ret(ask_worker(v, log_fd), 0);
	if (conf_impl() == CONF_KERNEL)
		return;
	/* uvhost answers between two turns of its loop and has no call that
	 * waits for more: give it a few. */
	for (i = 0; i < 3; i++) {
		poll(NULL, 0, 1);
		check_ret(ask_worker(v, log_fd), 0);
	}
}

void conf_quiet(struct vmm *v, int fd)
{
	conf_settle(v);
	if (vmm_wait_event(fd, CONF_QUIET_MS) == 0)
		fail_msg("an eventfd rose that should not have");
}

/* ---- main ---- */

static bool device_missing(const char *name)
{
	enum vmm_transport transport = conf_transport();
	int fd;

	if (transport == VMM_USER || transport == VMM_INPROC)
		return false;
	fd = open(conf_dev(), O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		close(fd);
		return false;
	}
	printf("%s: skipped: %s: %s\n", name, conf_dev(), strerror(errno));
	return true;
}

static void skipped(void **state)
{
	skip_because("%s", (const char *)*state);
}

/* The test, or its being skipped. */
static struct CMUnitTest choose(const struct CMUnitTest *test)
{
	struct CMUnitTest chosen = *test;
	const struct diff *d;
	char row[128];

	snprintf(row, sizeof(row), "test %s", test->name);
	d = find_row(row);
	if (d && d->value == CONF_SKIP) {
		chosen.test_func = skipped;
		chosen.initial_state = (void *)(uintptr_t)d->why;
	}
	return chosen;
}

int conf_main(const char *name, const struct CMUnitTest *tests, size_t n,
	      int argc, char **argv)
{
	struct CMUnitTest *chosen;
	size_t i;
	int ret;

	if (getenv("UVHOST_LIST") || (argc > 1 && !strcmp(argv[1], "--list"))) {
		for (i = 0; i < n; i++)
			puts(tests[i].name);
		return 0;
	}
	if (device_missing(name))
		return EXIT_SKIPPED;

	/* What a device of this process has to say shows as what it does. */
	uvh_set_log(UVH_LOG_ERROR, NULL, NULL);
	chosen = calloc(n, sizeof(*chosen));
	if (!chosen)
		return 1;
	for (i = 0; i < n; i++)
		chosen[i] = choose(&tests[i]);
	ret = _cmocka_run_group_tests(name, chosen, n, NULL, NULL);
	free(chosen);
	return ret;
}
