/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pcap port and the packet port beside the bare calls that they stand for,
 * on a veth in a network namespace of its own, by turns. Numbers only.
 *
 *   pcapbench [ROUNDS]
 *
 * Sending: time of the calls, the far end has no receiver. Receiving: frames
 * are brought into the socket's buffer first, then the calls are timed that
 * take them out; the bare ones copy nothing that the ports do not copy,
 * pcap_dispatch has a callback that copies a frame into a buffer. Medians of
 * ROUNDS.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "bytes.h"
#include "clock.h"
#include "log.h"
#include "netsource.h"

#define NEAR "pb0"
#define FAR "pb1"
#define BATCH 64
#define BURST 512 /* frames brought in at a time */
#define BURSTS 8  /* of a measurement */
#define ROUNDS_MAX 1000
#define HDR_LEN 12
#define WAIT_MS 1000

static uint8_t bytes[BATCH][2048];
static size_t len;

static void die(const char *what)
{
	fprintf(stderr, "pcapbench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int packet_socket(const char *ifname, int protocol)
{
	struct sockaddr_ll sll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons((uint16_t)protocol),
		.sll_ifindex = (int)if_nametoindex(ifname),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	int big = 64 << 20;

	if (fd < 0 || bind(fd, (struct sockaddr *)&sll, sizeof(sll)) < 0)
		die(ifname);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	return fd;
}

static void make_frames(void)
{
	for (size_t i = 0; i < BATCH; i++) {
		memset(bytes[i], 0, sizeof(bytes[i]));
		memcpy(bytes[i] + HDR_LEN,
		       "\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x88\xb5", 14);
	}
}

/* ---- what is compared ---- */

/** struct subject - @send and @recv handle up to @n frames; how many */
struct subject {
	const char *name;
	unsigned int (*send)(struct subject *s, unsigned int n);
	unsigned int (*recv)(struct subject *s, unsigned int n);
	struct netsource *source;
	struct netport *rx, *tx;
	pcap_t *pcap;
	int fd; /* to wait on */
};

static void set_frames(struct frame *frames, struct iovec *iov, size_t hdr_len,
		       size_t size)
{
	for (unsigned int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ bytes[i] + HDR_LEN - hdr_len,
					 hdr_len + size };
		frames[i] = (struct frame){ .iov = &iov[i],
					    .iovcnt = 1,
					    .len = (uint32_t)(hdr_len + size) };
	}
}

static unsigned int port_send(struct subject *s, unsigned int n)
{
	struct frame frames[BATCH];
	struct iovec iov[BATCH];
	int ret;

	set_frames(frames, iov, s->tx->hdr_len, len);
	ret = s->tx->ops->send(s->tx, frames, n);
	return ret > 0 ? (unsigned int)ret : 0;
}

static unsigned int port_recv(struct subject *s, unsigned int n)
{
	struct frame frames[BATCH];
	struct iovec iov[BATCH];
	int ret;

	set_frames(frames, iov, s->rx->hdr_len, 2000);
	ret = s->rx->ops->recv(s->rx, frames, n);
	return ret > 0 ? (unsigned int)ret : 0;
}

static unsigned int bare_inject(struct subject *s, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (pcap_inject(s->pcap, bytes[i] + HDR_LEN, len) < 0)
			break;
	return i;
}

static void on_packet(u_char *user, const struct pcap_pkthdr *h,
		      const u_char *data)
{
	unsigned int *n = (void *)user;

	memcpy(bytes[(*n)++ % BATCH] + HDR_LEN, data, h->caplen);
}

static unsigned int bare_dispatch(struct subject *s, unsigned int n)
{
	unsigned int got = 0;

	pcap_dispatch(s->pcap, (int)n, on_packet, (void *)&got);
	return got;
}

static void set_msgs(struct mmsghdr *msgs, struct iovec *iov, size_t size)
{
	memset(msgs, 0, BATCH * sizeof(*msgs));
	for (unsigned int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ bytes[i] + HDR_LEN, size };
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
}

static unsigned int bare_sendmmsg(struct subject *s, unsigned int n)
{
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	int ret;

	set_msgs(msgs, iov, len);
	ret = sendmmsg(s->fd, msgs, n, MSG_DONTWAIT);
	return ret > 0 ? (unsigned int)ret : 0;
}

static unsigned int bare_recvmmsg(struct subject *s, unsigned int n)
{
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	int ret;

	set_msgs(msgs, iov, 2000);
	ret = recvmmsg(s->fd, msgs, n, MSG_DONTWAIT, NULL);
	return ret > 0 ? (unsigned int)ret : 0;
}

/* ---- opening them ---- */

static void open_pcap_port(struct subject *s)
{
	char error[512];

	if (netsource_new("pcap:" NEAR, 1, &s->source, error, sizeof(error)) <
		    0 ||
	    netsource_open(s->source, 0, &s->rx, &s->tx) < 0) {
		fprintf(stderr, "pcapbench: %s\n", error);
		exit(1);
	}
	s->rx->hdr_len = s->tx->hdr_len = HDR_LEN;
	s->fd = s->rx->fd;
}

/* With the options of the port */
static void open_bare_pcap(struct subject *s)
{
	char error[PCAP_ERRBUF_SIZE] = "";

	s->pcap = pcap_create(NEAR, error);
	if (!s->pcap)
		die("pcap_create");
	pcap_set_snaplen(s->pcap, 1522);
	pcap_set_promisc(s->pcap, 1);
	pcap_set_immediate_mode(s->pcap, 1);
	pcap_set_buffer_size(s->pcap, 4 << 20);
	if (pcap_activate(s->pcap) < 0 ||
	    pcap_setdirection(s->pcap, PCAP_D_IN) < 0 ||
	    pcap_setnonblock(s->pcap, 1, error) < 0)
		die(pcap_geterr(s->pcap));
	s->fd = pcap_get_selectable_fd(s->pcap);
}

static void open_packet_port(struct subject *s)
{
	s->fd = packet_socket(NEAR, ETH_P_ALL);
	if (netport_from_fd(s->fd, &s->rx) < 0)
		die("packet port");
	s->tx = s->rx;
}

static void open_bare_packet(struct subject *s)
{
	s->fd = packet_socket(NEAR, ETH_P_ALL);
}

static void close_subject(struct subject *s)
{
	if (s->pcap)
		pcap_close(s->pcap);
	else if (!s->rx)
		close(s->fd);
	if (s->tx != s->rx)
		netport_close(s->tx);
	netport_close(s->rx);
	netsource_free(s->source);
	s->source = NULL;
	s->rx = s->tx = NULL;
	s->pcap = NULL;
}

/* ---- measuring: ns a frame ---- */

static double time_send(struct subject *s)
{
	unsigned int done = 0;
	uint64_t before = now_ns();

	while (done < BURST * BURSTS)
		done += s->send(s, BATCH);
	return (double)(now_ns() - before) / done;
}

static void bring_in(int far)
{
	struct subject sender = { .fd = far };
	unsigned int sent = 0;

	while (sent < BURST)
		sent += bare_sendmmsg(&sender, MIN(BATCH, BURST - sent));
	usleep(1000); /* they are with the receiver then */
}

static double time_recv(struct subject *s, int far)
{
	unsigned int done = 0, burst;
	uint64_t spent = 0;

	for (unsigned int i = 0; i < BURSTS; i++) {
		struct pollfd p = { .fd = s->fd, .events = POLLIN };
		uint64_t before;

		bring_in(far);
		before = now_ns();
		for (burst = 0; burst < BURST;) {
			unsigned int n = s->recv(s, BATCH);

			burst += n;
			if (!n && poll(&p, 1, WAIT_MS) <= 0)
				break;
		}
		spent += now_ns() - before;
		if (burst < BURST)
			fprintf(stderr, "%s: %u of %u frames\n", s->name, burst,
				BURST);
		done += burst;
	}
	return (double)spent / done;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

typedef void opener(struct subject *s);

static void measure(struct subject *a, opener *open_a, struct subject *b,
		    opener *open_b, unsigned int rounds, bool sending)
{
	static double ns[2][ROUNDS_MAX];
	int far = packet_socket(FAR, 0); /* receives nothing */

	for (unsigned int i = 0; i < rounds; i++) {
		struct subject *turn[2] = { a, b };
		opener *open[2] = { open_a, open_b };

		/* One at a time is open: each pays for its own frames. */
		for (unsigned int j = 0; j < 2; j++) {
			unsigned int k = (i + j) % 2;

			open[k](turn[k]);
			ns[k][i] = sending ? time_send(turn[k])
					   : time_recv(turn[k], far);
			close_subject(turn[k]);
		}
	}
	close(far);
	for (unsigned int k = 0; k < 2; k++)
		qsort(ns[k], rounds, sizeof(double), compare);
	printf("%-5s %4zu bytes  %-12s %8.0f frames/s  %-14s %8.0f  ratio "
	       "%.2f\n",
	       sending ? "send" : "recv", len, a->name, 1e9 / ns[0][rounds / 2],
	       b->name, 1e9 / ns[1][rounds / 2],
	       ns[1][rounds / 2] / ns[0][rounds / 2]);
}

static void make_wire(void)
{
	if (unshare(CLONE_NEWNET) < 0)
		die("network namespace");
	/* NOLINTNEXTLINE(bugprone-command-processor) */
	if (system("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6;"
		   "ip link add " NEAR " type veth peer name " FAR
		   " && ip link set " NEAR " up && ip link set " FAR " up"))
		exit(1);
}

int main(int argc, char **argv)
{
	static const size_t lens[] = { 60, 1514 };
	unsigned int rounds = argc > 1 ? (unsigned int)atoi(argv[1]) : 15;

	rounds = MIN(MAX(rounds, 1), ROUNDS_MAX);
	log_set_level(LOG_LEVEL_ERROR);
	make_wire();
	make_frames();
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		struct subject pcap_port = { .name = "pcap port",
					     .send = port_send,
					     .recv = port_recv };
		struct subject packet_port = { .name = "packet port",
					       .send = port_send,
					       .recv = port_recv };
		struct subject pcap_send = { .name = "pcap_inject",
					     .send = bare_inject };
		struct subject pcap_recv = { .name = "pcap_dispatch",
					     .recv = bare_dispatch };
		struct subject bare_send = { .name = "sendmmsg",
					     .send = bare_sendmmsg };
		struct subject bare_recv = { .name = "recvmmsg",
					     .recv = bare_recvmmsg };

		len = lens[i];
		measure(&pcap_port, open_pcap_port, &pcap_send, open_bare_pcap,
			rounds, true);
		measure(&pcap_port, open_pcap_port, &pcap_recv, open_bare_pcap,
			rounds, false);
		measure(&packet_port, open_packet_port, &bare_send,
			open_bare_packet, rounds, true);
		measure(&packet_port, open_packet_port, &bare_recv,
			open_bare_packet, rounds, false);
	}
	return 0;
}
