/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_source.c tests ports by name: the grammar of names, taps in a namespace
 * of the test, and loop.
 */
#include "check.h"

#include <fcntl.h>
#include <net/if.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/if_tun.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "netif.h"
#include "vmm_net.h"

#define WAIT_MS 60000

static char error[256];

static struct netif *source_new(const char *spec, unsigned int queues)
{
	struct netif *s;

	error[0] = '\0';
	check_ret(netif_new(spec, queues, &s, error, sizeof(error)), 0);
	return s;
}

static void bad_names_are_refused_with_a_reason(void **state)
{
	static const char *const bad[] = {
		"",         "tap",
		"tap:",     "tap:a/b",
		"tap:..",   "tap:a b",
		"null:+60", "null:13",
		"null:x",   "null:60x",
		"null: 60", "null:65551",
		"null:-60", "loop:",
		"loop:1",   "tap:a234567890123456",
		"tap:t%d",  "Tap:t",
		"pcup:eth", "null:99999999999999999999",
		"null,",    "null,,",
		"null,x=1", "tap:t,,a b",
		"loop,=",   "tap,,:t",
		"nu\nll",   "null:1\n",
		",",        "tap:t0,tap:t1",
		"null,x",   "null:60,copy=1",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct netif *s;

		error[0] = '\0';
		check_ret(netif_check(bad[i], error, sizeof(error)), -EINVAL);
		assert_int_not_equal(error[0], '\0');
		assert_null(strchr(error, '\n'));
		check_ret(netif_new(bad[i], 1, &s, error, sizeof(error)),
			  -EINVAL);
	}
}

static void good_names_are_taken(void **state)
{
	static const char *const good[] = { "tap:t0",     "tap:a23456789012.4",
					    "null",       "null:14",
					    "loop",       "null:65550",
					    "null:",      "tap:a,,b",
					    "null,copy=", "null:60,copy" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		check_ret(netif_check(good[i], error, sizeof(error)), 0);
}

static int send_one(struct netport *port, const void *data, uint32_t len)
{
	struct iovec iov[2] = { { (void *)(uintptr_t)data, 1 },
				{ (char *)(uintptr_t)data + 1, len - 1 } };
	struct frame f = { iov, 2, len, false };

	return port->ops->send(port, &f, 1);
}

static int recv_one(struct netport *port, void *room, size_t size,
		    struct frame *f)
{
	struct iovec iov[2] = { { room, 3 }, { (char *)room + 3, size - 3 } };

	*f = (struct frame){ iov, 2, 0, false };
	return port->ops->recv(port, f, 1);
}

static bool readable_soon(const struct netport *port)
{
	struct pollfd p = { .fd = port->fd, .events = POLLIN };

	return poll(&p, 1, WAIT_MS) == 1;
}

static bool readable(const struct netport *port)
{
	struct pollfd p = { .fd = port->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void loop_gives_back_what_it_was_sent(void **state)
{
	struct netif *s = source_new("loop", 1);
	struct netport *rx, *tx;
	char frame[3000], room[3000];
	struct frame f;

	(void)state;
	assert_true(netif_features(s) == 0);
	check_ret(netif_open(s, 0, &rx, &tx), 0);
	check_ret(recv_one(rx, room, sizeof(room), &f), -EAGAIN);
	assert_false(readable(rx));
	for (unsigned int round = 0; round < 100; round++) {
		for (unsigned int i = 0; i < 40; i++) {
			memset(frame, (int)(round + i), sizeof(frame));
			check_ret(send_one(tx, frame, 60 + 70 * i), 1);
		}
		assert_true(readable(rx));
		for (unsigned int i = 0; i < 40; i++) {
			memset(frame, (int)(round + i), sizeof(frame));
			check_ret(recv_one(rx, room, sizeof(room), &f), 1);
			assert_int_equal(f.len, 60 + 70 * i);
			assert_false(f.trunc);
			assert_memory_equal(room, frame, f.len);
		}
		check_ret(recv_one(rx, room, sizeof(room), &f), -EAGAIN);
	}
	assert_int_equal(tx->tx_dropped, 0);
	netport_close(rx);
	check_ret(send_one(tx, frame, 60), 1);
	assert_int_equal(tx->tx_dropped, 1);
	netport_close(tx);
	netif_free(s);
}

static bool writable(const struct netport *port)
{
	struct pollfd p = { .fd = port->fd, .events = POLLOUT };

	return poll(&p, 1, 0) == 1;
}

static void loop_holds_the_sender_when_it_is_full(void **state)
{
	struct netif *s = source_new("loop", 1);
	struct netport *rx, *tx;
	static char frame[NETPORT_FRAME_MAX];
	char room[100];
	struct frame f;

	(void)state;
	check_ret(netif_open(s, 0, &rx, &tx), 0);
	for (unsigned int round = 0; round < 3; round++) {
		unsigned int sent = 0, got = 0;

		assert_true(writable(tx));
		while (send_one(tx, frame, sizeof(frame)) == 1)
			assert_in_range(++sent, 1, 100);
		assert_true(sent);
		assert_false(writable(tx));
		check_ret(send_one(tx, frame, sizeof(frame)), -EAGAIN);
		while (recv_one(rx, room, sizeof(room), &f) == 1) {
			/* What has no room is cut. */
			assert_int_equal(f.len, sizeof(room));
			assert_true(f.trunc);
			got++;
		}
		assert_int_equal(got, sent);
	}
	assert_int_equal(tx->tx_dropped, 0);
	netport_close(tx);
	netport_close(rx);
	netif_free(s);
}

/* ---- taps ---- */

static int header_size(const struct netport *port)
{
	int len = -1;

	return ioctl(port->fd, TUNGETVNETHDRSZ, &len) < 0 ? -errno : len;
}

static bool detached(const struct netport *port)
{
	struct ifreq ifr = { 0 };

	/* TUNGETIFF tells only of an interface that the queue is part of. */
	return ioctl(port->fd, TUNGETIFF, &ifr) < 0 ||
	       ifr.ifr_flags & IFF_DETACH_QUEUE;
}

static void need_net(void)
{
	static int entered = 1;

	if (entered > 0)
		entered = vmm_net_enter();
	if (entered < 0)
		skip_because("no network namespace: %s", strerror(-entered));
}

static void a_tap_carries_frames_with_the_header_acked(void **state)
{
	const uint64_t v1 = BIT(VIRTIO_F_VERSION_1);
	char frame[12 + 60] = { 0 };
	struct netport *rx, *tx;
	struct netif *s;

	(void)state;
	need_net();
	s = source_new("tap:uvsrc0", 1);
	assert_true(netif_features(s) & BIT(VIRTIO_NET_F_HOST_TSO4));
	check_ret(netif_open(s, 0, &rx, &tx), 0);
	assert_string_equal(rx->ops->name, "tap");
	assert_int_equal(header_size(rx), 10);
	netif_set_offload(s, v1 | BIT(VIRTIO_NET_F_GUEST_CSUM));
	assert_int_equal(header_size(rx), 12);
	check_ret(vmm_link_set("uvsrc0", true), 0);
	frame[12 + 12] = 0x08;
	check_ret(send_one(tx, frame, sizeof(frame)), 1);
	assert_int_equal(tx->tx_dropped, 0);
	netport_close(rx);
	netport_close(tx);
	/* The interface lives as long as its source. */
	assert_int_not_equal(if_nametoindex("uvsrc0"), 0);
	netif_free(s);
	assert_int_equal(if_nametoindex("uvsrc0"), 0);
}

static void queues_carry_traffic_only_when_enabled(void **state)
{
	struct netport *rx[3], *tx[3];
	struct netif *s;

	(void)state;
	need_net();
	s = source_new("tap:uvsrc1", 3);
	for (unsigned int i = 0; i < 3; i++) {
		check_ret(netif_open(s, i, &rx[i], &tx[i]), 0);
		assert_true(detached(rx[i]));
	}
	netif_set_offload(s, BIT(VIRTIO_F_VERSION_1));
	assert_true(detached(rx[0]));
	netif_enable(s, 0, true);
	netif_enable(s, 2, true);
	netif_enable(s, 2, true);
	netif_set_offload(s, BIT(VIRTIO_F_VERSION_1));
	assert_false(detached(rx[0]));
	assert_true(detached(rx[1]));
	assert_false(detached(rx[2]));
	assert_int_equal(header_size(rx[2]), 12);
	netif_enable(s, 0, false);
	assert_true(detached(rx[0]));
	assert_false(detached(tx[2]));
	for (unsigned int i = 0; i < 3; i++) {
		netport_close(rx[i]);
		netport_close(tx[i]);
	}
	netif_free(s);
}

static void a_tap_in_use_is_refused_with_the_cure(void **state)
{
	struct netif *a, *b;

	(void)state;
	need_net();
	a = source_new("tap:uvsrc2", 1);
	check_ret(netif_new("tap:uvsrc2", 1, &b, error, sizeof(error)), -EBUSY);
	assert_non_null(strstr(error, "uvsrc2"));
	check_ret(netif_new("tap:uvsrc2", 2, &b, error, sizeof(error)),
		  -EINVAL);
	check_ret(netif_new("tap:lo", 1, &b, error, sizeof(error)), -EINVAL);
	netif_free(a);
}

/* A /dev of our own with the node of @ifname; false: not possible here. */
static bool make_node(const char *ifname)
{
	char path[64];
	dev_t dev = 0;

	if (vmm_macvtap_node(ifname, &dev) < 0 ||
	    mount("tmpfs", "/dev", "tmpfs", 0, NULL) < 0)
		return false;
	snprintf(path, sizeof(path), "/dev/tap%u", if_nametoindex(ifname));
	return mknod(path, S_IFCHR | 0600, dev) == 0;
}

static void a_macvtap_carries_frames_of_its_lower_link(void **state)
{
	char frame[12 + 60] = { 0 }, room[2000];
	char lower[IFNAMSIZ], far[IFNAMSIZ], ifname[IFNAMSIZ], spec[64];
	struct netport *rx, *tx;
	struct netif *s;
	int fd, wire;
	struct frame f;

	(void)state;
	need_net();
	check_ret(vmm_veth(lower, far), 0);
	fd = vmm_macvtap(lower, ifname);
	if (fd < 0)
		skip_because("no macvtap: %s", strerror(-fd));
	close(fd);
	snprintf(spec, sizeof(spec), "macvtap:%s", ifname);
	if (!make_node(ifname))
		skip_because("no node of a macvtap can be made");
	s = source_new(spec, 2);
	assert_true(netif_features(s) & BIT(VIRTIO_NET_F_HOST_TSO4));
	check_ret(netif_open(s, 1, &rx, &tx), 0);
	assert_string_equal(rx->ops->name, "macvtap");
	netif_set_offload(s, BIT(VIRTIO_F_VERSION_1));
	assert_int_equal(header_size(rx), 12);
	netif_enable(s, 1, true);
	rx->hdr_len = tx->hdr_len = 12;
	wire = check_ok(vmm_packet_open(far, VMM_ETHERTYPE, false));
	vmm_frame((uint8_t *)frame + 12, 60, 1);
	check_ret(send_one(tx, frame, sizeof(frame)), 1);
	check_ret(vmm_packet_recv(wire, room, sizeof(room), WAIT_MS), 60);
	assert_true(vmm_frame_is((uint8_t *)room, 60, 1));
	vmm_frame((uint8_t *)frame, 60, 2);
	check_ret(send(wire, frame, 60, 0), 60);
	assert_true(readable_soon(rx));
	check_ret(recv_one(rx, room, sizeof(room), &f), 1);
	assert_int_equal(f.len, 72);
	assert_true(vmm_frame_is((uint8_t *)room + 12, 60, 2));
	close(wire);
	netport_close(rx);
	netport_close(tx);
	netif_free(s);
}

static void what_is_no_macvtap_is_refused_with_the_cure(void **state)
{
	struct netif *s;

	(void)state;
	need_net();
	check_ret(netif_new("macvtap:uvnone", 1, &s, error, sizeof(error)),
		  -ENODEV);
	assert_non_null(strstr(error, "type macvtap mode bridge"));
	check_ret(netif_new("macvtap:lo", 1, &s, error, sizeof(error)),
		  -ENOENT);
	assert_non_null(strstr(error, "type macvtap mode bridge"));
}

/* ---- another process ---- */

static struct netif *adopted(const char *spec, unsigned int queues,
			     const int *fds, unsigned int n)
{
	struct netif *s;

	check_ret(netif_adopt(spec, queues, fds, n, &s, error, sizeof(error)),
		  0);
	return s;
}

static void kinds_of_descriptors_move_and_others_say_so(void **state)
{
	int fds[4] = { -1, -1, -1, -1 };
	struct netif *s, *other;

	(void)state;
	assert_true(netif_moves("tap:uv0"));
	assert_true(netif_moves("macvtap:uv0"));
	assert_true(netif_moves("packet:lo,fanout=lb"));
	assert_true(netif_moves("null:64,copy"));
	assert_true(netif_moves("loop"));
	assert_false(netif_moves("gen"));
	assert_false(netif_moves("pcap-out:/tmp/x"));
	assert_false(netif_moves("none"));
	s = source_new("null:64", 4);
	check_ret(netif_fds(s, fds), 0);
	netif_free(s);
	s = adopted("null:64", 4, NULL, 0);
	netif_free(s);
	check_ret(netif_adopt("loop", 1, fds, 1, &other, error, sizeof(error)),
		  -EINVAL);
	check_ret(
		netif_adopt("tap:uv0", 2, fds, 1, &other, error, sizeof(error)),
		-EINVAL);
	check_ret(netif_adopt("gen", 1, NULL, 0, &other, error, sizeof(error)),
		  -EOPNOTSUPP);
	assert_non_null(strstr(error, "gen"));
	check_ret(netif_adopt("x", 1, NULL, 0, &other, error, sizeof(error)),
		  -EINVAL);
}

/* What adopts a tap has descriptors of its own: here, duplicates. */
static void a_tap_that_moves_stays_as_it_is(void **state)
{
	struct netport *rx, *tx;
	struct netif *s, *other;
	int fds[2];

	(void)state;
	need_net();
	s = source_new("tap:uvsrc3", 2);
	netif_set_offload(s, BIT(VIRTIO_F_VERSION_1));
	netif_enable(s, 1, true);
	check_ret(netif_fds(s, fds), 2);
	for (unsigned int i = 0; i < 2; i++)
		fds[i] = check_ok(dup(fds[i]));
	other = adopted("tap:uvsrc3", 2, fds, 2);
	check_ret(netif_open(other, 1, &rx, &tx), 0);
	assert_false(detached(rx));
	assert_int_equal(header_size(rx), 12);
	netif_set_offload(other, 0);
	assert_int_equal(header_size(rx), 10);
	netif_enable(other, 1, false);
	assert_true(detached(rx));
	netport_close(rx);
	netport_close(tx);
	netif_free(other);
	assert_int_not_equal(if_nametoindex("uvsrc3"), 0);
	netif_free(s);
}

/* As one whose interface is gone: it has none. */
static void a_tap_that_was_deleted_is_not_adopted(void **state)
{
	struct netif *other;
	int fd;

	(void)state;
	need_net();
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		skip_because("no taps: %s", strerror(errno));
	check_ret(netif_adopt("tap:uvsrc4", 1, &fd, 1, &other, error,
			      sizeof(error)),
		  -ENODEV);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_names_are_refused_with_a_reason),
		cmocka_unit_test(good_names_are_taken),
		cmocka_unit_test(loop_gives_back_what_it_was_sent),
		cmocka_unit_test(loop_holds_the_sender_when_it_is_full),
		cmocka_unit_test(a_tap_carries_frames_with_the_header_acked),
		cmocka_unit_test(queues_carry_traffic_only_when_enabled),
		cmocka_unit_test(a_tap_in_use_is_refused_with_the_cure),
		cmocka_unit_test(what_is_no_macvtap_is_refused_with_the_cure),
		cmocka_unit_test(kinds_of_descriptors_move_and_others_say_so),
		cmocka_unit_test(a_tap_that_moves_stays_as_it_is),
		cmocka_unit_test(a_tap_that_was_deleted_is_not_adopted),
		cmocka_unit_test(a_macvtap_carries_frames_of_its_lower_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
