/* SPDX-License-Identifier: BSD-3-Clause */
#include "netfix.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

struct network *fix_network(void)
{
	const struct network_config config = {
		.name = "net",
		.macs = 1000,
		.age_s = 300,
		.mtu = 1500,
	};
	struct network *n;

	check_ret(network_new(&config, &n), 0);
	return n;
}

struct swport_config fix_config(void)
{
	return (struct swport_config){ .vlan = 1 };
}

void fix_join(struct network *n, struct station *s,
	      const struct swport_config *config)
{
	const struct swport_config plain = fix_config();

	check_ret(swport_new(n, config ? config : &plain, 1, &s->m), 0);
	check_ret(swport_open(s->m, 0, &s->rx, &s->tx), 0);
	swport_enable(s->m, 0, true);
}

void fix_leave(struct station *s)
{
	netport_close(s->rx);
	netport_close(s->tx);
	swport_free(s->m);
	s->rx = s->tx = NULL;
	s->m = NULL;
}

size_t fix_frame(uint8_t *to, uint8_t dst, uint8_t src, size_t len)
{
	uint8_t *eth = to + FIX_HDR;

	memset(to, 0, FIX_HDR + len);
	memset(eth, dst == 0xff ? 0xff : 0, 6);
	if (dst != 0xff)
		eth[0] = 2;
	eth[5] = dst;
	eth[6] = 2;
	eth[11] = src;
	eth[12] = 0x88;
	eth[13] = 0xb5;
	return FIX_HDR + len;
}

bool fix_own;

int fix_send(struct station *s, const void *frame, size_t len)
{
	struct iovec iov = { (void *)frame, len };
	struct frame f = { &iov, 1, (uint32_t)len, false };
	int ret;

	if (!fix_own)
		return s->tx->ops->send(s->tx, &f, 1);
	iov.iov_base = malloc(len);
	assert_non_null(iov.iov_base);
	memcpy(iov.iov_base, frame, len);
	s->tx->tx_own = true;
	ret = s->tx->ops->send(s->tx, &f, 1);
	s->tx->tx_own = false;
	free(iov.iov_base);
	return ret;
}

void fix_say(struct station *s, uint8_t dst, uint8_t src)
{
	uint8_t frame[FIX_HDR + 60];

	check_ret(fix_send(s, frame, fix_frame(frame, dst, src, 60)), 1);
}

bool fix_recv(struct station *s)
{
	struct iovec iov = { s->got, sizeof(s->got) };
	struct frame f = { .iov = &iov, .iovcnt = 1 };
	int ret = s->rx->ops->recv(s->rx, &f, 1);

	if (ret == -EAGAIN)
		return false;
	check_ret(ret, 1);
	assert_false(f.trunc);
	s->len = f.len;
	return true;
}

bool fix_hears(struct station *s, uint8_t src)
{
	return fix_recv(s) && s->got[FIX_HDR + 11] == src && fix_drain(s) == 0;
}

unsigned int fix_drain(struct station *s)
{
	unsigned int n = 0;

	while (fix_recv(s))
		n++;
	return n;
}

struct swport_counters fix_count(const struct station *s)
{
	struct swport_counters c;

	swport_read_counters(s->m, &c);
	return c;
}

bool fix_polls(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) == 1 && (p.revents & events);
}
