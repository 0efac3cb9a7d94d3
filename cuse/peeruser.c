/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peeruser.c finds the user that a caller counts for. A user namespace gives
 * its maker more user ids than one (newuidmap(1), and most distributions give
 * every user 65536 of them). For limits they all count as the maker's.
 *
 * The chain of namespaces is followed from the caller's up to ours, and the
 * maker of the outermost one below ours counts. If root made that (containers
 * of root with id maps of their own), the caller's own id counts.
 */
#include "peer.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* The kernel's limit of namespaces in each other is 32. */
#define DEPTH_MAX 33

static bool is_ours(int ns)
{
	struct stat ours, st;

	return stat("/proc/self/ns/user", &ours) == 0 && fstat(ns, &st) == 0 &&
	       ours.st_dev == st.st_dev && ours.st_ino == st.st_ino;
}

/* The maker of the outermost namespace around @ns below ours; 0: root, or @ns
 * is not below ours. Closes @ns. */
static uid_t outer_maker(int ns)
{
	uid_t maker = 0;

	for (int i = 0; i < DEPTH_MAX && ns >= 0; i++) {
		int parent;

		if (is_ours(ns)) {
			close(ns);
			return maker;
		}
		parent = ioctl(ns, NS_GET_PARENT);
		if (ioctl(ns, NS_GET_OWNER_UID, &maker) < 0)
			maker = 0;
		close(ns);
		ns = parent;
	}
	if (ns >= 0)
		close(ns);
	return 0;
}

uid_t peer_user(pid_t tid, uid_t uid)
{
	char path[40];
	uid_t maker;
	int ns;

	if (tid <= 0)
		return uid;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", tid);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0)
		return uid;
	maker = outer_maker(ns);
	return maker ? maker : uid;
}
