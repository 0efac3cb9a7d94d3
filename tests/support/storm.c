/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * storm IFNAME - sends as many frames as the interface takes, each from a new
 * address, to the broadcast address or to an address that no port has. SIGTERM
 * ends it; then it prints how many frames it sent.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "random.h"
#include "vmm_net.h"

#define BATCH 64
#define LEN 60

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static void make_frame(uint8_t *frame)
{
	vmm_frame(frame, LEN, 0);
	random_fill(frame + 6, 6);
	frame[6] = 2; /* unicast, locally given */
	if (one_in(2)) {
		random_fill(frame, 6);
		frame[0] = 2;
	}
}

int main(int argc, char **argv)
{
	static uint8_t frames[BATCH][LEN];
	struct sigaction sa = { .sa_handler = on_signal };
	struct mmsghdr mm[BATCH] = { 0 };
	struct iovec iov[BATCH];
	unsigned long long sent = 0;
	int s, n;

	random_state = 1;
	sigaction(SIGTERM, &sa, NULL);
	s = argc == 2 ? vmm_packet_open(argv[1], 0, false) : -EINVAL;
	if (s < 0) {
		fprintf(stderr, "storm: %s\n", strerror(-s));
		return 1;
	}
	for (unsigned int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ frames[i], LEN };
		mm[i].msg_hdr.msg_iov = &iov[i];
		mm[i].msg_hdr.msg_iovlen = 1;
	}
	while (!stop) {
		for (unsigned int i = 0; i < BATCH; i++)
			make_frame(frames[i]);
		n = sendmmsg(s, mm, BATCH, 0);
		if (n < 0 && errno != EAGAIN && errno != ENOBUFS &&
		    errno != EINTR) {
			perror("storm");
			return 1;
		}
		sent += n > 0 ? (unsigned long long)n : 0;
	}
	printf("%llu\n", sent);
	return 0;
}
