/* SPDX-License-Identifier: BSD-3-Clause */
/* QEMU's network sockets by name, in words close to QEMU's own. */
#include "netif_priv.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "qemu_priv.h"

enum { LOCAL, REMOTE, SERVER, CONNECT, FD };

static const char *const keys[] = { "local",   "remote", "server",
				    "connect", "fd",     NULL };

/**
 * struct qemu_netif - one connection
 * @dgram, @stream: one of them is NULL
 */
struct qemu_netif {
	struct netif source;
	struct qemu_dgram *dgram;
	struct qemu_stream *stream;
};

static struct qemu_netif *to_qemu(struct netif *s)
{
	return container_of(s, struct qemu_netif, source);
}

/* ---- what the specification says ---- */

static int parse_addr(struct netif_error *e, const char *key, const char *text,
		      struct netaddr *out)
{
	int ret;

	if (!text)
		return 0;
	ret = netaddr_parse(text, out);
	if (ret == -ENAMETOOLONG)
		return netif_fail(e, -EINVAL,
				  "qemu: %s: '%s': a path has 107 bytes at "
				  "most",
				  key, text);
	if (ret < 0)
		return netif_fail(e, -EINVAL,
				  "qemu: %s: '%s': expected " NETADDR_SYNTAX,
				  key, text);
	return 0;
}

static int parse_fd(struct netif_error *e, const char *text, int *fd)
{
	uint64_t n;
	int ret;

	*fd = -1;
	if (!text)
		return 0;
	ret = netif_number(e, "qemu: fd", text, 0, INT_MAX, &n);
	if (ret == 0)
		*fd = (int)n;
	return ret;
}

/* Keys of one way must not be mixed with those of another. */
static int check_keys(const struct netif_spec *spec, bool dgram,
		      struct netif_error *e)
{
	const char *const *k = spec->keys;
	bool whole, mixed;

	if (dgram) {
		whole = k[FD] ? !k[LOCAL] && !k[REMOTE] : k[LOCAL] && k[REMOTE];
		mixed = k[SERVER] || k[CONNECT];
	} else {
		whole = !!k[SERVER] + !!k[CONNECT] + !!k[FD] == 1;
		mixed = k[LOCAL] || k[REMOTE];
	}
	if (whole && !mixed)
		return 0;
	return netif_fail(e, -EINVAL,
			  dgram ? "qemu: dgram: expected local=ADDR,"
				  "remote=ADDR or fd=N alone, and nothing else"
				: "qemu: stream: expected one of server=ADDR, "
				  "connect=ADDR, fd=N, and nothing else");
}

static int qemu_parse(const struct netif_spec *spec, bool *dgram,
		      struct qemu_config *c, struct netif_error *e)
{
	const char *arg = spec->arg ? spec->arg : "";
	int ret;

	*dgram = strcmp(arg, "dgram") == 0;
	if (!*dgram && strcmp(arg, "stream") != 0)
		return netif_fail(e, -EINVAL,
				  "qemu: '%s': expected qemu:dgram or "
				  "qemu:stream",
				  arg);
	ret = check_keys(spec, *dgram, e);
	for (int i = LOCAL; ret == 0 && i <= CONNECT; i++)
		ret = parse_addr(e, keys[i], spec->keys[i],
				 i == LOCAL || i == SERVER ? &c->local
							   : &c->remote);
	if (ret == 0)
		ret = parse_fd(e, spec->keys[FD], &c->fd);
	if (ret == 0 && *dgram &&
	    c->local.ss.ss_family != c->remote.ss.ss_family)
		ret = netif_fail(e, -EINVAL,
				 "qemu: dgram: local and remote are of "
				 "different families");
	return ret;
}

static int qemu_check(const struct netif_spec *spec, struct netif_error *e)
{
	struct qemu_config c = { .fd = -1 };
	bool dgram;

	return qemu_parse(spec, &dgram, &c, e);
}

/* ---- the source ---- */

static int qemu_open_pair(struct netif *s, unsigned int pair,
			  struct netport **rx, struct netport **tx)
{
	struct qemu_netif *q = to_qemu(s);

	(void)pair;
	return q->dgram ? qemu_dgram_open(q->dgram, rx, tx)
			: qemu_stream_open(q->stream, rx, tx);
}

static void qemu_free(struct netif *s)
{
	struct qemu_netif *q = to_qemu(s);

	if (q->dgram)
		qemu_dgram_free(q->dgram);
	if (q->stream)
		qemu_stream_free(q->stream);
	free(q);
}

static int qemu_open_fail(const struct netif_spec *spec, int err,
			  struct netif_error *e)
{
	const char *const *k = spec->keys;
	const char *at = k[SERVER] ? k[SERVER] : k[LOCAL] ? k[LOCAL] : k[FD];

	if (!at)
		at = k[CONNECT];
	switch (-err) {
	case EADDRINUSE:
		return netif_fail(e, err, "qemu: %s: a program is there", at);
	case EEXIST:
		return netif_fail(e, err, "qemu: %s: it is there and no socket",
				  at);
	case EBADF:
	case ENOTSOCK:
	case EPROTOTYPE:
	case ENOTCONN:
		return netif_fail(e, err,
				  "qemu: fd=%s: %s: expected a connected %s "
				  "socket",
				  at, strerror(-err), spec->arg);
	default:
		return netif_fail(e, err, "qemu: %s: %s", at, strerror(-err));
	}
}

static int qemu_new(const struct netif_spec *spec, struct netif **out,
		    struct netif_error *e)
{
	static const struct netif_ops ops = {
		.open = qemu_open_pair,
		.free = qemu_free,
	};
	struct qemu_config c = { .fd = -1 };
	struct qemu_netif *q;
	bool dgram;
	int ret = qemu_parse(spec, &dgram, &c, e);

	if (ret < 0)
		return ret;
	if (spec->queues > 1)
		return netif_fail(e, -EINVAL,
				  "qemu: it has one queue pair, not %u: leave "
				  "queues away",
				  spec->queues);
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->source.ops = &ops;
	log_tag_init(&c.tag, "qemu:%s", spec->arg);
	ret = dgram ? qemu_dgram_new(&c, &q->dgram)
		    : qemu_stream_new(&c, &q->stream);
	if (ret < 0) {
		free(q);
		return qemu_open_fail(spec, ret, e);
	}
	*out = &q->source;
	return 0;
}

const struct netif_kind netif_qemu = {
	.name = "qemu",
	.usage = "qemu:dgram,local=ADDR,remote=ADDR\n"
		 "qemu:stream,server=ADDR\n"
		 "qemu:stream,connect=ADDR\n"
		 "qemu:dgram|stream,fd=N\n"
		 "    QEMU's -netdev dgram or stream, for any NIC it emulates; "
		 "ADDR is\n"
		 "    " NETADDR_SYNTAX,
	.keys = keys,
	.check = qemu_check,
	.new = qemu_new,
};
