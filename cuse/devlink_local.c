/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devlink_local.c is the link to a device session in the same process, on the
 * session's own thread: each operation is a call.
 */
#include "devlink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "bytes.h"
#include "devsession.h"

struct local_link {
	struct devlink link;
	struct devsession *ds;
};

static struct devsession *session_of(struct devlink *l)
{
	return container_of(l, struct local_link, link)->ds;
}

static int local_ioctl(struct devlink *l, const struct ioctl_call *call,
		       const struct call_facts *facts, struct ioctl_verdict *v)
{
	devsession_ioctl(session_of(l), call, facts, v);
	return 0;
}

static int local_read(struct devlink *l, void *buf, size_t len, ssize_t *n)
{
	*n = devsession_read(session_of(l), buf, len);
	return 0;
}

static int local_write(struct devlink *l, const void *buf, size_t len,
		       int mem_fd, ssize_t *n)
{
	*n = devsession_write(session_of(l), buf, len, mem_fd);
	return 0;
}

static int local_readable(struct devlink *l, bool *yes)
{
	*yes = devsession_readable(session_of(l));
	return 0;
}

static int local_resume(struct devlink *l, bool on, bool was_reset)
{
	devsession_resume(session_of(l), on, was_reset);
	return 0;
}

static int local_replay_iotlb(struct devlink *l)
{
	devsession_replay_iotlb(session_of(l));
	return 0;
}

static void local_owner_died(struct devlink *l)
{
	devsession_owner_died(session_of(l));
}

static int local_print(struct devlink *l, char **text)
{
	size_t len;
	FILE *f = open_memstream(text, &len);

	if (!f)
		return -ENOMEM;
	devsession_print(session_of(l), f);
	if (fclose(f) == 0)
		return 0;
	free(*text);
	return -ENOMEM;
}

static void local_free(struct devlink *l)
{
	devsession_free(session_of(l));
	free(container_of(l, struct local_link, link));
}

static const struct devlink_ops local_ops = {
	.ioctl = local_ioctl,
	.read = local_read,
	.write = local_write,
	.readable = local_readable,
	.resume = local_resume,
	.replay_iotlb = local_replay_iotlb,
	.owner_died = local_owner_died,
	.print = local_print,
	.free = local_free,
};

int devlink_local_new(const struct devlink_config *config, struct devlink **out)
{
	const struct devsession_config session = {
		.worker = config->worker,
		.tag = *config->tag,
		.limit = config->limit,
		.attach = config->attach,
		.features = config->features,
		.max_mem_regions = config->max_mem_regions,
		.mem = config->mem,
		.iotlb_event = config->events.iotlb,
		.fault_in = config->events.fault_in,
		.ctx = config->events.ctx,
	};
	struct local_link *l = calloc(1, sizeof(*l));
	int ret;

	if (!l)
		return -ENOMEM;
	l->link.ops = &local_ops;
	ret = devsession_new(&session, &l->ds);
	if (ret < 0)
		free(l);
	else
		*out = &l->link;
	return ret;
}
