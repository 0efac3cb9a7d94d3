/* SPDX-License-Identifier: BSD-3-Clause */
#include "takeover.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "log.h"
#include "procfile.h"

#define NODE "/dev/vhost-net"
#define REFCNT "/sys/module/vhost_net/refcnt"

int takeover_begin(struct takeover *t)
{
	struct stat st;
	long users;

	memset(t, 0, sizeof(*t));
	if (procfile_number(REFCNT, NULL, &users) == 0 && users > 0) {
		log_err(NULL,
			"--takeover: the kernel's vhost_net is in use (%ld "
			"references in %s): stop its guests first",
			users, REFCNT);
		return -EBUSY;
	}
	if (lstat(NODE, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(10, 238)) {
		log_err(NULL,
			"--takeover: %s is not the kernel's node (10:238)",
			NODE);
		return -EEXIST;
	}
	if (unlink(NODE) < 0) {
		int err = errno;

		log_err(NULL, "--takeover: cannot remove %s: %s", NODE,
			strerror(err));
		return -err;
	}
	t->removed = true;
	t->mode = st.st_mode;
	t->uid = st.st_uid;
	t->gid = st.st_gid;
	log_info(NULL, "took %s over from the kernel", NODE);
	return 0;
}

void takeover_end(struct takeover *t)
{
	if (!t->removed)
		return;
	t->removed = false;
	/* Made for nobody, then handed out: never wider than it was. */
	if (mknod(NODE, S_IFCHR | 0600, makedev(10, 238)) < 0 ||
	    chown(NODE, t->uid, t->gid) < 0 ||
	    chmod(NODE, t->mode & 07777) < 0) {
		log_err(NULL,
			"cannot put %s back: %s; do it with mknod %s c 10 238",
			NODE, strerror(errno), NODE);
		return;
	}
	log_info(NULL, "%s is the kernel's again", NODE);
}
