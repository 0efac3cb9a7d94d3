/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ring of frames between a worker process and a network. Each byte of the
 * input is a step of one of both sides, or a hostile guest's side writes into
 * the shared memory: positions, lengths, anything.
 *
 * What must hold: the network's side stays within its buffers and its memory,
 * and never waits. As long as nothing was written but by the ports, no frame
 * comes twice or out of order, none is lost unless a process is replaced, and
 * no ring is broken.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <linux/virtio_net.h>

#include "framering_priv.h"
#include "bytes.h"

#define HDR sizeof(struct virtio_net_hdr_mrg_rxbuf)
#define BATCH 4
#define STEPS 2000

/** struct side - @sent, @got: numbers of the last frames */
struct side {
	struct framering *ring;
	struct netport *rx, *tx;
	uint32_t sent, got;
};

/** struct model - @hostile: the memory was written; @replaced: frames may be
 * lost */
struct model {
	struct side side[2];
	bool hostile, replaced;
};

static _Alignas(8) uint8_t buffer[BATCH][NETPORT_FRAME_MAX];

static void open_ports(struct side *s, enum framering_side side)
{
	must(framering_open(s->ring, side, &s->rx, &s->tx) == 0);
}

static struct framering *adopt(const struct framering *of)
{
	int fds[FRAMERING_FDS];
	struct framering *r;

	framering_fds(of, fds);
	for (unsigned int i = 0; i < FRAMERING_FDS; i++)
		must((fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0)) >= 0);
	must(framering_adopt(fds, &r) == 0);
	return r;
}

static void close_side(struct side *s)
{
	netport_close(s->rx);
	netport_close(s->tx);
	framering_free(s->ring);
}

static void replace(struct model *m, enum framering_side side)
{
	struct side *s = &m->side[side];
	struct framering *r = adopt(s->ring);

	close_side(s);
	s->ring = r;
	open_ports(s, side);
	m->replaced = true;
}

static void send_frames(struct input *in, struct side *s)
{
	struct iovec iov[BATCH];
	struct frame f[BATCH];
	unsigned int n = 1 + in_below(in, BATCH);
	int ret;

	for (unsigned int i = 0; i < n; i++) {
		uint32_t len = HDR + 14 + in_u16(in) % 65000;
		uint32_t number = s->sent + i + 1;

		memset(buffer[i], 0, HDR);
		memcpy(buffer[i] + HDR, &number, sizeof(number));
		iov[i] = (struct iovec){ buffer[i], len };
		f[i] = (struct frame){ &iov[i], 1, len, false };
	}
	ret = s->tx->ops->send(s->tx, f, n);
	must(ret == -EAGAIN || (ret > 0 && (unsigned int)ret <= n));
	s->sent += (uint32_t)MAX(ret, 0);
}

static void check_frame(struct model *m, struct side *s, const uint8_t *frame)
{
	uint32_t number;

	memcpy(&number, frame + HDR, sizeof(number));
	if (!m->hostile) {
		must(number > s->got);
		must(m->replaced || number == s->got + 1);
	}
	s->got = number;
}

static void check_error(const struct model *m, int ret)
{
	must(ret == -EAGAIN || (ret == -EPROTO && m->hostile));
}

/* After a receive, which has just written its position. */
static bool took_what_was_there(const struct side *s)
{
	struct framering *r = s->ring;
	const struct framering_state *state = framering_page(r)->state;

	state += s->rx->fd == r->data[FRAMERING_TO_GUEST]
			 ? FRAMERING_TO_GUEST
			 : FRAMERING_FROM_GUEST;
	return state->tail - state->head <= FRAMERING_BYTES;
}

static void recv_frames(struct input *in, struct model *m, struct side *s)
{
	struct iovec iov[BATCH];
	struct frame f[BATCH];
	unsigned int n = 1 + in_below(in, BATCH);
	int ret;

	for (unsigned int i = 0; i < n; i++) {
		iov[i] = (struct iovec){ buffer[i], sizeof(buffer[i]) };
		f[i] = (struct frame){ &iov[i], 1, 0, false };
	}
	ret = s->rx->ops->recv(s->rx, f, n);
	if (ret < 0) {
		check_error(m, ret);
		return;
	}
	must(ret > 0 && (unsigned int)ret <= n);
	must(took_what_was_there(s));
	for (int i = 0; i < ret; i++) {
		must(!f[i].trunc && f[i].len >= HDR &&
		     f[i].len <= NETPORT_FRAME_MAX);
		check_frame(m, s, buffer[i]);
	}
}

/* Half of them are released. */
static void borrow_frames(struct input *in, struct model *m, struct side *s)
{
	unsigned int n = 1 + in_below(in, BATCH);
	struct iovec iov[BATCH];
	int ret = s->rx->ops->borrow(s->rx, iov, n);

	if (ret < 0) {
		check_error(m, ret);
		return;
	}
	must(ret > 0 && (unsigned int)ret <= n);
	for (int i = 0; i < ret; i++) {
		must(iov[i].iov_len >= HDR &&
		     iov[i].iov_len <= NETPORT_FRAME_MAX);
		memcpy(buffer[0], iov[i].iov_base, iov[i].iov_len);
		if (i < (ret + 1) / 2)
			check_frame(m, s, buffer[0]);
	}
	s->rx->ops->release(s->rx, (unsigned int)(ret + 1) / 2);
}

/* A position near to what is there, or any. */
static uint64_t some_position(struct input *in, uint64_t now)
{
	switch (in_below(in, 4)) {
	case 0:
		return in_u64(in);
	case 1:
		return now + 8 * (uint64_t)in_u16(in);
	case 2:
		return now - 8 * (uint64_t)in_u16(in);
	default:
		return now + FRAMERING_BYTES;
	}
}

static void write_state(struct input *in, struct model *m)
{
	struct framering *r = m->side[FRAMERING_GUEST].ring;
	struct framering_state *s = &framering_page(r)->state[in_below(in, 2)];
	uint64_t *const position[] = { &s->tail, &s->head, &s->taken };
	uint64_t *p = position[in_below(in, ARRAY_SIZE(position))];

	m->hostile = true;
	*p = some_position(in, *p);
	s->wanted = in_u8(in);
	s->asleep = in_u8(in);
}

static uint32_t some_length(struct input *in)
{
	static const uint32_t lengths[] = { 0,
					    HDR - 1,
					    HDR,
					    NETPORT_FRAME_MAX,
					    NETPORT_FRAME_MAX + 1,
					    100,
					    70000,
					    FRAMERING_BYTES - 8,
					    UINT32_MAX };
	uint32_t i = in_below(in, ARRAY_SIZE(lengths) + 2);

	if (i < ARRAY_SIZE(lengths))
		return lengths[i];
	return i & 1 ? in_u32(in) : in_u16(in);
}

/* Where the network's side reads next. */
static void write_record(struct input *in, struct model *m)
{
	struct framering *r = m->side[FRAMERING_GUEST].ring;
	enum framering_dir dir = (enum framering_dir)in_below(in, 2);
	struct framering_state *s = &framering_page(r)->state[dir];
	uint32_t len = some_length(in);

	m->hostile = true;
	memcpy(framering_bytes(r, dir) +
		       (s->head & ~UINT64_C(7)) % FRAMERING_BYTES,
	       &len, sizeof(len));
}

static void touch_eventfd(struct input *in, struct model *m)
{
	struct framering *r = m->side[FRAMERING_GUEST].ring;
	int fds[FRAMERING_FDS];

	framering_fds(r, fds);
	if (in_u8(in) & 1)
		framering_fill(r, fds[1 + in_below(in, 4)]);
	else
		framering_drain(r, fds[1 + in_below(in, 4)]);
}

static void step(struct input *in, struct model *m)
{
	uint8_t what = in_u8(in);
	enum framering_side side = what & 1 ? FRAMERING_GUEST : FRAMERING_NET;
	struct side *s = &m->side[side];

	switch (what / 2 % 10) {
	case 0:
	case 1:
		send_frames(in, s);
		break;
	case 2:
	case 3:
		recv_frames(in, m, s);
		break;
	case 4:
		borrow_frames(in, m, s);
		break;
	case 5:
		replace(m, side);
		break;
	case 6:
		write_state(in, m);
		break;
	case 7:
		write_record(in, m);
		break;
	case 8:
		touch_eventfd(in, m);
		break;
	default:
		framering_enable(m->side[FRAMERING_GUEST].ring, what & 1);
		must(framering_enabled(m->side[FRAMERING_NET].ring) ==
		     (what & 1));
	}
	must(m->hostile || !framering_is_broken(s->ring));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct model m = { .hostile = false };

	must(framering_new(&m.side[FRAMERING_NET].ring) == 0);
	m.side[FRAMERING_GUEST].ring = adopt(m.side[FRAMERING_NET].ring);
	open_ports(&m.side[FRAMERING_NET], FRAMERING_NET);
	open_ports(&m.side[FRAMERING_GUEST], FRAMERING_GUEST);
	for (unsigned int i = 0; i < STEPS && !in_empty(&in); i++)
		step(&in, &m);
	close_side(&m.side[FRAMERING_NET]);
	close_side(&m.side[FRAMERING_GUEST]);
	return 0;
}
