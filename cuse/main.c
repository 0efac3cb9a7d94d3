/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Start-up, in the order in which it has to happen. Nobody else calls exit().
 *
 * Exit status: 0 ended as asked; 1 could not start, or the device was lost;
 * 2 the command line is wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "aspace.h"
#include "confine.h"
#include "fuse_version.h"
#include "ioctl.h"
#include "log.h"
#include "options.h"
#include "peer.h"
#include "server.h"
#include "takeover.h"
#include "vu_server.h"
#include "vusock.h"

enum {
	EXIT_USAGE = 2,
};

/* libfuse complains about what only we can have done wrong. */
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

/* A session takes some ten descriptors. */
static void raise_nofile(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int serve(const struct options *opts)
{
	struct server *server;
	int ret;

	log_set_level(opts->log_level);
	fuse_set_log_func(fuse_message);
	raise_nofile();
	aspace_guard_install();
	if (opts->ndevs && peer_check_host() < 0)
		return EXIT_FAILURE;
	ret = server_new(opts, &server);
	if (ret < 0) {
		log_err(NULL, "cannot start: %s", strerror(-ret));
		return EXIT_FAILURE;
	}
	ret = confine_process(opts->ndevs > 0, opts->takeover);
	if (ret == 0)
		ret = server_run(server);
	server_free(server);
	return ret < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static struct options opts;
	char error[768];

	if (options_parse(argc, argv, &opts, error, sizeof(error)) < 0) {
		fprintf(stderr, "uvhostd: %s\nTry 'uvhostd --help'.\n", error);
		exit(EXIT_USAGE);
	}
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
		exit(serve(&opts));
	}
	exit(fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}
