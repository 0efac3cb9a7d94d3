/* SPDX-License-Identifier: BSD-3-Clause */
/* options.c parses the command line, and checks all options together. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>

#include "bytes.h"
#include "config.h"
#include "items.h"
#include "keys.h"
#include "netif.h"
#include "parse.h"

#define DEFAULT_DEV "uvhost-net"
#define TAKEOVER_DEV "vhost-net"

#define OF_DAEMON (1u << KEY_DAEMON)

/* Values of getopt: items from OPT_ITEM on, keys of the daemon from OPT_KEY. */
enum {
	OPT_ITEM = 256,
	OPT_KEY = OPT_ITEM + ITEM_KINDS,
	OPT_CONFIG = OPT_KEY + 64,
	OPT_CUSE_FD,
	OPT_IOCTL_TABLE,
	OPT_MESSAGE_TABLE,
	OPT_CAPABILITIES,
	OPT_RELEASE_NODE,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option own_options[] = {
	{ "dev", required_argument, NULL, OPT_ITEM + ITEM_DEVICE },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "cuse-fd", required_argument, NULL, OPT_CUSE_FD },
	{ "print-ioctl-table", no_argument, NULL, OPT_IOCTL_TABLE },
	{ "print-message-table", no_argument, NULL, OPT_MESSAGE_TABLE },
	{ "print-capabilities", no_argument, NULL, OPT_CAPABILITIES },
	{ "release-node", no_argument, NULL, OPT_RELEASE_NODE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
};

#define OPTIONS_TOTAL (ARRAY_SIZE(own_options) + ITEM_KINDS + 64 + 1)

/* State of one options_parse(). */
struct parser {
	struct options *opts;
	int fds[OPTIONS_MAX_DEVS];
	unsigned int nfds;
	char *error;
	size_t size;
};

/* Return: where to write an error line that begins with @where. */
static struct error_line complaint(const struct parser *p, const char *where)
{
	return (struct error_line){ p->error, p->size, where };
}

/* @to: all options, for getopt; space for OPTIONS_TOTAL. */
static void list_options(struct option *to)
{
	memset(to, 0, OPTIONS_TOTAL * sizeof(*to));
	memcpy(to, own_options, sizeof(own_options));
	to += ARRAY_SIZE(own_options);
	for (int i = 0; i < ITEM_KINDS; i++)
		*to++ = (struct option){ item_name(i), required_argument, NULL,
					 OPT_ITEM + i };
	for (unsigned int i = 0; i < nkeys; i++)
		if (keys[i].owner == KEY_DAEMON)
			*to++ = (struct option){ keys[i].name,
						 keys[i].flag
							 ? no_argument
							 : required_argument,
						 NULL, OPT_KEY + (int)i };
}

/* ---- items ---- */

static int parse_words(struct item *it, char *rest, struct error_line *c)
{
	int ret = 0;

	while (rest && ret == 0) {
		char *word = rest, *value;

		rest = parse_comma(word);
		if (!*word)
			continue;
		value = strchr(word, '=');
		if (value)
			*value++ = '\0';
		ret = item_key(it, word, value, c);
	}
	return ret == 0 ? item_end(it, c) : ret;
}

/* "NAME[,KEY=VALUE...]", or of a port "NET,KIND[:ARG][,KEY=VALUE...]". */
static int parse_item(struct parser *p, enum item_kind kind, const char *arg)
{
	char text[ITEM_TEXT_MAX + 1], where[32];
	char *spec = NULL, *rest;
	struct error_line c;
	struct item it;
	int ret;

	snprintf(where, sizeof(where), "--%s", item_name(kind));
	c = complaint(p, where);
	if (snprintf(text, sizeof(text), "%s", arg) > ITEM_TEXT_MAX)
		return complain(&c, "'%.64s...' is longer than %d bytes", arg,
				ITEM_TEXT_MAX);
	rest = parse_comma(text);
	if (kind == ITEM_PORT && rest) {
		spec = rest;
		rest = parse_comma(spec);
	}
	ret = item_begin(&it, p->opts, kind, text, spec, &c);
	return ret == 0 ? parse_words(&it, rest, &c) : ret;
}

static int parse_cuse_fd(struct parser *p, const char *arg)
{
	struct error_line c = complaint(p, "");
	uint64_t fd = 0;
	int ret;

	if (p->nfds == OPTIONS_MAX_DEVS)
		return complain(&c, "--cuse-fd: '%s': more than %d channels",
				arg, OPTIONS_MAX_DEVS);
	ret = key_number("--cuse-fd", arg, 0, INT_MAX, &fd, &c);
	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < p->nfds; i++) {
		if (p->fds[i] == (int)fd)
			return complain(&c, "--cuse-fd: '%s' is given twice",
					arg);
	}
	p->fds[p->nfds++] = (int)fd;
	return 0;
}

static int parse_key(struct parser *p, const struct key *key, const char *arg)
{
	struct error_line c = complaint(p, "");
	char label[40];

	snprintf(label, sizeof(label), "--%s", key->name);
	return key_read(key, label, arg, p->opts, &c);
}

static int parse_one(struct parser *p, int opt, const char *arg)
{
	struct options *opts = p->opts;

	if (opt >= OPT_KEY && opt < OPT_CONFIG)
		return parse_key(p, &keys[opt - OPT_KEY], arg);
	if (opt >= OPT_ITEM && opt < OPT_KEY)
		return parse_item(p, (enum item_kind)(opt - OPT_ITEM), arg);
	switch (opt) {
	case OPT_CONFIG:
		if (opts->nconfigs < OPTIONS_MAX_CONFIGS)
			opts->configs[opts->nconfigs] = arg;
		opts->nconfigs++;
		return config_read_file(arg, opts, p->error, p->size);
	case OPT_CUSE_FD:
		return parse_cuse_fd(p, arg);
	case 'd':
		opts->log_level = LOG_LEVEL_DEBUG;
		return 0;
	case OPT_IOCTL_TABLE:
		opts->mode = OPTIONS_IOCTL_TABLE;
		return 0;
	case OPT_MESSAGE_TABLE:
		opts->mode = OPTIONS_MESSAGE_TABLE;
		return 0;
	case OPT_CAPABILITIES:
		opts->mode = OPTIONS_CAPABILITIES;
		return 0;
	case OPT_RELEASE_NODE:
		opts->mode = OPTIONS_RELEASE_NODE;
		return 0;
	case OPT_HELP:
		opts->mode = OPTIONS_HELP;
		return 0;
	default:
		opts->mode = OPTIONS_VERSION;
		return 0;
	}
}

/* ---- all together ---- */

static int add_default_device(struct parser *p)
{
	struct options *opts = p->opts;

	if (opts->ndevs)
		return 0;
	if (opts->takeover)
		return parse_item(p, ITEM_DEVICE, TAKEOVER_DEV);
	if (opts->nsocks || opts->nports)
		return 0;
	return parse_item(p, ITEM_DEVICE, DEFAULT_DEV);
}

/* Programs that open /dev/vhost-net by name expect the kernel's device. Some
 * acknowledge every bit that the device offers, even if their guest has not
 * negotiated it; the device would then use a ring format that the guest does
 * not use. */
static int check_takeover(const struct options *opts, struct error_line *c)
{
	bool named = false;

	if (!opts->takeover)
		return 0;
	for (unsigned int i = 0; i < opts->ndevs; i++) {
		named |= strcmp(opts->devs[i].name, TAKEOVER_DEV) == 0;
		if (opts->devs[i].features)
			return complain(c,
					"--takeover: features of '%s': "
					"programs that open /dev/vhost-net may "
					"acknowledge bits that their guest has "
					"not, and corrupt its rings; serve "
					"them without --takeover",
					opts->devs[i].name);
	}
	return named ? 0
		     : complain(c, "--takeover: no --device is named '%s'",
				TAKEOVER_DEV);
}

/* Whether the port, or the capture, is in the daemon. Only networks can be
 * reached from a worker process, through a frame ring. */
static bool is_attached(const struct option_end *end)
{
	return end->port[0] || (end->capture.file[0] && !end->net[0]);
}

bool option_dev_has_worker(const struct option_dev *dev)
{
	if (dev->worker_process != CHOICE_DEFAULT)
		return dev->worker_process == CHOICE_YES;
	return !dev->end.net[0] && !is_attached(&dev->end);
}

const struct option_net *option_net_of(const struct options *opts,
				       const struct option_end *end)
{
	for (unsigned int i = 0; i < opts->nnets; i++)
		if (strcmp(opts->nets[i].name, end->net) == 0)
			return &opts->nets[i];
	return NULL;
}

/* Whether the network of @end has a process of its own. */
static bool is_remote(const struct options *opts, const struct option_end *end)
{
	const struct option_net *net = option_net_of(opts, end);

	return net && net->worker_process;
}

/* Guests on such a network have worker processes. */
static int choose_process(enum option_choice *choice, const char *name,
			  const struct option_end *end, struct error_line *c)
{
	if (*choice == CHOICE_NO)
		return complain(c,
				"worker-process=off of '%s': its network '%s' "
				"has worker-process",
				name, end->net);
	*choice = CHOICE_YES;
	return 0;
}

static int choose_worker_processes(struct options *opts, struct error_line *c)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < opts->ndevs; i++) {
		struct option_dev *dev = &opts->devs[i];

		if (is_remote(opts, &dev->end))
			ret = choose_process(&dev->worker_process, dev->name,
					     &dev->end, c);
	}
	for (unsigned int i = 0; ret == 0 && i < opts->nsocks; i++) {
		struct option_sock *o = &opts->socks[i];

		if (is_remote(opts, &o->end))
			ret = choose_process(&o->worker_process, o->path,
					     &o->end, c);
	}
	return ret;
}

/* A loop port has no place in a network. */
static bool can_be_remote(const char *spec)
{
	return netif_moves(spec) && strncmp(spec, "loop", 4) != 0;
}

static int check_interfaces(const struct options *opts, struct error_line *c)
{
	for (unsigned int i = 0; i < opts->nports; i++) {
		const struct option_end *end = &opts->ports[i];

		if (is_remote(opts, end) && !can_be_remote(end->port))
			return complain(c,
					"worker-process of network '%s': not "
					"with port '%.*s': expected tap, "
					"macvtap, packet or null",
					end->net, (int)strcspn(end->port, ":,"),
					end->port);
	}
	return 0;
}

/* Only one process can write a file. */
static int check_capture_of(struct options *opts, const struct option_end *end,
			    struct error_line *c)
{
	const struct option_capture *cap = &end->capture;
	const struct option_end *other;

	if (!cap->file[0] || !is_remote(opts, end))
		return 0;
	if (cap->file_bytes)
		return complain(c,
				"worker-process of network '%s': not with "
				"capture-file-size",
				end->net);
	for (unsigned int i = 0; (other = items_end(opts, i)); i++)
		if (strcmp(other->capture.file, cap->file) == 0 &&
		    strcmp(other->net, end->net) != 0)
			return complain(c,
					"worker-process of network '%s': its "
					"capture '%s' is also one of %s%s",
					end->net, cap->file,
					other->net[0] ? "network "
						      : "no network",
					other->net);
	return 0;
}

static int check_networks(struct options *opts, struct error_line *c)
{
	const struct option_end *end;
	int ret = check_interfaces(opts, c);

	for (unsigned int i = 0; ret == 0 && (end = items_end(opts, i)) != NULL;
	     i++)
		ret = check_capture_of(opts, end, c);
	return ret;
}

static int check_worker_processes(const struct options *opts,
				  struct error_line *c)
{
	for (unsigned int i = 0; i < opts->ndevs; i++) {
		const struct option_dev *dev = &opts->devs[i];

		if (dev->worker_process == CHOICE_YES && is_attached(&dev->end))
			return complain(
				c,
				"worker-process of '%s': not with port, "
				"nor with capture unless with net",
				dev->name);
	}
	for (unsigned int i = 0; i < opts->nsocks; i++) {
		const struct option_sock *o = &opts->socks[i];

		if (o->worker_process == CHOICE_YES && o->end.net[0] &&
		    o->queues > OPTIONS_RING_QUEUES)
			return complain(c,
					"worker-process of '%s': with net at "
					"most %d queues",
					o->path, OPTIONS_RING_QUEUES);
	}
	return 0;
}

/* Checks that need all options. */
static int finish_options(struct parser *p)
{
	struct error_line c = complaint(p, "");
	struct options *opts = p->opts;
	int ret;

	ret = add_default_device(p);
	if (ret == 0)
		ret = check_takeover(opts, &c);
	if (ret == 0)
		ret = choose_worker_processes(opts, &c);
	if (ret == 0)
		ret = check_worker_processes(opts, &c);
	if (ret < 0)
		return ret;
	if (p->nfds > opts->ndevs)
		return complain(&c,
				"--cuse-fd: %u channels for %u devices "
				"(--device)",
				p->nfds, opts->ndevs);
	for (unsigned int i = 0; i < p->nfds; i++)
		opts->devs[i].fd = p->fds[i];
	if (opts->dev_minor + opts->ndevs >
	    key_find("dev-minor", OF_DAEMON)->max + 1)
		return complain(&c,
				"--dev-minor: '%u' leaves no room for %u "
				"devices",
				opts->dev_minor, opts->ndevs);
	ret = items_finish(opts, &c);
	return ret < 0 ? ret : check_networks(opts, &c);
}

int options_parse(int argc, char **argv, struct options *opts, char *error,
		  size_t size)
{
	struct parser p = { .opts = opts, .error = error, .size = size };
	struct error_line c = complaint(&p, "");
	struct option list[OPTIONS_TOTAL];
	int opt, ret;

	memset(opts, 0, sizeof(*opts));
	opts->busy_poll_us = 50;
	opts->max_sessions = 1024;
	opts->log_level = LOG_LEVEL_INFO;

	list_options(list);
	optind = 0; /* glibc: start anew */
	opterr = 0;
	for (;;) {
		int at = optind ? optind : 1;

		opt = getopt_long(argc, argv, ":d", list, NULL);
		if (opt == -1)
			break;
		if (opt == ':')
			return complain(&c, "%s: needs a value", argv[at]);
		if (opt == '?')
			return complain(&c,
					"%s: unknown option, or takes no value",
					argv[at]);
		ret = parse_one(&p, opt, optarg);
		if (ret < 0)
			return ret;
	}
	if (optind < argc)
		return complain(&c, "'%s': uvhostd takes options only",
				argv[optind]);
	return finish_options(&p);
}

void options_print_help(FILE *out)
{
	fputs("Usage: uvhostd [OPTION]...\n"
	      "vhost-net in user space: a character device that answers the "
	      "ioctls of\n"
	      "/dev/vhost-net, vhost-user sockets, and networks between "
	      "them.\n\n"
	      "  --config FILE               read options from FILE too\n"
	      "  --cuse-fd FD                open channel for the next "
	      "--device, repeatable\n",
	      out);
	keys_print(out, OF_DAEMON, 2, "--");
	fputs("  -d                          the same as --log-level debug\n"
	      "  --print-ioctl-table         print the table of supported "
	      "ioctls\n"
	      "  --print-message-table       print the table of vhost-user "
	      "messages\n"
	      "  --print-capabilities        print what management software "
	      "wants to know\n"
	      "  --release-node              give /dev/vhost-net back to the "
	      "kernel, after a\n"
	      "                              --takeover that was killed\n"
	      "  --help, --version           print this, or the version\n",
	      out);
	items_print_help(out);
	fputs("\nSignals: TERM and INT end it, USR1 prints counters.\n"
	      "See uvhostd(8).\n",
	      out);
}
