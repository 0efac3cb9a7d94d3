/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bulk ADDR PORT - sends and receives in bulk as its peer commands
 *
 * Goes into guests (sc_vmguest.c is the peer): static, needs nothing. Connects
 * with TCP and obeys commands, which are lines:
 *
 *     tcp-up BYTES             sends so many bytes on the connection
 *     tcp-down BYTES           receives so many, then sends one byte
 *     udp-up COUNT LEN         sends datagrams to ADDR:PORT, then one byte
 *     udp-down COUNT LEN       receives datagrams on PORT and acknowledges each
 *                              64th of them with a datagram (the number that
 *                              have come so far, 4 bytes, big-endian); ends
 *                              with the last one or after 300 ms without any,
 *                              and sends the number, 4 bytes, on the connection
 *
 * Ends when the peer closes the connection.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK ((size_t)128 * 1024)
#define ACK_EVERY 64
#define SILENT_MS 300

static uint8_t data[CHUNK];
static int tcp, udp;

static void __attribute__((format(printf, 1, 2), noreturn)) die(const char *fmt,
								...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "bulk: ");
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

static size_t piece(unsigned long left)
{
	return left < CHUNK ? left : CHUNK;
}

static void send_all(unsigned long left)
{
	while (left) {
		ssize_t n = send(tcp, data, piece(left), MSG_NOSIGNAL);

		if (n <= 0)
			die("send: %s", strerror(errno));
		left -= (unsigned long)n;
	}
}

static void receive_all(unsigned long left)
{
	while (left) {
		ssize_t n = recv(tcp, data, piece(left), 0);

		if (n <= 0)
			die("recv: %s", n ? strerror(errno) : "end");
		left -= (unsigned long)n;
	}
}

static void udp_up(unsigned long count, unsigned long len)
{
	for (unsigned long i = 0; i < count; i++)
		while (send(udp, data, piece(len), 0) < 0)
			if (errno != EINTR && errno != ENOBUFS)
				die("datagram: %s", strerror(errno));
}

static uint32_t udp_down(unsigned long count)
{
	struct pollfd p = { .fd = udp, .events = POLLIN };
	uint32_t got = 0, ack;

	while (got < count) {
		if (recv(udp, data, CHUNK, MSG_DONTWAIT) < 0) {
			if (poll(&p, 1, SILENT_MS) == 0)
				break;
			continue;
		}
		got++;
		ack = htonl(got);
		if (got % ACK_EVERY == 0 && send(udp, &ack, sizeof(ack), 0) < 0)
			die("acknowledgement: %s", strerror(errno));
	}
	return got;
}

static void obey(char *line)
{
	char *what = strtok(line, " "), *numbers = strtok(NULL, "");
	unsigned long n, len;
	uint32_t got;

	if (!numbers)
		die("'%s' is no command", line);
	n = strtoul(numbers, &numbers, 10);
	len = strtoul(numbers, NULL, 10);
	if (strcmp(what, "tcp-up") == 0) {
		send_all(n);
	} else if (strcmp(what, "tcp-down") == 0) {
		receive_all(n);
		send_all(1);
	} else if (strcmp(what, "udp-up") == 0) {
		udp_up(n, len);
		send_all(1);
	} else if (strcmp(what, "udp-down") == 0) {
		got = htonl(udp_down(n));
		if (send(tcp, &got, sizeof(got), MSG_NOSIGNAL) < 0)
			die("send: %s", strerror(errno));
	} else {
		die("no command %s", what);
	}
}

/* A byte at a time: what follows a line is data. */
static int read_line(char *line, size_t room)
{
	size_t n = 0;

	while (n + 1 < room && recv(tcp, line + n, 1, 0) == 1) {
		if (line[n] == '\n') {
			line[n] = '\0';
			return 1;
		}
		n++;
	}
	return 0;
}

static void connect_both(const char *addr, const char *port)
{
	struct sockaddr_in peer = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
	};
	struct sockaddr_in own = { .sin_family = AF_INET,
				   .sin_port = peer.sin_port };
	const int one = 1, room = 4 << 20;

	if (inet_pton(AF_INET, addr, &peer.sin_addr) != 1)
		die("'%s' is no address", addr);
	tcp = socket(AF_INET, SOCK_STREAM, 0);
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	if (tcp < 0 || udp < 0)
		die("socket: %s", strerror(errno));
	setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	setsockopt(tcp, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (bind(udp, (struct sockaddr *)&own, sizeof(own)) < 0 ||
	    connect(udp, (struct sockaddr *)&peer, sizeof(peer)) < 0)
		die("datagrams: %s", strerror(errno));
	if (connect(tcp, (struct sockaddr *)&peer, sizeof(peer)) < 0)
		die("connection: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	char line[80];

	if (argc != 3)
		die("usage: bulk ADDR PORT");
	connect_both(argv[1], argv[2]);
	while (read_line(line, sizeof(line)))
		obey(line);
	return 0;
}
