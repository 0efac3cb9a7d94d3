/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that are played: the input is the file. Whatever it holds, what comes
 * out are whole Ethernet frames, and it ends.
 */
#include "fuzz.h"

#include <errno.h>
#include <poll.h>

#include "bytes.h"
#include "log.h"
#include "pcap_player.h"

#define BATCH 8
#define ROUNDS 3
#define HDR_LEN 12

static FILE *open_input(void *ctx)
{
	const struct input *in = ctx;

	return fmemopen((void *)in->p, in->n, "r");
}

static void check_frame(const struct frame *f, size_t room)
{
	must(f->len <= room);
	must(f->trunc ? f->len == room || f->len == 0
		      : f->len >= HDR_LEN + NETPORT_ETH_MIN &&
				f->len <= HDR_LEN + NETPORT_ETH_MAX);
}

static unsigned int receive(struct netport *port, unsigned int turn)
{
	static uint8_t bytes[BATCH][NETPORT_FRAME_MAX];
	/* The first rooms are too short for most, or for a header. */
	size_t room = turn % 4 ? sizeof(bytes[0]) : turn % 64;
	struct iovec iov[BATCH][2];
	struct frame frames[BATCH];
	int n;

	for (unsigned int i = 0; i < BATCH; i++) {
		size_t first = room / 3;

		iov[i][0] = (struct iovec){ bytes[i], first };
		iov[i][1] = (struct iovec){ bytes[i] + first, room - first };
		frames[i] = (struct frame){ .iov = iov[i], .iovcnt = 2 };
	}
	n = port->ops->recv(port, frames, BATCH);
	must(n == -EAGAIN || (n > 0 && n <= BATCH));
	for (int i = 0; i < n; i++)
		check_frame(&frames[i], room);
	return n > 0 ? (unsigned int)n : 0;
}

static bool readable(const struct netport *port)
{
	struct pollfd p = { .fd = port->fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

static unsigned long long played, skipped;
static unsigned int ends;

/* The player says at its end what it has played. */
static void note_end(void *ctx, enum log_level level, const char *line)
{
	const char *at = strstr(line, ": at its end: ");

	(void)ctx;
	(void)level;
	if (!at)
		return;
	ends++;
	must(sscanf(at, ": at its end: %llu frames played, %llu left out",
		    &played, &skipped) == 2);
}

/* A frame takes 16 bytes of a file at least, one left out likewise. */
static void play(struct input *in, bool timed)
{
	const struct player_config config = {
		.open = open_input,
		.ctx = in,
		.name = "input",
		.rounds = ROUNDS,
		.timed = timed,
	};
	size_t most = ROUNDS * (in->n / 16 + 1), got = 0;
	struct netport *port;
	char error[256];

	if (pcap_player_new(&config, &port, error, sizeof(error)) < 0)
		return;
	port->hdr_len = HDR_LEN;
	ends = 0;
	for (unsigned int turn = 0; readable(port); turn++) {
		must(turn <= 2 * most + ROUNDS);
		got += receive(port, turn);
	}
	netport_close(port);
	must(ends == 0 || (played == got && played + skipped <= most));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	log_set_sink(note_end, NULL);
	play(&in, false);
	play(&in, true);
	return 0;
}
