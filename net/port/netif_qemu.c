/* SPDX-License-Identifier: BSD-3-Clause */
/* netif_qemu.c has the kind qemu: its options are close to QEMU's own. */
#include "netif_priv.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "bytes.h"
#include "qemu_priv.h"

/** struct qemu_addr - @text: as it was given; NULL: it was not */
struct qemu_addr {
	const char *text;
	struct netaddr addr;
};

/** struct qemu_options - @fd: NO_FD: it was not given */
struct qemu_options {
	unsigned int way; /* in WAYS */
	uint64_t fd;
	struct qemu_addr local, remote, server, connect;
};

#define WAYS "dgram|stream"
enum { DGRAM, STREAM };
#define NO_FD UINT64_MAX

static int read_addr(const struct netif_value *v)
{
	struct qemu_addr *a = v->field;
	int ret = netaddr_parse(v->text, &a->addr);

	a->text = v->text;
	if (ret == -ENAMETOOLONG)
		return error_line(v->e, -EINVAL,
				  "%s: '%s': a path has 107 bytes at most",
				  v->label, v->text);
	if (ret < 0)
		return error_line(v->e, -EINVAL,
				  "%s: '%s': expected " NETADDR_SYNTAX,
				  v->label, v->text);
	return 0;
}

static const struct netif_key qemu_arg =
	NETIF_ARG(choice, struct qemu_options, way, .choices = WAYS);

#define ADDR(key)            \
	{ .name = #key,      \
	  .read = read_addr, \
	  .field = offsetof(struct qemu_options, key) }

static const struct netif_key qemu_keys[] = {
	ADDR(local),
	ADDR(remote),
	ADDR(server),
	ADDR(connect),
	NETIF_KEY("fd", number, struct qemu_options, fd, .max = INT_MAX),
	{ 0 },
};

/* Keys of one way must not be mixed with those of another. */
static int qemu_check(const void *config, struct error_line *e)
{
	const struct qemu_options *o = config;
	bool fd = o->fd != NO_FD, local = o->local.text,
	     server = o->server.text;
	bool remote = o->remote.text, connect = o->connect.text;

	if (o->way == DGRAM &&
	    (server || connect || local != remote || local == fd))
		return error_line(e, -EINVAL,
				  "qemu: dgram: expected local=ADDR,"
				  "remote=ADDR or fd=N alone, and nothing "
				  "else");
	if (o->way == STREAM && (local || remote || server + connect + fd != 1))
		return error_line(e, -EINVAL,
				  "qemu: stream: expected one of server=ADDR, "
				  "connect=ADDR, fd=N, and nothing else");
	if (local && o->local.addr.ss.ss_family != o->remote.addr.ss.ss_family)
		return error_line(e, -EINVAL,
				  "qemu: dgram: local and remote are of "
				  "different families");
	return 0;
}

static int qemu_open_fail(const struct qemu_options *o, int err,
			  struct error_line *e)
{
	const char *at = o->server.text  ? o->server.text
			 : o->local.text ? o->local.text
					 : o->connect.text;

	switch (-err) {
	case EADDRINUSE:
		return error_line(e, err, "qemu: %s: a program is there", at);
	case EEXIST:
		return error_line(e, err, "qemu: %s: it is there and no socket",
				  at);
	case EBADF:
	case ENOTSOCK:
	case EPROTOTYPE:
	case ENOTCONN:
		return error_line(e, err,
				  "qemu: fd=%d: %s: expected a connected %s "
				  "socket",
				  (int)o->fd, strerror(-err),
				  o->way == DGRAM ? "dgram" : "stream");
	default:
		return error_line(e, err, "qemu: %s: %s", at ? at : "fd",
				  strerror(-err));
	}
}

static int qemu_new(const void *config, unsigned int queues, struct netif **out,
		    struct error_line *e)
{
	const struct qemu_options *o = config;
	struct qemu_config c = {
		.fd = o->fd == NO_FD ? -1 : (int)o->fd,
		.local = o->way == DGRAM ? o->local.addr : o->server.addr,
		.remote = o->way == DGRAM ? o->remote.addr : o->connect.addr,
	};
	int ret;

	if (queues > 1)
		return error_line(e, -EINVAL,
				  "qemu: it has one queue pair, not %u: leave "
				  "queues away",
				  queues);
	log_tag_init(&c.tag, "qemu:%s", o->way == DGRAM ? "dgram" : "stream");
	ret = o->way == DGRAM ? qemu_dgram_new(&c, out)
			      : qemu_stream_new(&c, out);
	return ret < 0 ? qemu_open_fail(o, ret, e) : 0;
}

const struct netif_kind netif_qemu = {
	.name = "qemu",
	.usage = "qemu:dgram,local=ADDR,remote=ADDR\n"
		 "qemu:stream,server=ADDR\n"
		 "qemu:stream,connect=ADDR\n"
		 "qemu:" WAYS ",fd=N\n"
		 "    QEMU's -netdev dgram or stream, for any NIC it emulates; "
		 "ADDR is\n"
		 "    " NETADDR_SYNTAX,
	.arg = &qemu_arg,
	.keys = qemu_keys,
	.defaults = &(const struct qemu_options){ .fd = NO_FD },
	.config_size = sizeof(struct qemu_options),
	.check = qemu_check,
	.new = qemu_new,
};
