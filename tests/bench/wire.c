/* SPDX-License-Identifier: BSD-3-Clause */
#include "wire.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <net/if.h>
#include <pcap/pcap.h>
#include <linux/if_ether.h>

#include "bytes.h"
#include "log.h"
#include "netif.h"
#include "threads.h"
#include "vmm_net.h"

#define BATCH 64
#define BURST 512 /* frames brought in at a time */
#define HDR_LEN 12
#define ROOM 2048
#define FRAME_MAX 1514
#define WAIT_MS 60000
#define RCVBUF (64 << 20)

/**
 * struct wire - one side
 * @send, @recv: handle up to @n frames; how many
 * @fd: to wait on, and the bare packet socket
 * @far: sends at the far end
 */
struct wire {
	unsigned int (*send)(struct wire *w, unsigned int n);
	unsigned int (*recv)(struct wire *w, unsigned int n);
	struct netif *source;
	struct netport *rx, *tx;
	pcap_t *pcap;
	int fd, far;
	unsigned int size;
	uint8_t bytes[BATCH][ROOM];
};

/* ---- calls ---- */

static void set_frames(struct wire *w, struct frame *frames, struct iovec *iov,
		       unsigned int hdr_len, size_t size)
{
	for (unsigned int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ w->bytes[i] + HDR_LEN - hdr_len,
					 hdr_len + size };
		frames[i] = (struct frame){ .iov = &iov[i],
					    .iovcnt = 1,
					    .len = (uint32_t)(hdr_len + size) };
	}
}

static unsigned int port_send(struct wire *w, unsigned int n)
{
	struct frame frames[BATCH];
	struct iovec iov[BATCH];
	int ret;

	set_frames(w, frames, iov, w->tx->hdr_len, w->size);
	ret = w->tx->ops->send(w->tx, frames, n);
	return ret > 0 ? (unsigned int)ret : 0;
}

static unsigned int port_recv(struct wire *w, unsigned int n)
{
	struct frame frames[BATCH];
	struct iovec iov[BATCH];
	int ret;

	set_frames(w, frames, iov, w->rx->hdr_len, ROOM - HDR_LEN);
	ret = w->rx->ops->recv(w->rx, frames, n);
	return ret > 0 ? (unsigned int)ret : 0;
}

static unsigned int bare_inject(struct wire *w, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (pcap_inject(w->pcap, w->bytes[i] + HDR_LEN, w->size) < 0)
			break;
	return i;
}

struct dispatched {
	struct wire *w;
	unsigned int n;
};

static void on_packet(u_char *user, const struct pcap_pkthdr *h,
		      const u_char *data)
{
	struct dispatched *d = (void *)user;

	memcpy(d->w->bytes[d->n++ % BATCH] + HDR_LEN, data, h->caplen);
}

static unsigned int bare_dispatch(struct wire *w, unsigned int n)
{
	struct dispatched d = { .w = w };

	pcap_dispatch(w->pcap, (int)n, on_packet, (void *)&d);
	return d.n;
}

static void set_msgs(struct wire *w, struct mmsghdr *msgs, struct iovec *iov,
		     size_t size)
{
	memset(msgs, 0, BATCH * sizeof(*msgs));
	for (unsigned int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ w->bytes[i] + HDR_LEN, size };
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
}

static unsigned int send_msgs(struct wire *w, int fd, unsigned int n)
{
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	int ret;

	set_msgs(w, msgs, iov, w->size);
	ret = sendmmsg(fd, msgs, n, MSG_DONTWAIT);
	return ret > 0 ? (unsigned int)ret : 0;
}

static unsigned int bare_sendmmsg(struct wire *w, unsigned int n)
{
	return send_msgs(w, w->fd, n);
}

static unsigned int bare_recvmmsg(struct wire *w, unsigned int n)
{
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	int ret;

	set_msgs(w, msgs, iov, ROOM - HDR_LEN);
	ret = recvmmsg(w->fd, msgs, n, MSG_DONTWAIT, NULL);
	return ret > 0 ? (unsigned int)ret : 0;
}

/* ---- opening ---- */

static int open_pcap_port(struct bench *b, struct wire *w, const char *near)
{
	char spec[IFNAMSIZ + 8], error[512] = "";
	int ret;

	snprintf(spec, sizeof(spec), "pcap:%s", near);
	ret = netif_new(spec, 1, &w->source, error, sizeof(error));
	if (ret == 0)
		ret = netif_open(w->source, 0, &w->rx, &w->tx);
	if (ret < 0)
		return bench_why(b, ret, "%s: %s", spec,
				 error[0] ? error : strerror(-ret));
	w->rx->hdr_len = w->tx->hdr_len = HDR_LEN;
	w->fd = w->rx->fd;
	w->send = port_send;
	w->recv = port_recv;
	return 0;
}

/* With the options of the port */
static int open_bare_pcap(struct bench *b, struct wire *w, const char *near)
{
	char error[PCAP_ERRBUF_SIZE] = "";

	w->pcap = pcap_create(near, error);
	if (!w->pcap)
		return bench_why(b, -EIO, "pcap_create: %s", error);
	pcap_set_snaplen(w->pcap, 1522);
	pcap_set_promisc(w->pcap, 1);
	pcap_set_immediate_mode(w->pcap, 1);
	pcap_set_buffer_size(w->pcap, 4 << 20);
	if (pcap_activate(w->pcap) < 0 ||
	    pcap_setdirection(w->pcap, PCAP_D_IN) < 0 ||
	    pcap_setnonblock(w->pcap, 1, error) < 0)
		return bench_why(b, -EIO, "pcap: %s", pcap_geterr(w->pcap));
	w->fd = pcap_get_selectable_fd(w->pcap);
	w->send = bare_inject;
	w->recv = bare_dispatch;
	return 0;
}

static int open_packet(struct bench *b, struct wire *w, const char *near)
{
	int big = RCVBUF, ret = 0;

	w->fd = vmm_packet_open(near, ETH_P_ALL, false);
	if (w->fd < 0)
		return bench_why(b, w->fd, "packet socket: %s",
				 strerror(-w->fd));
	setsockopt(w->fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	w->send = bare_sendmmsg;
	w->recv = bare_recvmmsg;
	if (b->side == BENCH_PEER)
		return 0;
	ret = netport_from_fd(w->fd, &w->rx);
	if (ret < 0)
		return bench_why(b, ret, "packet port: %s", strerror(-ret));
	w->tx = w->rx;
	w->send = port_send;
	w->recv = port_recv;
	return 0;
}

static int open_side(struct bench *b, struct wire *w, const char *near)
{
	const struct wire_kind *k = b->scenario->arg;

	if (!k->pcap)
		return open_packet(b, w, near);
	return b->side == BENCH_OURS ? open_pcap_port(b, w, near)
				     : open_bare_pcap(b, w, near);
}

static void make_frames(struct wire *w)
{
	for (unsigned int i = 0; i < BATCH; i++) {
		memset(w->bytes[i], 0, HDR_LEN);
		vmm_frame(w->bytes[i] + HDR_LEN, w->size, i);
	}
}

int wire_open(struct bench *b)
{
	const struct wire_kind *k = b->scenario->arg;
	char near[IFNAMSIZ], far[IFNAMSIZ];
	struct wire *w = calloc(1, sizeof(*w));
	int ret;

	b->priv = w;
	if (!w)
		return bench_why(b, -ENOMEM, "no memory");
	w->fd = w->far = -1;
	w->size = k->size;
	log_set_level(LOG_LEVEL_ERROR);
	bench_pin(0, BENCH_CPU_BACKEND);
	ret = vmm_net_enter();
	if (ret == 0)
		ret = vmm_veth(near, far);
	if (ret < 0)
		return bench_why(b, ret, "veth in a network namespace: %s",
				 strerror(-ret));
	w->far = vmm_packet_open(far, 0, false);
	if (w->far < 0)
		return bench_why(b, w->far, "packet socket: %s",
				 strerror(-w->far));
	make_frames(w);
	return open_side(b, w, near);
}

void wire_close(struct bench *b)
{
	struct wire *w = b->priv;

	if (!w)
		return;
	if (w->pcap)
		pcap_close(w->pcap);
	else if (!w->rx && w->fd >= 0)
		close(w->fd);
	if (w->tx != w->rx)
		netport_close(w->tx);
	netport_close(w->rx);
	netif_free(w->source);
	if (w->far >= 0)
		close(w->far);
	free(w);
	b->priv = NULL;
}

/* ---- slices ---- */

static int bring_in(struct bench *b, struct wire *w)
{
	unsigned int sent = 0;

	while (sent < BURST) {
		unsigned int n = send_msgs(w, w->far, MIN(BATCH, BURST - sent));

		if (!n)
			return bench_why(b, -EIO, "sending to the far end: %s",
					 strerror(errno));
		sent += n;
	}
	usleep(1000); /* they are with the receiver then */
	return 0;
}

static int receive_burst(struct bench *b, struct wire *w,
			 struct bench_sample *out)
{
	struct pollfd p = { .fd = w->fd, .events = POLLIN };
	unsigned int done = 0;
	int ret = bring_in(b, w);
	uint64_t start, cpu;

	if (ret < 0)
		return ret;
	start = bench_now_ns();
	cpu = threads_own_ns();
	while (done < BURST) {
		unsigned int n = w->recv(w, BATCH);

		done += n;
		if (!n && poll(&p, 1, WAIT_MS) <= 0)
			return bench_why(b, -ETIMEDOUT, "%u of %u frames came",
					 done, BURST);
	}
	out->cpu_ns += threads_own_ns() - cpu;
	out->ns += bench_now_ns() - start;
	out->ops += done;
	return 0;
}

static int send_burst(struct bench *b, struct wire *w, struct bench_sample *out)
{
	struct pollfd p = { .fd = w->fd, .events = POLLOUT };
	uint64_t start = bench_now_ns(), cpu = threads_own_ns();

	for (unsigned int done = 0; done < BURST;) {
		unsigned int n = w->send(w, BATCH);

		done += n;
		out->ops += n;
		if (!n && poll(&p, 1, WAIT_MS) <= 0)
			return bench_why(b, -ETIMEDOUT, "no frame can be sent");
	}
	out->cpu_ns += threads_own_ns() - cpu;
	out->ns += bench_now_ns() - start;
	return 0;
}

int wire_slice(struct bench *b, uint64_t ns, struct bench_sample *out)
{
	const struct wire_kind *k = b->scenario->arg;
	uint64_t start = bench_now_ns();
	int ret = 0;

	while (ret == 0 && bench_now_ns() - start < ns)
		ret = k->receives ? receive_burst(b, b->priv, out)
				  : send_burst(b, b->priv, out);
	out->bytes = out->ops * k->size;
	return ret;
}
