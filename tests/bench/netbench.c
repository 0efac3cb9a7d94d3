/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a network costs, without a guest. Prints numbers and judges nothing.
 *
 *   netbench [SECONDS]         table, and member to member
 *   netbench storm [SECONDS]   a pair with and without a third that floods
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "mactable.h"
#include "network.h"

#define HDR 12
#define BATCH 64
#define ROOM 2048

static const uint64_t seed[2] = { 1, 2 };

static void die(const char *what, int err)
{
	fprintf(stderr, "netbench: %s: %s\n", what, strerror(-err));
	exit(1);
}

static void must(int ret, const char *what)
{
	if (ret < 0)
		die(what, ret);
}

/* ---- stations ---- */

struct station {
	struct netmember *m;
	struct netport *rx, *tx;
	struct iovec iov[BATCH];
	struct frame frame[BATCH];
	uint8_t room[BATCH][ROOM];
};

static struct network *make_network(unsigned int macs)
{
	struct network_config c = { "bench", macs, 300, 1500 };
	struct network *n;

	must(network_new(&c, &n), "network");
	return n;
}

static struct station *join(struct network *n)
{
	struct netmember_config c = { .vlan = 1 };
	struct station *s = calloc(1, sizeof(*s));

	if (!s)
		die("station", -ENOMEM);
	must(netmember_new(n, &c, 1, &s->m), "member");
	must(netmember_open(s->m, 0, &s->rx, &s->tx), "ports");
	netmember_enable(s->m, 0, true);
	for (unsigned int i = 0; i < BATCH; i++) {
		s->iov[i] = (struct iovec){ s->room[i], ROOM };
		s->frame[i] = (struct frame){ .iov = &s->iov[i], .iovcnt = 1 };
	}
	return s;
}

static void leave(struct station *s)
{
	netport_close(s->rx);
	netport_close(s->tx);
	netmember_free(s->m);
	free(s);
}

static void make_frame(struct station *s, unsigned int i, uint32_t dst,
		       uint32_t src, size_t len)
{
	uint8_t *eth = s->room[i] + HDR;

	memset(s->room[i], 0, HDR + len);
	eth[0] = eth[6] = 2;
	memcpy(eth + 2, &dst, sizeof(dst));
	memcpy(eth + 8, &src, sizeof(src));
	eth[12] = 0x88;
	eth[13] = 0xb5;
	s->iov[i].iov_len = HDR + len;
	s->frame[i].len = (uint32_t)(HDR + len);
}

static unsigned int drain(struct station *s)
{
	unsigned int n = 0;
	int ret;

	while ((ret = s->rx->ops->recv(s->rx, s->frame, BATCH)) > 0)
		n += (unsigned int)ret;
	return n;
}

/* Frames of more than 1000 bytes among all there are */
static unsigned int count_long(struct station *s)
{
	unsigned int n = 0;
	int ret;

	while ((ret = s->rx->ops->recv(s->rx, s->frame, BATCH)) > 0)
		for (int i = 0; i < ret; i++)
			n += s->frame[i].len > 1000;
	return n;
}

/* ---- the table ---- */

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

static struct macaddr random_addr(const struct mactable *t, uint32_t *x,
				  unsigned int macs)
{
	uint32_t i = next_random(x) % macs;
	uint8_t mac[6] = { 2 };

	memcpy(mac + 2, &i, sizeof(i));
	return mactable_addr(t, mac, 1);
}

/* One after the other; or a batch, whose buckets are fetched first, which is
 * how frames are looked up. Those found. */
static unsigned int look_up(const struct mactable *t, uint32_t *x,
			    unsigned int macs, bool ahead)
{
	struct macaddr a[BATCH];
	unsigned int found = 0;

	for (unsigned int k = 0; k < BATCH; k++) {
		a[k] = random_addr(t, x, macs);
		if (ahead)
			mactable_prefetch(t, a[k]);
		else
			found += mactable_find(t, a[k], 0) >= 0;
	}
	for (unsigned int k = 0; ahead && k < BATCH; k++)
		found += mactable_find(t, a[k], 0) >= 0;
	return found;
}

static void bench_lookup(unsigned int macs, bool ahead, double seconds)
{
	struct mactable *t;
	uint64_t n = 0, start, now, found = 0;
	uint32_t x = 1;

	must(mactable_new(MAX(2 * macs, 16), 300, seed, &t), "table");
	for (uint32_t i = 0; i < macs; i++) {
		uint8_t mac[6] = { 2 };

		memcpy(mac + 2, &i, sizeof(i));
		mactable_learn(t, mactable_addr(t, mac, 1), i % 8, 0);
	}
	start = now = now_ns();
	while (now - start < (uint64_t)(seconds * 1e9)) {
		for (unsigned int k = 0; k < 16; k++)
			found += look_up(t, &x, macs, ahead);
		n += 16 * BATCH;
		now = now_ns();
	}
	printf("lookup addresses %6u %s: %6.1f ns (found %.0f %%)\n", macs,
	       ahead ? "in batches" : "one by one",
	       (double)(now - start) / (double)n,
	       100.0 * (double)found / (double)n);
	mactable_free(t);
}

/* All on one thread: hash, learn, look up, two copies. */
static void bench_forward(unsigned int macs, double seconds)
{
	struct network *net = make_network(MAX(2 * macs, 16));
	struct station *a = join(net), *b = join(net), *c = join(net);
	uint64_t n = 0, start, now;
	uint32_t x = 1;

	for (uint32_t i = 0; i < macs; i++) {
		struct station *s = i % 2 ? b : c;

		make_frame(s, 0, 0xffffffff, i, 60);
		s->tx->ops->send(s->tx, s->frame, 1);
		drain(a);
		drain(b);
		drain(c);
	}
	for (unsigned int i = 0; i < BATCH; i++)
		make_frame(a, i, 0, macs, 60);
	start = now = now_ns();
	while (now - start < (uint64_t)(seconds * 1e9)) {
		for (unsigned int i = 0; i < BATCH; i++) {
			uint32_t dst = next_random(&x) % macs;

			memcpy(a->room[i] + HDR + 2, &dst, sizeof(dst));
		}
		a->tx->ops->send(a->tx, a->frame, BATCH);
		n += BATCH;
		drain(b);
		drain(c);
		now = now_ns();
	}
	printf("forward addresses %6u: %6.1f ns a frame of 60 bytes\n", macs,
	       (double)(now - start) / (double)n);
	leave(a);
	leave(b);
	leave(c);
	network_free(net);
}

/* ---- member to member ---- */

/* A thread that sends until told to end, another that receives. */
struct flow {
	struct station *from, *to;
	uint32_t src, dst;
	size_t len;
	const bool *end;
	uint64_t received;
	pthread_t sender, receiver;
};

static void wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	poll(&p, 1, 10); /* to look at the end now and then */
}

static bool ended(const struct flow *f)
{
	return __atomic_load_n(f->end, __ATOMIC_RELAXED);
}

static void *run_sender(void *arg)
{
	struct flow *f = arg;
	struct station *s = f->from;
	static _Thread_local struct station own;

	for (unsigned int i = 0; i < BATCH; i++) {
		own.iov[i].iov_base = own.room[i];
		own.frame[i].iov = &own.iov[i];
		own.frame[i].iovcnt = 1;
		make_frame(&own, i, f->dst, f->src, f->len);
	}
	while (!ended(f))
		if (s->tx->ops->send(s->tx, own.frame, BATCH) == -EAGAIN)
			wait_for(s->tx->fd, POLLOUT);
	return NULL;
}

static void *run_receiver(void *arg)
{
	struct flow *f = arg;
	struct station *s = f->to;

	while (!ended(f)) {
		int n = s->rx->ops->recv(s->rx, s->frame, BATCH);

		if (n > 0)
			f->received += (unsigned int)n;
		else
			wait_for(s->rx->fd, POLLIN);
	}
	return NULL;
}

static void start_flow(struct flow *f)
{
	pthread_create(&f->receiver, NULL, run_receiver, f);
	pthread_create(&f->sender, NULL, run_sender, f);
}

static void join_flow(struct flow *f)
{
	pthread_join(f->sender, NULL);
	pthread_join(f->receiver, NULL);
}

static void introduce(struct station *s, uint32_t src)
{
	make_frame(s, 0, 0xffffffff, src, 60);
	s->tx->ops->send(s->tx, s->frame, 1);
	s->iov[0].iov_len = ROOM;
}

/* Frames a second, of each direction */
static void run_pair(struct station *a, struct station *b, size_t len,
		     unsigned int directions, double seconds, double *rate)
{
	bool end = false;
	struct flow f[2] = {
		{ .from = a, .to = b, .src = 1, .dst = 2, .len = len },
		{ .from = b, .to = a, .src = 2, .dst = 1, .len = len },
	};
	uint64_t start = now_ns();

	for (unsigned int i = 0; i < directions; i++) {
		f[i].end = &end;
		start_flow(&f[i]);
	}
	usleep((useconds_t)(seconds * 1e6));
	__atomic_store_n(&end, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < directions; i++) {
		join_flow(&f[i]);
		rate[i] = (double)f[i].received * 1e9 /
			  (double)(now_ns() - start);
	}
}

static void bench_pair(size_t len, unsigned int directions, double seconds)
{
	struct network *net = make_network(1000);
	struct station *a = join(net), *b = join(net);
	double rate[2] = { 0 };

	introduce(a, 1);
	introduce(b, 2);
	run_pair(a, b, len, directions, seconds, rate);
	printf("threads %u direction(s) %4zu bytes: %6.2f Mpps %6.1f ns a "
	       "frame %6.2f Gbit/s\n",
	       directions, len, (rate[0] + rate[1]) / 1e6,
	       1e9 / (rate[0] + rate[1]),
	       (rate[0] + rate[1]) * 8 * (double)len / 1e9);
	leave(a);
	leave(b);
	network_free(net);
}

/* Sent and received in turn: what is left without the cache's way between
 * processors. */
static void bench_alone(size_t len, bool own, double seconds)
{
	struct network *net = make_network(1000);
	struct station *a = join(net), *b = join(net);
	uint64_t n = 0, start, now;

	introduce(b, 2);
	drain(a);
	a->tx->tx_own = own;
	for (unsigned int i = 0; i < BATCH; i++)
		make_frame(a, i, 2, 1, len);
	start = now = now_ns();
	while (now - start < (uint64_t)(seconds * 1e9)) {
		a->tx->ops->send(a->tx, a->frame, BATCH);
		n += drain(b);
		now = now_ns();
	}
	printf("one thread %s %4zu bytes: %6.2f Mpps %6.1f ns a frame\n",
	       own ? "(tx_own)" : "        ", len,
	       (double)n * 1e3 / (double)(now - start),
	       (double)(now - start) / (double)n);
	leave(a);
	leave(b);
	network_free(net);
}

/* ---- a storm ---- */

static long rss_kib(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long size = 0, pages = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%ld %ld", &size, &pages) != 2)
		pages = 0;
	fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

struct storm {
	struct station *s;
	bool end;
	uint64_t sent;
	pthread_t thread;
};

static void *run_storm(void *arg)
{
	struct storm *st = arg;
	struct station *s = st->s;
	uint32_t x = 7;

	while (!__atomic_load_n(&st->end, __ATOMIC_RELAXED)) {
		for (unsigned int i = 0; i < BATCH; i++)
			make_frame(s, i, i % 2 ? 0xffffffff : next_random(&x),
				   next_random(&x), 60);
		s->tx->ops->send(s->tx, s->frame, BATCH);
		st->sent += BATCH;
	}
	return NULL;
}

/* A window of frames goes there and back, on one thread: frames a second. What
 * else is in the inboxes is passed over. */
static double exchange(struct station *a, struct station *b, double seconds)
{
	uint64_t start = now_ns(), now = start, n = 0;
	struct station *from = a, *to = b;
	static struct station own[2];

	for (unsigned int k = 0; k < 2; k++) {
		for (unsigned int i = 0; i < BATCH; i++) {
			own[k].iov[i].iov_base = own[k].room[i];
			own[k].frame[i].iov = &own[k].iov[i];
			own[k].frame[i].iovcnt = 1;
			make_frame(&own[k], i, k ? 1 : 2, k ? 2 : 1, 1500);
		}
	}
	while (now - start < (uint64_t)(seconds * 1e9)) {
		from->tx->ops->send(from->tx, own[from == b].frame, BATCH);
		n += count_long(to);
		from = to;
		to = to == a ? b : a;
		now = now_ns();
	}
	return (double)n * 1e9 / (double)(now - start);
}

static void bench_storm(double seconds)
{
	struct network *net = make_network(1000);
	struct station *a = join(net), *b = join(net);
	struct storm st = { .s = join(net) };
	double without = 0, with = 0;
	long before;

	introduce(a, 1);
	introduce(b, 2);
	exchange(a, b, seconds / 8); /* to warm up */
	before = rss_kib();
	for (unsigned int i = 0; i < 4; i++) {
		without += exchange(a, b, seconds / 8) / 4;
		st.end = false;
		pthread_create(&st.thread, NULL, run_storm, &st);
		with += exchange(a, b, seconds / 8) / 4;
		__atomic_store_n(&st.end, true, __ATOMIC_RELAXED);
		pthread_join(st.thread, NULL);
	}
	printf("storm: pair without %.3f Mpps, with %.3f Mpps, flooded %" PRIu64
	       " frames, RSS %ld -> %ld KiB\n",
	       without / 1e6, with / 1e6, st.sent, before, rss_kib());
	network_print(net, stdout);
	leave(a);
	leave(b);
	leave(st.s);
	network_free(net);
}

static double seconds_of(const char *text)
{
	double s = text ? strtod(text, NULL) : 0.3;

	return s > 0 && s < 3600 ? s : 0.3;
}

int main(int argc, char **argv)
{
	static const unsigned int macs[] = { 10, 1000, 100000 };
	static const size_t lens[] = { 64, 1500 };
	double s;

	if (argc > 1 && strcmp(argv[1], "storm") == 0) {
		bench_storm(seconds_of(argc > 2 ? argv[2] : "4"));
		return 0;
	}
	s = seconds_of(argc > 1 ? argv[1] : NULL);
	for (size_t i = 0; i < ARRAY_SIZE(macs); i++)
		for (int ahead = 0; ahead < 2; ahead++)
			bench_lookup(macs[i], ahead, s);
	for (size_t i = 0; i < ARRAY_SIZE(macs); i++)
		bench_forward(macs[i], s);
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		for (int own = 0; own < 2; own++)
			bench_alone(lens[i], own, s);
		for (unsigned int d = 1; d <= 2; d++)
			bench_pair(lens[i], d, s);
	}
	return 0;
}
