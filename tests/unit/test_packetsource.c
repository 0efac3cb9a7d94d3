/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_packetsource.c tests packet:IFNAME on one end of a veth pair, in a
 * namespace of the test; a packet socket on the other end sends and receives.
 */
#include "check.h"

#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "netif.h"
#include "vmm_net.h"

#define WAIT_MS 60000
#define HDR 12
#define QUEUES_MAX 4

static const uint64_t offloads =
	BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_GUEST_CSUM) |
	BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6);

struct fixture {
	char near[IFNAMSIZ], far[IFNAMSIZ];
	struct netif *s;
	struct netport *rx[QUEUES_MAX], *tx[QUEUES_MAX];
	int wire;
};

static char error[256];
static uint8_t room[HDR + 65535], sent[HDR + 65535];

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	alarm(60);
	f->wire = -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < QUEUES_MAX; i++) {
		netport_close(f->rx[i]);
		netport_close(f->tx[i]);
	}
	netif_free(f->s);
	if (f->wire >= 0)
		close(f->wire);
	free(f);
	return 0;
}

static void need_net(void)
{
	int ret = vmm_net_enter();

	if (ret < 0)
		skip_because("no network namespace: %s", strerror(-ret));
}

/* @keys: ",fanout=..." */
static struct fixture *begin(void **state, const char *keys,
			     unsigned int queues, bool wire_hdr)
{
	struct fixture *f = *state;
	char spec[64];

	need_net();
	check_ret(vmm_veth(f->near, f->far), 0);
	snprintf(spec, sizeof(spec), "packet:%s%s", f->near, keys);
	if (netif_new(spec, queues, &f->s, error, sizeof(error)) < 0)
		fail_msg("%s", error);
	for (unsigned int i = 0; i < queues; i++) {
		check_ret(netif_open(f->s, i, &f->rx[i], &f->tx[i]), 0);
		f->rx[i]->hdr_len = f->tx[i]->hdr_len = HDR;
	}
	netif_set_offload(f->s, offloads);
	f->wire = check_ok(vmm_packet_open(f->far, ETH_P_ALL, wire_hdr));
	return f;
}

static int try_recv(struct netport *rx, struct frame *fr, size_t size)
{
	static struct iovec iov[3];

	/* entries end in the middle of headers */
	iov[0] = (struct iovec){ room, 7 };
	iov[1] = (struct iovec){ room + 7, 10 };
	iov[2] = (struct iovec){ room + 17, size - 17 };
	*fr = (struct frame){ iov, 3, 0, false };
	memset(room, 0xee, sizeof(room));
	return rx->ops->recv(rx, fr, 1);
}

static struct frame expect(struct netport *rx, size_t size)
{
	struct pollfd p = { .fd = rx->fd, .events = POLLIN };
	struct frame fr;
	int ret;

	while ((ret = try_recv(rx, &fr, size)) == -EAGAIN)
		check_ret(poll(&p, 1, WAIT_MS), 1);
	check_ret(ret, 1);
	return fr;
}

static int send_len(struct netport *tx, uint32_t len)
{
	struct iovec iov[2] = { { sent, 11 }, { sent + 11, HDR + len - 11 } };
	struct frame fr = { iov, 2, HDR + len, false };

	return tx->ops->send(tx, &fr, 1);
}

static int send_frame(struct netport *tx, uint32_t len, uint32_t seed)
{
	memset(sent, 0, HDR);
	vmm_frame(sent + HDR, len, seed);
	return send_len(tx, len);
}

static void wire_sends(struct fixture *f, uint32_t len, uint32_t seed)
{
	static uint8_t buf[2000];

	vmm_frame(buf, len, seed);
	check_ret(send(f->wire, buf, len, 0), len);
}

static void frames_go_both_ways(void **state)
{
	struct fixture *f = begin(state, "", 1, false);
	struct frame fr;

	assert_true(netif_features(f->s) & BIT(VIRTIO_NET_F_HOST_TSO4));
	netif_enable(f->s, 0, true);
	for (uint32_t len = 60; len <= 1514; len += 727) {
		check_ret(send_frame(f->tx[0], len, len), 1);
		check_ret(vmm_packet_recv(f->wire, room, sizeof(room), WAIT_MS),
			  len);
		assert_true(vmm_frame_is(room, len, len));
		wire_sends(f, len, len + 1);
		fr = expect(f->rx[0], sizeof(room));
		assert_int_equal(fr.len, HDR + len);
		assert_false(fr.trunc);
		assert_true(vmm_frame_is(room + HDR, len, len + 1));
		assert_int_equal(room[0] | room[1] | room[10] | room[11], 0);
	}
	/* nothing comes back of what was sent */
	check_ret(try_recv(f->rx[0], &fr, sizeof(room)), -EAGAIN);
	wire_sends(f, 100, 1);
	fr = expect(f->rx[0], HDR + 99);
	assert_true(fr.trunc);
}

static void a_frame_longer_than_the_mtu_is_refused_and_counted(void **state)
{
	struct fixture *f = begin(state, "", 1, false);

	netif_enable(f->s, 0, true);
	check_ret(send_frame(f->tx[0], 1515, 1), 1);
	assert_int_equal(f->tx[0]->tx_dropped, 1);
	check_ret(send_frame(f->tx[0], 1514, 1), 1);
	assert_int_equal(f->tx[0]->tx_dropped, 1);
}

static void a_queue_that_is_disabled_gets_nothing(void **state)
{
	struct fixture *f = begin(state, "", 1, false);
	struct frame fr;

	wire_sends(f, 60, 1);
	check_ret(try_recv(f->rx[0], &fr, sizeof(room)), -EAGAIN);
	netif_enable(f->s, 0, true);
	wire_sends(f, 60, 2);
	expect(f->rx[0], sizeof(room));
	assert_true(vmm_frame_is(room + HDR, 60, 2));
	netif_enable(f->s, 0, false);
	wire_sends(f, 60, 3);
	netif_enable(f->s, 0, true);
	check_ret(try_recv(f->rx[0], &fr, sizeof(room)), -EAGAIN);
}

/* The veth hands a tag over beside the frame, as NICs do. */
static void a_vlan_tag_comes_back_into_the_frame(void **state)
{
	struct fixture *f = begin(state, "", 1, false);
	uint8_t tagged[104];
	struct frame fr;

	netif_enable(f->s, 0, true);
	for (unsigned int i = 0; i < 2; i++) {
		static const uint8_t tags[2][4] = { { 0x81, 0, 0x60, 7 },
						    { 0x88, 0xa8, 0xf, 0xfe } };

		vmm_frame(tagged, 100, i);
		memmove(tagged + 16, tagged + 12, 88);
		memcpy(tagged + 12, tags[i], 4);
		check_ret(send(f->wire, tagged, sizeof(tagged), 0),
			  sizeof(tagged));
		fr = expect(f->rx[0], sizeof(room));
		assert_int_equal(fr.len, HDR + sizeof(tagged));
		assert_false(fr.trunc);
		assert_memory_equal(room + HDR, tagged, sizeof(tagged));
		/* and no room for it */
		check_ret(send(f->wire, tagged, sizeof(tagged), 0),
			  sizeof(tagged));
		fr = expect(f->rx[0], HDR + 101);
		assert_true(fr.trunc);
		assert_int_equal(fr.len, HDR + 101);
		assert_memory_equal(room + HDR, tagged, 101);
		assert_int_equal(room[HDR + 101], 0xee);
		/* tags are sent, too */
		memset(sent, 0, HDR);
		memcpy(sent + HDR, tagged, sizeof(tagged));
		check_ret(send_len(f->tx[0], sizeof(tagged)), 1);
		assert_int_equal(f->tx[0]->tx_dropped, 0);
		check_ok(vmm_packet_recv(f->wire, room, sizeof(room), WAIT_MS));
	}
}

/* a long TCP frame, unsegmented, checksum to be done, behind its header */
#define GSO_LEN 30000

static void fill_gso(uint8_t *p)
{
	struct virtio_net_hdr hdr = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = 54,
		.gso_size = 1460,
		.csum_start = 34,
		.csum_offset = 16,
	};
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = htons(GSO_LEN - ETH_HLEN),
		.ttl = 64,
		.protocol = IPPROTO_TCP,
		.saddr = htonl(0x0a000001),
		.daddr = htonl(0x0a000002),
	};
	struct tcphdr tcp = { .doff = 5, .ack = 1 };

	memcpy(p, &hdr, sizeof(hdr));
	vmm_frame(p + sizeof(hdr), GSO_LEN, 1);
	p += sizeof(hdr);
	p[12] = ETH_P_IP >> 8;
	p[13] = ETH_P_IP & 0xff;
	memcpy(p + 14, &ip, sizeof(ip));
	memcpy(p + 34, &tcp, sizeof(tcp));
}

static void gso_frames_pass_whole_to_ports_with_the_offload(void **state)
{
	struct fixture *f = begin(state, "", 1, true);
	static uint8_t gso[10 + GSO_LEN];
	struct frame fr;

	netif_enable(f->s, 0, true);
	fill_gso(gso);
	memcpy(sent, gso, 10);
	memset(sent + 10, 0xff, 2);
	memcpy(sent + HDR, gso + 10, GSO_LEN);
	check_ret(send_len(f->tx[0], GSO_LEN), 1);
	assert_int_equal(f->tx[0]->tx_dropped, 0);
	check_ret(vmm_packet_recv(f->wire, room, sizeof(room), WAIT_MS),
		  10 + GSO_LEN);
	assert_memory_equal(room, gso, 10 + GSO_LEN);

	check_ret(send(f->wire, gso, sizeof(gso), 0), sizeof(gso));
	fr = expect(f->rx[0], sizeof(room));
	assert_int_equal(fr.len, HDR + GSO_LEN);
	assert_memory_equal(room, gso, 10);
	assert_int_equal(room[10] | room[11], 0);
	assert_memory_equal(room + HDR, gso + 10, GSO_LEN);

	/* Who does not take it does not get it. */
	netif_set_offload(f->s, BIT(VIRTIO_F_VERSION_1));
	check_ret(send(f->wire, gso, sizeof(gso), 0), sizeof(gso));
	fr = expect(f->rx[0], sizeof(room));
	assert_int_equal(fr.len, 0);
	assert_true(fr.trunc);
}

static void checksum_offsets_know_of_the_tag_put_back(void **state)
{
	struct fixture *f = begin(state, "", 1, true);
	static uint8_t gso[10 + GSO_LEN + 4];
	struct virtio_net_hdr hdr;
	struct frame fr;

	netif_enable(f->s, 0, true);
	fill_gso(gso);
	memmove(gso + 10 + 16, gso + 10 + 12, GSO_LEN - 12);
	memcpy(gso + 10 + 12, (uint8_t[]){ 0x81, 0, 0, 5 }, 4);
	memcpy(&hdr, gso, sizeof(hdr));
	hdr.csum_start += 4;
	hdr.hdr_len += 4;
	memcpy(gso, &hdr, sizeof(hdr));
	check_ret(send(f->wire, gso, sizeof(gso), 0), sizeof(gso));
	fr = expect(f->rx[0], sizeof(room));
	assert_int_equal(fr.len, HDR + GSO_LEN + 4);
	assert_memory_equal(room, gso, 10);
	assert_memory_equal(room + HDR, gso + 10, GSO_LEN + 4);
}

/* IPv4/UDP, so that flows differ. */
static void wire_sends_flow(struct fixture *f, unsigned int flow)
{
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tot_len = htons(86),
		.ttl = 64,
		.protocol = IPPROTO_UDP,
		.saddr = htonl(0x0a000001),
		.daddr = htonl(0x0a000002),
	};
	uint16_t ports[4] = { htons((uint16_t)(1000 + flow)), htons(9),
			      htons(66), 0 };
	uint8_t buf[100];

	vmm_frame(buf, sizeof(buf), flow);
	buf[12] = 8;
	buf[13] = 0;
	memcpy(buf + 14, &ip, sizeof(ip));
	memcpy(buf + 34, ports, sizeof(ports));
	check_ret(send(f->wire, buf, sizeof(buf), 0), sizeof(buf));
}

static unsigned int count(struct netport *rx)
{
	unsigned int n = 0;
	struct frame fr;

	while (try_recv(rx, &fr, sizeof(room)) == 1)
		n++;
	return n;
}

static void flows_are_spread_over_the_queues_that_are_enabled(void **state)
{
	struct fixture *f = begin(state, ",fanout=hash", 3, false);
	unsigned int n[3] = { 0 };

	netif_enable(f->s, 0, true);
	for (unsigned int i = 0; i < 64; i++)
		wire_sends_flow(f, i);
	assert_int_equal(count(f->rx[0]), 64);
	netif_enable(f->s, 2, true);
	for (unsigned int i = 0; i < 64; i++)
		wire_sends_flow(f, i);
	for (unsigned int i = 0; i < 3; i++)
		n[i] = count(f->rx[i]);
	assert_int_equal(n[0] + n[2], 64);
	assert_in_range(n[0], 1, 63);
	assert_int_equal(n[1], 0);
	/* What would go to it goes to the other, but for a few. */
	netif_enable(f->s, 2, false);
	for (unsigned int i = 0; i < 64; i++)
		wire_sends_flow(f, i);
	assert_in_range(count(f->rx[0]), 60, 64);
	netif_enable(f->s, 2, true);
	assert_int_equal(count(f->rx[2]), 0);
}

static struct netif *adopt_copies(const struct fixture *f)
{
	struct netif *s;
	int fds[3];

	check_ret(netif_fds(f->s, fds), 3);
	for (unsigned int i = 0; i < 3; i++)
		fds[i] = check_ok(dup(fds[i]));
	check_ret(netif_adopt("packet:lo,fanout=lb", 3, fds, 3, &s, error,
			      sizeof(error)),
		  0);
	return s;
}

/* As with two worker processes, one after the other. */
static void sockets_that_move_stay_in_their_group(void **state)
{
	struct fixture *f = begin(state, ",fanout=lb", 3, false);
	struct netif *first = adopt_copies(f), *second;
	struct netport *rx[3], *tx[3];

	netif_enable(first, 0, true);
	netif_enable(first, 1, true);
	netif_free(first);
	for (unsigned int i = 0; i < 3; i++)
		netif_enable(f->s, i, false);
	second = adopt_copies(f);
	for (unsigned int i = 0; i < 3; i++) {
		check_ret(netif_open(second, i, &rx[i], &tx[i]), 0);
		rx[i]->hdr_len = HDR;
	}
	netif_enable(second, 2, true);
	netif_enable(second, 0, true);
	for (unsigned int n = 0; n < 64; n++)
		wire_sends_flow(f, n);
	/* The socket of the disabled queue takes the rest: at most 4. */
	assert_in_range(count(rx[0]) + count(rx[2]), 60, 64);
	for (unsigned int i = 0; i < 3; i++) {
		netport_close(rx[i]);
		netport_close(tx[i]);
	}
	netif_free(second);
}

static void every_way_of_spreading_and_the_bypass_work(void **state)
{
	static const char *const keys[] = { ",fanout=lb", ",fanout=cpu",
					    ",fanout=rnd", ",fanout=qm",
					    ",qdisc-bypass" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		struct fixture *f;

		if (i)
			setup(state);
		f = begin(state, keys[i], 2, false);
		netif_enable(f->s, 0, true);
		netif_enable(f->s, 1, true);
		for (unsigned int n = 0; n < 32; n++)
			wire_sends_flow(f, n);
		assert_int_equal(count(f->rx[0]) + count(f->rx[1]), 32);
		check_ret(send_frame(f->tx[1], 60, 1), 1);
		check_ret(vmm_packet_recv(f->wire, room, sizeof(room), WAIT_MS),
			  60);
		if (i + 1 < ARRAY_SIZE(keys))
			teardown(state);
	}
}

static void a_bad_specification_is_refused_with_the_cure(void **state)
{
	static const struct {
		const char *spec, *says;
	} bad[] = {
		{ "packet", "NAME" },
		{ "packet:a/b", "a/b" },
		{ "packet:lo,fanout=none", "hash" },
		{ "packet:lo,fanout", "hash" },
		{ "packet:lo,qdisc-bypass=1", "qdisc-bypass" },
		{ "packet:lo,mtu=1", "fanout" },
		{ "packet:lo,fanout=lb,fanout=lb", "twice" },
	};
	struct netif *s;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		check_ret(netif_check(bad[i].spec, error, sizeof(error)),
			  -EINVAL);
		if (!strstr(error, bad[i].says))
			fail_msg("%s: %s", bad[i].spec, error);
	}
	check_ret(netif_check("packet:lo,fanout=cpu,qdisc-bypass", error,
			      sizeof(error)),
		  0);
	need_net();
	check_ret(netif_new("packet:uvnone", 1, &s, error, sizeof(error)),
		  -ENODEV);
	assert_non_null(strstr(error, "uvnone"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frames_go_both_ways),
		TEST(a_frame_longer_than_the_mtu_is_refused_and_counted),
		TEST(a_queue_that_is_disabled_gets_nothing),
		TEST(a_vlan_tag_comes_back_into_the_frame),
		TEST(gso_frames_pass_whole_to_ports_with_the_offload),
		TEST(checksum_offsets_know_of_the_tag_put_back),
		TEST(flows_are_spread_over_the_queues_that_are_enabled),
		TEST(sockets_that_move_stay_in_their_group),
		TEST(every_way_of_spreading_and_the_bypass_work),
		TEST(a_bad_specification_is_refused_with_the_cure),
	};

	return cmocka_run_group_tests_name("packetsource", tests, NULL, NULL);
}
