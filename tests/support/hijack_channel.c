/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hijack_channel.c attacks uvhostd through the socket that a worker process has
 * to it: messages that are malformed or too many, descriptors, replies that are
 * wrong or never come. The replies are changed on their way out (--wrap), in
 * the first call after the order.
 */
#include "hijack.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>

#include "fd.h"
#include "wmsg.h"
#include "wproc.h"

/* Of a flood: lines, questions, events. */
#define FLOOD 5000
/* A process that is left alone so long ends by itself. */
#define ABANDONED_MS 60000

int __real_wmsg_send(int sock, const struct wmsg_out *m, int flags);
int __wrap_wmsg_send(int sock, const struct wmsg_out *m, int flags);

static struct hijack_order order;

/* The broker is to end us. */
static void __attribute__((noreturn)) wait_for_end(void)
{
	poll(NULL, 0, ABANDONED_MS);
	_exit(1);
}

/* ---- bytes that are no message ---- */

static void send_bytes(const void *p, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)p, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (sendmsg(WPROC_SOCK, &msg, MSG_NOSIGNAL) < 0)
		hijack_say("%s: sendmsg: %s", order.action,
			   strerrorname_np(errno));
}

/** struct message - a header that is sent with @body bytes behind it */
struct message {
	const char *action;
	struct wmsg_hdr hdr;
	size_t body;
};

#define EVENT .magic = WMSG_MAGIC, .type = WMSG_EVENT_IOTLB
#define LATE WMSG_REPLY | WMSG_IOCTL

static const struct message messages[] = {
	{ "magic", { .magic = 1, .type = WMSG_EVENT_IOTLB }, 0 },
	{ "version", { .magic = WMSG_MAGIC + 1, .type = WMSG_EVENT_IOTLB }, 0 },
	{ "type 0", { .magic = WMSG_MAGIC }, 0 },
	{ "type", { .magic = WMSG_MAGIC, .type = 255 }, 0 },
	{ "call", { .magic = WMSG_MAGIC, .type = WMSG_IOCTL, .seq = 1 }, 0 },
	{ "length", { EVENT, .len = 8 }, 0 },
	{ "giant length", { EVENT, .len = UINT32_MAX }, 0 },
	{ "body", { EVENT, .len = 64 }, 64 },
	{ "too long", { EVENT, .len = WMSG_PACKET_MAX }, WMSG_PACKET_MAX },
	{ "flags", { EVENT, .flags = 0xffff }, 0 },
	{ "memfd", { EVENT, .flags = WMSG_IN_MEMFD, .nfds = 1, .len = 8 }, 0 },
	{ "count", { EVENT, .nfds = 1 }, 0 },
	{ "giant count", { EVENT, .nfds = UINT32_MAX }, 0 },
	{ "early reply",
	  { .magic = WMSG_MAGIC, .type = LATE, .seq = UINT64_MAX / 2 },
	  0 },
	{ "range",
	  { .magic = WMSG_MAGIC,
	    .type = WMSG_FAULT_IN,
	    .len = sizeof(struct wmsg_range) },
	  sizeof(struct wmsg_range) },
};

static bool send_message(void)
{
	static uint8_t bytes[sizeof(struct wmsg_hdr) + WMSG_PACKET_MAX];

	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
		const struct message *m = &messages[i];

		if (strcmp(m->action, order.action) != 0)
			continue;
		memset(bytes, 0xff, sizeof(bytes));
		memcpy(bytes, &m->hdr, sizeof(m->hdr));
		send_bytes(bytes, sizeof(m->hdr) + m->body);
		wait_for_end();
	}
	return false;
}

/* ---- other attacks ---- */

static void short_message(void)
{
	send_bytes("short", 5);
	wait_for_end();
}

static void empty_message(void)
{
	send_bytes("", 0);
	wait_for_end();
}

static void flood_events(void)
{
	const struct wmsg_out event = { .type = WMSG_EVENT_IOTLB };

	for (unsigned int i = 0; i < FLOOD; i++)
		if (__real_wmsg_send(WPROC_SOCK, &event, 0) == -ECONNRESET)
			break;
	wait_for_end();
}

static void late_replies(void)
{
	const struct wmsg_out reply = { .type = LATE, .seq = 1 };

	for (unsigned int i = 0; i < FLOOD; i++)
		if (__real_wmsg_send(WPROC_SOCK, &reply, 0) == -ECONNRESET)
			break;
	wait_for_end();
}

static int ask(uint64_t seq, uint64_t uva, int flags)
{
	struct wmsg_range range = { .uva = uva, .len = 8 };
	const struct wmsg_out out = { .type = WMSG_FAULT_IN,
				      .seq = seq,
				      .part = { { &range, sizeof(range) } },
				      .nparts = 1 };

	return __real_wmsg_send(WPROC_SOCK, &out, flags);
}

/* Answers that nobody reads. */
static void unread_answers(void)
{
	for (unsigned int i = 0; i < FLOOD; i++)
		if (ask(i, order.secret_uva, 0) == -ECONNRESET)
			break;
	wait_for_end();
}

/* Legal, each of them. */
static void many_questions(void)
{
	uint8_t buf[256];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	for (unsigned int i = 0; i < FLOOD; i++)
		if (ask(i, order.secret_uva + (uint64_t)i * 4096, 0) < 0 ||
		    recvmsg(WPROC_SOCK, &msg, 0) <= 0)
			break;
}

static void flood_log(void)
{
	for (unsigned int i = 0; i < FLOOD; i++)
		hijack_say("a line that nobody wants %u", i);
}

/* Of descriptors that it has: each could be one whose close blocks. */
static void send_descriptors(unsigned int n)
{
	struct wmsg_hdr hdr = { EVENT, .nfds = n };
	struct iovec iov = { &hdr, sizeof(hdr) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(WMSG_FDS_MAX * sizeof(int))];
	} control;
	int fds[WMSG_FDS_MAX];

	for (unsigned int i = 0; i < n; i++)
		fds[i] = i % 2 ? WPROC_SOCK : STDERR_FILENO;
	memset(&control, 0, sizeof(control));
	fd_attach(&msg, &control.hdr, fds, n);
	/* Linux 6.16 refuses them to us. */
	if (sendmsg(WPROC_SOCK, &msg, MSG_NOSIGNAL) < 0 && errno == EPERM)
		hijack_say("way: send %u descriptors to the broker: "
			   "denied (EPERM)",
			   n);
	else
		wait_for_end();
}

static void one_descriptor(void)
{
	send_descriptors(1);
}

static void many_descriptors(void)
{
	send_descriptors(WMSG_FDS_MAX);
}

static void close_channel(void)
{
	close(WPROC_SOCK);
	wait_for_end();
}

/* What the next process, and the next daemon, find there. */
static void spoil_from(off_t off)
{
	const uint64_t ones = UINT64_MAX;
	int fd = hijack_memory();

	while (pwrite(fd, &ones, sizeof(ones), off) == sizeof(ones))
		off += sizeof(ones);
	hijack_say("%lld bytes of its memory are spoiled", (long long)off);
}

static void spoil_all(void)
{
	spoil_from(0);
}

/* All but the magic number. */
static void spoil_rest(void)
{
	spoil_from(8);
}

static void spoil_and_end(void)
{
	spoil_from(0);
	raise(SIGSEGV);
	_exit(0);
}

static void fault(void)
{
	raise(SIGSEGV);
	_exit(0);
}

static void leave(void)
{
	_exit(0);
}

static const struct {
	const char *action;
	void (*fn)(void);
} attacks[] = {
	{ "short", short_message },
	{ "empty", empty_message },
	{ "events", flood_events },
	{ "late replies", late_replies },
	{ "unread answers", unread_answers },
	{ "questions", many_questions },
	{ "log lines", flood_log },
	{ "a descriptor", one_descriptor },
	{ "descriptors", many_descriptors },
	{ "close", close_channel },
	{ "spoiled memory", spoil_and_end },
	{ "spoil all", spoil_all },
	{ "spoil rest", spoil_rest },
	{ "fault", fault },
	{ "exit", leave },
};

/* ---- replies ---- */

static bool armed;

bool hijack_use_channel(const struct hijack_order *o)
{
	order = *o;
	armed = strncmp(order.action, "reply ", 6) == 0;
	if (armed)
		return true;
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		if (strcmp(attacks[i].action, order.action) != 0)
			continue;
		attacks[i].fn();
		return true;
	}
	return send_message();
}

static void send_reply(const struct wmsg_out *m, struct wmsg_reply reply,
		       size_t extra)
{
	static uint8_t bytes[4096];
	struct wmsg_out out = *m;

	out.part[0] = (struct iovec){ &reply, sizeof(reply) };
	out.part[1] = (struct iovec){ bytes, extra };
	out.nparts = extra ? 2 : 1;
	if (strcmp(order.action, "reply number") == 0)
		out.seq++;
	if (strcmp(order.action, "reply type") == 0)
		out.type = WMSG_REPLY | WMSG_READ;
	if (strcmp(order.action, "reply cut") == 0)
		out.part[0].iov_len /= 2;
	__real_wmsg_send(WPROC_SOCK, &out, 0);
}

static void __attribute__((noreturn)) wrong_reply(const struct wmsg_out *m)
{
	struct wmsg_reply reply = { 0 };
	size_t extra = 0;

	armed = false;
	if (strcmp(order.action, "reply positive") == 0)
		reply.n = INT64_MAX;
	if (strcmp(order.action, "reply errno") == 0)
		reply.n = -100000;
	if (strcmp(order.action, "reply fetch") == 0)
		reply = (struct wmsg_reply){ .again = 1, .fetch = UINT64_MAX };
	if (strcmp(order.action, "reply store") == 0)
		reply = (struct wmsg_reply){ .again = 1,
					     .store_at = order.secret_uva,
					     .store = 1 << 20 };
	if (strcmp(order.action, "reply bytes") == 0)
		extra = 4096;
	if (strcmp(order.action, "reply never") != 0)
		send_reply(m, reply, extra);
	wait_for_end();
}

int __wrap_wmsg_send(int sock, const struct wmsg_out *m, int flags)
{
	if (armed && m->type & WMSG_REPLY)
		wrong_reply(m);
	return __real_wmsg_send(sock, m, flags);
}
