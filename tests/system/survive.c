/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * survive ping ADDRESS IFNAME US - pings the guest behind a tap
 * survive calls DEVICE - a session that asks for the features all the time
 * survive storm DEVICE - one session after the other, each with a VMM's calls
 *
 * Each says "ready", measures until SIGTERM, and then prints one line. A
 * SIGUSR1 is a mark: the longest pause from it to the next one is a sample, of
 * which the median is printed beside the longest pause of all:
 *
 *   COUNT LONGEST_MS MEDIAN_MS [LOST TWICE]
 *
 * Pings. A pause is the time between two answers. So few are under way that no
 * queue overflows however late an answer is: what has none is lost. On one
 * queue they come in order; at the end others are sent until answers to these
 * have come. TWICE counts answers that came again, and TCP frames of the guest
 * that came out of the tap again, identification and all (a frame that TCP
 * itself sends again has a new one).
 *
 * Calls and storm: COUNT is rounds, a pause is the time between the ends of
 * two. No call may fail.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <linux/icmp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ip.h>

#include "die.h"
#include "vmm.h"

/* A guest's kernel has room for some 300 answers, a socket of ours for more. */
#define WINDOW 128
/* No answer for so long: what is under way may be lost, send some more. */
#define FORGIVE_US 300000
#define ROOM 256
/* Answers to later pings that end the wait for the ones before. */
#define LAST 8
#define PATIENCE_US INT64_C(240000000)
#define MARKS 1024

static struct {
	sigset_t signals;
	bool stop;

	/* pauses, in us */
	int64_t last, longest, window;
	int64_t sample[MARKS];
	unsigned int nsamples;
	bool marked;
} m;

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* ---- pauses ---- */

static void pause_ends(void)
{
	int64_t now = now_us();

	if (m.last && now - m.last > m.longest)
		m.longest = now - m.last;
	if (m.last && now - m.last > m.window)
		m.window = now - m.last;
	m.last = now;
}

static void sample_ends(void)
{
	if (m.marked && m.nsamples < MARKS)
		m.sample[m.nsamples++] = m.window;
	m.window = 0;
}

static int compare(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int64_t median(void)
{
	qsort(m.sample, m.nsamples, sizeof(m.sample[0]), compare);
	return m.nsamples ? m.sample[m.nsamples / 2] : 0;
}

static void print_pauses(uint64_t count)
{
	sample_ends();
	printf("%llu %lld %lld", (unsigned long long)count,
	       (long long)(m.longest + 500) / 1000,
	       (long long)(median() + 500) / 1000);
}

/* ---- signals: taken when we look, so that they end no call ---- */

static void block_signals(void)
{
	sigemptyset(&m.signals);
	sigaddset(&m.signals, SIGTERM);
	sigaddset(&m.signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &m.signals, NULL);
}

static void take_signals(void)
{
	const struct timespec none = { 0, 0 };
	int number;

	while ((number = sigtimedwait(&m.signals, NULL, &none)) > 0) {
		if (number == SIGTERM) {
			m.stop = true;
			continue;
		}
		sample_ends();
		m.marked = true;
	}
}

/* ---- pings ---- */

struct echo {
	struct icmphdr icmp;
	uint32_t number;
	uint8_t rest[44];
};

static struct {
	int icmp, tap;
	struct sockaddr_in guest;
	uint16_t id;
	uint8_t *seen; /* by number */
	uint32_t room;
	uint32_t sent, base; /* below @base none is waited for */
	uint32_t answers, wanted;
	int64_t forgiven;
	uint32_t twice;
	uint64_t frames[8192]; /* by their own low bits */
} p;

static uint16_t checksum(const void *data, size_t len)
{
	const uint8_t *byte = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)byte[i] | (uint32_t)byte[i + 1] << 8;
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~(sum + (sum >> 16));
}

static void ping_send(void)
{
	struct echo echo = { .icmp.type = ICMP_ECHO, .number = p.sent };

	if (p.sent == p.room) {
		p.room += 65536;
		p.seen = realloc(p.seen, p.room);
		if (!p.seen)
			die(-ENOMEM, "pings");
		memset(p.seen + p.sent, 0, 65536);
	}
	echo.icmp.un.echo.id = p.id;
	echo.icmp.un.echo.sequence = htons((uint16_t)p.sent);
	echo.icmp.checksum = checksum(&echo, sizeof(echo));
	if (sendto(p.icmp, &echo, sizeof(echo), 0, (struct sockaddr *)&p.guest,
		   sizeof(p.guest)) == sizeof(echo))
		p.sent++;
}

static void answer_came(uint32_t number)
{
	if (number >= p.sent)
		die(0, "an answer to ping %u of %u", number, p.sent);
	if (p.seen[number]) {
		p.twice++;
		return;
	}
	p.seen[number] = 1;
	if (number >= p.base)
		p.base = number + 1;
	if (number >= p.wanted)
		p.answers++;
	p.forgiven = now_us();
	pause_ends();
}

static void read_answers(void)
{
	struct {
		struct iphdr ip;
		struct echo echo;
	} in;
	ssize_t n;

	while ((n = recv(p.icmp, &in, sizeof(in), MSG_DONTWAIT)) > 0)
		if (n == sizeof(in) && in.ip.ihl == 5 &&
		    in.ip.saddr == p.guest.sin_addr.s_addr &&
		    in.echo.icmp.type == ICMP_ECHOREPLY &&
		    in.echo.icmp.un.echo.id == p.id)
			answer_came(in.echo.number);
}

/* FNV-1a */
static uint64_t hash(const uint8_t *bytes, size_t len)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < len; i++)
		h = (h ^ bytes[i]) * 0x100000001b3;
	return h;
}

/* Those of no connection have no identification. */
static void frame_came(const uint8_t *frame, size_t len)
{
	const struct iphdr *ip = (const void *)frame;
	uint64_t h, *slot;

	if (len < sizeof(*ip) || ip->protocol != IPPROTO_TCP || !ip->id)
		return;
	/* With its headers; some bytes more do no harm. */
	h = hash(frame, len);
	slot = &p.frames[h % (sizeof(p.frames) / sizeof(p.frames[0]))];
	if (*slot == h)
		p.twice++;
	*slot = h;
}

static void read_frames(void)
{
	uint8_t frame[120];
	struct sockaddr_ll from;
	socklen_t len = sizeof(from);
	ssize_t n;

	while ((n = recvfrom(p.tap, frame, sizeof(frame), MSG_DONTWAIT,
			     (struct sockaddr *)&from, &len)) > 0) {
		if (from.sll_pkttype != PACKET_OUTGOING)
			frame_came(frame, (size_t)n);
		len = sizeof(from);
	}
}

static void ping_open(const char *address, const char *ifname)
{
	struct sockaddr_ll tap = { .sll_family = AF_PACKET,
				   .sll_protocol = htons(ETH_P_IP),
				   .sll_ifindex = (int)if_nametoindex(ifname) };
	const int room = 4 << 20;

	p.guest.sin_family = AF_INET;
	p.id = (uint16_t)getpid();
	if (inet_pton(AF_INET, address, &p.guest.sin_addr) != 1)
		die(0, "no address: %s", address);
	p.icmp = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	p.tap = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_IP));
	if (p.icmp < 0 || p.tap < 0 ||
	    bind(p.tap, (struct sockaddr *)&tap, sizeof(tap)) < 0)
		die(-errno, "sockets on %s", ifname);
	/* More than the limit, as root; what does not fit on the tap's is not
	 * looked at. */
	if (setsockopt(p.icmp, SOL_SOCKET, SO_RCVBUFFORCE, &room,
		       sizeof(room)) < 0 ||
	    setsockopt(p.tap, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) <
		    0)
		die(-errno, "SO_RCVBUFFORCE");
}

static bool may_send(int64_t now)
{
	uint32_t waiting = p.sent - p.base;

	if (waiting < WINDOW)
		return true;
	/* All of the last ones may be lost: so many at once, then a few. */
	if (now - p.forgiven < FORGIVE_US)
		return false;
	if (waiting >= ROOM)
		p.forgiven = now;
	return true;
}

static void ping_turn(int64_t interval_us)
{
	static int64_t next;
	const struct timespec wait = { interval_us / 1000000,
				       interval_us % 1000000 * 1000 };
	struct pollfd fds[] = { { p.icmp, POLLIN, 0 }, { p.tap, POLLIN, 0 } };
	int64_t now;

	ppoll(fds, 2, &wait, NULL);
	read_answers();
	read_frames();
	now = now_us();
	if (now < next || !may_send(now))
		return;
	/* Behind by more than one: no burst follows. */
	next = next + interval_us < now ? now + interval_us
					: next + interval_us;
	ping_send();
}

/* One each @interval_us. */
static void ping(int64_t interval_us)
{
	uint32_t sent, lost = 0;
	int64_t end;

	p.wanted = UINT32_MAX;
	while (!m.stop) {
		ping_turn(interval_us);
		take_signals();
	}
	sent = p.wanted = p.sent;
	end = now_us() + PATIENCE_US;
	while (p.answers < LAST) {
		if (now_us() > end)
			die(-ETIMEDOUT, "the guest does not answer any more");
		ping_turn(interval_us);
	}
	for (uint32_t i = 0; i < sent; i++)
		lost += !p.seen[i];
	print_pauses(sent);
	printf(" %u %u\n", lost, p.twice);
}

/* ---- calls ---- */

static struct vmm *session(const char *device)
{
	const struct vmm_config config = { .path = device };
	struct vmm *v;

	must(vmm_new(&config, &v), device);
	return v;
}

static void calls(const char *device)
{
	struct vmm *v = session(device);
	uint64_t features, n = 0;

	must(vmm_init(v), "SET_OWNER");
	for (; !m.stop; n++) {
		must(vmm_get_features(v->fd, &features), "GET_FEATURES");
		pause_ends();
		take_signals();
		usleep(1000);
	}
	vmm_free(v);
	print_pauses(n);
	putchar('\n');
}

static void storm(const char *device)
{
	uint64_t n = 0;

	for (; !m.stop; n++) {
		struct vmm *v = session(device);

		must(vmm_init(v), "SET_OWNER");
		must(vmm_prepare(v), "a call of the start");
		vmm_free(v);
		pause_ends();
		take_signals();
	}
	print_pauses(n);
	putchar('\n');
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	block_signals();
	puts("ready");
	fflush(stdout);
	if (strcmp(what, "ping") == 0 && argc == 5) {
		ping_open(argv[2], argv[3]);
		ping(atoi(argv[4]));
	} else if (strcmp(what, "calls") == 0) {
		calls(argv[2]);
	} else if (strcmp(what, "storm") == 0) {
		storm(argv[2]);
	} else {
		fprintf(stderr, "usage: survive ping ADDRESS IFNAME US |\n"
				"       survive calls|storm DEVICE\n");
		return 2;
	}
	return 0;
}
