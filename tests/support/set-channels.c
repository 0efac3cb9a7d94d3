/* SPDX-License-Identifier: BSD-3-Clause */
/* set-channels IFNAME N - what `ethtool -L IFNAME combined N` does; static, for
 * a guest that has no ethtool. */
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>

int main(int argc, char **argv)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
	struct ifreq ifr = { .ifr_data = (char *)&channels };
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (argc != 3 || strlen(argv[1]) >= IFNAMSIZ) {
		fprintf(stderr, "usage: set-channels IFNAME N\n");
		return 2;
	}
	strcpy(ifr.ifr_name, argv[1]);
	if (ioctl(sock, SIOCETHTOOL, &ifr) < 0) {
		perror("ETHTOOL_GCHANNELS");
		return 1;
	}
	channels.cmd = ETHTOOL_SCHANNELS;
	channels.combined_count = (unsigned int)strtoul(argv[2], NULL, 10);
	if (ioctl(sock, SIOCETHTOOL, &ifr) < 0) {
		perror("ETHTOOL_SCHANNELS");
		return 1;
	}
	return 0;
}
