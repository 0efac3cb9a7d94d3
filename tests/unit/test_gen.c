/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_gen.c tests the frame generator, and its counts of the frames that
 * return to it.
 */
#include "check.h"

#include <poll.h>
#include <stdlib.h>

#include "bytes.h"
#include "clock.h"
#include "gen.h"
#include "log.h"
#include "netif.h"

#define HDR 12
#define WAIT_MS 60000

static char error[256], line[256];
static uint8_t room[64][HDR + 4 + GEN_LEN_MAX];

static const struct gen_config plain = {
	.len = 300,
	.flows = 3,
	.src = { 2, 0, 0, 0, 0, 1 },
	.dst = { 2, 0, 0, 0, 0, 2 },
};

static struct gen *g;
static struct netport *rx, *tx;

static void begin(const struct gen_config *c)
{
	check_ret(gen_new(c, 2, &g), 0);
	check_ret(gen_open(g, 1, &rx, &tx), 0);
	rx->hdr_len = tx->hdr_len = HDR;
}

static struct gen_seen end(void)
{
	struct gen_seen seen;

	gen_read(g, &seen);
	netport_close(rx);
	netport_close(tx);
	gen_free(g);
	return seen;
}

/* Up to @n frames into room[]; lens[] are theirs. */
static int take(unsigned int n, uint32_t *lens)
{
	struct iovec iov[64];
	struct frame fr[64];
	int got;

	for (unsigned int i = 0; i < n; i++) {
		iov[i] = (struct iovec){ room[i], sizeof(room[i]) };
		fr[i] = (struct frame){ &iov[i], 1, 0, true };
		memset(room[i], 0xee, 64);
	}
	got = rx->ops->recv(rx, fr, n);
	for (int i = 0; i < got; i++) {
		lens[i] = fr[i].len;
		assert_false(fr[i].trunc);
	}
	return got;
}

static void give(unsigned int i, uint32_t len)
{
	struct iovec iov[2] = { { room[i], 20 }, { room[i] + 20, len - 20 } };
	struct frame fr = { iov, 2, len, false };

	check_ret(tx->ops->send(tx, &fr, 1), 1);
}

static void frames_that_come_back_intact_are_counted_good(void **state)
{
	static const enum gen_payload payloads[] = { GEN_COUNT, GEN_RANDOM,
						     GEN_ZERO };
	static const unsigned int sizes[] = { GEN_LEN_MIN, 61, 1514,
					      GEN_LEN_MAX };
	uint32_t lens[64];

	(void)state;
	for (unsigned int i = 0; i < 24; i++) {
		struct gen_config c = plain;
		struct gen_seen seen;

		c.payload = payloads[i % 3];
		c.len = sizes[i / 3 % 4];
		c.tag = i / 12 ? 7 : 0;
		begin(&c);
		for (unsigned int round = 0; round < 4; round++) {
			check_ret(take(64, lens), 64);
			for (unsigned int n = 0; n < 64; n++) {
				assert_int_equal(lens[n],
						 HDR + c.len + (c.tag ? 4 : 0));
				assert_int_equal(room[n][0] | room[n][11], 0);
				give(n, lens[n]);
			}
		}
		seen = end();
		assert_int_equal(seen.good, 256);
		assert_int_equal(seen.lost | seen.reordered | seen.repeated |
					 seen.corrupt | seen.foreign,
				 0);
	}
}

static void loss_disorder_and_repetition_are_counted_apart(void **state)
{
	struct gen_config c = plain;
	struct gen_seen seen;
	uint32_t lens[64];

	(void)state;
	c.flows = 1;
	begin(&c);
	check_ret(take(64, lens), 64);
	give(0, lens[0]);
	give(3, lens[3]); /* 1 and 2 are missing */
	gen_read(g, &seen);
	assert_int_equal(seen.lost, 2);
	give(2, lens[2]); /* late */
	give(2, lens[2]); /* again */
	give(3, lens[3]);
	seen = end();
	assert_int_equal(seen.good, 3);
	assert_int_equal(seen.lost, 1);
	assert_int_equal(seen.reordered, 1);
	assert_int_equal(seen.repeated, 2);
}

static void every_changed_byte_is_noticed(void **state)
{
	struct gen_seen seen, before;
	uint32_t lens[64];

	(void)state;
	begin(&plain);
	check_ret(take(1, lens), 1);
	/* from the label's magic number on */
	for (unsigned int i = HDR + 14 + 20 + 8; i < lens[0]; i++) {
		gen_read(g, &before);
		room[0][i] ^= 0x40;
		give(0, lens[0]);
		room[0][i] ^= 0x40;
		gen_read(g, &seen);
		assert_int_equal(seen.good, before.good);
	}
	assert_true(seen.corrupt > 200);
	assert_int_equal(seen.foreign, 4);
	give(0, lens[0] - 1);
	give(0, HDR + 13 + 20);
	before = seen;
	seen = end();
	assert_int_equal(seen.corrupt, before.corrupt + 1);
	assert_int_equal(seen.foreign, 5);
}

static void the_headers_are_those_asked_for(void **state)
{
	static const uint8_t want[] = { 0x0a, 1, 2,    3, 4,    5, 0x0c, 1,
					2,    3, 4,    5, 0x81, 0, 0x0f, 0xfe,
					8,    0, 0x45, 0, 0,    86 };
	struct netif *s;
	struct netport *r, *t;
	struct iovec iov = { room[0], sizeof(room[0]) };
	struct frame fr = { &iov, 1, 0, false };
	uint32_t sum = 0;

	(void)state;
	check_ret(netif_new("gen:100,src=0c:01:02:03:04:05,"
			    "dst=0A:01:02:03:04:05,tag=4094,count=2",
			    1, &s, error, sizeof(error)),
		  0);
	check_ret(netif_open(s, 0, &r, &t), 0);
	check_ret(r->ops->recv(r, &fr, 1), 1);
	assert_int_equal(fr.len, 104);
	assert_memory_equal(room[0], want, sizeof(want));
	for (unsigned int i = 18; i < 38; i += 2)
		sum += (uint32_t)room[0][i] << 8 | room[0][i + 1];
	assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
	/* so many and no more; what has no room is cut */
	iov.iov_len = 50;
	check_ret(r->ops->recv(r, &fr, 1), 1);
	assert_int_equal(fr.len, 50);
	assert_true(fr.trunc);
	check_ret(r->ops->recv(r, &fr, 1), -EAGAIN);
	netport_close(r);
	netport_close(t);
	netif_free(s);
}

static void a_rate_is_kept(void **state)
{
	struct gen_config c = plain;
	struct pollfd p = { .events = POLLIN };
	uint64_t begun, ns;
	unsigned int got = 0;
	uint32_t lens[64];

	(void)state;
	c.rate = 5000;
	c.count = 500;
	begin(&c);
	p.fd = rx->fd;
	begun = now_ns();
	while (got < 500) {
		int n = take(64, lens);

		if (n < 0) {
			check_ret(n, -EAGAIN);
			check_ret(poll(&p, 1, WAIT_MS), 1);
			continue;
		}
		got += (unsigned int)n;
	}
	ns = now_ns() - begun;
	/* 499 intervals of 200 µs, but for a burst of a tenth of a second
	 * if we were held up */
	assert_true(ns >= 99800000 / 2);
	check_ret(take(1, lens), -EAGAIN);
	end();
}

static void on_line(void *ctx, enum log_level level, const char *text)
{
	(void)ctx;
	(void)level;
	snprintf(line, sizeof(line), "%s", text);
}

static void the_totals_are_logged_at_the_end(void **state)
{
	uint32_t lens[64];

	(void)state;
	log_set_sink(on_line, NULL);
	begin(&plain);
	check_ret(take(5, lens), 5);
	give(0, lens[0]);
	give(4, lens[4]);
	end();
	log_set_sink(NULL, NULL);
	assert_non_null(strstr(line, "2 frames: 1 lost"));
}

static void a_bad_specification_is_refused_with_the_cure(void **state)
{
	static const struct {
		const char *spec, *says;
	} bad[] = {
		{ "gen:59", "60...65549" },
		{ "gen:65550", "60...65549" },
		{ "gen:", "number" },
		{ "gen,rate=0", "rate" },
		{ "gen,rate=100000001", "rate" },
		{ "gen,count=x", "count" },
		{ "gen,count=99999999999999999999", "count" },
		{ "gen,flows=60001", "flows" },
		{ "gen,tag=4095", "tag" },
		{ "gen,src=1:2:3:4:5:6", "02:00:00:00:00:01" },
		{ "gen,dst=02:00:00:00:00:0g", "dst" },
		{ "gen,payload=x", "random" },
		{ "gen,payload", "random" },
		{ "gen,mtu=3", "rate, count" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		check_ret(netif_check(bad[i].spec, error, sizeof(error)),
			  -EINVAL);
		if (!strstr(error, bad[i].says))
			fail_msg("%s: %s", bad[i].spec, error);
	}
	check_ret(netif_check("gen:65549,flows=60000,payload=zero,count="
			      "18446744073709551615",
			      error, sizeof(error)),
		  0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_that_come_back_intact_are_counted_good),
		cmocka_unit_test(
			loss_disorder_and_repetition_are_counted_apart),
		cmocka_unit_test(every_changed_byte_is_noticed),
		cmocka_unit_test(the_headers_are_those_asked_for),
		cmocka_unit_test(a_rate_is_kept),
		cmocka_unit_test(the_totals_are_logged_at_the_end),
		cmocka_unit_test(a_bad_specification_is_refused_with_the_cure),
	};

	return cmocka_run_group_tests_name("gen", tests, NULL, NULL);
}
