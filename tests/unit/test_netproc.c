/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_netproc.c tests what the worker process of a network is told, and when
 * another one is started.
 *
 * The process is this program itself (play_process()). It tells the test which
 * messages it got, and does what the test says, over a socket of their own.
 * The test runs the loop that the network is on.
 */
#include "check.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "bytes.h"
#include "fd.h"
#include "log.h"
#include "loop.h"
#include "manager.h"
#include "netif.h"
#include "netmsg.h"
#include "netproc.h"
#include "store.h"
#include "wmsg.h"
#include "wproc.h"

#define DEADLINE_MS 60000
/* Processes that wait for the test to accept them. */
#define PROCESSES 8
#define TOLD_MAX 65536

/** enum order - what the test says to the process */
enum order {
	ORDER_REPLY,   /* to NET_RUN, with @arg */
	ORDER_SPOILED, /* say so of queue 0 of the port @arg; see SPOILED() */
	ORDER_SEND,    /* a message of the type @arg */
	ORDER_CLOSE,   /* the socket to the network, and live on */
	ORDER_STAY,    /* live on when the socket ends */
	ORDER_DEAF,    /* read no message */
	ORDER_LISTEN,  /* read them again */
	ORDER_EXIT,    /* with status @arg */
	ORDER_ABORT,
};

/* Argument of ORDER_SPOILED: a ring of queue 0. */
#define SPOILED(id, serial) ((int64_t)(id) << 32 | (serial))

struct command {
	enum order order;
	int64_t arg;
};

/** struct told - a message that the process got; @type 0: its first one, with
 * its process id in @id */
struct told {
	unsigned int type;
	uint32_t id, queue;
	unsigned int nfds;
};

/* ---- the process ---- */

static struct sockaddr_un address(pid_t test, socklen_t *len)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1,
			 "uvhost-test-netproc-%d", test);

	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			   (size_t)n);
	return a;
}

static int call_test(void)
{
	socklen_t len;
	struct sockaddr_un a = address(getppid(), &len);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, len) < 0)
		_exit(99);
	return fd;
}

static void say(unsigned int type, const void *body, size_t len)
{
	const struct wmsg_out out = {
		.type = type,
		.part = { { (void *)(uintptr_t)body, len } },
		.nparts = 1,
	};

	wmsg_send(WPROC_SOCK, &out, 0);
}

static void answer(unsigned int type, int64_t number)
{
	const struct wmsg_number n = { .n = number };

	say(type, &n, sizeof(n));
}

static void tell_test(int test, const struct wmsg_in *in)
{
	struct told t = { .type = in->hdr.type, .nfds = in->nfds };
	struct netmsg_port port;
	struct netmsg_ring ring;
	struct netmsg_leave leave;

	if (netmsg_get_port(in, &port) == 0) {
		t.id = port.id;
	} else if (netmsg_get_ring(in, &ring) == 0) {
		t.id = ring.id;
		t.queue = ring.queue;
	} else if (netmsg_get_leave(in, &leave) == 0) {
		t.id = leave.id;
		t.queue = leave.queue;
	}
	if (send(test, &t, sizeof(t), MSG_NOSIGNAL) < 0)
		_exit(98);
}

/** struct play - the process; @sock: -1: its socket is not read */
struct play {
	int test, sock;
	bool stays;
	struct wmsg_in in;
};

static void obey(struct play *p)
{
	struct command c;

	if (recv(p->test, &c, sizeof(c), 0) != sizeof(c))
		_exit(97); /* the test has ended */
	switch (c.order) {
	case ORDER_REPLY:
		answer(WMSG_NET_RUN | WMSG_REPLY, c.arg);
		break;
	case ORDER_SPOILED:
		say(WMSG_NET_SPOILED,
		    &(struct netmsg_spoiled){ .id = (uint32_t)(c.arg >> 32),
					      .serial = (uint32_t)c.arg },
		    sizeof(struct netmsg_spoiled));
		break;
	case ORDER_SEND:
		answer((unsigned int)c.arg, 0);
		break;
	case ORDER_CLOSE:
		close(WPROC_SOCK);
		p->sock = -1;
		break;
	case ORDER_STAY:
		p->stays = true;
		break;
	case ORDER_DEAF:
	case ORDER_LISTEN:
		p->sock = c.order == ORDER_DEAF ? -1 : WPROC_SOCK;
		break;
	case ORDER_EXIT:
		_exit((int)c.arg);
	case ORDER_ABORT:
		signal(SIGABRT, SIG_DFL);
		raise(SIGABRT);
	}
}

static void hear(struct play *p)
{
	int ret = wmsg_recv(WPROC_SOCK, &p->in, 0);

	if (ret == 0)
		tell_test(p->test, &p->in);
	else if (!p->stays)
		_exit(0);
	else
		p->sock = -1;
	wmsg_in_release(&p->in);
}

static void __attribute__((noreturn)) play_process(void)
{
	const struct told first = { .id = (uint32_t)getpid() };
	struct play p = { .test = call_test(), .sock = WPROC_SOCK };

	if (wmsg_in_init(&p.in, WMSG_PACKET_MAX, true) < 0 ||
	    send(p.test, &first, sizeof(first), MSG_NOSIGNAL) < 0)
		_exit(96);
	for (;;) {
		struct pollfd fds[] = { { .fd = p.test, .events = POLLIN },
					{ .fd = p.sock, .events = POLLIN } };

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			_exit(95);
		if (fds[0].revents)
			obey(&p);
		else if (fds[1].revents)
			hear(&p);
	}
}

/* ---- the test ---- */

/**
 * struct fixture - a network
 * @process: the connection of the latest process; fd -1: it has ended
 * @pid:     of that process
 * @started: processes so far
 * @settled: calls of netproc_config.settled
 * @told:    what the latest process was told, as text
 */
struct fixture {
	struct loop *loop;
	struct netproc *net;
	struct netif *null;
	struct loop_watch listener, process;
	pid_t pid;
	unsigned int started, settled;
	char told[TOLD_MAX];
	size_t len;
};

/* Long delays pass at once: a process that lingers, and the back-off. */
static bool hasty;
/* Signals that are not sent: the system call fails. */
static int failing_kills;

int __real_timerfd_settime(int fd, int flags, const struct itimerspec *new,
			   struct itimerspec *old);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *new,
			   struct itimerspec *old);
int __real_pidfd_send_signal(int fd, int sig, siginfo_t *info,
			     unsigned int flags);
int __wrap_pidfd_send_signal(int fd, int sig, siginfo_t *info,
			     unsigned int flags);

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *new,
			   struct itimerspec *old)
{
	const struct itimerspec soon = { .it_value.tv_nsec = 1 };

	return __real_timerfd_settime(fd, flags, hasty ? &soon : new, old);
}

int __wrap_pidfd_send_signal(int fd, int sig, siginfo_t *info,
			     unsigned int flags)
{
	if (!failing_kills)
		return __real_pidfd_send_signal(fd, sig, info, flags);
	failing_kills--;
	errno = EPERM;
	return -1;
}

static void note(struct fixture *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void note(struct fixture *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	f->len +=
		(size_t)vsnprintf(f->told + f->len, TOLD_MAX - f->len, fmt, ap);
	va_end(ap);
	assert_true(f->len < TOLD_MAX);
}

static void note_told(struct fixture *f, const struct told *t)
{
	switch (t->type) {
	case WMSG_NET_START:
		note(f, "start ");
		break;
	case WMSG_NET_CAPTURE:
		note(f, "capture ");
		break;
	case WMSG_NET_PORT:
		note(f, "port %u ", t->id);
		break;
	case WMSG_NET_RUN:
		note(f, "run ");
		break;
	case WMSG_NET_RING:
		note(f, "ring %u.%u ", t->id, t->queue);
		break;
	case WMSG_NET_LEAVE:
		if (t->queue == NETMSG_ALL)
			note(f, "leave %u ", t->id);
		else
			note(f, "leave %u.%u ", t->id, t->queue);
		break;
	default:
		note(f, "print ");
	}
}

static void close_process(struct fixture *f)
{
	int fd = f->process.fd;

	loop_del(f->loop, &f->process);
	fd_drop(&fd);
	f->pid = 0;
}

static void on_process(struct loop_watch *watch, uint32_t events)
{
	struct fixture *f = container_of(watch, struct fixture, process);
	struct told t;
	ssize_t n = recv(watch->fd, &t, sizeof(t), MSG_DONTWAIT);

	(void)events;
	if (n != sizeof(t))
		close_process(f);
	else if (t.type)
		note_told(f, &t);
	else
		f->pid = (pid_t)t.id;
}

static void on_listener(struct loop_watch *watch, uint32_t events)
{
	struct fixture *f = container_of(watch, struct fixture, listener);
	int fd = check_ok(accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC));

	(void)events;
	if (f->process.fd >= 0)
		close_process(f);
	f->len = 0;
	f->told[0] = '\0';
	f->started++;
	check_ret(loop_add(f->loop, &f->process, fd, EPOLLIN), 0);
}

static void turn(struct fixture *f)
{
	loop_run_jobs(f->loop);
	if (check_ok(loop_dispatch(f->loop, 1, DEADLINE_MS)) == 0)
		fail_msg("nothing happens; told: %s", f->told);
}

#define AWAIT(f, condition)          \
	do                           \
		while (!(condition)) \
			turn(f);     \
	while (0)

/* The process was told this and nothing else since the last call. */
static void expect(struct fixture *f, const char *text)
{
	AWAIT(f, f->len >= strlen(text));
	assert_string_equal(f->told, text);
	f->len = 0;
	f->told[0] = '\0';
}

static void command(struct fixture *f, enum order order, int64_t arg)
{
	const struct command c = { order, arg };

	AWAIT(f, f->pid);
	assert_int_equal(send(f->process.fd, &c, sizeof(c), MSG_NOSIGNAL),
			 sizeof(c));
}

static void await_processes(struct fixture *f, unsigned int n)
{
	AWAIT(f, f->started >= n && f->pid);
	assert_int_equal(f->started, n);
}

static int listen_for_processes(void)
{
	int fd = check_ok(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
	socklen_t len;
	struct sockaddr_un a = address(getpid(), &len);

	check_ok(bind(fd, (struct sockaddr *)&a, len));
	check_ok(listen(fd, PROCESSES));
	return fd;
}

static void on_settled(void *ctx)
{
	struct fixture *f = ctx;

	f->settled++;
}

static struct netproc_config config_of(struct fixture *f, struct store *store)
{
	return (struct netproc_config){
		.loop = f->loop,
		.store = store,
		.number = 7,
		.settled = on_settled,
		.ctx = f,
		.network = { .name = "n", .macs = 64, .age_s = 300 },
	};
}

static int set_up(void **state)
{
	static struct fixture f;
	struct netproc_config config;
	char error[256];

	f = (struct fixture){ .listener = { .fn = on_listener, .fd = -1 },
			      .process = { .fn = on_process, .fd = -1 } };
	hasty = false;
	failing_kills = 0;
	check_ret(wproc_prepare("/proc/self/exe"), 0);
	check_ret(loop_new(&f.loop), 0);
	check_ret(
		loop_add(f.loop, &f.listener, listen_for_processes(), EPOLLIN),
		0);
	check_ret(netif_new("null", 1, &f.null, error, sizeof(error)), 0);
	config = config_of(&f, NULL);
	check_ret(netproc_new(&config, &f.net), 0);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	int fd = f->listener.fd;

	netproc_free(f->net);
	close_process(f);
	loop_del(f->loop, &f->listener);
	close(fd);
	netif_free(f->null);
	loop_free(f->loop);
	wproc_finish();
	return 0;
}

/* ---- ports ---- */

static int join_as(struct fixture *f, const char *name, bool fixed,
		   struct remotenet_port **out)
{
	struct remotenet *r = netproc_remote(f->net);
	struct swport_config config = { 0 };

	snprintf(config.name, sizeof(config.name), "%s", name);
	return r->ops->join(r, &config, fixed, 2, -1, out);
}

static struct remotenet_port *join(struct fixture *f)
{
	struct remotenet_port *p;

	check_ret(join_as(f, "guest", false, &p), 0);
	return p;
}

static const char *name_of(struct fixture *f, struct remotenet_port *p)
{
	return netproc_remote(f->net)->ops->name(p);
}

static void leave(struct fixture *f, struct remotenet_port *p)
{
	netproc_remote(f->net)->ops->leave(p);
}

static void connect_ring(struct fixture *f, struct remotenet_port *p,
			 unsigned int queue, struct framering *ring)
{
	netproc_remote(f->net)->ops->connect(p, queue, ring, true);
}

static void disconnect(struct fixture *f, struct remotenet_port *p,
		       unsigned int queue)
{
	netproc_remote(f->net)->ops->disconnect(p, queue);
}

static struct framering *make_ring(void)
{
	struct framering *r;

	check_ret(framering_new(&r), 0);
	return r;
}

static void add_null(struct fixture *f)
{
	const struct swport_config config = { .name = "null" };

	check_ret(netproc_add_interface(f->net, "null", f->null, &config, false,
					false, -1),
		  0);
}

static void start(struct fixture *f)
{
	check_ret(netproc_start(f->net), 0);
	await_processes(f, 1);
}

/* A process that runs. */
static void start_running(struct fixture *f)
{
	start(f);
	expect(f, "start run ");
	command(f, ORDER_REPLY, 0);
}

/* ---- what it is told ---- */

/* The process opens nothing after NET_RUN. */
static void interfaces_and_captures_come_before_run(void **state)
{
	struct fixture *f = *state;
	char path[] = "/tmp/test_netproc.XXXXXX";
	struct capture_config capture = { .path = path, .snaplen = 64 };
	struct framering *ring = make_ring();
	struct remotenet_port *p = join(f);

	close(check_ok(mkostemp(path, O_CLOEXEC)));
	connect_ring(f, p, 1, ring);
	check_ret(netproc_add_capture(f->net, &capture), 0);
	unlink(path);
	add_null(f);
	start(f);
	expect(f, "start capture port 1 run port 0 ring 0.1 ");
	leave(f, p);
	expect(f, "leave 0 ");
	framering_free(ring);
}

static void changes_are_told_as_they_come(void **state)
{
	struct fixture *f = *state;
	struct framering *a = make_ring(), *b = make_ring();
	struct remotenet_port *p, *q;

	start_running(f);
	p = join(f);
	expect(f, "port 0 ");
	connect_ring(f, p, 0, a);
	expect(f, "ring 0.0 ");
	q = join(f);
	connect_ring(f, q, 1, b);
	expect(f, "port 1 ring 1.1 ");
	disconnect(f, p, 0);
	disconnect(f, p, 0);
	disconnect(f, p, 1);
	expect(f, "leave 0.0 ");
	connect_ring(f, p, 0, a);
	expect(f, "ring 0.0 ");
	leave(f, p);
	leave(f, q);
	expect(f, "leave 1 leave 0 ");
	framering_free(a);
	framering_free(b);
}

/* Nothing is told of what came and went, and the last ring counts. */
static void changes_between_two_turns_are_told_once(void **state)
{
	struct fixture *f = *state;
	struct framering *a = make_ring(), *b = make_ring();
	struct remotenet_port *p, *q;

	start_running(f);
	p = join(f);
	connect_ring(f, p, 0, a);
	disconnect(f, p, 0);
	leave(f, join(f));
	expect(f, "port 0 ");
	connect_ring(f, p, 0, a);
	expect(f, "ring 0.0 ");
	disconnect(f, p, 0);
	connect_ring(f, p, 0, b);
	disconnect(f, p, 0);
	connect_ring(f, p, 0, a);
	expect(f, "leave 0.0 ring 0.0 ");
	/* A port that has left comes before the next one with its name. */
	leave(f, p);
	q = join(f);
	assert_string_equal(name_of(f, q), "guest");
	expect(f, "leave 0 port 2 ");
	leave(f, q);
	framering_free(a);
	framering_free(b);
}

static void names_are_unique(void **state)
{
	struct fixture *f = *state;
	struct remotenet_port *p = join(f), *q = join(f), *r;

	assert_string_equal(name_of(f, p), "guest");
	assert_string_equal(name_of(f, q), "port0");
	check_ret(join_as(f, "guest", true, &r), -EEXIST);
	check_ret(join_as(f, "port1", true, &r), 0);
	leave(f, p);
	p = join(f);
	assert_string_equal(name_of(f, p), "guest");
	leave(f, p);
	check_ret(join_as(f, "", false, &p), 0);
	assert_string_equal(name_of(f, p), "port2");
	leave(f, p);
	leave(f, q);
	leave(f, r);
}

static void a_network_has_so_many_ports(void **state)
{
	struct fixture *f = *state;
	static struct remotenet_port *p[NETWORK_PORTS_MAX];
	struct remotenet_port *more;

	for (unsigned int i = 0; i < NETWORK_PORTS_MAX; i++)
		p[i] = join(f);
	check_ret(join_as(f, "", false, &more), -ENOSPC);
	leave(f, p[0]);
	p[0] = join(f);
	for (unsigned int i = 0; i < NETWORK_PORTS_MAX; i++)
		leave(f, p[i]);
}

/* The socket is full before it has been told of all. */
static void a_process_that_reads_late_is_told_all(void **state)
{
	struct fixture *f = *state;
	static struct remotenet_port *p[NETWORK_PORTS_MAX];
	struct framering *ring = make_ring();
	char want[TOLD_MAX];
	size_t n = 0;

	start_running(f);
	command(f, ORDER_DEAF, 0);
	for (unsigned int i = 0; i < NETWORK_PORTS_MAX; i++) {
		p[i] = join(f);
		connect_ring(f, p[i], 0, ring);
	}
	loop_run_jobs(f->loop);
	for (unsigned int i = NETWORK_PORTS_MAX; i--;)
		n += (size_t)snprintf(want + n, sizeof(want) - n,
				      "port %u ring %u.0 ", i, i);
	command(f, ORDER_LISTEN, 0);
	expect(f, want);
	for (unsigned int i = 0; i < NETWORK_PORTS_MAX; i++)
		leave(f, p[i]);
	framering_free(ring);
}

/* ---- the next process ---- */

static void the_next_process_is_told_all_again(void **state)
{
	struct fixture *f = *state;
	struct framering *a = make_ring(), *b = make_ring();
	struct remotenet_port *p, *q;

	add_null(f);
	p = join(f);
	q = join(f);
	connect_ring(f, p, 0, a);
	connect_ring(f, q, 1, b);
	start(f);
	expect(f, "start port 0 run port 2 ring 2.1 port 1 ring 1.0 ");
	kill(f->pid, SIGKILL);
	/* Before the end of the process is noticed. */
	leave(f, q);
	disconnect(f, p, 0);
	connect_ring(f, p, 1, b);
	await_processes(f, 2);
	expect(f, "start port 0 run port 1 ring 1.1 ");
	leave(f, p);
	framering_free(a);
	framering_free(b);
}

/* SIGKILL comes from elsewhere, and so does an end in good order. */
static void ends_that_are_no_crashes_do_not_count(void **state)
{
	struct fixture *f = *state;

	hasty = true;
	start(f);
	for (unsigned int i = 1; i <= 2 * WPROC_CRASHES; i++) {
		expect(f, "start run ");
		if (i & 1)
			kill(f->pid, SIGKILL);
		else
			command(f, ORDER_EXIT, 0);
		await_processes(f, i + 1);
	}
}

static void check_print(struct fixture *f, const char *want)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	netproc_print(f->net, out);
	fclose(out);
	if (strcmp(want, "") == 0)
		assert_string_equal(text, "");
	else if (!strstr(text, want))
		fail_msg("%s: not in: %s", want, text);
	free(text);
}

static bool answers(struct fixture *f)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	bool silent;

	assert_non_null(out);
	netproc_print(f->net, out);
	fclose(out);
	silent = strstr(text, "has not answered");
	free(text);
	return !silent;
}

static void a_process_that_does_not_answer_is_shown(void **state)
{
	struct fixture *f = *state;

	start_running(f);
	check_print(f, "");
	check_print(f, "n: worker process");
	check_print(f, "has not answered for");
	expect(f, "print ");
	command(f, ORDER_SEND, WMSG_NET_PRINT | WMSG_REPLY);
	AWAIT(f, answers(f));
	expect(f, "print ");
	kill(f->pid, SIGKILL);
	await_processes(f, 2);
	expect(f, "start run ");
	assert_true(answers(f));
	expect(f, "print ");
	/* It was asked once. */
	command(f, ORDER_SEND, WMSG_NET_PRINT | WMSG_REPLY);
	command(f, ORDER_SEND, WMSG_NET_PRINT | WMSG_REPLY);
	await_processes(f, 3);
}

static void it_is_told_once_that_the_ports_are_there(void **state)
{
	struct fixture *f = *state;

	start(f);
	expect(f, "start run ");
	assert_int_equal(f->settled, 0);
	command(f, ORDER_REPLY, 0);
	AWAIT(f, f->settled);
	kill(f->pid, SIGKILL);
	await_processes(f, 2);
	expect(f, "start run ");
	command(f, ORDER_REPLY, 0);
	command(f, ORDER_EXIT, 0);
	await_processes(f, 3);
	assert_int_equal(f->settled, 1);
}

static void or_that_the_first_process_has_failed(void **state)
{
	struct fixture *f = *state;

	start(f);
	command(f, ORDER_EXIT, 1);
	AWAIT(f, f->settled);
	assert_int_equal(f->settled, 1);
}

static void or_that_it_says_nothing(void **state)
{
	struct fixture *f = *state;

	hasty = true;
	start(f);
	AWAIT(f, f->settled);
	assert_int_equal(f->settled, 1);
	assert_int_equal(f->started, 1);
}

/* Guests may come and go. */
static void after_three_crashes_it_stays_stopped(void **state)
{
	struct fixture *f = *state;
	struct framering *ring = make_ring();
	struct remotenet_port *p;

	hasty = true;
	p = join(f);
	start(f);
	for (unsigned int i = 1; i <= WPROC_CRASHES; i++) {
		await_processes(f, i);
		expect(f, "start run port 0 ");
		command(f, i == 1 ? ORDER_ABORT : ORDER_EXIT, 1);
		AWAIT(f, f->process.fd < 0 || f->started > i);
	}
	AWAIT(f, f->process.fd < 0);
	connect_ring(f, p, 0, ring);
	leave(f, join(f));
	leave(f, p);
	while (loop_run(f->loop, 20) != -ETIMEDOUT)
		continue;
	assert_int_equal(f->started, WPROC_CRASHES);
	check_print(f, "n: stopped");
	framering_free(ring);
}

static void check_ended(struct fixture *f, enum order order, int64_t arg)
{
	pid_t pid;

	start_running(f);
	pid = f->pid;
	command(f, order, arg);
	await_processes(f, 2);
	assert_int_not_equal(f->pid, pid);
	expect(f, "start run ");
}

static void a_message_that_is_no_reply_ends_it(void **state)
{
	check_ended(*state, ORDER_SEND, WMSG_NET_PRINT);
}

static void a_second_reply_ends_it(void **state)
{
	check_ended(*state, ORDER_REPLY, 0);
}

static void a_reply_that_is_no_error_number_ends_it(void **state)
{
	struct fixture *f = *state;

	start(f);
	expect(f, "start run ");
	command(f, ORDER_REPLY, 1);
	await_processes(f, 2);
}

/* It does not count as a crash. */
static void a_ring_that_a_guest_spoiled_is_broken(void **state)
{
	struct fixture *f = *state;
	struct framering *a = make_ring(), *b = make_ring();
	struct remotenet_port *p;

	start_running(f);
	p = join(f);
	connect_ring(f, p, 0, a);
	expect(f, "port 0 ring 0.0 ");
	check_print(f, "");
	command(f, ORDER_SPOILED, SPOILED(0, 1));
	AWAIT(f, framering_is_broken(a));
	check_print(f, "n: frame rings spoiled 1, the last by port guest");
	expect(f, "print ");
	/* What is said of a ring that the queue had before is late. */
	disconnect(f, p, 0);
	connect_ring(f, p, 0, b);
	expect(f, "leave 0.0 ring 0.0 ");
	command(f, ORDER_SPOILED, SPOILED(0, 1));
	/* A third message for two rings is a lie. */
	command(f, ORDER_SPOILED, SPOILED(0, 1));
	await_processes(f, 2);
	assert_false(framering_is_broken(b));
	expect(f, "start run port 0 ring 0.0 ");
	command(f, ORDER_REPLY, 0);
	command(f, ORDER_SPOILED, SPOILED(0, 3));
	AWAIT(f, framering_is_broken(b));
	leave(f, p);
	framering_free(a);
	framering_free(b);
}

static void a_process_that_closes_its_socket_is_killed(void **state)
{
	struct fixture *f = *state;

	hasty = true;
	start(f);
	for (unsigned int i = 1; i <= WPROC_CRASHES; i++) {
		expect(f, "start run ");
		command(f, ORDER_CLOSE, 0);
		await_processes(f, i + 1);
	}
}

static void a_kill_that_fails_is_tried_again(void **state)
{
	struct fixture *f = *state;

	start_running(f);
	command(f, ORDER_STAY, 0);
	failing_kills = 1;
	hasty = true;
	command(f, ORDER_SEND, WMSG_NET_PRINT);
	await_processes(f, 2);
	assert_int_equal(failing_kills, 0);
}

static void a_start_that_fails_is_tried_again(void **state)
{
	struct fixture *f = *state;

	start_running(f);
	hasty = true;
	wproc_finish(); /* ENOENT */
	kill(f->pid, SIGKILL);
	AWAIT(f, f->process.fd < 0);
	for (int i = 0; i < 5; i++)
		turn(f);
	assert_int_equal(f->started, 1);
	check_ret(wproc_prepare("/proc/self/exe"), 0);
	await_processes(f, 2);
}

/* ---- the end ---- */

/* netproc_free() has waited for it. */
static void check_gone(int pidfd)
{
	check_errno(waitid(P_PIDFD, (id_t)pidfd, NULL, WEXITED | WNOHANG),
		    ECHILD);
	close(pidfd);
}

static void the_process_ends_with_the_network(void **state)
{
	struct fixture *f = *state;
	int pidfd;

	start_running(f);
	AWAIT(f, f->pid);
	pidfd = check_ok(pidfd_open(f->pid, 0));
	netproc_free(f->net);
	f->net = NULL;
	check_gone(pidfd);
}

static void a_process_that_does_not_end_is_killed(void **state)
{
	struct fixture *f = *state;
	int pidfd;

	start_running(f);
	command(f, ORDER_STAY, 0);
	AWAIT(f, f->pid);
	pidfd = check_ok(pidfd_open(f->pid, 0));
	netproc_free(f->net);
	f->net = NULL;
	check_gone(pidfd);
}

/* ---- the store ---- */

/* The next message of the daemon to its service manager. */
static void expect_message(struct fixture *f, int manager, const char *want,
			   int nfds)
{
	int fds[MANAGER_FDS_MAX], n;
	char text[256];

	AWAIT(f, (n = manager_next(manager, text, sizeof(text), fds)) >= 0);
	assert_string_equal(text, want);
	assert_int_equal(n, nfds);
	for (int i = 0; i < n; i++)
		close(fds[i]);
}

static void the_store_has_the_pidfd(void **state)
{
	struct fixture *f = *state;
	char path[MANAGER_PATH_MAX];
	int manager = manager_open(path);
	struct netproc_config config;
	struct store *store;

	setenv("NOTIFY_SOCKET", path, 1);
	setenv("FDSTORE", "16", 1);
	check_ret(store_open(&store), 0);
	config = config_of(f, store);
	netproc_free(f->net);
	check_ret(netproc_new(&config, &f->net), 0);
	start(f);
	expect_message(f, manager, "FDSTOREREMOVE=1\nFDNAME=network-7", 0);
	expect_message(f, manager, "FDSTORE=1\nFDNAME=network-7\nFDPOLL=0", 1);
	expect(f, "start run ");
	kill(f->pid, SIGKILL);
	expect_message(f, manager, "FDSTOREREMOVE=1\nFDNAME=network-7", 0);
	expect_message(f, manager, "FDSTOREREMOVE=1\nFDNAME=network-7", 0);
	expect_message(f, manager, "FDSTORE=1\nFDNAME=network-7\nFDPOLL=0", 1);
	netproc_free(f->net);
	f->net = NULL;
	store_free(store);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("FDSTORE");
	close(manager);
}

/* Descriptors of an earlier daemon begin at number 3: in a child. */
static void __attribute__((noreturn)) drop_in_child(int pidfd)
{
	struct store *store;
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	setenv("LISTEN_FDNAMES", "network-7", 1);
	setenv("NOTIFY_SOCKET", "@uvhost-test-nobody", 1);
	setenv("FDSTORE", "16", 1);
	if (dup2(pidfd, 3) < 0 || store_open(&store) < 0 || !store)
		_exit(1);
	netproc_drop_left(store);
	_exit(0);
}

static void what_an_earlier_daemon_left_is_ended(void **state)
{
	pid_t left, child;
	int pidfd, status;

	(void)state;
	left = check_ok(fork());
	if (left == 0)
		for (;;)
			pause();
	pidfd = check_ok(pidfd_open(left, 0));
	child = check_ok(fork());
	if (child == 0)
		drop_in_child(pidfd);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(waitpid(left, &status, 0), left);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(pidfd);
	netproc_drop_left(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(interfaces_and_captures_come_before_run),
		TEST(changes_are_told_as_they_come),
		TEST(changes_between_two_turns_are_told_once),
		TEST(names_are_unique),
		TEST(a_network_has_so_many_ports),
		TEST(a_process_that_reads_late_is_told_all),
		TEST(the_next_process_is_told_all_again),
		TEST(ends_that_are_no_crashes_do_not_count),
		TEST(it_is_told_once_that_the_ports_are_there),
		TEST(or_that_the_first_process_has_failed),
		TEST(or_that_it_says_nothing),
		TEST(a_process_that_does_not_answer_is_shown),
		TEST(after_three_crashes_it_stays_stopped),
		TEST(a_message_that_is_no_reply_ends_it),
		TEST(a_second_reply_ends_it),
		TEST(a_reply_that_is_no_error_number_ends_it),
		TEST(a_ring_that_a_guest_spoiled_is_broken),
		TEST(a_process_that_closes_its_socket_is_killed),
		TEST(a_kill_that_fails_is_tried_again),
		TEST(a_start_that_fails_is_tried_again),
		TEST(the_process_ends_with_the_network),
		TEST(a_process_that_does_not_end_is_killed),
		TEST(the_store_has_the_pidfd),
		cmocka_unit_test(what_an_earlier_daemon_left_is_ended),
	};

	if (argc == 2 && strcmp(argv[1], "network n") == 0)
		play_process();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
