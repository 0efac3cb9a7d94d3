/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu-record [-o BITS] LISTEN CONNECT - stands between a vhost-user frontend,
 * which connects to the socket LISTEN, and a backend, which listens at CONNECT.
 * It forwards every message with its descriptors and prints it, one a line:
 *
 *   WAY FDS HEX   WAY is F (from the frontend), B (from the backend); on the
 *                 channel of SET_BACKEND_REQ_FD b (the backend's request) and
 *                 f (the frontend's reply). FDS counts descriptors. HEX is the
 *                 header and the payload as on the wire
 *
 * It ends when either side does. -o BITS offers the frontend protocol features
 * that the backend handles without offering them, and takes those out again of
 * what the frontend accepts; the lines are as they were before. How the files
 * in captured/ were taken: record.sh.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/un.h>

#define FDS_MAX 64
#define PAYLOAD_MAX 65536
#define GET_PROTOCOL_FEATURES 15
#define SET_PROTOCOL_FEATURES 16
#define SET_BACKEND_REQ_FD 21

struct message {
	uint32_t request, flags, size;
	uint8_t payload[PAYLOAD_MAX];
	int fds[FDS_MAX];
	unsigned int nfds;
};

/* Two sockets: what comes from one goes to the other. */
struct way {
	int from, to;
	char name;
};

static struct message msg;
static uint64_t more_features; /* -o */

static void die(const char *what)
{
	fprintf(stderr, "vu-record: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(a.sun_path)) {
		errno = ENAMETOOLONG;
		die(path);
	}
	strcpy(a.sun_path, path);
	return a;
}

static int connect_to(const char *path)
{
	struct sockaddr_un a = address(path);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	if (s < 0 || connect(s, (struct sockaddr *)&a, sizeof(a)) < 0)
		die(path);
	return s;
}

static int accept_at(const char *path)
{
	struct sockaddr_un a = address(path);
	int l = socket(AF_UNIX, SOCK_STREAM, 0), s;

	unlink(path);
	if (l < 0 || bind(l, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(l, 1) < 0)
		die(path);
	s = accept(l, NULL, NULL);
	if (s < 0)
		die(path);
	close(l);
	return s;
}

/* Reads @len bytes and whatever descriptors come along; false at the end. */
static bool take(int sock, void *to, size_t len)
{
	union {
		char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	size_t done = 0;

	while (done < len) {
		struct iovec iov = { (char *)to + done, len - done };
		struct msghdr mh = { .msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = &control,
				     .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c;
		     c = CMSG_NXTHDR(&mh, c)) {
			size_t k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

			if (msg.nfds + k > FDS_MAX) {
				errno = E2BIG;
				die("descriptors");
			}
			memcpy(msg.fds + msg.nfds, CMSG_DATA(c),
			       k * sizeof(int));
			msg.nfds += (unsigned int)k;
		}
	}
	return true;
}

static bool receive(int sock)
{
	msg.nfds = 0;
	if (!take(sock, &msg, 12))
		return false;
	if (msg.size > PAYLOAD_MAX) {
		errno = EMSGSIZE;
		die("payload");
	}
	return take(sock, msg.payload, msg.size);
}

static bool give(int sock)
{
	union {
		char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { &msg, 12 + (size_t)msg.size };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (msg.nfds) {
		struct cmsghdr *c = &control.align;

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(msg.nfds * sizeof(int));
		memcpy(CMSG_DATA(c), msg.fds, msg.nfds * sizeof(int));
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(msg.nfds * sizeof(int));
	}
	n = sendmsg(sock, &mh, MSG_NOSIGNAL);
	return n == (ssize_t)iov.iov_len;
}

static void print(char name)
{
	const uint8_t *p = (const uint8_t *)&msg;

	printf("%c %u ", name, msg.nfds);
	for (size_t i = 0; i < 12 + (size_t)msg.size; i++)
		printf("%02x", p[i]);
	putchar('\n');
	fflush(stdout);
}

/* Puts us between the two ends of the channel whose descriptor is in msg. */
static void split_channel(struct way *back, struct way *fore)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		die("socketpair");
	*back = (struct way){ pair[0], msg.fds[0], 'b' };
	*fore = (struct way){ msg.fds[0], pair[0], 'f' };
	msg.fds[0] = pair[1];
}

/* Puts the features of -o into an offer, and takes them out of the answer. */
static void change_features(char name)
{
	uint64_t features;

	if (msg.size != sizeof(features))
		return;
	memcpy(&features, msg.payload, sizeof(features));
	if (name == 'B' && msg.request == GET_PROTOCOL_FEATURES) {
		more_features &= ~features;
		features |= more_features;
	} else if (name == 'F' && msg.request == SET_PROTOCOL_FEATURES) {
		features &= ~more_features;
	}
	memcpy(msg.payload, &features, sizeof(features));
}

/* One message from one side to the other; false if it is gone. */
static bool forward(struct way *w, struct way *channel)
{
	bool split, ok;

	if (!receive(w->from))
		return false;
	print(w->name);
	change_features(w->name);
	split = w->name == 'F' && msg.request == SET_BACKEND_REQ_FD &&
		msg.nfds == 1;
	if (split)
		split_channel(&channel[0], &channel[1]);
	ok = give(w->to);
	for (unsigned int i = 0; i < msg.nfds; i++)
		close(msg.fds[i]);
	return ok;
}

int main(int argc, char **argv)
{
	struct way ways[4] = { { -1, -1, 'F' },
			       { -1, -1, 'B' },
			       { -1, -1, 'b' },
			       { -1, -1, 'f' } };
	int front, back;

	if (argc == 5 && !strcmp(argv[1], "-o"))
		more_features = strtoull(argv[2], NULL, 0);
	else if (argc != 3) {
		fputs("usage: vu-record [-o BITS] LISTEN CONNECT\n", stderr);
		return 2;
	}
	front = accept_at(argv[argc - 2]);
	back = connect_to(argv[argc - 1]);
	ways[0].from = ways[1].to = front;
	ways[0].to = ways[1].from = back;
	for (;;) {
		struct pollfd p[4];

		for (int i = 0; i < 4; i++)
			p[i] = (struct pollfd){ ways[i].from, POLLIN, 0 };
		if (poll(p, 4, -1) < 0)
			die("poll");
		for (int i = 0; i < 4; i++) {
			if (!p[i].revents || forward(&ways[i], &ways[2]))
				continue;
			if (i < 2)
				return 0;
			ways[i].from = -1;
		}
	}
}
