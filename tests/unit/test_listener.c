/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_listener.c tests listening sockets: which existing files at their path
 * are replaced, and which are not.
 */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "unixsock.h"

static char dir[] = "/tmp/uvhost-listener-XXXXXX";
static char path[64];

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/s", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(dir); /* fails if anything was left in it */
}

static bool exists(const char *name)
{
	struct stat st;

	return lstat(name, &st) == 0;
}

/* What a server that was killed leaves behind. */
static void leave_dead_socket(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = check_ok(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));

	strcpy(addr.sun_path, path);
	check_ok(bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
	check_ok(listen(fd, 1));
	close(fd);
	assert_true(exists(path));
}

static void connections_come_through_the_name(void **state)
{
	struct unix_listener l;
	int a, b;
	char c;

	(void)state;
	check_ret(unix_listen(&l, path), 0);
	check_ret(unix_accept(&l), -EAGAIN);
	a = check_ok(unix_connect(path));
	b = check_ok(unix_accept(&l));
	check_ret(unix_accept(&l), -EAGAIN);
	check_ret(write(a, "x", 1), 1);
	check_ret(read(b, &c, 1), 1);
	close(a);
	close(b);
	unix_listener_close(&l);
	unix_listener_close(&l);
	assert_false(exists(path));
	check_ret(unix_connect(path), -ENOENT);
}

static void a_listener_goes_on_in_the_next_process(void **state)
{
	struct unix_listener first, next;
	int a, copy;

	(void)state;
	check_ret(unix_listen(&first, path), 0);
	copy = check_ok(dup(first.fd));
	a = check_ok(unix_connect(path));
	unix_listener_leave(&first);
	assert_int_equal(first.fd, -1);
	assert_true(exists(path));
	check_ret(unix_listen_adopt(&next, copy, path), 0);
	close(check_ok(unix_accept(&next)));
	close(a);
	copy = check_ok(dup(next.fd));
	unix_listener_close(&next);
	assert_false(exists(path));
	/* Nobody would find it. */
	check_ret(unix_listen_adopt(&next, copy, path), -ENOENT);
	close(copy);
}

static void a_living_server_is_left_alone(void **state)
{
	struct unix_listener first, second;
	int a;

	(void)state;
	check_ret(unix_listen(&first, path), 0);
	check_ret(unix_listen(&second, path), -EADDRINUSE);
	assert_int_equal(second.fd, -1);
	/* The look at it was a connection, which is gone again. */
	close(check_ok(unix_accept(&first)));
	a = check_ok(unix_connect(path));
	close(check_ok(unix_accept(&first)));
	close(a);
	unix_listener_close(&first);
}

static void a_server_too_busy_to_accept_is_left_alone(void **state)
{
	struct unix_listener first, second;
	int fds[64], n = 0;

	(void)state;
	check_ret(unix_listen(&first, path), 0);
	while (n < 64) {
		int fd = unix_connect(path);

		if (fd < 0) {
			check_ret(fd, -EAGAIN);
			break;
		}
		fds[n++] = fd;
	}
	assert_in_range(n, 1, 63);
	check_ret(unix_listen(&second, path), -EADDRINUSE);
	while (n)
		close(fds[--n]);
	unix_listener_close(&first);
}

static void a_dead_server_is_replaced(void **state)
{
	struct unix_listener l;
	int a;

	(void)state;
	leave_dead_socket();
	check_ret(unix_connect(path), -ECONNREFUSED);
	check_ret(unix_listen(&l, path), 0);
	a = check_ok(unix_connect(path));
	close(check_ok(unix_accept(&l)));
	close(a);
	unix_listener_close(&l);
}

static void what_is_no_socket_stays(void **state)
{
	struct unix_listener l;

	(void)state;
	close(check_ok(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
	check_ret(unix_listen(&l, path), -EEXIST);
	assert_true(exists(path));
	unlink(path);
	/* Not even a link to nowhere. */
	check_ok(symlink("nowhere", path));
	check_ret(unix_listen(&l, path), -EEXIST);
	unlink(path);
}

static void a_path_that_another_file_replaced_is_not_removed(void **state)
{
	struct unix_listener old, new;

	(void)state;
	check_ret(unix_listen(&old, path), 0);
	unlink(path);
	check_ret(unix_listen(&new, path), 0);
	unix_listener_close(&old);
	assert_true(exists(path));
	unix_listener_close(&new);
	assert_false(exists(path));
}

static void bad_paths_are_refused(void **state)
{
	char longer[200];
	struct unix_listener l;

	(void)state;
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	check_ret(unix_listen(&l, longer), -ENAMETOOLONG);
	check_ret(unix_connect(longer), -ENAMETOOLONG);
	check_ret(unix_listen(&l, ""), -ENOENT);
	check_ret(unix_listen(&l, "/nowhere/at/all"), -ENOENT);
	assert_int_equal(l.fd, -1);
}

static void only_listening_stream_sockets_are_adopted(void **state)
{
	struct unix_listener l, adopted;
	int pair[2], fd;

	(void)state;
	check_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	assert_false(unix_fd_listens(pair[0]));
	check_ret(unix_listen_fd(&adopted, pair[0]), -EINVAL);
	close(pair[0]);
	close(pair[1]);
	check_ret(unix_listen_fd(&adopted, pair[0]), -EBADF);
	fd = check_ok(open("/dev/null", O_RDWR | O_CLOEXEC));
	check_ret(unix_listen_fd(&adopted, fd), -ENOTSOCK);
	close(fd);

	check_ret(unix_listen(&l, path), 0);
	fd = check_ok(dup(l.fd));
	assert_true(unix_fd_listens(fd));
	check_ret(unix_listen_fd(&adopted, fd), 0);
	unix_listener_close(&adopted);
	/* The name was not its own to remove. */
	assert_true(exists(path));
	unix_listener_close(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connections_come_through_the_name),
		cmocka_unit_test(a_listener_goes_on_in_the_next_process),
		cmocka_unit_test(a_living_server_is_left_alone),
		cmocka_unit_test(a_server_too_busy_to_accept_is_left_alone),
		cmocka_unit_test(a_dead_server_is_replaced),
		cmocka_unit_test(what_is_no_socket_stays),
		cmocka_unit_test(
			a_path_that_another_file_replaced_is_not_removed),
		cmocka_unit_test(bad_paths_are_refused),
		cmocka_unit_test(only_listening_stream_sockets_are_adopted),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
