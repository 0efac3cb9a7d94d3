/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_port.c tests which descriptors VHOST_NET_SET_BACKEND takes, and when two
 * are the same. (For macvtap: test_tap.c, where one is made.)
 */
#include "check.h"

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>

#include "abi.h"
#include "bytes.h"
#include "netport.h"

static const char *why_not; /* no namespace to make interfaces in */

static int enter_netns(void **state)
{
	(void)state;
	alarm(60);
	/* without root: every capability in a user namespace will do */
	if (unshare(CLONE_NEWNET) < 0 &&
	    unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		why_not = "no right to make a network namespace";
	return 0;
}

static int tun_open(int kind)
{
	struct ifreq ifr = { .ifr_flags = (short)kind, .ifr_name = "tap0" };
	int fd;

	if (why_not)
		skip_because("%s", why_not);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		skip_because("no /dev/net/tun");
	if (kind)
		check_ret(ioctl(fd, TUNSETIFF, &ifr), 0);
	return fd;
}

static int packet_open(int type)
{
	int fd;

	if (why_not)
		skip_because("%s", why_not);
	fd = socket(AF_PACKET, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		skip_because("no packet sockets");
	return fd;
}

static void check_taken(int fd, const char *kind)
{
	struct netport *port = NULL;
	int flags = check_ok(fcntl(fd, F_GETFL));

	check_ret(netport_from_fd(fd, &port), 0);
	assert_string_equal(port->ops->name, kind);
	assert_int_equal(port->fd, fd);
	assert_int_equal(port->hdr_len, 0);
	assert_int_equal(port->tx_dropped, 0);
	assert_int_equal(fcntl(fd, F_GETFL), flags);
	netport_close(port);
	check_errno(fcntl(fd, F_GETFD), EBADF); /* was the port's own */
}

/* and closes it */
static void check_refused(int fd, int ret)
{
	struct netport *port = (struct netport *)&port;

	check_ret(netport_from_fd(fd, &port), ret);
	assert_ptr_equal(port, &port); /* written on success only */
	check_ret(fcntl(fd, F_GETFD) < 0 ? -1 : 0, 0); /* still ours */
	close(fd);
}

static void a_number_that_is_no_file_is_refused(void **state)
{
	struct netport *port;
	int fd = check_ok(dup(0));

	(void)state;
	close(fd);
	check_ret(netport_from_fd(fd, &port), -ENOTSOCK);
	check_ret(netport_from_fd(-1, &port), -ENOTSOCK);
	check_ret(netport_from_fd(-2, &port), -ENOTSOCK);
	check_ret(netport_from_fd(INT32_MAX, &port), -ENOTSOCK);
}

static void files_of_other_kinds_are_refused(void **state)
{
	int p[2], s[2];

	(void)state;
	check_refused(eventfd(0, EFD_CLOEXEC), -ENOTSOCK);
	check_refused(open("/dev/null", O_RDWR), -ENOTSOCK);
	check_refused(open("/proc/self/stat", O_RDONLY), -ENOTSOCK);
	check_refused(open("/", O_RDONLY), -ENOTSOCK);
	check_ret(pipe(p), 0);
	check_refused(p[0], -ENOTSOCK);
	check_refused(p[1], -ENOTSOCK);
	check_ret(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s), 0);
	check_refused(s[0], -ENOTSOCK);
	check_refused(s[1], -ENOTSOCK);
	check_refused(socket(AF_INET, SOCK_DGRAM, 0), -ENOTSOCK);
}

static void a_file_opened_by_path_only_is_refused(void **state)
{
	(void)state;
	check_refused(open("/", O_PATH), -ENOTSOCK);
	if (access("/dev/net/tun", F_OK) == 0)
		check_refused(open("/dev/net/tun", O_PATH), -ENOTSOCK);
}

static void raw_sockets_of_other_families_are_refused(void **state)
{
	int fd;

	(void)state;
	close(packet_open(SOCK_RAW)); /* or skip */
	fd = socket(AF_INET, SOCK_RAW, IPPROTO_UDP);
	check_refused(check_ok(fd), -ENOTSOCK);
}

static void a_packet_socket_is_taken_if_it_is_raw(void **state)
{
	(void)state;
	check_taken(packet_open(SOCK_RAW), "packet");
	check_refused(packet_open(SOCK_DGRAM), -ENOTSOCK);
}

/* binding to an interface that is down leaves ENETDOWN pending: POLLERR */
static void a_packet_socket_with_an_error_pending_is_refused(void **state)
{
	struct sockaddr_ll sll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
	};
	int fd, error = 0;
	socklen_t len = sizeof(error);

	(void)state;
	fd = packet_open(SOCK_RAW);
	sll.sll_ifindex = (int)if_nametoindex("lo");
	check_ret(bind(fd, (struct sockaddr *)&sll, sizeof(sll)), 0);
	check_refused(dup(fd), -EINVAL);
	check_ret(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
	assert_int_equal(error, ENETDOWN);
	check_taken(fd, "packet");
}

static void a_tun_is_taken_if_it_has_an_interface(void **state)
{
	(void)state;
	check_refused(tun_open(0), -EINVAL);
	check_taken(tun_open(IFF_TAP), "tap");
	check_taken(tun_open(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR), "tap");
	check_taken(tun_open(IFF_TUN | IFF_NO_PI), "tun");
}

static void a_tun_whose_interface_is_gone_is_refused(void **state)
{
	int fd = tun_open(IFF_TAP | IFF_NO_PI);

	(void)state;
	if (system("ip link del tap0") != 0) { /* NOLINT */
		close(fd);
		skip_because("ip(8) cannot delete an interface here");
	}
	check_refused(fd, -EINVAL);
}

static void a_detached_queue_is_taken_and_sends(void **state)
{
	struct ifreq up = { .ifr_name = "tap0", .ifr_flags = IFF_UP };
	struct ifreq detach = { .ifr_flags = IFF_DETACH_QUEUE };
	uint8_t bytes[60] = { [12] = 0x88, [13] = 0xb5 };
	struct iovec iov = { bytes, sizeof(bytes) };
	struct frame frame = { &iov, 1, sizeof(bytes), false };
	struct netport *port;
	int ctl = check_ok(socket(AF_INET, SOCK_DGRAM, 0));
	int fd = tun_open(IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE);

	(void)state;
	check_ret(ioctl(ctl, SIOCSIFFLAGS, &up), 0);
	check_ret(ioctl(fd, TUNSETQUEUE, &detach), 0);
	check_ret(netport_from_fd(fd, &port), 0);
	check_ret(port->ops->send(port, &frame, 1), 1);
	assert_int_equal(port->tx_dropped, 0);
	check_ret(port->ops->recv(port, &frame, 1), -EAGAIN);
	netport_close(port);
	close(ctl);
}

/* ---- the same file? ---- */

static void a_duplicate_is_the_same(void **state)
{
	int a = check_ok(eventfd(0, 0)), b = check_ok(dup(a));

	(void)state;
	assert_true(netport_same_fd(a, a));
	assert_true(netport_same_fd(a, b));
	close(a);
	close(b);
}

static void another_open_of_the_same_file_is_not_the_same(void **state)
{
	int a = check_ok(open("/dev/null", O_RDWR));
	int b = check_ok(open("/dev/null", O_RDWR));
	int e = check_ok(eventfd(0, 0)), f = check_ok(eventfd(0, 0));

	(void)state;
	assert_false(netport_same_fd(a, b));
	assert_false(netport_same_fd(e, f));
	assert_false(netport_same_fd(a, e));
	close(a);
	close(b);
	close(e);
	close(f);
}

static void nothing_is_the_same_as_a_closed_one(void **state)
{
	int a = check_ok(dup(0)), b = check_ok(dup(0));

	(void)state;
	close(b);
	assert_false(netport_same_fd(a, b));
	assert_false(netport_same_fd(b, b));
	assert_false(netport_same_fd(-1, -1));
	close(a);
}

static void without_help_only_the_same_number_is_the_same(void **state)
{
	int a = check_ok(eventfd(0, 0)), b = check_ok(dup(a));

	(void)state;
	assert_true(netport_same_fd(a, a));
	assert_false(netport_same_fd(a, b));
	close(a);
	close(b);
}

/* ---- kernels that cannot say ---- */

static bool have_filter;

static int add_filter(struct sock_filter *code, size_t n)
{
	struct sock_fprog prog = { (unsigned short)n, code };

	have_filter = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
		      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0;
	return 0;
}

static int refuse_kcmp(void **state)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_kcmp, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	(void)state;
	return add_filter(code, ARRAY_SIZE(code));
}

static int refuse_dupfd_query(void **state)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fcntl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, F_DUPFD_QUERY, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	(void)state;
	return add_filter(code, ARRAY_SIZE(code));
}

static int needs_filter(void **state)
{
	(void)state;
	if (!have_filter)
		skip_because("no seccomp filter to take kcmp away with");
	return 0;
}

static int needs_dupfd_query(void **state)
{
	needs_filter(state);
	if (fcntl(0, F_DUPFD_QUERY, 0) != 1)
		skip_because("no F_DUPFD_QUERY before Linux 6.10");
	return 0;
}

int main(void)
{
	const struct CMUnitTest kinds[] = {
		cmocka_unit_test(a_number_that_is_no_file_is_refused),
		cmocka_unit_test(files_of_other_kinds_are_refused),
		cmocka_unit_test(a_file_opened_by_path_only_is_refused),
		cmocka_unit_test(raw_sockets_of_other_families_are_refused),
		cmocka_unit_test(a_packet_socket_is_taken_if_it_is_raw),
		cmocka_unit_test(
			a_packet_socket_with_an_error_pending_is_refused),
		cmocka_unit_test(a_tun_is_taken_if_it_has_an_interface),
		cmocka_unit_test(a_tun_whose_interface_is_gone_is_refused),
		cmocka_unit_test(a_detached_queue_is_taken_and_sends),
		cmocka_unit_test(a_duplicate_is_the_same),
		cmocka_unit_test(another_open_of_the_same_file_is_not_the_same),
		cmocka_unit_test(nothing_is_the_same_as_a_closed_one),
	};
	const struct CMUnitTest no_kcmp[] = {
		cmocka_unit_test_setup(a_duplicate_is_the_same,
				       needs_dupfd_query),
		cmocka_unit_test_setup(
			another_open_of_the_same_file_is_not_the_same,
			needs_dupfd_query),
		cmocka_unit_test_setup(nothing_is_the_same_as_a_closed_one,
				       needs_dupfd_query),
	};
	const struct CMUnitTest neither[] = {
		cmocka_unit_test_setup(
			without_help_only_the_same_number_is_the_same,
			needs_filter),
		cmocka_unit_test_setup(
			another_open_of_the_same_file_is_not_the_same,
			needs_filter),
		cmocka_unit_test_setup(nothing_is_the_same_as_a_closed_one,
				       needs_filter),
	};
	int failed =
		cmocka_run_group_tests_name("port", kinds, enter_netns, NULL);

	failed += cmocka_run_group_tests_name("port without kcmp", no_kcmp,
					      refuse_kcmp, NULL);
	return failed +
	       cmocka_run_group_tests_name("port without F_DUPFD_QUERY either",
					   neither, refuse_dupfd_query, NULL);
}
