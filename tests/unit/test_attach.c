/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_attach.c tests attach.c: the open files of one guest share one port of a
 * network, rings stop and start, and a vhost-user socket gets its queue pairs
 * the same way.
 */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/virtio_net.h>

#include "attach.h"
#include "bytes.h"
#include "nets.h"
#include "offload.h"
#include "options.h"
#include "vmm_net.h"

#define VMM 100 /* a process that owns sessions */
#define LEN 60
#define WAIT_MS 60000

static bool have_taps;

struct fixture {
	struct nets *nets;
	struct attach *attach;
};

static struct options opts;
static char error[256];

static struct attach *attach(struct fixture *f, const struct option_end *end,
			     const struct attach_config *config)
{
	struct attach_config c = *config;
	struct attach *a;

	check_ret(nets_attach(f->nets, end, &c, &a, error, sizeof(error)), 0);
	return a;
}

static void setup_with(struct fixture *f, const char *device)
{
	const struct attach_config files = { .queues = ATTACH_PAIRS_MAX,
					     .swport.name = "d",
					     .numbered = true };
	char *argv[] = { (char[]){ "uvhostd" },    (char[]){ "--net=lan" },
			 (char[]){ "--device" },   (char *)device,
			 (char[]){ "--net=wire" }, NULL };

	check_ret(options_parse(5, argv, &opts, error, sizeof(error)), 0);
	check_ret(nets_new(&opts, NULL, NULL, &f->nets), 0);
	f->attach = attach(f, &opts.devs[0].end, &files);
}

static int setup(void **state)
{
	static struct fixture f;

	setup_with(&f, "d,net=lan");
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	attach_free(f->attach);
	nets_free(f->nets);
	return 0;
}

static int tap_open(const char *name, bool multi_queue)
{
	const struct vmm_tap_config c = { .ifname = name,
					  .multi_queue = multi_queue };
	char ifname[IFNAMSIZ];
	int fd;

	if (!have_taps)
		skip_because("no taps on this machine");
	fd = vmm_tap_open(&c, ifname);
	assert_true(fd >= 0);
	return fd;
}

/* A session, both rings of which have backend @fd. */
struct session {
	struct attach_pair *pair;
	struct netport *port[2];
};

/* As a device does with the descriptor of VHOST_NET_SET_BACKEND. */
static int open_ring(struct attach_pair *pair, unsigned int qi, int fd,
		     pid_t owner, struct netport **port)
{
	int copy = check_ok(dup(fd));
	int ret = attach_pair_open(pair, qi, copy, owner, port);

	if (ret < 0 || (*port)->fd != copy)
		check_ret(close(copy), 0);
	return ret;
}

static struct session session_open(struct fixture *f, int fd, pid_t owner)
{
	struct session s;

	check_ret(attach_pair_new(f->attach, &s.pair), 0);
	assert_string_equal(attach_pair_name(s.pair), "");
	for (unsigned int qi = 0; qi < 2; qi++) {
		check_ret(open_ring(s.pair, qi, fd, owner, &s.port[qi]), 0);
		s.port[qi]->hdr_len = 12;
	}
	attach_pair_enable(s.pair, true, true);
	return s;
}

static void session_close(struct session *s)
{
	for (unsigned int qi = 0; qi < 2; qi++)
		netport_close(s->port[qi]);
	attach_pair_free(s->pair);
}

static void send_from(struct session *s, uint8_t number)
{
	uint8_t bytes[12 + LEN] = { 0 };
	struct iovec iov = { bytes, sizeof(bytes) };
	struct frame fr = { &iov, 1, sizeof(bytes), false };

	memset(bytes + 12, 0xff, 6); /* broadcast */
	bytes[12 + 6] = 2;
	bytes[12 + 11] = number;
	bytes[12 + 12] = 0x88;
	bytes[12 + 13] = 0xb5;
	check_ret(s->port[1]->ops->send(s->port[1], &fr, 1), 1);
}

/* The sender of the next frame; 0: there is none. */
static uint8_t recv_from(struct session *s)
{
	uint8_t bytes[2048];
	struct iovec iov = { bytes, sizeof(bytes) };
	struct frame fr = { &iov, 1, 0, false };
	int ret = s->port[0]->ops->recv(s->port[0], &fr, 1);

	if (ret == -EAGAIN)
		return 0;
	check_ret(ret, 1);
	assert_int_equal(fr.len, 12 + LEN);
	return bytes[12 + 11];
}

static void sessions_with_queues_of_a_tap_are_one_port(void **state)
{
	struct fixture *f = *state;
	int q[2], other = tap_open(NULL, false);
	struct session a, b, c;

	q[0] = tap_open("uvmq", true);
	q[1] = tap_open("uvmq", true);
	a = session_open(f, q[0], VMM);
	b = session_open(f, q[1], VMM);
	c = session_open(f, other, VMM);
	assert_string_equal(attach_pair_name(a.pair), "d.0");
	assert_string_equal(attach_pair_name(b.pair), "d.0");
	assert_string_equal(attach_pair_name(c.pair), "d.1");
	/* One copy, on one of its queues; and none comes back. */
	send_from(&c, 9);
	assert_int_equal(recv_from(&a) + recv_from(&b), 9);
	send_from(&b, 5);
	assert_int_equal(recv_from(&c), 5);
	assert_int_equal(recv_from(&a), 0);
	/* The port is there as long as one of them is. */
	session_close(&a);
	send_from(&c, 9);
	assert_int_equal(recv_from(&b), 9);
	session_close(&b);
	session_close(&c);
	close(q[0]);
	close(q[1]);
	close(other);
}

static void two_processes_are_two_ports(void **state)
{
	struct fixture *f = *state;
	int q[2] = { tap_open("uvmq", true), tap_open("uvmq", true) };
	struct session a = session_open(f, q[0], VMM);
	struct session b = session_open(f, q[1], VMM + 1);

	assert_string_not_equal(attach_pair_name(a.pair),
				attach_pair_name(b.pair));
	send_from(&a, 7);
	assert_int_equal(recv_from(&b), 7);
	session_close(&a);
	session_close(&b);
	close(q[0]);
	close(q[1]);
}

static void names_are_used_again(void **state)
{
	struct fixture *f = *state;
	int fd = tap_open(NULL, false);

	for (int i = 0; i < 1000; i++) {
		struct session s = session_open(f, fd, VMM);

		assert_string_equal(attach_pair_name(s.pair), "d.0");
		session_close(&s);
	}
	close(fd);
}

static void rings_stop_and_start_one_by_one(void **state)
{
	struct fixture *f = *state;
	int fd[2] = { tap_open(NULL, false), tap_open(NULL, false) };
	struct session a = session_open(f, fd[0], VMM);
	struct session b = session_open(f, fd[1], VMM + 1);
	struct netport *again;

	/* No RX ring: nothing waits for it, also on a wire. */
	netport_close(b.port[0]);
	attach_pair_enable(b.pair, false, true);
	for (int i = 0; i < 10000; i++)
		send_from(&a, 1);
	check_ret(open_ring(b.pair, 0, fd[1], VMM + 1, &b.port[0]), 0);
	b.port[0]->hdr_len = 12;
	attach_pair_enable(b.pair, true, true);
	send_from(&a, 2);
	assert_int_equal(recv_from(&b), 2);
	/* A new one before the old one goes, as with another descriptor. */
	check_ret(open_ring(b.pair, 0, fd[0], VMM + 1, &again), 0);
	netport_close(b.port[0]);
	b.port[0] = again;
	again->hdr_len = 12;
	send_from(&a, 3);
	assert_int_equal(recv_from(&b), 3);
	session_close(&a);
	session_close(&b);
	close(fd[0]);
	close(fd[1]);
}

/* ---- devices in other processes ---- */

/** struct remote - a session whose device has the guest's side of a ring */
struct remote {
	struct session s; /* its ports are the guest's side's */
	struct framering *ring, *guest;
};

static struct remote remote_open(struct fixture *f, int fd, pid_t owner)
{
	int fds[FRAMERING_FDS];
	struct remote r;

	check_ret(framering_new(&r.ring), 0);
	framering_fds(r.ring, fds);
	for (unsigned int i = 0; i < FRAMERING_FDS; i++)
		fds[i] = check_ok(dup(fds[i]));
	check_ret(framering_adopt(fds, &r.guest), 0);
	check_ret(framering_open(r.guest, FRAMERING_GUEST, &r.s.port[0],
				 &r.s.port[1]),
		  0);
	framering_enable(r.guest, true);
	check_ret(attach_pair_new(f->attach, &r.s.pair), 0);
	for (unsigned int i = 0; i < 2; i++)
		check_ret(attach_pair_connect(r.s.pair, fd, owner, r.ring), 0);
	return r;
}

static void remote_close(struct remote *r)
{
	session_close(&r->s);
	framering_free(r->guest);
	framering_free(r->ring);
}

/* The sender's uplink passes it on in a while. */
static void wait_from(struct session *s, uint8_t number)
{
	uint8_t from = 0;

	for (int i = 0; i < WAIT_MS && !from; i++) {
		from = recv_from(s);
		if (!from)
			usleep(1000);
	}
	assert_int_equal(from, number);
}

/* The receiver's uplink sees in a while that it is enabled. */
static void say_until_heard(struct session *from, uint8_t number,
			    struct session *to)
{
	uint8_t heard = 0;

	for (int i = 0; i < WAIT_MS && !heard; i++) {
		send_from(from, number);
		usleep(1000);
		heard = recv_from(to);
	}
	assert_int_equal(heard, number);
}

static void devices_in_other_processes_are_in_the_network(void **state)
{
	struct fixture *f = *state;
	int q[2] = { tap_open("uvmq", true), tap_open("uvmq", true) };
	int other = tap_open(NULL, false);
	struct session here = session_open(f, other, VMM);
	struct remote a = remote_open(f, q[0], VMM), b, c;

	assert_string_equal(attach_pair_name(here.pair), "d.0");
	assert_string_equal(attach_pair_name(a.s.pair), "d.1");
	send_from(&a.s, 5);
	wait_from(&here, 5);
	/* The second queue pair of its guest, and another guest. */
	b = remote_open(f, q[1], VMM);
	c = remote_open(f, q[1], VMM + 1);
	assert_string_equal(attach_pair_name(b.s.pair), "d.1");
	assert_string_equal(attach_pair_name(c.s.pair), "d.2");
	say_until_heard(&b.s, 6, &c.s);
	wait_from(&here, 6);
	assert_int_equal(recv_from(&a.s), 0);
	/* The port is there as long as one of them is. */
	remote_close(&a);
	say_until_heard(&c.s, 7, &b.s);
	remote_close(&b);
	remote_close(&c);
	session_close(&here);
	close(q[0]);
	close(q[1]);
	close(other);
}

static void descriptors_are_checked_all_the_same(void **state)
{
	struct fixture *f = *state;
	struct netport *port;
	struct attach_pair *pair;

	check_ret(attach_pair_new(f->attach, &pair), 0);
	check_ret(open_ring(pair, 0, STDIN_FILENO, VMM, &port), -ENOTSOCK);
	attach_pair_free(pair);
}

static void a_loop_is_of_each_session(void **state)
{
	int fd = tap_open(NULL, false);
	struct fixture f;
	struct session a, b;

	(void)state;
	setup_with(&f, "d,port=loop");
	a = session_open(&f, fd, VMM);
	b = session_open(&f, fd, VMM);
	send_from(&a, 4);
	assert_int_equal(recv_from(&a), 4);
	assert_int_equal(recv_from(&b), 0);
	session_close(&a);
	session_close(&b);
	attach_free(f.attach);
	nets_free(f.nets);
	close(fd);
}

static void without_anything_rings_have_the_descriptor(void **state)
{
	int copy, fd = tap_open(NULL, false);
	struct attach_pair *pair;
	struct netport *port;
	struct fixture f;

	(void)state;
	setup_with(&f, "d");
	check_ret(attach_pair_new(f.attach, &pair), 0);
	copy = check_ok(dup(fd));
	check_ret(attach_pair_open(pair, 0, copy, VMM, &port), 0);
	assert_string_equal(port->ops->name, "tap");
	assert_int_equal(port->fd, copy);
	netport_close(port);
	attach_pair_free(pair);
	attach_free(f.attach);
	nets_free(f.nets);
	close(fd);
}

static void the_guest_of_a_socket_is_one_port_with_its_queue_pairs(void **state)
{
	const struct attach_config pairs = { .queues = 2, .swport.name = "s" };
	struct fixture *f = *state;
	int fd = tap_open(NULL, false);
	struct session a = session_open(f, fd, VMM), s = { NULL, { NULL } };
	struct attach *attached = attach(f, &opts.devs[0].end, &pairs);
	struct attach_guest *g, *again;

	check_ret(attach_join(attached, &g), 0);
	assert_true(attach_features(g) & BIT(VIRTIO_NET_F_HOST_TSO6));
	assert_true(attach_features(g) & BIT(VIRTIO_NET_F_GUEST_CSUM));
	check_ret(attach_open(g, 2, &s.port[0], &s.port[1]), -EINVAL);
	check_ret(attach_open(g, 1, &s.port[0], &s.port[1]), 0);
	send_from(&a, 1);
	attach_enable(g, 1, false, true);
	send_from(&a, 1);
	assert_int_equal(recv_from(&s), 0);
	attach_enable(g, 1, true, true);
	send_from(&a, 1);
	assert_int_equal(recv_from(&s), 1);
	send_from(&s, 5);
	assert_int_equal(recv_from(&a), 5);
	attach_set_offload(g, BIT(VIRTIO_NET_F_GUEST_CSUM));
	/* Nobody asked for the name, so the second gets another one. */
	check_ret(attach_join(attached, &again), 0);
	attach_leave(again);
	netport_close(s.port[0]);
	netport_close(s.port[1]);
	attach_leave(g);
	attach_free(attached);
	session_close(&a);
	close(fd);
}

static void a_name_that_was_asked_for_is_given_once(void **state)
{
	const struct attach_config one = { .queues = 1, .swport.name = "s" };
	struct fixture *f = *state;
	struct option_end end = opts.devs[0].end;
	struct attach_guest *g, *again;
	struct attach *attached;

	strcpy(end.name, "mine");
	attached = attach(f, &end, &one);
	check_ret(attach_join(attached, &g), 0);
	check_ret(attach_join(attached, &again), -EEXIST);
	attach_leave(g);
	check_ret(attach_join(attached, &g), 0);
	attach_leave(g);
	attach_free(attached);
}

/* The end of the source address and the type of what send_from() sends. */
static bool has_frame_from(const char *path, uint8_t number)
{
	const uint8_t frame[] = { 0, number, 0x88, 0xb5 };
	FILE *file = fopen(path, "re");
	char bytes[4096];
	size_t n;

	assert_non_null(file);
	n = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	return memmem(bytes, n, frame, sizeof(frame)) != NULL;
}

static void a_capture_records_what_a_descriptor_carries(void **state)
{
	char path[] = "/tmp/uvhost-attach-XXXXXX", device[64];
	int fd = tap_open(NULL, false), file = mkstemp(path);
	struct session s;
	struct fixture f;

	(void)state;
	assert_true(file >= 0);
	snprintf(device, sizeof(device), "d,capture=%s", path);
	setup_with(&f, device);
	s = session_open(&f, fd, VMM);
	assert_string_equal(s.port[1]->ops->name, "tap");
	send_from(&s, 8);
	session_close(&s);
	attach_free(f.attach);
	nets_free(f.nets);
	assert_true(has_frame_from(path, 8));
	assert_false(has_frame_from(path, 9));
	unlink(path);
	close(file);
	close(fd);
}

/* ---- a network in another process ---- */

struct remotenet_port {
	char name[NETWORK_NAME_MAX + 1];
	const struct framering *ring[2];
	bool offload;
};

/* What it was asked for. */
static struct {
	struct remotenet net;
	struct remotenet_port port;
	unsigned int ports, queues;
	int capture;
	bool fixed_name;
	int error;
} remote;

static int remote_join(struct remotenet *n, const struct swport_config *config,
		       bool fixed_name, unsigned int queues, int capture,
		       struct remotenet_port **out)
{
	assert_ptr_equal(n, &remote.net);
	if (remote.error)
		return remote.error;
	memcpy(remote.port.name, config->name, sizeof(remote.port.name));
	remote.ports++;
	remote.queues = queues;
	remote.fixed_name = fixed_name;
	remote.capture = capture;
	*out = &remote.port;
	return 0;
}

static const char *remote_name(const struct remotenet_port *p)
{
	return p->name;
}

static void remote_connect(struct remotenet_port *p, unsigned int queue,
			   struct framering *ring, bool offload)
{
	assert_null(p->ring[queue]);
	p->ring[queue] = ring;
	p->offload = offload;
}

static void remote_disconnect(struct remotenet_port *p, unsigned int queue)
{
	p->ring[queue] = NULL;
}

static void remote_leave(struct remotenet_port *p)
{
	assert_ptr_equal(p, &remote.port);
	memset(p, 0, sizeof(*p));
	remote.ports--;
}

static struct attach *attach_remote(bool numbered)
{
	static const struct remotenet_ops ops = {
		.join = remote_join,
		.name = remote_name,
		.connect = remote_connect,
		.disconnect = remote_disconnect,
		.leave = remote_leave,
	};
	struct attach_config c = { .queues = 2,
				   .remote = &remote.net,
				   .remote_capture = 3,
				   .swport.name = "d",
				   .fixed_name = true,
				   .numbered = numbered };
	struct attach *a;

	memset(&remote, 0, sizeof(remote));
	remote.net.ops = &ops;
	check_ret(attach_new(&c, &a, error, sizeof(error)), 0);
	assert_true(attach_is_remote(a));
	return a;
}

static void a_guest_joins_a_remote_network_with_its_rings(void **state)
{
	struct attach *a = attach_remote(false);
	struct netport *rx, *tx;
	struct framering *ring;
	struct attach_guest *g;
	const char *port;

	(void)state;
	check_ret(framering_new(&ring), 0);
	remote.error = -ENOSPC;
	check_ret(attach_join(a, &g), -ENOSPC);
	remote.error = 0;
	check_ret(attach_join(a, &g), 0);
	assert_string_equal(remote.port.name, "d");
	assert_int_equal(remote.queues, 2);
	assert_int_equal(remote.capture, 3);
	assert_true(remote.fixed_name);
	assert_true(attach_features(g) == OFFLOADS_BOTH);
	check_ret(attach_open(g, 0, &rx, &tx), -EOPNOTSUPP);
	check_ret(attach_fds(a, &port, NULL), -EOPNOTSUPP);
	check_ret(attach_connect(g, 1, ring), 0);
	assert_null(remote.port.ring[0]);
	assert_ptr_equal(remote.port.ring[1], ring);
	assert_true(remote.port.offload);
	attach_leave(g);
	assert_int_equal(remote.ports, 0);
	framering_free(ring);
	attach_free(a);
}

/* The guest's side of the ring says so, and its network's side has done it. */
static void *follow_later(void *arg)
{
	struct framering *ring = arg;

	usleep(10000);
	framering_followed(ring, true);
	return NULL;
}

static void open_files_are_queues_of_a_remote_port(void **state)
{
	struct attach *a = attach_remote(true);
	struct attach_pair *p, *q;
	struct framering *ring;
	struct netport *port;
	pthread_t thread;

	(void)state;
	check_ret(framering_new(&ring), 0);
	check_ret(attach_pair_new(a, &p), 0);
	check_ret(attach_pair_new(a, &q), 0);
	assert_int_equal(remote.ports, 0);
	assert_string_equal(attach_pair_name(p), "");
	check_ret(attach_pair_open(p, 0, -1, VMM, &port), -EOPNOTSUPP);
	assert_true(attach_pair_follow(p)); /* nothing to follow */
	check_ret(attach_pair_connect(p, -1, VMM, ring), 0);
	check_ret(attach_pair_connect(p, -1, VMM, ring), 0);
	assert_int_equal(remote.ports, 1);
	assert_string_equal(attach_pair_name(p), "d.0");
	assert_false(remote.fixed_name);
	assert_ptr_equal(remote.port.ring[0], ring);
	assert_false(remote.port.offload);
	remote.error = -ENOSPC;
	check_ret(attach_pair_connect(q, -1, VMM, ring), -ENOSPC);
	framering_enable(ring, true);
	assert_false(attach_pair_follow(p));
	check_ret(-pthread_create(&thread, NULL, follow_later, ring), 0);
	attach_pair_follow(p);
	pthread_join(thread, NULL);
	assert_true(attach_pair_follow(p));
	attach_pair_free(q);
	attach_pair_free(p);
	assert_int_equal(remote.ports, 0);
	framering_free(ring);
	attach_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			sessions_with_queues_of_a_tap_are_one_port, setup,
			teardown),
		cmocka_unit_test_setup_teardown(two_processes_are_two_ports,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			devices_in_other_processes_are_in_the_network, setup,
			teardown),
		cmocka_unit_test_setup_teardown(names_are_used_again, setup,
						teardown),
		cmocka_unit_test_setup_teardown(rings_stop_and_start_one_by_one,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			descriptors_are_checked_all_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(
			the_guest_of_a_socket_is_one_port_with_its_queue_pairs,
			setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_name_that_was_asked_for_is_given_once, setup,
			teardown),
		cmocka_unit_test(a_guest_joins_a_remote_network_with_its_rings),
		cmocka_unit_test(open_files_are_queues_of_a_remote_port),
		cmocka_unit_test(a_loop_is_of_each_session),
		cmocka_unit_test(without_anything_rings_have_the_descriptor),
		cmocka_unit_test(a_capture_records_what_a_descriptor_carries),
	};

	have_taps = vmm_net_enter() == 0;
	if (!have_taps)
		print_message("no network namespace: tests with taps are "
			      "skipped\n");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
