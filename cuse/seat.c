/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Both rings of a session use the two ends of one pair of ports, which is
 * opened with the first of them and stays as long as the session: rings stop
 * and start when the guest resets its driver, one at a time. So a ring gets its
 * end lent.
 */
#include "seat.h"

#include <errno.h>
#include <stdlib.h>

#include "netsource.h"
#include "vdev.h"

struct seats {
	const struct option_dev *dev;
};

struct seat {
	struct seats *seats;
	struct netsource *source;       /* of the options' port */
	struct netport *ends[VDEV_VQS]; /* both or neither */
};

int seats_new(const struct option_dev *dev, struct seats **out)
{
	struct seats *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->dev = dev;
	*out = s;
	return 0;
}

void seats_free(struct seats *s)
{
	free(s);
}

bool seats_take_fd(const struct seats *s)
{
	return !s->dev->end.port[0];
}

int seat_new(struct seats *seats, uint64_t id, struct seat **out)
{
	struct seat *s = calloc(1, sizeof(*s));

	(void)id;
	if (!s)
		return -ENOMEM;
	s->seats = seats;
	*out = s;
	return 0;
}

void seat_free(struct seat *s)
{
	if (!s)
		return;
	for (unsigned int i = 0; i < VDEV_VQS; i++)
		netport_close(s->ends[i]);
	netsource_free(s->source);
	free(s);
}

/* null or loop: of this session alone. */
static int open_source(struct seat *s)
{
	char error[256];
	int ret;

	ret = netsource_new(s->seats->dev->end.port, 1, &s->source, error,
			    sizeof(error));
	if (ret < 0)
		return ret;
	ret = netsource_open(s->source, 0, &s->ends[0], &s->ends[1]);
	if (ret < 0) {
		netsource_free(s->source);
		s->source = NULL;
		s->ends[0] = s->ends[1] = NULL;
	}
	return ret;
}

int seat_open(struct seat *s, unsigned int qi, int fd, struct netport **port)
{
	int ret = netport_check_fd(fd);

	if (ret == 0 && !s->ends[0])
		ret = open_source(s);
	return ret < 0 ? ret : netport_lend(s->ends[qi], port);
}
