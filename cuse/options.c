/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "netsource.h"
#include "vu_server.h"

#define DEFAULT_DEV "uvhost-net"
#define TAKEOVER_DEV "vhost-net"

/* CUSE takes 32 bits of each, dev_t has 12 and 20. */
#define MAJOR_MAX 4095
#define MINOR_MAX ((1u << 20) - 1)
/* virtio 1.2 §5.1.4.1 */
#define MTU_MIN 68
#define MTU_MAX 65535

enum {
	OPT_DEV = 256,
	OPT_DEV_MAJOR,
	OPT_DEV_MINOR,
	OPT_TAKEOVER,
	OPT_CUSE_FD,
	OPT_SOCKET_PATH,
	OPT_FD,
	OPT_BUSY_POLL,
	OPT_MAX_SESSIONS,
	OPT_MAX_REGIONS,
	OPT_LOG_LEVEL,
	OPT_IOCTL_TABLE,
	OPT_MESSAGE_TABLE,
	OPT_CAPABILITIES,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{ "dev", required_argument, NULL, OPT_DEV },
	{ "dev-major", required_argument, NULL, OPT_DEV_MAJOR },
	{ "dev-minor", required_argument, NULL, OPT_DEV_MINOR },
	{ "takeover", no_argument, NULL, OPT_TAKEOVER },
	{ "cuse-fd", required_argument, NULL, OPT_CUSE_FD },
	{ "socket-path", required_argument, NULL, OPT_SOCKET_PATH },
	{ "fd", required_argument, NULL, OPT_FD },
	{ "busy-poll-us", required_argument, NULL, OPT_BUSY_POLL },
	{ "max-sessions", required_argument, NULL, OPT_MAX_SESSIONS },
	{ "max-mem-regions", required_argument, NULL, OPT_MAX_REGIONS },
	{ "log-level", required_argument, NULL, OPT_LOG_LEVEL },
	{ "print-ioctl-table", no_argument, NULL, OPT_IOCTL_TABLE },
	{ "print-message-table", no_argument, NULL, OPT_MESSAGE_TABLE },
	{ "print-capabilities", no_argument, NULL, OPT_CAPABILITIES },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

/* What one run of the parser carries around. */
struct parser {
	struct options *opts;
	int fds[OPTIONS_MAX_DEVS];
	unsigned int nfds;
	char *error;
	size_t size;
};

static int __attribute__((format(printf, 2, 3)))
fail(struct parser *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->error, p->size, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* Decimal digits and nothing else: no sign, no space, no 0x. */
static int parse_number(struct parser *p, const char *option, const char *text,
			unsigned long min, unsigned long max, unsigned int *out)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long value;

	errno = 0;
	value = strtoul(text, NULL, 10);
	if (digits == 0 || text[digits] != '\0')
		return fail(p, "%s: '%s' is not a number", option, text);
	if (errno == ERANGE || value < min || value > max)
		return fail(p, "%s: '%s' is not within %lu...%lu", option, text,
			    min, max);
	*out = value;
	return 0;
}

/*
 * The name becomes a file below /dev and a folder in sysfs: no '/', no part
 * that is empty, "." or "..", nothing a shell or udev would stumble over.
 */
static bool name_valid(const char *name, size_t len)
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

static int parse_port(struct parser *p, const char *arg, const char *port,
		      struct option_dev *dev)
{
	const char *colon = strchr(port, ':');
	size_t len = colon ? (size_t)(colon - port) : strlen(port);

	if (len != strlen("null") || strncmp(port, "null", len) != 0)
		return fail(p,
			    "--dev: '%s': the only port is 'null[:FRAMELEN]'",
			    arg);
	dev->port_kind = "null";
	if (!colon)
		return 0;
	return parse_number(p, "--dev: FRAMELEN", colon + 1, NETPORT_ETH_MIN,
			    NETPORT_ETH_MAX, &dev->null_frame_len);
}

static int parse_dev(struct parser *p, const char *arg)
{
	const char *comma = strchr(arg, ',');
	size_t len = comma ? (size_t)(comma - arg) : strlen(arg);
	struct options *opts = p->opts;
	struct option_dev *dev;

	if (opts->ndevs == OPTIONS_MAX_DEVS)
		return fail(p, "--dev: '%s': more than %d devices", arg,
			    OPTIONS_MAX_DEVS);
	if (!name_valid(arg, len))
		return fail(p,
			    "--dev: '%s': a name has 1...%d of A-Z a-z 0-9 "
			    "- _ . : + and ! (for /), and no part that is "
			    "empty or starts with a dot",
			    arg, OPTIONS_NAME_MAX);
	dev = &opts->devs[opts->ndevs];
	memset(dev, 0, sizeof(*dev));
	memcpy(dev->name, arg, len);
	dev->fd = -1;
	for (unsigned int i = 0; i < opts->ndevs; i++) {
		if (strcmp(opts->devs[i].name, dev->name) == 0)
			return fail(p, "--dev: '%s' is named twice", dev->name);
	}
	opts->ndevs++;
	if (!comma)
		return 0;
	if (strncmp(comma + 1, "port=", 5) != 0)
		return fail(p, "--dev: '%s': expected NAME[,port=KIND]", arg);
	return parse_port(p, arg, comma + 6, dev);
}

static int parse_cuse_fd(struct parser *p, const char *arg)
{
	unsigned int fd = 0;
	int ret;

	if (p->nfds == OPTIONS_MAX_DEVS)
		return fail(p, "--cuse-fd: '%s': more than %d channels", arg,
			    OPTIONS_MAX_DEVS);
	ret = parse_number(p, "--cuse-fd", arg, 0, INT_MAX, &fd);
	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < p->nfds; i++) {
		if (p->fds[i] == (int)fd)
			return fail(p, "--cuse-fd: '%s' is given twice", arg);
	}
	p->fds[p->nfds++] = (int)fd;
	return 0;
}

/* ---- vhost-user sockets ---- */

/* Two hexadecimal digits, or -1. */
static int parse_byte(const char *text)
{
	char digits[3] = { 0 };

	if (!isxdigit((unsigned char)text[0]) ||
	    !isxdigit((unsigned char)text[1]))
		return -1;
	memcpy(digits, text, 2);
	return (int)strtol(digits, NULL, 16);
}

static int parse_mac(struct parser *p, const char *text, struct option_sock *o)
{
	bool ok = strlen(text) == strlen("02:00:00:00:00:01");

	for (size_t i = 0; ok && i < 6; i++) {
		int byte = parse_byte(text + 3 * i);

		ok = byte >= 0 && (i == 5 || text[3 * i + 2] == ':');
		o->mac[i] = (uint8_t)byte;
	}
	if (!ok || o->mac[0] & 1)
		return fail(p, "mac: '%s' is no unicast MAC address", text);
	o->has_mac = true;
	return 0;
}

static int parse_sock_port(struct parser *p, const char *text,
			   struct option_sock *o)
{
	char why[128];

	if (strlen(text) > OPTIONS_PORT_MAX)
		return fail(p, "port: '%s' is too long", text);
	if (netsource_check(text, why, sizeof(why)) < 0)
		return fail(p, "port: %s", why);
	memcpy(o->port, text, strlen(text) + 1);
	return 0;
}

static int parse_sock_option(struct parser *p, const char *text,
			     struct option_sock *o)
{
	const char *value = strchr(text, '=');

	value = value ? value + 1 : "";
	if (strncmp(text, "port=", 5) == 0)
		return parse_sock_port(p, value, o);
	if (strncmp(text, "queues=", 7) == 0)
		return parse_number(p, "queues", value, 1, VU_QUEUE_PAIRS_MAX,
				    &o->queues);
	if (strncmp(text, "mtu=", 4) == 0)
		return parse_number(p, "mtu", value, MTU_MIN, MTU_MAX, &o->mtu);
	if (strncmp(text, "mac=", 4) == 0)
		return parse_mac(p, value, o);
	if (strcmp(text, "client") == 0) {
		o->client = true;
		return 0;
	}
	return fail(p,
		    "'%s': expected port=KIND, queues=N, mtu=N, mac=MAC "
		    "or client",
		    text);
}

/* What stands behind the first comma of @arg. */
static int parse_sock_options(struct parser *p, const char *option,
			      const char *arg, struct option_sock *o)
{
	char text[256], why[256], *rest = NULL, *word;

	if (snprintf(text, sizeof(text), "%s", arg) >= (int)sizeof(text))
		return fail(p, "%s: '%s' is too long", option, arg);
	for (word = strtok_r(text, ",", &rest); word;
	     word = strtok_r(NULL, ",", &rest)) {
		if (parse_sock_option(p, word, o) < 0) {
			snprintf(why, sizeof(why), "%s", p->error);
			return fail(p, "%s: %s", option, why);
		}
	}
	if (!o->port[0])
		return fail(p,
			    "%s: no port: expected ,port=tap:NAME, "
			    "port=null[:LEN] or port=loop",
			    option);
	return 0;
}

static int parse_sock(struct parser *p, const char *option, const char *arg)
{
	size_t len = strcspn(arg, ",");
	struct options *opts = p->opts;
	struct option_sock *o = &opts->socks[opts->nsocks];
	unsigned int fd = 0;
	int ret;

	if (opts->nsocks == OPTIONS_MAX_SOCKS)
		return fail(p, "%s: '%s': more than %d sockets", option, arg,
			    OPTIONS_MAX_SOCKS);
	memset(o, 0, sizeof(*o));
	o->fd = -1;
	o->queues = 1;
	if (len == 0 || len > OPTIONS_PATH_MAX)
		return fail(p, "%s: '%s': 1...%d bytes are a path", option, arg,
			    OPTIONS_PATH_MAX);
	memcpy(o->path, arg, len);
	if (strcmp(option, "--fd") == 0) {
		ret = parse_number(p, option, o->path, 0, INT_MAX, &fd);
		if (ret < 0)
			return ret;
		o->fd = (int)fd;
		o->path[0] = '\0';
	}
	for (unsigned int i = 0; i < opts->nsocks; i++)
		if (o->fd == opts->socks[i].fd &&
		    strcmp(o->path, opts->socks[i].path) == 0)
			return fail(p, "%s: '%s' is named twice", option, arg);
	ret = parse_sock_options(p, option, arg[len] ? arg + len + 1 : "", o);
	if (ret < 0)
		return ret;
	if (o->client && o->fd >= 0)
		return fail(p, "--fd: client goes with a path");
	opts->nsocks++;
	return 0;
}

static int parse_log_level(struct parser *p, const char *arg)
{
	static const char *const names[] = {
		[LOG_LEVEL_ERROR] = "error",
		[LOG_LEVEL_WARNING] = "warning",
		[LOG_LEVEL_INFO] = "info",
		[LOG_LEVEL_DEBUG] = "debug",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(arg, names[i]) == 0) {
			p->opts->log_level = i;
			return 0;
		}
	}
	return fail(p,
		    "--log-level: '%s' is none of error, warning, info, "
		    "debug",
		    arg);
}

static int parse_one(struct parser *p, int opt, const char *arg)
{
	struct options *opts = p->opts;

	switch (opt) {
	case OPT_DEV:
		return parse_dev(p, arg);
	case OPT_DEV_MAJOR:
		return parse_number(p, "--dev-major", arg, 1, MAJOR_MAX,
				    &opts->dev_major);
	case OPT_DEV_MINOR:
		return parse_number(p, "--dev-minor", arg, 0, MINOR_MAX,
				    &opts->dev_minor);
	case OPT_TAKEOVER:
		opts->takeover = true;
		return 0;
	case OPT_CUSE_FD:
		return parse_cuse_fd(p, arg);
	case OPT_SOCKET_PATH:
		return parse_sock(p, "--socket-path", arg);
	case OPT_FD:
		return parse_sock(p, "--fd", arg);
	case OPT_BUSY_POLL:
		return parse_number(p, "--busy-poll-us", arg, 0, 1000000,
				    &opts->busy_poll_us);
	case OPT_MAX_SESSIONS:
		return parse_number(p, "--max-sessions", arg, 1, 1u << 16,
				    &opts->max_sessions);
	case OPT_MAX_REGIONS:
		return parse_number(p, "--max-mem-regions", arg, 1,
				    OPTIONS_MAX_REGIONS,
				    &opts->max_mem_regions);
	case OPT_LOG_LEVEL:
		return parse_log_level(p, arg);
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
	case OPT_HELP:
		opts->mode = OPTIONS_HELP;
		return 0;
	default:
		opts->mode = OPTIONS_VERSION;
		return 0;
	}
}

/* What only makes sense of all options together. */
static int finish(struct parser *p)
{
	struct options *opts = p->opts;
	bool named = false;
	int ret;

	if (opts->ndevs == 0 && (opts->nsocks == 0 || opts->takeover)) {
		ret = parse_dev(p, opts->takeover ? TAKEOVER_DEV : DEFAULT_DEV);
		if (ret < 0)
			return ret;
	}
	for (unsigned int i = 0; i < opts->ndevs; i++)
		named |= strcmp(opts->devs[i].name, TAKEOVER_DEV) == 0;
	if (opts->takeover && !named)
		return fail(p, "--takeover: no --dev is named '%s'",
			    TAKEOVER_DEV);
	if (p->nfds > opts->ndevs)
		return fail(p, "--cuse-fd: %u channels for %u devices (--dev)",
			    p->nfds, opts->ndevs);
	for (unsigned int i = 0; i < p->nfds; i++)
		opts->devs[i].fd = p->fds[i];
	if (opts->dev_minor + opts->ndevs > MINOR_MAX + 1)
		return fail(p,
			    "--dev-minor: '%u' leaves no room for %u "
			    "devices",
			    opts->dev_minor, opts->ndevs);
	return 0;
}

int options_parse(int argc, char **argv, struct options *opts, char *error,
		  size_t size)
{
	struct parser p = { .opts = opts, .error = error, .size = size };
	int opt, ret;

	memset(opts, 0, sizeof(*opts));
	opts->busy_poll_us = 50;
	opts->max_sessions = 1024;
	opts->log_level = LOG_LEVEL_INFO;

	optind = 0; /* glibc: start over */
	opterr = 0;
	for (;;) {
		int at = optind ? optind : 1;

		opt = getopt_long(argc, argv, ":d", long_options, NULL);
		if (opt == -1)
			break;
		if (opt == ':')
			return fail(&p, "%s: needs a value", argv[at]);
		if (opt == '?')
			return fail(&p, "%s: unknown option, or takes no value",
				    argv[at]);
		ret = parse_one(&p, opt, optarg);
		if (ret < 0)
			return ret;
	}
	if (optind < argc)
		return fail(&p, "'%s': uvhostd takes options only",
			    argv[optind]);
	return finish(&p);
}

void options_print_help(FILE *out)
{
	fputs("Usage: uvhostd [OPTION]...\n"
	      "vhost-net in user space: a character device that answers the\n"
	      "ioctls of /dev/vhost-net, and vhost-user sockets.\n"
	      "\n"
	      "  --dev NAME[,port=null[:FRAMELEN]]\n"
	      "                         device to make, repeatable "
	      "(uvhost-net);\n"
	      "                         '!' in NAME stands for '/'; port=null "
	      "drops frames\n"
	      "  --dev-major N          device number (chosen by the kernel)\n"
	      "  --dev-minor N          device i gets minor N+i (0)\n"
	      "  --takeover             serve /dev/vhost-net itself\n"
	      "  --cuse-fd FD           open channel for the next --dev, "
	      "repeatable\n"
	      "  --socket-path PATH,port=PORT[,queues=N][,client][,mtu=N]"
	      "[,mac=MAC]\n"
	      "                         serve vhost-user on a socket, "
	      "repeatable; PORT is\n"
	      "                         tap:NAME, null[:FRAMELEN] or loop; "
	      "client connects\n"
	      "  --fd FD,port=PORT,...  the same on a socket that is open\n"
	      "  --busy-poll-us N       poll rings up to N us before sleeping, "
	      "0 never (50)\n"
	      "  --max-sessions N       open files a device (1024)\n"
	      "  --max-mem-regions N    memory regions a device (64, or the "
	      "host's limit)\n"
	      "  --log-level LEVEL      error, warning, info or debug (info)\n"
	      "  -d                     the same as --log-level debug\n"
	      "  --print-ioctl-table    print the table of supported ioctls\n"
	      "  --print-message-table  print the table of vhost-user "
	      "messages\n"
	      "  --print-capabilities   print what management software wants "
	      "to know\n"
	      "  --help, --version      print this, or the version\n"
	      "\n"
	      "Signals: TERM and INT end it, USR1 prints counters.\n"
	      "See uvhostd(8).\n",
	      out);
}
