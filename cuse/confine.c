/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation
 *
 * The daemon reads what guests write; if one of them takes it over, it should
 * gain as little as can be. It serves other people's processes, so some rights
 * have to stay:
 *
 *   CAP_SYS_PTRACE         process_vm_readv/writev, pidfd_getfd, kcmp on
 *                          processes of other users
 *   CAP_DAC_READ_SEARCH    /proc/PID/mem and /proc/PID/fd of other users:
 *                          the ptrace right does not open 0600 files. Only for
 *                          reading; writes go through process_vm_writev
 *   CAP_CHECKPOINT_RESTORE /proc/PID/map_files: shared anonymous memory, which
 *                          has no descriptor (Linux 5.9; before, this took
 *                          CAP_SYS_ADMIN, which is not worth it: such memory
 *                          is copied then)
 *   with --takeover        CAP_MKNOD, CAP_CHOWN, CAP_FOWNER, CAP_DAC_OVERRIDE
 *                          to put the kernel's node back at the end
 *
 * What we were not given is not asked for, so any user may run the daemon, for
 * processes of its own. All else goes, from the permitted set too. No new
 * privileges can come by exec.
 *
 * Another process of the same user might attach to us. The kernel forbids that
 * while we hold a capability that it does not. Without any, we make ourselves
 * non-dumpable, which forbids it too (and gives up core dumps), lest one guest
 * that broke out of its VMM walks through us into another.
 */
#include "confine.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "bytes.h"
#include "log.h"

#ifndef CAP_CHECKPOINT_RESTORE
#define CAP_CHECKPOINT_RESTORE 40
#endif

static uint64_t caps_wanted(bool takeover)
{
	uint64_t caps = BIT(CAP_SYS_PTRACE) | BIT(CAP_DAC_READ_SEARCH) |
			BIT(CAP_CHECKPOINT_RESTORE);

	if (takeover)
		caps |= BIT(CAP_MKNOD) | BIT(CAP_CHOWN) | BIT(CAP_FOWNER) |
			BIT(CAP_DAC_OVERRIDE);
	return caps;
}

/* Keep of the permitted capabilities those in @wanted; @kept says which. */
static int caps_limit(uint64_t wanted, uint64_t *kept)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) < 0)
		return -errno;
	for (unsigned int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(wanted >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &head, data) < 0)
		return -errno;
	*kept = data[0].permitted | (uint64_t)data[1].permitted << 32;
	return 0;
}

int confine_process(bool takeover)
{
	uint64_t kept = 0;
	int ret;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		ret = -errno;
		goto err;
	}
	ret = caps_limit(caps_wanted(takeover), &kept);
	if (ret < 0)
		goto err;
	if (kept == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) {
		ret = -errno;
		goto err;
	}
	return 0;
err:
	log_err(NULL, "cannot give up privileges: %s", strerror(-ret));
	return ret;
}
