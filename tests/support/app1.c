/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * app1 - the application of the five paths (flows.sh), and its peer
 *
 *     app1 stream SEED BYTES            the data, to stdout
 *     app1 send ADDR PORT FILE BYTES SECONDS
 *                                       TCP: the head of FILE, until one of
 *                                       the two limits
 *     app1 sink PORT FILE BYTES         TCP: one connection into FILE, at most
 *                                       so many bytes
 *     app1 echo PORT                    UDP, without end
 *     app1 ping ADDR PORT COUNT SECONDS UDP round trips, one after another
 *
 * send and sink print "BYTES NANOSECONDS": from before the first byte until the
 * other end has said that it has all of them (send), from the first byte to the
 * end (sink). ping prints "COUNT MEDIAN P99 LOST", times in ns; what comes back
 * has to be what was sent.
 *
 * Static: it goes into guests. Files are mapped, so that between memory and
 * socket there is nothing but the call that is measured.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHUNK ((size_t)128 * 1024)
/* An answer that takes longer is lost; the first may have to wait for ARP. */
#define ANSWER_MS 500L
#define WARM_UP 60
#define CONNECT_TRIES 50
#define PING_LEN 64
#define PING_MAX 1000000

static void __attribute__((format(printf, 1, 2), noreturn)) die(const char *fmt,
								...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "app1: ");
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t number(const char *text, uint64_t max)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno || value > max)
		die("'%s' is not a number up to %ju", text, (uintmax_t)max);
	return value;
}

static struct sockaddr_in address(const char *host, const char *port)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)number(port, 65535)),
	};

	if (inet_pton(AF_INET, host, &sin.sin_addr) != 1)
		die("'%s' is not an IPv4 address", host);
	return sin;
}

static int new_socket(int type)
{
	int sock = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	if (sock < 0)
		die("socket: %s", strerror(errno));
	return sock;
}

static void bind_to(int sock, const char *port)
{
	struct sockaddr_in sin = address("0.0.0.0", port);
	int one = 1;

	setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(sock, (struct sockaddr *)&sin, sizeof(sin)) < 0)
		die("port %s: %s", port, strerror(errno));
}

/* The stream: splitmix64 of the position, so any part of it can be made. */
static uint64_t stream_word(uint64_t seed, uint64_t i)
{
	uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static int do_stream(char **argv)
{
	uint64_t seed = number(argv[0], UINT64_MAX);
	uint64_t left = number(argv[1], UINT64_MAX);
	uint64_t words[1024], next = 0;

	while (left) {
		size_t len = left < sizeof(words) ? left : sizeof(words);

		for (size_t i = 0; i < 1024; i++)
			words[i] = stream_word(seed, next++);
		if (fwrite(words, 1, len, stdout) != len)
			die("cannot write: %s", strerror(errno));
		left -= len;
	}
	return fflush(stdout) ? 1 : 0;
}

static int connect_to(const char *host, const char *port)
{
	struct sockaddr_in sin = address(host, port);
	struct timespec pause = { .tv_nsec = 100000000 };

	for (int i = 0;; i++) {
		int sock = new_socket(SOCK_STREAM);

		if (!connect(sock, (struct sockaddr *)&sin, sizeof(sin)))
			return sock;
		if (errno != ECONNREFUSED || i == CONNECT_TRIES)
			die("connect: %s", strerror(errno));
		close(sock);
		nanosleep(&pause, NULL); /* the peer is not there yet */
	}
}

static uint64_t send_until(int sock, const char *data, uint64_t size,
			   uint64_t deadline)
{
	uint64_t done = 0;

	while (done < size && now_ns() < deadline) {
		size_t len = size - done < CHUNK ? size - done : CHUNK;
		ssize_t n = send(sock, data + done, len, MSG_NOSIGNAL);

		if (n < 0)
			die("send: %s", strerror(errno));
		done += (uint64_t)n;
	}
	return done;
}

static int do_send(char **argv)
{
	uint64_t size = number(argv[3], SIZE_MAX);
	uint64_t limit = number(argv[4], 3600) * 1000000000u;
	int fd = open(argv[2], O_RDONLY | O_CLOEXEC), sock;
	uint64_t start, done, confirmed = 0;
	struct stat st;
	char *data;

	if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size < size)
		die("%s: no file of %ju bytes", argv[2], (uintmax_t)size);
	data = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (data == MAP_FAILED)
		die("%s: %s", argv[2], strerror(errno));
	sock = connect_to(argv[0], argv[1]);
	start = now_ns();
	done = send_until(sock, data, size, start + limit);
	shutdown(sock, SHUT_WR);
	if (recv(sock, &confirmed, sizeof(confirmed), MSG_WAITALL) !=
		    sizeof(confirmed) ||
	    be64toh(confirmed) != done)
		die("sent %ju bytes, the peer confirms %ju", (uintmax_t)done,
		    (uintmax_t)be64toh(confirmed));
	printf("%ju %ju\n", (uintmax_t)done, (uintmax_t)(now_ns() - start));
	return 0;
}

static uint64_t receive_all(int sock, char *data, uint64_t size,
			    uint64_t *first_ns)
{
	uint64_t done = 0;

	for (;;) {
		char more;
		size_t room = size - done < CHUNK ? size - done : CHUNK;
		ssize_t n = recv(sock, room ? data + done : &more,
				 room ? room : 1, 0);

		if (n < 0)
			die("recv: %s", strerror(errno));
		if (n == 0)
			return done;
		if (!room)
			die("more than %ju bytes", (uintmax_t)size);
		if (!done)
			*first_ns = now_ns();
		done += (uint64_t)n;
	}
}

static int do_sink(char **argv)
{
	uint64_t size = number(argv[2], SIZE_MAX), done, start = 0, end, be;
	int fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int listener = new_socket(SOCK_STREAM), sock;
	char *data;

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		die("%s: %s", argv[1], strerror(errno));
	data = mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_POPULATE, fd, 0);
	if (data == MAP_FAILED)
		die("%s: %s", argv[1], strerror(errno));
	bind_to(listener, argv[0]);
	if (listen(listener, 1) < 0)
		die("listen: %s", strerror(errno));
	sock = accept(listener, NULL, NULL);
	if (sock < 0)
		die("accept: %s", strerror(errno));
	done = receive_all(sock, data, size, &start);
	end = now_ns();
	be = htobe64(done);
	if (send(sock, &be, sizeof(be), MSG_NOSIGNAL) != sizeof(be))
		die("send: %s", strerror(errno));
	if (ftruncate(fd, (off_t)done) < 0)
		die("%s: %s", argv[1], strerror(errno));
	printf("%ju %ju\n", (uintmax_t)done, (uintmax_t)(end - start));
	return 0;
}

static int do_echo(char **argv)
{
	int sock = new_socket(SOCK_DGRAM);
	struct sockaddr_in from;
	char buf[2048];

	bind_to(sock, argv[0]);
	for (;;) {
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(sock, buf, sizeof(buf), 0,
				     (struct sockaddr *)&from, &len);

		if (n < 0)
			break;
		sendto(sock, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
	die("recvfrom: %s", strerror(errno));
}

/* True if the answer to message @seq came, with every byte of it. An answer to
 * an earlier message is one that was given up: it is passed over. */
static bool answered(int sock, uint64_t seq)
{
	uint64_t want[PING_LEN / 8], got[PING_LEN / 8 + 1];

	for (size_t i = 0; i < PING_LEN / 8; i++)
		want[i] = i ? stream_word(seq, i) : seq;
	if (send(sock, want, sizeof(want), 0) < 0 && errno != ECONNREFUSED)
		die("send: %s", strerror(errno));
	for (;;) {
		ssize_t n = recv(sock, got, sizeof(got), 0);

		if (n < 0)
			return false; /* time is up, or there is no listener */
		if (n == sizeof(want) && got[0] < seq)
			continue;
		if (n != sizeof(want) || memcmp(got, want, sizeof(want)) != 0)
			die("exchange %ju came back wrong", (uintmax_t)seq);
		return true;
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int do_ping(char **argv)
{
	struct sockaddr_in sin = address(argv[0], argv[1]);
	struct timeval wait = { .tv_usec = ANSWER_MS * 1000 };
	uint64_t count = number(argv[2], PING_MAX), n = 0, lost = 0, seq = 1;
	uint64_t limit = number(argv[3], 3600) * 1000000000u, end;
	uint64_t *times = calloc(count + 1, sizeof(*times));
	int sock = new_socket(SOCK_DGRAM);

	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	if (!times || connect(sock, (struct sockaddr *)&sin, sizeof(sin)) < 0)
		die("connect: %s", strerror(errno));
	while (seq < WARM_UP && !answered(sock, seq))
		seq++;
	if (seq == WARM_UP)
		die("no answer from %s", argv[0]);
	end = now_ns() + limit;
	while (n < count && now_ns() < end) {
		uint64_t start = now_ns();

		if (answered(sock, ++seq))
			times[n++] = now_ns() - start;
		else
			lost++;
	}
	if (!n)
		die("no answer from %s within the time", argv[0]);
	qsort(times, n, sizeof(*times), by_value);
	printf("%ju %ju %ju %ju\n", (uintmax_t)n, (uintmax_t)times[n / 2],
	       (uintmax_t)times[n * 99 / 100], (uintmax_t)lost);
	free(times);
	return 0;
}

static const struct mode {
	const char *name;
	int args;
	int (*run)(char **argv);
} modes[] = {
	{ "stream", 2, do_stream }, { "send", 5, do_send },
	{ "sink", 3, do_sink },     { "echo", 1, do_echo },
	{ "ping", 4, do_ping },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (argc == modes[i].args + 2 &&
		    !strcmp(argv[1], modes[i].name))
			return modes[i].run(argv + 2);
	fprintf(stderr, "usage: app1 stream SEED BYTES\n"
			"       app1 send ADDR PORT FILE BYTES SECONDS\n"
			"       app1 sink PORT FILE BYTES\n"
			"       app1 echo PORT\n"
			"       app1 ping ADDR PORT COUNT SECONDS\n");
	return 2;
}
