/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * items.c adds networks, ports, devices and sockets to struct options, and
 * checks that they fit together.
 */
#include "items.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "bytes.h"
#include "netif.h"

#define KIND_SOCKET "vhost-user"

#define OF(owner) (1u << (owner))

static const char *const names[ITEM_KINDS] = {
	[ITEM_NET] = "net",       [ITEM_PORT] = "port",
	[ITEM_DEVICE] = "device", [ITEM_SOCKET_PATH] = "socket-path",
	[ITEM_FD] = "fd",
};

const char *item_name(enum item_kind kind)
{
	return names[kind];
}

enum item_kind item_find(const char *name, size_t len)
{
	enum item_kind kind = 0;

	while (kind < ITEM_KINDS && (strlen(names[kind]) != len ||
				     strncmp(names[kind], name, len) != 0))
		kind++;
	return kind;
}

/* ---- beginning ---- */

static void set_base(struct item *it, enum key_owner owner, void *base)
{
	it->base[owner] = base;
	it->owners |= OF(owner);
}

static void set_end(struct item *it, struct option_end *end)
{
	end->offloads = OPTIONS_OFFLOADS_UNSAID;
	it->end = end;
	set_base(it, KEY_SWPORT, end);
	set_base(it, KEY_CAPTURE, &end->capture);
	if (it->kind != ITEM_PORT)
		set_base(it, KEY_END, end);
}

static int take_net_name(const char *name, char *to, struct error_line *c)
{
	const struct key *k = key_find("net", OF(KEY_END));

	return k->read(k, "name", name, to, c);
}

static int begin_net(struct item *it, const char *name, struct error_line *c)
{
	struct options *opts = it->opts;
	struct option_net *net = &opts->nets[opts->nnets];

	if (opts->nnets == OPTIONS_MAX_NETS)
		return complain(c, "'%s': more than %d networks", name,
				OPTIONS_MAX_NETS);
	*net = (struct option_net){ .macs = 4096, .age_s = 300, .mtu = 1500 };
	set_base(it, KEY_NET, net);
	for (unsigned int i = 0; i < opts->nnets; i++)
		if (strcmp(opts->nets[i].name, name) == 0)
			return complain(c, "'%s' is named twice", name);
	return take_net_name(name, net->name, c);
}

static int set_spec(struct option_end *end, const char *spec,
		    struct error_line *c)
{
	size_t len = strlen(spec);

	if (len > OPTIONS_PORT_MAX)
		return complain(c, "'%s' is longer than %d bytes", spec,
				OPTIONS_PORT_MAX);
	memcpy(end->port, spec, len + 1);
	return 0;
}

static int begin_port(struct item *it, const char *net, const char *spec,
		      struct error_line *c)
{
	struct options *opts = it->opts;
	struct option_end *end = &opts->ports[opts->nports];
	int ret;

	if (opts->nports == OPTIONS_MAX_PORTS)
		return complain(c, "'%s': more than %d ports", net,
				OPTIONS_MAX_PORTS);
	memset(end, 0, sizeof(*end));
	set_end(it, end);
	ret = take_net_name(net, end->net, c);
	if (ret < 0)
		return ret;
	if (!spec || !*spec)
		return complain(c, "'%s': no kind: expected NET and KIND[:ARG]",
				net);
	return set_spec(end, spec, c);
}

/*
 * The name becomes a file below /dev and a folder in sysfs: no '/', no part
 * that is empty or begins with a dot, no characters that are special in a shell
 * or in udev rules.
 */
static bool dev_name_valid(const char *name, size_t len)
{
	size_t part = 0;

	if (len == 0 || len > OPTIONS_NAME_MAX)
		return false;
	for (size_t i = 0; i <= len; i++) {
		if (i == len || name[i] == '!') {
			if (i == part || name[part] == '.')
				return false;
			part = i + 1;
		} else if (!isalnum((unsigned char)name[i]) &&
			   !strchr("-_.:+", name[i])) {
			return false;
		}
	}
	return true;
}

static int begin_device(struct item *it, const char *name, struct error_line *c)
{
	struct options *opts = it->opts;
	struct option_dev *dev = &opts->devs[opts->ndevs];

	if (opts->ndevs == OPTIONS_MAX_DEVS)
		return complain(c, "'%s': more than %d devices", name,
				OPTIONS_MAX_DEVS);
	if (!dev_name_valid(name, strlen(name)))
		return complain(c,
				"'%s': a name has 1...%d of A-Z a-z 0-9 "
				"- _ . : + and ! (for /), and no part that is "
				"empty or starts with a dot",
				name, OPTIONS_NAME_MAX);
	for (unsigned int i = 0; i < opts->ndevs; i++)
		if (strcmp(opts->devs[i].name, name) == 0)
			return complain(c, "'%s' is named twice", name);
	memset(dev, 0, sizeof(*dev));
	memcpy(dev->name, name, strlen(name) + 1);
	dev->fd = -1;
	set_base(it, KEY_DEVICE, dev);
	set_end(it, &dev->end);
	return 0;
}

static int take_socket_name(struct option_sock *o, enum item_kind kind,
			    const char *name, struct error_line *c)
{
	size_t len = strlen(name);
	uint64_t fd = 0;
	int ret;

	if (kind == ITEM_FD) {
		ret = key_number("descriptor", name, 0, INT_MAX, &fd, c);
		if (ret == 0)
			o->fd = (int)fd;
		return ret;
	}
	if (len == 0 || len > OPTIONS_PATH_MAX)
		return complain(c, "path '%s': expected 1...%d bytes", name,
				OPTIONS_PATH_MAX);
	memcpy(o->path, name, len + 1);
	return 0;
}

static int begin_socket(struct item *it, const char *name, struct error_line *c)
{
	struct options *opts = it->opts;
	struct option_sock *o = &opts->socks[opts->nsocks];
	int ret;

	if (opts->nsocks == OPTIONS_MAX_SOCKS)
		return complain(c, "'%s': more than %d sockets", name,
				OPTIONS_MAX_SOCKS);
	memset(o, 0, sizeof(*o));
	o->fd = -1;
	o->queues = 1;
	it->sock = o;
	set_base(it, KEY_SOCKET, o);
	set_end(it, &o->end);
	ret = take_socket_name(o, it->kind, name, c);
	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < opts->nsocks; i++)
		if (o->fd == opts->socks[i].fd &&
		    strcmp(o->path, opts->socks[i].path) == 0)
			return complain(c, "'%s' is named twice", name);
	return 0;
}

/* --port NET,vhost-user:PATH is --socket-path PATH,net=NET. */
static const char *socket_path(const char *spec)
{
	size_t len = strlen(KIND_SOCKET);

	if (!spec || strncmp(spec, KIND_SOCKET, len) != 0)
		return NULL;
	return spec[len] == ':' ? spec + len + 1 : NULL;
}

int item_begin(struct item *it, struct options *opts, enum item_kind kind,
	       const char *name, const char *spec, struct error_line *c)
{
	const char *path = kind == ITEM_PORT ? socket_path(spec) : NULL;
	int ret;

	memset(it, 0, sizeof(*it));
	it->opts = opts;
	it->kind = path ? ITEM_SOCKET_PATH : kind;
	switch (it->kind) {
	case ITEM_NET:
		return begin_net(it, name, c);
	case ITEM_PORT:
		return begin_port(it, name, spec, c);
	case ITEM_DEVICE:
		return begin_device(it, name, c);
	default:
		ret = begin_socket(it, path ? path : name, c);
		return ret == 0 && path ? item_key(it, "net", name, c) : ret;
	}
}

/* ---- keys ---- */

static int unknown_key(const struct item *it, const char *key,
		       struct error_line *c)
{
	const char *spec = it->end ? it->end->port : "";
	int kind = (int)strcspn(spec, ":,");
	char known[384];

	keys_list(it->owners, known, sizeof(known));
	return complain(c, "'%.64s' is no key of it: expected %s%s%.*s%s", key,
			known, kind ? ", or one of " : "", kind, spec,
			kind ? "'s" : "");
}

/* Appends @text with its commas doubled; false: no space. */
static bool add_escaped(char *to, size_t size, const char *text)
{
	size_t len = strlen(to);

	for (; *text; text++) {
		if (len + 2 >= size)
			return false;
		to[len++] = *text;
		if (*text == ',')
			to[len++] = ',';
	}
	to[len] = '\0';
	return true;
}

/* A key of the kind of port; netif_check() checks its value later. */
static int take_extra(struct item *it, const char *key, const char *value,
		      struct error_line *c)
{
	size_t len = strlen(it->extra);
	size_t size = sizeof(it->extra);

	if (!it->end || strchr(key, ',') ||
	    (it->end->port[0] && !netif_has_key(it->end->port, key)))
		return unknown_key(it, key, c);
	if (snprintf(it->extra + len, size - len, ",%s%s", key,
		     value ? "=" : "") >= (int)(size - len) ||
	    (value && !add_escaped(it->extra, size, value)))
		return complain(c, "%.64s: too long", key);
	return 0;
}

int item_key(struct item *it, const char *key, const char *value,
	     struct error_line *c)
{
	const struct key *k = key_find(key, it->owners);

	if (!k)
		return take_extra(it, key, value, c);
	if (it->seen & BIT(k - keys))
		return complain(c, "%s is given twice", key);
	it->seen |= BIT(k - keys);
	return key_read(k, key, value, it->base[k->owner], c);
}

/* ---- ending ---- */

/* Return: a key of @owner that was given, or NULL. */
static const char *first_seen(const struct item *it, enum key_owner owner)
{
	for (unsigned int i = 0; i < nkeys; i++)
		if (keys[i].owner == owner && it->seen & BIT(i))
			return keys[i].name;
	return NULL;
}

/* Completes the port's specification: commas doubled, with the keys of its
 * kind. */
static int end_spec(struct item *it, struct error_line *c)
{
	struct option_end *end = it->end;
	char spec[OPTIONS_PORT_MAX + 1] = "", why[256];
	size_t len;

	if (!end->port[0])
		return it->extra[0] ? unknown_key(it, it->extra + 1, c) : 0;
	if (!add_escaped(spec, sizeof(spec), end->port))
		return complain(c, "port '%s' is too long", end->port);
	len = strlen(spec);
	if (snprintf(spec + len, sizeof(spec) - len, "%s", it->extra) >=
	    (int)(sizeof(spec) - len))
		return complain(c, "port '%s' is too long", end->port);
	if (netif_check(spec, why, sizeof(why)) < 0)
		return complain(c, "%s%s",
				it->kind == ITEM_PORT ? "" : "port: ", why);
	memcpy(end->port, spec, sizeof(spec));
	return 0;
}

/* Checks that an item has a network or a port of its own, not both. */
static int end_choice(const struct item *it, struct error_line *c)
{
	const struct option_end *end = it->end;
	const char *key;

	if (it->kind == ITEM_PORT)
		return 0;
	if (end->net[0] && end->port[0])
		return complain(c, "net and port exclude each other");
	if (it->sock && !end->net[0] && !end->port[0])
		return complain(c, "no port: expected net=NET, or e.g. "
				   "port=tap:NAME");
	key = first_seen(it, KEY_SWPORT);
	if (key && !end->net[0])
		return complain(c, "%s: only with net", key);
	return 0;
}

static int end_device(const struct item *it, struct error_line *c)
{
	const char *port = it->end->port;
	size_t len = strcspn(port, ":,");

	if (it->kind != ITEM_DEVICE || !*port ||
	    (len == 4 && (strncmp(port, "null", len) == 0 ||
			  strncmp(port, "loop", len) == 0)))
		return 0;
	return complain(c, "port: '%s': expected null or loop", port);
}

static int end_socket(const struct item *it, struct error_line *c)
{
	if (!it->sock)
		return 0;
	if (it->sock->client && it->sock->fd >= 0)
		return complain(c, "client goes with a path");
	if (it->end->offloads != OPTIONS_OFFLOADS_UNSAID)
		return complain(c, "offloads: the guest says them itself");
	if (it->sock->mtu)
		it->end->mtu = it->sock->mtu;
	return 0;
}

static int end_capture(const struct item *it, struct error_line *c)
{
	const struct option_capture *cap = &it->end->capture;
	const char *key = first_seen(it, KEY_CAPTURE);

	if (key && !cap->file[0])
		return complain(c, "%s: only with capture", key);
	if (cap->file_bytes && strcmp(cap->file, "-") == 0)
		return complain(c, "capture-file-size: not on stdout");
	return 0;
}

static void count_item(struct item *it)
{
	struct options *opts = it->opts;

	switch (it->kind) {
	case ITEM_NET:
		opts->nnets++;
		break;
	case ITEM_PORT:
		opts->nports++;
		break;
	case ITEM_DEVICE:
		opts->ndevs++;
		break;
	default:
		opts->nsocks++;
		break;
	}
}

/* A port without vlan= is in VLAN 1; a trunk without it carries no untagged
 * frames. */
static void end_vlan(struct option_end *end)
{
	uint64_t any = 0;

	for (size_t i = 0; i < ARRAY_SIZE(end->trunk); i++)
		any |= end->trunk[i];
	if (!end->vlan && !any)
		end->vlan = 1;
}

int item_end(struct item *it, struct error_line *c)
{
	static int (*const steps[])(const struct item *,
				    struct error_line *) = {
		end_choice, end_device, end_socket, end_capture
	};
	int ret;

	if (it->end) {
		for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
			ret = steps[i](it, c);
			if (ret < 0)
				return ret;
		}
		ret = end_spec(it, c);
		if (ret < 0)
			return ret;
		end_vlan(it->end);
	}
	count_item(it);
	return 0;
}

/* ---- all together ---- */

struct option_end *items_end(struct options *opts, unsigned int i)
{
	if (i < opts->nports)
		return &opts->ports[i];
	i -= opts->nports;
	if (i < opts->ndevs)
		return &opts->devs[i].end;
	i -= opts->ndevs;
	return i < opts->nsocks ? &opts->socks[i].end : NULL;
}

static bool has_net(const struct options *opts, const char *name)
{
	for (unsigned int i = 0; i < opts->nnets; i++)
		if (strcmp(opts->nets[i].name, name) == 0)
			return true;
	return false;
}

static int finish_member(struct options *opts, unsigned int n,
			 struct error_line *c)
{
	const struct option_end *end = items_end(opts, n), *other;

	if (end->net[0] && !has_net(opts, end->net))
		return complain(c, "net: there is no '%s': expected --net %s",
				end->net, end->net);
	for (unsigned int i = 0; i < n && end->name[0]; i++) {
		other = items_end(opts, i);
		if (strcmp(other->net, end->net) == 0 &&
		    strcmp(other->name, end->name) == 0)
			return complain(c, "name: '%s' is twice in '%s'",
					end->name, end->net);
	}
	return 0;
}

/* *@to becomes the value that is given (0: none); false: two differ. */
static bool merge(uint64_t *to, uint64_t from)
{
	if (*to && from && *to != from)
		return false;
	*to |= from;
	return true;
}

static bool merge_number(unsigned int *to, unsigned int from)
{
	uint64_t both = *to;

	if (!merge(&both, from))
		return false;
	*to = (unsigned int)both;
	return true;
}

static int merge_captures(struct option_capture *to,
			  const struct option_capture *from,
			  struct error_line *c)
{
	const char *differs = NULL;

	to->vnet_hdr |= from->vnet_hdr;
	if (!merge_number(&to->snaplen, from->snaplen))
		differs = "capture-snaplen";
	if (!merge(&to->file_bytes, from->file_bytes))
		differs = "capture-file-size";
	if (!merge_number(&to->files, from->files))
		differs = "capture-files";
	return differs ? complain(c, "%s: '%s' is given two", differs, to->file)
		       : 0;
}

/* Return: the first capture to the file of @end, which has the merged keys. */
static struct option_capture *first_capture(struct options *opts,
					    struct option_end *end)
{
	struct option_end *first;

	for (unsigned int i = 0; (first = items_end(opts, i)); i++)
		if (strcmp(first->capture.file, end->capture.file) == 0)
			return &first->capture;
	return &end->capture;
}

static int finish_captures(struct options *opts, struct error_line *c)
{
	struct option_end *end;
	int ret;

	for (unsigned int i = 0; (end = items_end(opts, i)); i++) {
		ret = merge_captures(first_capture(opts, end), &end->capture,
				     c);
		if (ret < 0)
			return ret;
	}
	for (unsigned int i = 0; (end = items_end(opts, i)); i++) {
		struct option_capture *cap = &end->capture;

		if (!cap->file[0])
			continue;
		*cap = *first_capture(opts, end);
		if (cap->files && !cap->file_bytes)
			return complain(c,
					"capture-files: '%s' has no "
					"capture-file-size",
					cap->file);
		if (!cap->snaplen)
			cap->snaplen = NETPORT_FRAME_MAX;
	}
	return 0;
}

int items_finish(struct options *opts, struct error_line *c)
{
	for (unsigned int i = 0; items_end(opts, i); i++) {
		int ret = finish_member(opts, i, c);

		if (ret < 0)
			return ret;
	}
	return finish_captures(opts, c);
}

/* ---- help ---- */

void items_print_help(FILE *out)
{
	const unsigned int end = OF(KEY_SWPORT) | OF(KEY_CAPTURE);

	fputs("\nEach of these may be given many times, and a comma of a VALUE "
	      "is written twice:\n"
	      "  --net NAME[,KEY=VALUE...]   a network: a switch between "
	      "ports\n",
	      out);
	keys_print(out, OF(KEY_NET), 6, "");
	fputs("  --device NAME[,KEY=VALUE...]\n"
	      "                              character device (uvhost-net); "
	      "'!' "
	      "stands for '/';\n"
	      "                              without net and port frames go to "
	      "what the VMM brings\n",
	      out);
	keys_print(out, OF(KEY_DEVICE) | OF(KEY_END), 6, "");
	fputs("  --socket-path PATH,KEY=VALUE...\n"
	      "  --fd FD,KEY=VALUE...        serve vhost-user, on a socket "
	      "that "
	      "is open\n",
	      out);
	keys_print(out, OF(KEY_SOCKET) | OF(KEY_END), 6, "");
	fputs("  --port NET,KIND[:ARG][,KEY=VALUE...]\n"
	      "                              a port of a network\n"
	      "With a network each of the last four has the keys of a port:\n",
	      out);
	keys_print(out, end, 6, "");
	fputs("Kinds of port, and their keys:\n"
	      "vhost-user:PATH  the same as --socket-path\n",
	      out);
	netif_print_kinds(out);
}
