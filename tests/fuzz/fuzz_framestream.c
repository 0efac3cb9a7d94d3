/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reader of QEMU's stream. The first bytes of the input say in what pieces
 * it comes and how often it is repeated, the others are what comes.
 *
 * What must hold: the frames, and where it ends, are those that a reader of the
 * whole finds; there is always room for more.
 */
#include "fuzz.h"

#include <errno.h>

#include "bytes.h"
#include "framestream.h"

/* What the reader must say next; a naive one. */
struct model {
	const uint8_t *p;
	size_t n, at;
};

static uint8_t model_byte(const struct model *m, size_t at)
{
	return m->p[at % m->n];
}

/* Length of the next frame, 0: not complete at @end, -EPROTO. */
static int64_t model_next(struct model *m, size_t end)
{
	for (;;) {
		uint64_t len = 0;

		if (end - m->at < 4)
			return 0;
		for (size_t i = 0; i < 4; i++)
			len = len << 8 | model_byte(m, m->at + i);
		if (len > FRAMESTREAM_MAX)
			return -EPROTO;
		if (end - m->at - 4 < len)
			return 0;
		m->at += 4 + len;
		if (len >= NETPORT_ETH_MIN)
			return (int64_t)len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct framestream s;
	struct input in = { data, size };
	size_t piece = 1 + in_u16(&in), total = 0, repeat = 1 + in_u8(&in), end;
	struct model m = { in.p, in.n, 0 };

	if (!m.n)
		return 0;
	framestream_reset(&s);
	end = MIN(m.n * repeat, 300000);
	while (total < end) {
		size_t room, part = MIN(piece, end - total);
		uint8_t *to = framestream_space(&s, &room);
		const uint8_t *frame;
		uint32_t len;
		int ret;

		must(room > 0);
		part = MIN(part, room);
		for (size_t i = 0; i < part; i++)
			to[i] = model_byte(&m, total + i);
		framestream_filled(&s, part);
		total += part;
		do {
			int64_t want = model_next(&m, total);

			ret = framestream_next(&s, &frame, &len);
			must(ret == (want > 0 ? 1 : want));
			if (ret == -EPROTO)
				return 0;
			must(ret == 0 || len == want);
			for (uint32_t i = 0; ret && i < len; i++)
				must(frame[i] ==
				     model_byte(&m, m.at - len + i));
		} while (ret == 1);
	}
	return 0;
}
