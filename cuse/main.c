/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * main.c starts uvhostd: configuration, store, server, then giving up
 * privileges. The order matters. No other file calls exit().
 *
 * Exit status: 0: stopped on request; 1: could not start, or lost its device;
 * 2: the configuration is wrong, and an earlier process left no sessions.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aspace.h"
#include "chardev.h"
#include "confine.h"
#include "fd.h"
#include "fuse_version.h"
#include "ioctl.h"
#include "lastconfig.h"
#include "log.h"
#include "notify.h"
#include "options.h"
#include "peer.h"
#include "server.h"
#include "store.h"
#include "takeover.h"
#include "vu_server.h"
#include "vukeep.h"
#include "vusock.h"

enum {
	EXIT_USAGE = 2,
};

/* libfuse reports only errors of our own: its messages go to our log. */
static void __attribute__((format(printf, 2, 0)))
fuse_message(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char text[256];

	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_write(NULL,
		  level <= FUSE_LOG_WARNING ? LOG_LEVEL_WARNING
					    : LOG_LEVEL_DEBUG,
		  "libfuse: %s", text);
}

/* ---- configuration ---- */

/* Tells the service manager that the configuration is wrong. */
static void say_status(const char *error)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "STATUS=The last good configuration is used; wrong: %s",
		 error);
	notify_send(text);
}

/* Whether an earlier process left a device, or a vhost-user connection. */
static bool has_sessions(const struct store *store)
{
	unsigned int at = 0;

	if (!store)
		return false;
	if (store_next_name(store, CHARDEV_PREFIX, &at))
		return true;
	at = 0;
	return store_next_name(store, VUKEEP_WORKER, &at);
}

static bool has_device(const struct options *opts, const char *name)
{
	for (unsigned int i = 0; i < opts->ndevs; i++)
		if (strcmp(opts->devs[i].name, name) == 0)
			return true;
	return false;
}

/* Requests to a device that is in use and left out would never be answered. */
static int check_devices(const struct store *store, const struct options *opts,
			 char *error, size_t size)
{
	unsigned int at = 0;
	const char *name;

	while (store && (name = store_next_name(store, CHARDEV_PREFIX, &at))) {
		name += strlen(CHARDEV_PREFIX);
		if (has_device(opts, name))
			continue;
		snprintf(error, size,
			 "--device: '%s' is in use and cannot be left out",
			 name);
		return -EINVAL;
	}
	return 0;
}

/* Exits if no configuration was kept, or if that one is wrong as well. */
static void use_last_config(struct store *store, struct options *opts,
			    const char *error)
{
	static char **argv; /* @opts points into it */
	char again[768];
	int argc = lastconfig_load(store, &argv);

	log_err(NULL, "%s", error);
	if (argc < 0 ||
	    options_parse(argc, argv, opts, again, sizeof(again)) < 0) {
		log_err(NULL, "there is no good configuration to fall back on");
		exit(EXIT_USAGE);
	}
	log_warn(NULL, "the last good configuration is used");
	say_status(error);
}

/* Reads the configuration; exits if it is wrong and there are no sessions to
 * continue. Return: whether it is the one in force. */
static bool configure(int argc, char **argv, struct options *opts,
		      struct store **store)
{
	char error[768];
	int ret = options_parse(argc, argv, opts, error, sizeof(error));

	*store = NULL;
	if (ret < 0 || opts->mode == OPTIONS_RUN) {
		int err = store_open(store);

		if (err < 0) {
			log_err(NULL, "LISTEN_FDS: %s", strerror(-err));
			exit(EXIT_FAILURE);
		}
	}
	if (ret == 0)
		ret = check_devices(*store, opts, error, sizeof(error));
	if (ret == 0)
		return true;
	if (!has_sessions(*store)) {
		fprintf(stderr, "uvhostd: %s\nTry 'uvhostd --help'.\n", error);
		exit(EXIT_USAGE);
	}
	use_last_config(*store, opts, error);
	return false;
}

/* ---- service ---- */

static void keep_config(struct store *store, int argc, char **argv,
			const struct options *opts)
{
	int ret = lastconfig_keep(store, argc, argv, opts);

	if (ret < 0)
		log_warn(NULL,
			 "the configuration cannot be kept, for a restart with "
			 "a wrong one: %s",
			 strerror(-ret));
}

static unsigned int confine_needs_of(const struct options *opts)
{
	unsigned int needs = opts->takeover ? CONFINE_TAKEOVER : 0;

	if (opts->ndevs)
		needs |= CONFINE_DEVICES | CONFINE_WORKERS;
	for (unsigned int i = 0; i < opts->nsocks; i++)
		if (opts->socks[i].worker_process == CHOICE_YES)
			needs |= CONFINE_WORKERS;
	for (unsigned int i = 0; i < opts->nnets; i++)
		if (opts->nets[i].worker_process)
			needs |= CONFINE_WORKERS;
	return needs;
}

static int serve(const struct options *opts, struct store *store, int argc,
		 char **argv)
{
	struct server *server;
	int ret;

	log_set_level(opts->log_level);
	fuse_set_log_func(fuse_message);
	fd_raise_limit(); /* a session needs about ten */
	aspace_guard_install();
	if (opts->ndevs && peer_check_host() < 0)
		return EXIT_FAILURE;
	ret = server_new(opts, store, &server);
	if (ret < 0) {
		log_err(NULL, "cannot start: %s", strerror(-ret));
		return EXIT_FAILURE;
	}
	if (store && argv)
		keep_config(store, argc, argv, opts);
	ret = confine_process(confine_needs_of(opts));
	if (ret == 0)
		ret = server_run(server);
	server_free(server);
	store_free(store);
	return ret < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static struct options opts;
	struct store *store;
	bool own = configure(argc, argv, &opts, &store);

	switch (opts.mode) {
	case OPTIONS_HELP:
		options_print_help(stdout);
		break;
	case OPTIONS_VERSION:
		printf("uvhostd %s (libfuse %s)\n", UVHOST_VERSION,
		       fuse_pkgversion());
		break;
	case OPTIONS_IOCTL_TABLE:
		ioctl_print_table(stdout);
		break;
	case OPTIONS_MESSAGE_TABLE:
		vu_print_table(stdout);
		break;
	case OPTIONS_CAPABILITIES:
		vusock_print_capabilities();
		break;
	case OPTIONS_RELEASE_NODE:
		exit(takeover_end() < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
	case OPTIONS_RUN:
		exit(serve(&opts, store, argc, own ? argv : NULL));
	}
	exit(fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}
