/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * with-taps IFNAME FD... -- COMMAND...: runs a command with queues of a
 * multiqueue tap open as the descriptors named, as libvirt hands them to QEMU.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <net/if.h>
#include <linux/if_tun.h>

static int open_queue(const char *ifname, int as)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
					  IFF_MULTI_QUEUE };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -1;
	strncpy(ifr.ifr_name, ifname, IFNAMSIZ - 1);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0 || dup2(fd, as) < 0)
		return -1;
	return close(fd);
}

int main(int argc, char **argv)
{
	int i;

	for (i = 2; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (open_queue(argv[1], atoi(argv[i])) < 0) {
			fprintf(stderr, "with-taps: %s as %s: %s\n", argv[1],
				argv[i], strerror(errno));
			return 125;
		}
	}
	if (i + 1 >= argc) {
		fprintf(stderr,
			"usage: with-taps IFNAME FD... -- COMMAND...\n");
		return 125;
	}
	execvp(argv[i + 1], argv + i + 1);
	fprintf(stderr, "with-taps: %s: %s\n", argv[i + 1], strerror(errno));
	return 126;
}
