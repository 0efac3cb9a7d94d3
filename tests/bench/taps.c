/* SPDX-License-Identifier: BSD-3-Clause */
#include "taps.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <net/if.h>
#include <linux/sockios.h>

#include "ringfeed.h"
#include "vmm_net.h"

#define BATCH 64
#define FRAME_MAX 2048

static int set_queue(int sock, const char *ifname)
{
	struct ifreq ifr = { .ifr_qlen = TAPS_QUEUE + 100 };

	memcpy(ifr.ifr_name, ifname, IFNAMSIZ);
	return ioctl(sock, SIOCSIFTXQLEN, &ifr) < 0 ? -errno : 0;
}

int taps_open(struct bench *b, struct taps *t, bool receives)
{
	struct vmm_tap_config config = { .hdr_len = RINGFEED_HDR };
	char ifname[IFNAMSIZ];
	int ret;

	t->fd = t->packet = -1;
	ret = vmm_net_enter();
	if (ret < 0)
		return bench_why(b, ret, "network namespace: %s",
				 strerror(-ret));
	t->fd = vmm_tap_open(&config, ifname);
	if (t->fd < 0)
		return bench_why(b, t->fd, "tap: %s", strerror(-t->fd));
	t->packet =
		vmm_packet_open(ifname, receives ? VMM_ETHERTYPE : 0, false);
	if (t->packet < 0)
		return bench_why(b, t->packet, "packet socket: %s",
				 strerror(-t->packet));
	ret = set_queue(t->packet, ifname);
	return ret < 0 ? bench_why(b, ret, "queue of the tap: %s",
				   strerror(-ret))
		       : 0;
}

void taps_close(struct taps *t)
{
	if (t->fd >= 0)
		close(t->fd);
	if (t->packet >= 0)
		close(t->packet);
	t->fd = t->packet = -1;
}

unsigned int taps_fill(struct taps *t, unsigned int size, unsigned int n)
{
	static uint8_t frame[FRAME_MAX];
	struct iovec iov = { frame, size };
	struct mmsghdr m[BATCH] = { 0 };
	unsigned int done = 0;

	vmm_frame(frame, size, 0);
	for (unsigned int i = 0; i < BATCH; i++) {
		m[i].msg_hdr.msg_iov = &iov;
		m[i].msg_hdr.msg_iovlen = 1;
	}
	while (done < n) {
		int k = sendmmsg(t->packet, m,
				 n - done < BATCH ? n - done : BATCH, 0);

		if (k <= 0)
			break;
		done += (unsigned int)k;
	}
	return done;
}
