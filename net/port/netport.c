/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netport.c finds out what kind of port a descriptor of a client is.
 *
 * The descriptor is hostile input: it can be any file, also one of the client's
 * own FUSE file system, so nothing here may wait for the process that serves
 * it. statx(2) with AT_STATX_DONT_SYNC answers from the inode that the kernel
 * has; ioctl(2) and poll(2) are used only on what is known to be a socket or a
 * tap.
 */
#include "netport.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/if_tun.h>
#include <linux/kcmp.h>

#include "abi.h"
#include "parse.h"
#include "port_priv.h"

#define TUN_MAJOR 10
#define TUN_MINOR 200

static bool is_packet_socket(int fd)
{
	int domain, type;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
		return false;
	len = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return false;
	return domain == AF_PACKET && type == SOCK_RAW;
}

/* /proc/devices; -1: opened for each use. */
static int devices_fd = -1;

int netport_open_devices(void)
{
	if (devices_fd < 0)
		devices_fd = open("/proc/devices", O_RDONLY | O_CLOEXEC);
	return devices_fd < 0 ? -errno : 0;
}

/* The list of majors, as it is now; what does not fit is cut. */
static void read_devices(char *text, size_t size)
{
	int fd = devices_fd;
	size_t len = 0;
	ssize_t n = 0;

	if (fd < 0)
		fd = open("/proc/devices", O_RDONLY | O_CLOEXEC);
	do {
		len += (size_t)n;
		n = fd < 0 ? 0
			   : pread(fd, text + len, size - 1 - len, (off_t)len);
	} while (n > 0);
	text[len] = '\0';
	if (fd >= 0 && fd != devices_fd)
		close(fd);
}

/* The kernel assigns the majors of macvtap and ipvtap at run time. */
void netport_majors(uint32_t major[NETPORT_MAJORS])
{
	char text[8192], *rest = text, *line;
	unsigned int found = 0;

	memset(major, 0, NETPORT_MAJORS * sizeof(*major));
	read_devices(text, sizeof(text));
	while ((line = strsep(&rest, "\n")) && found < NETPORT_MAJORS) {
		const char *at = line + strspn(line, " ");
		uint64_t n;

		if (strncmp(line, "Block", 5) == 0)
			break;
		if (parse_digits(&at, 10, &n) == 0 && n <= UINT32_MAX &&
		    (strcmp(at, " macvtap") == 0 || strcmp(at, " ipvtap") == 0))
			major[found++] = (uint32_t)n;
	}
}

static bool is_tun(uint32_t major, uint32_t minor)
{
	return major == TUN_MAJOR && minor == TUN_MINOR;
}

bool netport_is_device(uint32_t major, uint32_t minor,
		       const uint32_t macvtap[NETPORT_MAJORS])
{
	if (is_tun(major, minor))
		return true;
	for (unsigned int i = 0; i < NETPORT_MAJORS; i++)
		if (macvtap[i] && macvtap[i] == major)
			return true;
	return false;
}

/* vhost_poll_start() refuses a file that polls with an error: a tun without
 * interface, or a packet socket with an error pending, as after binding to an
 * interface that is down. */
static bool polls_error(int fd)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, 0) > 0 && p.revents & (POLLERR | POLLNVAL);
}

static int tun_kind(int fd, enum tap_kind *kind)
{
	struct ifreq ifr = { 0 };

	if (ioctl(fd, TUNGETIFF, &ifr) < 0)
		return -EINVAL; /* EBADFD: no interface */
	*kind = ifr.ifr_flags & IFF_TAP ? TAP_ETHERNET : TAP_L3;
	return 0;
}

int netport_from_fd(int fd, struct netport **out)
{
	int flags = fcntl(fd, F_GETFL);
	uint32_t macvtap[NETPORT_MAJORS];
	enum tap_kind kind;
	struct statx st;
	int ret;

	/* An O_PATH descriptor is no file to fget(). */
	if (flags < 0 || flags & O_PATH)
		return -ENOTSOCK;

	if (is_packet_socket(fd))
		return polls_error(fd) ? -EINVAL : packet_port_new(fd, out);

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) <
		    0 ||
	    !S_ISCHR(st.stx_mode))
		return -ENOTSOCK;

	if (is_tun(st.stx_rdev_major, st.stx_rdev_minor)) {
		ret = tun_kind(fd, &kind);
		if (ret < 0)
			return ret;
	} else {
		netport_majors(macvtap);
		if (!netport_is_device(st.stx_rdev_major, st.stx_rdev_minor,
				       macvtap))
			return -ENOTSOCK;
		kind = TAP_MACVTAP;
	}
	return tap_port_new(fd, kind, out);
}

/*
 * Where both calls are missing (no CONFIG_KCMP, or a seccomp filter, and Linux
 * before 6.10) only a == b counts as the same: one file taken for two costs a
 * restart of the backend, two files taken for one would ignore a new backend.
 */
bool netport_same_fd(int a, int b)
{
	pid_t self = getpid();
	long ret;

	ret = syscall(SYS_kcmp, self, self, KCMP_FILE, a, b);
	if (ret >= 0)
		return ret == 0;
	ret = fcntl(a, F_DUPFD_QUERY, b);
	if (ret >= 0)
		return ret == 1;
	return a == b && fcntl(a, F_GETFD) >= 0;
}
