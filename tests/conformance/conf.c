/* SPDX-License-Identifier: BSD-3-Clause */
#include "conf.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/utsname.h>

#define EXIT_SKIPPED 77

#define V(major, minor, patch) ((major)*1000000 + (minor)*1000 + (patch))
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

const char *conf_dev(void)
{
	const char *path = getenv("UVHOST_DEV");

	return path ? path : "/dev/uvhost-net";
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

long conf_expect(const char *row, long base)
{
	long version = kernel_version();
	size_t i;

	for (i = 0; i < sizeof(diffs) / sizeof(diffs[0]); i++) {
		const struct diff *d = &diffs[i];

		if (d->impl != conf_impl() || fnmatch(d->row, row, 0) != 0)
			continue;
		if (d->impl == CONF_KERNEL &&
		    (version < d->from || (d->below && version >= d->below)))
			continue;
		return d->value;
	}
	return base;
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
	uint64_t offered = 0;
	int fd = conf_open();

	check_ret(vmm_get_features(fd, &offered), 0);
	close(fd);
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

void conf_settle(int dev)
{
	unsigned int i;

	/* The kernel flushes its worker in this call. */
	check_ret(vmm_set_log_fd(dev, -1), 0);
	if (conf_impl() == CONF_KERNEL)
		return;
	/* uvhost answers between two turns of its loop and has no call that
	 * waits for more: give it a few. */
	for (i = 0; i < 3; i++) {
		poll(NULL, 0, 1);
		check_ret(vmm_set_log_fd(dev, -1), 0);
	}
}

void conf_quiet(int dev, int fd)
{
	conf_settle(dev);
	if (vmm_wait_event(fd, CONF_QUIET_MS) == 0)
		fail_msg("an eventfd rose that should not have");
}

/* ---- main ---- */

static bool device_missing(const char *name)
{
	int fd = open(conf_dev(), O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		close(fd);
		return false;
	}
	printf("%s: skipped: %s: %s\n", name, conf_dev(), strerror(errno));
	return true;
}

int conf_main(const char *name, const struct CMUnitTest *tests, size_t n,
	      int argc, char **argv)
{
	const char *glob = getenv("UVHOST_TEST");
	struct CMUnitTest *chosen;
	size_t count = 0;
	size_t i;
	int ret;

	if (getenv("UVHOST_LIST") || (argc > 1 && !strcmp(argv[1], "--list"))) {
		for (i = 0; i < n; i++)
			puts(tests[i].name);
		return 0;
	}
	if (device_missing(name))
		return EXIT_SKIPPED;

	chosen = calloc(n, sizeof(*chosen));
	if (!chosen)
		return 1;
	for (i = 0; i < n; i++)
		if (!glob || fnmatch(glob, tests[i].name, 0) == 0)
			chosen[count++] = tests[i];
	ret = _cmocka_run_group_tests(name, chosen, count, NULL, NULL);
	free(chosen);
	return ret;
}
