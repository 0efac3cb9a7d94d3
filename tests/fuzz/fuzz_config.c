/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Options: the first byte says whether the others are a configuration file, or
 * a command line, an argument a line.
 *
 * What must hold: what is refused has a line of text that says why; what is
 * taken is as options.h says.
 */
#include "fuzz.h"

#include <errno.h>

#include "bytes.h"
#include "config.h"
#include "netif.h"
#include "options.h"

#define ARGS_MAX 64

static struct options opts;
static char error[768];

static void check_refusal(int ret)
{
	must(ret == -EINVAL);
	must(error[0] != '\0');
	must(memchr(error, '\0', sizeof(error)) != NULL);
}

static void check_end(const struct option_end *end)
{
	bool found = !end->net[0];
	char why[256];

	for (unsigned int i = 0; i < opts.nnets; i++)
		found |= strcmp(opts.nets[i].name, end->net) == 0;
	must(found);
	must(!end->port[0] || netif_check(end->port, why, sizeof(why)) == 0);
	must(end->vlan <= 4094);
	must(!end->capture.file[0] || end->capture.snaplen >= 14);
}

static void check_options(void)
{
	must(opts.nnets <= OPTIONS_MAX_NETS);
	must(opts.nports <= OPTIONS_MAX_PORTS);
	must(opts.ndevs <= OPTIONS_MAX_DEVS);
	must(opts.nsocks <= OPTIONS_MAX_SOCKS);
	for (unsigned int i = 0; i < opts.nports; i++) {
		must(opts.ports[i].net[0] && opts.ports[i].port[0]);
		check_end(&opts.ports[i]);
	}
	for (unsigned int i = 0; i < opts.ndevs; i++)
		check_end(&opts.devs[i].end);
	for (unsigned int i = 0; i < opts.nsocks; i++) {
		const struct option_sock *o = &opts.socks[i];

		must(!o->end.net[0] != !o->end.port[0]);
		must((o->fd >= 0) != (o->path[0] != '\0'));
		must(o->queues >= 1 && o->queues <= 64);
		check_end(&o->end);
	}
}

static void run_file(const uint8_t *data, size_t size)
{
	FILE *f = size ? fmemopen((void *)data, size, "r") : NULL;
	int ret;

	if (!f)
		return;
	memset(&opts, 0, sizeof(opts));
	ret = config_read(f, "file", &opts, error, sizeof(error));
	fclose(f);
	if (ret < 0)
		check_refusal(ret);
}

/* But not what opens files: --config, also when it is cut short. */
static void run_arguments(const uint8_t *data, size_t size)
{
	char *argv[ARGS_MAX + 2] = { (char[]){ "uvhostd" } };
	char *text = strndup((const char *)data, size), *rest, *word;
	int argc = 1, ret;

	must(text);
	for (word = strtok_r(text, "\n", &rest); word && argc <= ARGS_MAX;
	     word = strtok_r(NULL, "\n", &rest))
		if (strncmp(word, "--c", 3) != 0)
			argv[argc++] = word;
	ret = options_parse(argc, argv, &opts, error, sizeof(error));
	if (ret < 0)
		check_refusal(ret);
	else
		check_options();
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	memset(error, 0, sizeof(error));
	if (size && data[0] & 1)
		run_arguments(data + 1, size - 1);
	else if (size)
		run_file(data + 1, size - 1);
	return 0;
}
