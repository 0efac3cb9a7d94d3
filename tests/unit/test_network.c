/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_network.c tests a network as a switch: which port gets a frame, and
 * which frames are dropped.
 */
#include "netfix.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"

#define STATIONS 4
#define A (&f->s[0])
#define B (&f->s[1])
#define C (&f->s[2])
#define D (&f->s[3])

struct fixture {
	struct network *n;
	struct station s[STATIONS];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->n = fix_network();
	for (unsigned int i = 0; i < 3; i++)
		fix_join(f->n, &f->s[i], NULL);
	*state = f;
	return 0;
}

static int setup_own(void **state)
{
	fix_own = true;
	return setup(state);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < STATIONS; i++)
		if (f->s[i].m)
			fix_leave(&f->s[i]);
	network_free(f->n);
	free(f);
	fix_own = false;
	return 0;
}

/* Station i + 1 is at port i. */
static void introduce(struct fixture *f)
{
	for (unsigned int i = 0; i < 3; i++)
		fix_say(&f->s[i], 0xff, (uint8_t)(i + 1));
	for (unsigned int i = 0; i < 3; i++)
		fix_drain(&f->s[i]);
}

/* ---- configuration ---- */

static void networks_that_cannot_be_are_refused(void **state)
{
	static const struct network_config bad[] = {
		{ "n", 15, 300, 1500 },
		{ "n", NETWORK_MACS_MAX + 1, 300, 1500 },
		{ "n", 16, 0, 1500 },
		{ "n", 16, 1000001, 1500 },
		{ "n", 16, 300, 67 },
		{ "n", 16, 300, 65536 },
	};
	struct network_config unending = { "n", 16, 300, 1500 };
	struct network *n;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		check_ret(network_new(&bad[i], &n), -EINVAL);
	memset(unending.name, 'x', sizeof(unending.name));
	check_ret(network_new(&unending, &n), -EINVAL);
}

static void ports_with_wrong_values_are_refused(void **state)
{
	struct fixture *f = *state;
	struct swport_config c = { .vlan = 0 };
	struct swport *m;

	check_ret(swport_new(f->n, &c, 1, &m), -EINVAL);
	c.vlan = 4095;
	check_ret(swport_new(f->n, &c, 1, &m), -EINVAL);
	c.vlan = 1;
	check_ret(swport_new(f->n, &c, 0, &m), -EINVAL);
	check_ret(swport_new(f->n, &c, 257, &m), -EINVAL);
	c.mtu = 67;
	check_ret(swport_new(f->n, &c, 1, &m), -EINVAL);
	c.mtu = 0;
	c.trunk[0] = 1;
	check_ret(swport_new(f->n, &c, 1, &m), -EINVAL);
	c.trunk[0] = 0;
	c.trunk[63] = UINT64_C(1) << 63;
	check_ret(swport_new(f->n, &c, 1, &m), -EINVAL);
}

static void names_are_unique_and_made_up_where_not_given(void **state)
{
	struct fixture *f = *state;
	struct swport_config c = fix_config();
	struct swport *m, *again, *other;

	strcpy(c.name, "port3");
	check_ret(swport_new(f->n, &c, 1, &m), 0);
	check_ret(swport_new(f->n, &c, 1, &again), -EEXIST);
	c.name[0] = '\0';
	check_ret(swport_new(f->n, &c, 1, &other), 0);
	assert_string_not_equal(swport_name(other), "port3");
	assert_string_not_equal(swport_name(other), "");
	swport_free(m);
	swport_free(other);
}

static void a_network_has_so_many_ports_and_no_more(void **state)
{
	struct swport_config c = fix_config();
	struct swport *m[NETWORK_PORTS_MAX], *more;
	struct network *n = fix_network();

	(void)state;
	for (unsigned int i = 0; i < NETWORK_PORTS_MAX; i++)
		check_ret(swport_new(n, &c, 1, &m[i]), 0);
	check_ret(swport_new(n, &c, 1, &more), -ENOSPC);
	swport_free(m[7]);
	check_ret(swport_new(n, &c, 1, &m[7]), 0);
	for (unsigned int i = 0; i < NETWORK_PORTS_MAX; i++)
		swport_free(m[i]);
	network_free(n);
}

static void a_queue_is_open_once(void **state)
{
	struct fixture *f = *state;
	struct netport *rx, *tx;

	check_ret(swport_open(A->m, 0, &rx, &tx), -EBUSY);
	check_ret(swport_open(A->m, 1, &rx, &tx), -EINVAL);
	netport_close(A->rx);
	check_ret(swport_open(A->m, 0, &rx, &tx), -EBUSY);
	netport_close(A->tx);
	check_ret(swport_open(A->m, 0, &A->rx, &A->tx), 0);
}

/* ---- learning ---- */

static void a_broadcast_reaches_all_but_its_sender(void **state)
{
	struct fixture *f = *state;

	fix_say(A, 0xff, 1);
	assert_true(fix_hears(B, 1));
	assert_true(fix_hears(C, 1));
	assert_false(fix_recv(A));
	assert_int_equal(fix_count(A).sent, 1);
	assert_int_equal(fix_count(A).sent_bytes, 60);
	assert_int_equal(fix_count(A).flooded, 1);
	assert_int_equal(fix_count(B).received, 1);
	assert_int_equal(fix_count(B).received_bytes, 60);
}

static void a_frame_goes_where_its_address_was_seen(void **state)
{
	struct fixture *f = *state;

	fix_say(B, 0xff, 2);
	fix_drain(A);
	fix_drain(C);
	fix_say(A, 2, 1);
	assert_true(fix_hears(B, 1));
	assert_false(fix_recv(C));
	assert_int_equal(fix_count(A).flooded, 0);
}

static void frames_to_unknown_addresses_are_flooded(void **state)
{
	struct fixture *f = *state;

	fix_say(A, 77, 1);
	assert_true(fix_hears(B, 1));
	assert_true(fix_hears(C, 1));
}

static void what_is_for_the_port_it_came_from_stays_there(void **state)
{
	struct fixture *f = *state;

	fix_say(A, 0xff, 1);
	fix_say(A, 0xff, 9);
	fix_drain(B);
	fix_drain(C);
	fix_say(A, 9, 1);
	assert_false(fix_recv(B));
	assert_false(fix_recv(C));
	assert_int_equal(fix_count(A).drop_in[DROP_SAME_PORT], 1);
}

static void an_address_that_moves_is_followed_and_counted(void **state)
{
	struct fixture *f = *state;

	introduce(f);
	fix_say(C, 0xff, 2);
	fix_drain(A);
	fix_drain(B);
	fix_say(A, 2, 1);
	assert_true(fix_hears(C, 1));
	assert_false(fix_recv(B));
	assert_int_equal(fix_count(C).moved, 1);
	assert_int_equal(fix_count(B).moved, 0);
}

static void addresses_of_a_port_that_leaves_are_forgotten(void **state)
{
	struct fixture *f = *state;

	introduce(f);
	fix_leave(B);
	fix_join(f->n, D, NULL);
	fix_say(A, 2, 1);
	assert_true(fix_hears(C, 1));
	assert_true(fix_hears(D, 1));
}

static void beyond_its_limit_a_port_is_not_learnt(void **state)
{
	struct fixture *f = *state;
	struct swport_config c = fix_config();

	c.macs = 2;
	fix_join(f->n, D, &c);
	for (uint8_t i = 10; i < 14; i++)
		fix_say(D, 0xff, i);
	fix_drain(B);
	fix_drain(C);
	fix_say(A, 11, 1);
	assert_false(fix_recv(B));
	fix_say(A, 12, 1);
	assert_true(fix_hears(B, 1));
	/* What it sends passes nevertheless. */
	assert_int_equal(fix_count(D).sent, 4);
}

/* ---- what is dropped ---- */

static void drops_once(struct fixture *f, const void *frame, size_t len,
		       enum network_drop why)
{
	uint64_t before = fix_count(A).drop_in[why];
	uint64_t port = A->tx->tx_dropped;

	check_ret(fix_send(A, frame, len), 1);
	assert_int_equal(fix_count(A).drop_in[why], before + 1);
	assert_int_equal(A->tx->tx_dropped, port + 1);
	assert_false(fix_recv(B));
	assert_false(fix_recv(C));
}

static void what_is_no_frame_is_dropped(void **state)
{
	struct fixture *f = *state;
	static uint8_t frame[200000];

	fix_frame(frame, 0xff, 1, 60);
	for (size_t len = 0; len < FIX_HDR + 14; len++)
		drops_once(f, frame, len, DROP_MALFORMED);
	drops_once(f, frame, sizeof(frame), DROP_TOO_LONG);
}

static void a_header_that_lies_is_dropped(void **state)
{
	struct fixture *f = *state;
	_Alignas(8) uint8_t frame[FIX_HDR + 60];
	struct virtio_net_hdr *h = (struct virtio_net_hdr *)frame;

	fix_frame(frame, 0xff, 1, 60);
	h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h->csum_start = 59;
	h->csum_offset = 16;
	drops_once(f, frame, sizeof(frame), DROP_MALFORMED);
	fix_frame(frame, 0xff, 1, 60);
	h->gso_type = 77;
	drops_once(f, frame, sizeof(frame), DROP_MALFORMED);
}

static void group_and_zero_sources_are_dropped(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[FIX_HDR + 60];
	size_t len = fix_frame(frame, 0xff, 1, 60);

	frame[FIX_HDR + 6] |= 1;
	drops_once(f, frame, len, DROP_SOURCE);
	memset(frame + FIX_HDR + 6, 0, 6);
	drops_once(f, frame, len, DROP_SOURCE);
}

static void reserved_addresses_are_dropped(void **state)
{
	static const uint8_t mac[5] = { 0x01, 0x80, 0xc2, 0, 0 };
	struct fixture *f = *state;
	uint8_t frame[FIX_HDR + 60];
	size_t len = fix_frame(frame, 0xff, 1, 60);

	memcpy(frame + FIX_HDR, mac, sizeof(mac));
	for (uint8_t i = 0; i < 16; i++) {
		frame[FIX_HDR + 5] = i;
		drops_once(f, frame, len, DROP_RESERVED);
	}
	frame[FIX_HDR + 5] = 16;
	check_ret(fix_send(A, frame, len), 1);
	assert_true(fix_hears(B, 1));
}

static void flags_that_are_not_the_senders_to_set_are_cleared(void **state)
{
	struct fixture *f = *state;
	_Alignas(8) uint8_t frame[FIX_HDR + 60];
	struct virtio_net_hdr *h = (struct virtio_net_hdr *)frame;

	fix_frame(frame, 0xff, 1, 60);
	h->flags = VIRTIO_NET_HDR_F_DATA_VALID | VIRTIO_NET_HDR_F_RSC_INFO;
	frame[10] = frame[11] = 0xff; /* num_buffers */
	check_ret(fix_send(A, frame, sizeof(frame)), 1);
	assert_true(fix_recv(B));
	memset(frame, 0, FIX_HDR);
	assert_memory_equal(B->got, frame, sizeof(frame));
}

static void
what_is_longer_than_the_mtu_is_dropped_for_that_receiver(void **state)
{
	struct fixture *f = *state;
	struct swport_config c = fix_config();
	static uint8_t frame[2000];
	size_t len = fix_frame(frame, 0xff, 1, 14 + 1400);

	c.mtu = 1399;
	fix_join(f->n, D, &c);
	check_ret(fix_send(A, frame, len), 1);
	assert_true(fix_hears(B, 1));
	assert_false(fix_recv(D));
	assert_int_equal(fix_count(D).drop_out[DROP_TOO_LONG], 1);
	check_ret(fix_send(A, frame, len - 1), 1);
	assert_true(fix_hears(D, 1));
	/* The network's own */
	len = fix_frame(frame, 0xff, 1, 14 + 1501);
	fix_drain(B);
	check_ret(fix_send(A, frame, len), 1);
	assert_false(fix_recv(B));
	assert_int_equal(fix_count(B).drop_out[DROP_TOO_LONG], 1);
}

static void floods_beyond_the_limit_are_dropped(void **state)
{
	struct fixture *f = *state;
	struct swport_config c = fix_config();

	introduce(f);
	c.flood_fps = 10; /* bursts of 1 */
	fix_join(f->n, D, &c);
	for (unsigned int i = 0; i < 20; i++)
		fix_say(D, i % 2 ? 0xff : 99, 4);
	/* A burst, and what a machine this slow has earned meanwhile. */
	assert_in_range(fix_drain(A), 1, 15);
	assert_in_range(fix_count(D).drop_in[DROP_FLOOD], 5, 19);
	/* What has one receiver is no flood. */
	for (unsigned int i = 0; i < 20; i++)
		fix_say(D, 2, 4);
	fix_say(B, 0xff, 2);
	assert_in_range(fix_drain(B), 21, 35);
}

static void a_receiver_without_a_queue_is_told_of_in_the_counters(void **state)
{
	struct fixture *f = *state;

	introduce(f);
	swport_enable(B->m, 0, false);
	fix_say(A, 2, 1);
	assert_false(fix_recv(B));
	assert_int_equal(fix_count(B).drop_out[DROP_NO_QUEUE], 1);
	swport_enable(B->m, 0, true);
	fix_say(A, 2, 1);
	assert_true(fix_hears(B, 1));
}

static void only_a_receiver_that_is_full_loses_frames(void **state)
{
	struct fixture *f = *state;
	static uint8_t frame[2000];
	size_t len = fix_frame(frame, 0xff, 1, 1514);
	unsigned int n = 0;

	while (!fix_count(B).drop_out[DROP_FULL]) {
		check_ret(fix_send(A, frame, len), 1);
		assert_true(fix_hears(C, 1));
		n++;
	}
	assert_in_range(n, 100, 1000);
	assert_int_equal(fix_drain(B), n - 1);
	check_ret(fix_send(A, frame, len), 1);
	assert_true(fix_hears(B, 1));
}

/* ---- ports ---- */

static void the_length_of_the_header_is_the_devices(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[FIX_HDR + 60];

	fix_frame(frame, 0xff, 1, 60);
	A->tx->hdr_len = 0;
	B->rx->hdr_len = 10;
	C->rx->hdr_len = 0;
	check_ret(fix_send(A, frame + FIX_HDR, 60), 1);
	assert_true(fix_recv(B));
	assert_int_equal(B->len, 70);
	assert_memory_equal(B->got + 10, frame + FIX_HDR, 60);
	assert_true(fix_recv(C));
	assert_int_equal(C->len, 60);
	assert_memory_equal(C->got, frame + FIX_HDR, 60);
	A->tx->hdr_len = 10;
	check_ret(fix_send(A, frame + 2, 70), 1);
	assert_true(fix_recv(B));
	assert_int_equal(B->len, 70);
	assert_memory_equal(B->got + 10, frame + FIX_HDR, 60);
}

static void frames_in_pieces_and_rooms_in_pieces_are_the_same(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[FIX_HDR + 200], got[FIX_HDR + 200] = { 0 };
	struct iovec in[3], out[4];
	struct frame sent = { in, 3, sizeof(frame), false };
	struct frame room = { out, 4, 0, false };

	fix_frame(frame, 0xff, 1, 200);
	for (size_t i = 30; i < sizeof(frame); i++)
		frame[i] = (uint8_t)i;
	in[0] = (struct iovec){ frame, 5 };
	in[1] = (struct iovec){ frame + 5, 20 };
	in[2] = (struct iovec){ frame + 25, sizeof(frame) - 25 };
	check_ret(A->tx->ops->send(A->tx, &sent, 1), 1);
	out[0] = (struct iovec){ got, 11 };
	out[1] = (struct iovec){ got + 11, 0 };
	out[2] = (struct iovec){ got + 11, 100 };
	out[3] = (struct iovec){ got + 111, sizeof(got) - 111 };
	check_ret(B->rx->ops->recv(B->rx, &room, 1), 1);
	assert_int_equal(room.len, sizeof(frame));
	assert_false(room.trunc);
	assert_memory_equal(got, frame, sizeof(frame));
	/* Too little room */
	room.iovcnt = 3;
	check_ret(C->rx->ops->recv(C->rx, &room, 1), 1);
	assert_int_equal(room.len, 111);
	assert_true(room.trunc);
	/* Not even for the header */
	check_ret(A->tx->ops->send(A->tx, &sent, 1), 1);
	room.iovcnt = 2;
	check_ret(C->rx->ops->recv(C->rx, &room, 1), 1);
	assert_int_equal(room.len, 0);
	assert_true(room.trunc);
}

static void a_batch_arrives_in_its_order(void **state)
{
	struct fixture *f = *state;
	static uint8_t frame[200][FIX_HDR + 60];
	struct iovec iov[200];
	struct frame fr[200];

	introduce(f);
	for (unsigned int i = 0; i < 200; i++) {
		/* To one, to all, to one that is not there */
		static const uint8_t to[] = { 2, 0xff, 2, 99, 3 };

		fix_frame(frame[i], to[i % 5], 1, 60);
		frame[i][FIX_HDR + 20] = (uint8_t)i;
		iov[i] = (struct iovec){ frame[i], sizeof(frame[i]) };
		fr[i] = (struct frame){ &iov[i], 1, sizeof(frame[i]), false };
	}
	check_ret(A->tx->ops->send(A->tx, fr, 200), 200);
	for (unsigned int i = 0; i < 200; i++) {
		if (i % 5 == 4)
			continue;
		assert_true(fix_recv(B));
		assert_int_equal(B->got[FIX_HDR + 20], i);
	}
	assert_false(fix_recv(B));
	assert_int_equal(fix_drain(C), 120);
}

static void the_descriptor_is_readable_while_there_are_frames(void **state)
{
	struct fixture *f = *state;

	assert_false(fix_polls(B->rx->fd, POLLIN));
	fix_say(A, 0xff, 1);
	assert_true(fix_polls(B->rx->fd, POLLIN));
	fix_drain(B);
	assert_false(fix_polls(B->rx->fd, POLLIN));
	fix_say(A, 0xff, 1);
	fix_say(A, 0xff, 1);
	assert_true(fix_polls(B->rx->fd, POLLIN));
	assert_int_equal(fix_drain(B), 2);
	assert_false(fix_polls(B->rx->fd, POLLIN));
	assert_true(fix_polls(A->tx->fd, POLLOUT));
}

/* ---- frames that are borrowed ---- */

static const uint8_t *borrow_one(struct netport *port, size_t len)
{
	struct iovec iov;

	check_ret(port->ops->borrow(port, &iov, 1), 1);
	assert_int_equal(iov.iov_len, FIX_HDR + len);
	return iov.iov_base;
}

static void a_borrowed_frame_stays_until_it_is_released(void **state)
{
	struct fixture *f = *state;
	struct netport *rx = f->s[1].rx;
	struct iovec iov[3];
	const uint8_t *p;

	introduce(f);
	check_ret(rx->ops->borrow(rx, iov, 3), -EAGAIN);
	fix_say(A, 2, 1);
	assert_true(fix_polls(rx->fd, POLLIN));
	fix_say(C, 2, 3);
	p = borrow_one(rx, 60);
	assert_int_equal(p[FIX_HDR + 11], 1);
	assert_ptr_equal(borrow_one(rx, 60), p);
	check_ret(rx->ops->borrow(rx, iov, 3), 2);
	assert_ptr_equal(iov[0].iov_base, p);
	assert_int_equal(((uint8_t *)iov[1].iov_base)[FIX_HDR + 11], 3);
	assert_int_equal(fix_count(B).received, 2); /* introductions */
	rx->ops->release(rx, 1);
	assert_int_equal(fix_count(B).received, 3);
	assert_int_equal(fix_count(B).received_bytes, 180);
	assert_ptr_equal(borrow_one(rx, 60), iov[1].iov_base);
	assert_true(fix_hears(B, 3));
	check_ret(rx->ops->borrow(rx, iov, 3), -EAGAIN);
	assert_int_equal(fix_count(B).received, 4);
}

static void a_port_with_another_header_does_not_borrow(void **state)
{
	static const unsigned int lens[] = { 0, 10 };
	struct fixture *f = *state;
	struct netport *rx = f->s[1].rx;
	struct iovec iov;

	introduce(f);
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		rx->hdr_len = lens[i];
		fix_say(A, 2, 1);
		check_ret(rx->ops->borrow(rx, &iov, 1), -EOPNOTSUPP);
		assert_true(fix_recv(B));
		assert_int_equal(B->len, lens[i] + 60);
	}
}

static void an_end_that_stays_open_keeps_borrowed_frames(void **state)
{
	struct fixture *f = *state;
	struct netport *rx;

	introduce(f);
	rx = netport_get(f->s[1].rx);
	fix_say(A, 2, 1);
	borrow_one(rx, 60);
	netport_close(rx);
	rx = netport_get(f->s[1].rx);
	borrow_one(rx, 60);
	rx->ops->release(rx, 1);
	assert_int_equal(fix_count(B).received, 3);
	netport_close(rx);
	assert_false(fix_recv(B));
}

static void a_port_captures_what_passes_and_what_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct swport_config c = fix_config();
	char path[] = "/tmp/test_network-XXXXXX";
	struct capture_config config = { .path = path, .snaplen = 100 };
	struct capture_counters count;
	int fd = check_ok(mkstemp(path));

	check_ret(capture_new(&config, &c.capture), 0);
	c.capture_if = (unsigned int)check_ok(capture_add(c.capture, "d"));
	c.mtu = 100;
	fix_join(f->n, D, &c);
	fix_say(D, 0xff, 4); /* in */
	fix_say(D, 4, 4);    /* in, and dropped */
	fix_say(A, 4, 1);
	assert_true(fix_hears(D, 1)); /* out */
	fix_say(A, 4, 1);
	borrow_one(D->rx, 60);
	borrow_one(D->rx, 60);
	D->rx->ops->release(D->rx, 1); /* out, once */
	capture_read_counters(c.capture, c.capture_if, &count);
	assert_int_equal(count.seen, 4);
	fix_leave(D);
	capture_free(c.capture);
	close(fd);
	unlink(path);
}

static void counters_are_printed_for_people(void **state)
{
	struct fixture *f = *state;
	char text[4096];
	FILE *out = fmemopen(text, sizeof(text), "w");

	introduce(f);
	fix_say(A, 1, 1);
	network_print(f->n, out);
	fclose(out);
	assert_non_null(strstr(text, "net: ports 3 addresses 3 of 1000\n"));
	assert_non_null(strstr(text, "net.port0: addresses 1 sent 1 (60 bytes) "
				     "received 2 (120 bytes) flooded 1 "
				     "in-same-port 1\n"));
}

int main(void)
{
#define T(f)                                                 \
	cmocka_unit_test_setup_teardown(f, setup, teardown), \
	{                                                    \
		#f " [own]", f, setup_own, teardown, NULL    \
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks_that_cannot_be_are_refused),
		T(ports_with_wrong_values_are_refused),
		T(names_are_unique_and_made_up_where_not_given),
		cmocka_unit_test(a_network_has_so_many_ports_and_no_more),
		T(a_queue_is_open_once),
		T(a_broadcast_reaches_all_but_its_sender),
		T(a_frame_goes_where_its_address_was_seen),
		T(frames_to_unknown_addresses_are_flooded),
		T(what_is_for_the_port_it_came_from_stays_there),
		T(an_address_that_moves_is_followed_and_counted),
		T(addresses_of_a_port_that_leaves_are_forgotten),
		T(beyond_its_limit_a_port_is_not_learnt),
		T(what_is_no_frame_is_dropped),
		T(a_header_that_lies_is_dropped),
		T(group_and_zero_sources_are_dropped),
		T(reserved_addresses_are_dropped),
		T(flags_that_are_not_the_senders_to_set_are_cleared),
		T(what_is_longer_than_the_mtu_is_dropped_for_that_receiver),
		T(floods_beyond_the_limit_are_dropped),
		T(a_receiver_without_a_queue_is_told_of_in_the_counters),
		T(only_a_receiver_that_is_full_loses_frames),
		T(the_length_of_the_header_is_the_devices),
		T(frames_in_pieces_and_rooms_in_pieces_are_the_same),
		T(a_batch_arrives_in_its_order),
		T(the_descriptor_is_readable_while_there_are_frames),
		T(a_borrowed_frame_stays_until_it_is_released),
		T(a_port_with_another_header_does_not_borrow),
		T(an_end_that_stays_open_keeps_borrowed_frames),
		T(a_port_captures_what_passes_and_what_is_dropped),
		T(counters_are_printed_for_people),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
