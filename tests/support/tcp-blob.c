/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes over TCP, both ways on one connection, every one of them compared.
 *
 *   tcp-blob serve PORT          answers until it is ended; says "ready"
 *   tcp-blob ask ADDR PORT KIB   sends so much, then gets as much back
 *
 * "ask" prints the rates of both ways in Mbit/s. What is sent depends on a seed
 * and the place, so bytes that are lost, repeated or exchanged are found.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "random.h"

#define CHUNK 65536
#define WAIT_S 60 /* nothing takes that long */

/** struct order - what "ask" sends first; bytes each way */
struct order {
	uint64_t seed, bytes;
};

static bool __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "tcp-blob: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, ": %s\n", strerror(err));
	va_end(ap);
	return false;
}

static bool send_all(int s, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n = send(s, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return say("send");
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool recv_all(int s, void *data, size_t len)
{
	ssize_t n = recv(s, data, len, MSG_WAITALL);

	if (n >= 0 && n < (ssize_t)len)
		errno = EPIPE;
	return n == (ssize_t)len || say("recv");
}

static bool send_blob(int s, uint64_t seed, uint64_t bytes)
{
	uint8_t chunk[CHUNK];

	random_state = seed;
	for (uint64_t at = 0; at < bytes; at += CHUNK) {
		random_words(chunk, CHUNK);
		if (!send_all(s, chunk, CHUNK))
			return false;
	}
	return true;
}

static bool recv_blob(int s, uint64_t seed, uint64_t bytes)
{
	uint8_t chunk[CHUNK], want[CHUNK];

	random_state = seed;
	for (uint64_t at = 0; at < bytes; at += CHUNK) {
		random_words(want, CHUNK);
		if (!recv_all(s, chunk, CHUNK))
			return false;
		if (memcmp(chunk, want, CHUNK) != 0) {
			fprintf(stderr,
				"tcp-blob: other bytes within %llu...%llu\n",
				(unsigned long long)at,
				(unsigned long long)at + CHUNK);
			return false;
		}
	}
	return true;
}

static void be_patient(int s)
{
	struct timeval tv = { .tv_sec = WAIT_S };

	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

static int serve(unsigned int port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons((uint16_t)port) };
	int one = 1, l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), s;
	struct order o;

	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(l, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(l, 16) < 0)
		return !say("port %u", port);
	printf("ready\n");
	fflush(stdout);
	while ((s = accept4(l, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		be_patient(s);
		/* the client notices a failure by the missing answer */
		if (recv_all(s, &o, sizeof(o)) && recv_blob(s, o.seed, o.bytes))
			send_blob(s, ~o.seed, o.bytes);
		close(s);
	}
	return !say("accept");
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int ask(const char *ip, unsigned int port, uint64_t kib)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons((uint16_t)port) };
	struct order o = { (uint64_t)getpid() + 1,
			   (kib * 1024 + CHUNK - 1) / CHUNK * CHUNK };
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	double t[3];

	be_patient(s);
	if (inet_pton(AF_INET, ip, &addr.sin_addr) != 1 ||
	    connect(s, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return !say("%s", ip);
	t[0] = now();
	if (!send_all(s, &o, sizeof(o)) || !send_blob(s, o.seed, o.bytes))
		return 1;
	/* the first byte back means that all of ours are there */
	if (recv(s, &(uint8_t){ 0 }, 1, MSG_PEEK) != 1)
		return !say("no answer");
	t[1] = now();
	if (!recv_blob(s, ~o.seed, o.bytes))
		return 1;
	t[2] = now();
	printf("%.0f %.0f\n", (double)o.bytes * 8e-6 / (t[1] - t[0]),
	       (double)o.bytes * 8e-6 / (t[2] - t[1]));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return serve((unsigned int)atoi(argv[2]));
	if (argc == 5 && strcmp(argv[1], "ask") == 0)
		return ask(argv[2], (unsigned int)atoi(argv[3]),
			   strtoull(argv[4], NULL, 10));
	fprintf(stderr, "usage: tcp-blob serve PORT\n"
			"       tcp-blob ask ADDR PORT KIB\n");
	return 2;
}
