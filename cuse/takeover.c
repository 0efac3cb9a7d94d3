/* SPDX-License-Identifier: BSD-3-Clause */
/* takeover.c moves the kernel's /dev/vhost-net aside and back (takeover.h). */
#include "takeover.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>

#include "log.h"
#include "procfile.h"

#define KERNEL_RDEV makedev(10, 238)
#define REFCNT "/sys/module/vhost_net/refcnt"
#define SYSFS_NODE "/sys/class/misc/vhost-net"
#define DEVNAME_LINE "vhost_net vhost-net c10:238\n"

/* What is at a path. */
enum found {
	FOUND_NOTHING,
	FOUND_KERNELS, /* the node of the kernel's driver */
	FOUND_DEVICE,  /* another character device */
	FOUND_OTHER,
};

static int find_node(const char *path, enum found *what)
{
	struct stat st;

	if (lstat(path, &st) < 0) {
		*what = FOUND_NOTHING;
		return errno == ENOENT ? 0 : -errno;
	}
	if (!S_ISCHR(st.st_mode))
		*what = FOUND_OTHER;
	else
		*what = st.st_rdev == KERNEL_RDEV ? FOUND_KERNELS
						  : FOUND_DEVICE;
	return 0;
}

/* Is the driver loaded, or does kmod make the node of its module at boot? */
static bool kernel_has_node(void)
{
	char path[160], line[256];
	struct utsname u;
	bool found = false;
	FILE *f;

	if (access(SYSFS_NODE, F_OK) == 0)
		return true;
	if (uname(&u) < 0)
		return false;
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.devname",
		 u.release);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = strcmp(line, DEVNAME_LINE) == 0;
	fclose(f);
	return found;
}

/* Makes the node for root alone, then gives it to the group kvm. */
static int make_aside(void)
{
	const struct group *kvm = getgrnam("kvm");

	if (mknod(TAKEOVER_ASIDE, S_IFCHR | 0600, KERNEL_RDEV) < 0)
		return -errno;
	if (kvm && (chown(TAKEOVER_ASIDE, 0, kvm->gr_gid) < 0 ||
		    chmod(TAKEOVER_ASIDE, 0660) < 0))
		return -errno;
	return 0;
}

/* The name is free: an earlier daemon was killed, or the node was removed. */
static int begin_without_node(void)
{
	enum found aside;
	int ret = find_node(TAKEOVER_ASIDE, &aside);

	if (ret < 0)
		return ret;
	if (aside == FOUND_KERNELS) {
		log_info(NULL, "%s was left by a daemon that was killed",
			 TAKEOVER_ASIDE);
		return 0;
	}
	if (aside != FOUND_NOTHING || !kernel_has_node())
		return 0;
	ret = make_aside();
	if (ret < 0)
		log_warn(
			NULL,
			"--takeover: the kernel's %s is missing, and cannot be "
			"made for later: %s; afterwards do it with mknod %s c "
			"10 238",
			TAKEOVER_NODE, strerror(-ret), TAKEOVER_NODE);
	else
		log_info(NULL, "the kernel's %s was missing, and will be back",
			 TAKEOVER_NODE);
	return 0;
}

int takeover_begin(void)
{
	enum found node;
	long users;
	int ret;

	if (procfile_number(REFCNT, NULL, &users) == 0 && users > 0) {
		log_err(NULL,
			"--takeover: the kernel's vhost_net is in use (%ld "
			"references in %s): stop its guests first",
			users, REFCNT);
		return -EBUSY;
	}
	ret = find_node(TAKEOVER_NODE, &node);
	if (ret < 0)
		return ret;
	switch (node) {
	case FOUND_NOTHING:
		return begin_without_node();
	case FOUND_KERNELS:
		break;
	default:
		log_err(NULL,
			"--takeover: %s is not the kernel's node (10:238)",
			TAKEOVER_NODE);
		return -EEXIST;
	}
	/* Replaces what an earlier daemon may have left: it is the same. */
	if (rename(TAKEOVER_NODE, TAKEOVER_ASIDE) < 0) {
		int err = errno;

		log_err(NULL, "--takeover: cannot rename %s to %s: %s",
			TAKEOVER_NODE, TAKEOVER_ASIDE, strerror(err));
		return -err;
	}
	log_info(NULL, "took %s over from the kernel", TAKEOVER_NODE);
	return 0;
}

/* The node cannot be put back: its name is taken. */
static int name_taken(void)
{
	enum found node;
	int ret = find_node(TAKEOVER_NODE, &node);

	if (ret < 0)
		return ret;
	if (node == FOUND_KERNELS)
		/* The module was loaded while the name was free. */
		return unlink(TAKEOVER_ASIDE) < 0 ? -errno : 0;
	return node == FOUND_DEVICE ? -EBUSY : -EEXIST;
}

int takeover_end(void)
{
	enum found aside;
	int ret = find_node(TAKEOVER_ASIDE, &aside);

	if (ret < 0 || aside != FOUND_KERNELS)
		return ret;
	if (renameat2(AT_FDCWD, TAKEOVER_ASIDE, AT_FDCWD, TAKEOVER_NODE,
		      RENAME_NOREPLACE) < 0)
		ret = errno == EEXIST ? name_taken() : -errno;
	if (ret < 0)
		log_err(NULL,
			"cannot put %s back: %s; do it with mv %s %s, or see "
			"--release-node",
			TAKEOVER_NODE,
			ret == -EBUSY ? "another device has the name"
				      : strerror(-ret),
			TAKEOVER_ASIDE, TAKEOVER_NODE);
	else
		log_info(NULL, "%s is the kernel's again", TAKEOVER_NODE);
	return ret;
}
