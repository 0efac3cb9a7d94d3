/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pcap_player.c is the port from which the frames of a pcap file are received.
 *
 * Its descriptor is a timer: it polls readable from the time at which the next
 * frame is due until a later time is set, and never again after the last frame.
 * When frames are not timed, that time has passed.
 */
#include "pcap_player.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <string.h>
#include <sys/timerfd.h>

#include "bytes.h"
#include "clock.h"
#include "log.h"
#include "portutil.h"

/* Most records that are skipped in a call: a file may have no others. */
#define SKIPS_MAX 256

/**
 * struct player - a file being played
 * @played: frames so far
 * @skipped: records that are not whole, or are no Ethernet frame of
 *          NETPORT_ETH_MIN...NETPORT_ETH_MAX bytes
 * @pcap:   NULL: after the last frame
 * @header, @bytes: the next frame, in memory of libpcap, valid until the next
 *          call
 * @first_ns, @start_ns: time stamp of the first frame of this round, and when
 *          it was played
 * @round_played: frames of this round
 */
struct player {
	struct netport port;
	struct player_config config;
	uint64_t played, skipped;
	struct log_tag tag;
	pcap_t *pcap;
	struct pcap_pkthdr *header;
	const uint8_t *bytes;
	uint64_t first_ns, start_ns, round_played;
};

static struct player *to_player(const struct netport *port)
{
	return container_of(port, struct player, port);
}

/* ---- the file ---- */

static int open_round(struct player *p, char *error, size_t size)
{
	char why[PCAP_ERRBUF_SIZE] = "";
	FILE *f = p->config.open(p->config.ctx);

	if (!f) {
		snprintf(error, size, "%s", strerror(errno));
		return -errno;
	}
	p->pcap = pcap_fopen_offline_with_tstamp_precision(
		f, PCAP_TSTAMP_PRECISION_NANO, why);
	if (!p->pcap) {
		fclose(f);
		snprintf(error, size, "%s", why);
		return -EINVAL;
	}
	if (pcap_datalink(p->pcap) != DLT_EN10MB) {
		snprintf(error, size, "its frames are not Ethernet");
		pcap_close(p->pcap);
		p->pcap = NULL;
		return -EINVAL;
	}
	p->round_played = 0;
	return 0;
}

static void set_timer(const struct player *p, uint64_t ns)
{
	struct itimerspec at = {
		.it_value = ns_timespec(ns),
	};

	/* It cannot fail: the descriptor is good, tv_sec is not negative. */
	timerfd_settime(p->port.fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void end(struct player *p)
{
	pcap_close(p->pcap);
	p->pcap = NULL;
	p->bytes = NULL;
	set_timer(p, 0);
	log_info(&p->tag, "%s: at its end: %llu frames played, %llu left out",
		 p->config.name, (unsigned long long)p->played,
		 (unsigned long long)p->skipped);
}

/* At the end of the file, or after an error: starts again, or ends. */
static void end_round(struct player *p, int ret)
{
	char error[PCAP_ERRBUF_SIZE];

	if (ret == PCAP_ERROR)
		log_warn(&p->tag, "%s: %s", p->config.name,
			 pcap_geterr(p->pcap));
	if (ret == PCAP_ERROR || !p->round_played || p->config.rounds == 1) {
		end(p);
		return;
	}
	if (p->config.rounds)
		p->config.rounds--;
	pcap_close(p->pcap);
	p->pcap = NULL;
	if (open_round(p, error, sizeof(error)) < 0) {
		log_warn(&p->tag, "%s: %s", p->config.name, error);
		set_timer(p, 0);
	}
}

/* Sets @bytes to the next frame. Return: false if there is none in the next
 * SKIPS_MAX records. */
static bool next_frame(struct player *p)
{
	for (unsigned int i = 0; i < SKIPS_MAX && p->pcap; i++) {
		int ret = pcap_next_ex(p->pcap, &p->header, &p->bytes);
		const struct pcap_pkthdr *h = p->header;

		if (ret == 1 && h->caplen == h->len &&
		    h->len >= NETPORT_ETH_MIN && h->len <= NETPORT_ETH_MAX)
			return true;
		p->bytes = NULL;
		if (ret == 1)
			p->skipped++;
		else
			end_round(p, ret);
	}
	return false;
}

/* ---- time ---- */

/* Time stamps of the file can have any value. */
static uint64_t stamp_ns(const struct pcap_pkthdr *h)
{
	return (uint64_t)h->ts.tv_sec * NS_PER_S + (uint64_t)h->ts.tv_usec;
}

/* The time at which the next frame is due; frames older than the first are due
 * at once. */
static uint64_t due_ns(struct player *p)
{
	uint64_t stamp = stamp_ns(p->header);

	if (!p->round_played) {
		p->first_ns = stamp;
		p->start_ns = now_ns();
	}
	if ((int64_t)(stamp - p->first_ns) <= 0)
		return p->start_ns;
	return MIN(p->start_ns + (stamp - p->first_ns), (uint64_t)INT64_MAX);
}

static bool is_due(struct player *p, uint64_t now)
{
	uint64_t due;

	if (!p->config.timed)
		return true;
	due = due_ns(p);
	if (due <= now)
		return true;
	set_timer(p, due);
	return false;
}

/* ---- the port ---- */

static int player_recv(struct netport *port, struct frame *frames,
		       unsigned int n)
{
	struct player *p = to_player(port);
	uint64_t now = p->config.timed ? now_ns() : 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (!p->bytes && !next_frame(p))
			break;
		if (p->round_played && !is_due(p, now))
			break;
		if (!p->round_played)
			due_ns(p);
		frame_store(&frames[i], port->hdr_len, NULL, p->bytes,
			    p->header->len);
		p->bytes = NULL;
		p->round_played++;
		p->played++;
	}
	return i ? (int)i : -EAGAIN;
}

static void player_close(struct netport *port)
{
	struct player *p = to_player(port);

	if (p->pcap)
		pcap_close(p->pcap);
	port_free(port);
}

int pcap_player_new(const struct player_config *config, struct netport **out,
		    char *error, size_t size)
{
	static const struct netport_ops ops = {
		.name = "pcap-in",
		.send = port_send_drops,
		.recv = player_recv,
		.close = player_close,
	};
	struct player *p = port_new(sizeof(*p), &ops, -1);
	int ret;

	if (!p)
		return -ENOMEM;
	p->config = *config;
	log_tag_init(&p->tag, "pcap-in");
	p->port.fd =
		timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	ret = p->port.fd < 0 ? -errno : open_round(p, error, size);
	if (ret < 0) {
		port_free(&p->port);
		return ret;
	}
	set_timer(p, 1);
	*out = &p->port;
	return 0;
}
