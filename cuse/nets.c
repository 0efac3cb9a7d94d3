/* SPDX-License-Identifier: BSD-3-Clause */
/* nets.c opens the networks, captures and host ports of the options. */
#include "nets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

/* A file has one capture; each end of the options may name another file. */
#define CAPTURES_MAX (OPTIONS_MAX_PORTS + OPTIONS_MAX_DEVS + OPTIONS_MAX_SOCKS)

struct file {
	const char *path;
	struct capture *capture;
};

struct nets {
	const struct options *opts;
	struct network *net[OPTIONS_MAX_NETS];
	struct file file[CAPTURES_MAX];
	unsigned int nfiles;
	struct attach *port[OPTIONS_MAX_PORTS];
};

/* ---- captures ---- */

static int explain_capture(const struct option_capture *c, int err)
{
	const char *cure = "";

	if (err == -ENXIO)
		cure = " (start its reader first)";
	else if (err == -ENOENT)
		cure = " (its folder has to be there)";
	else if (err == -EINVAL)
		cure = " (capture-file-size is for files)";
	log_err(NULL, "capture %s: %s%s", c->file, capture_strerror(err), cure);
	return err;
}

static struct file *find_file(struct nets *n, const char *path)
{
	for (unsigned int i = 0; i < n->nfiles; i++)
		if (strcmp(n->file[i].path, path) == 0)
			return &n->file[i];
	return NULL;
}

static int open_capture(struct nets *n, const struct option_end *end)
{
	const struct option_capture *c = &end->capture;
	const struct capture_config config = { .path = c->file,
					       .snaplen = c->snaplen,
					       .vnet_hdr = c->vnet_hdr,
					       .file_bytes = c->file_bytes,
					       .files = c->files };
	struct file *f = &n->file[n->nfiles];
	int ret;

	if (!c->file[0] || find_file(n, c->file))
		return 0;
	ret = capture_new(&config, &f->capture);
	if (ret < 0)
		return explain_capture(c, ret);
	f->path = c->file;
	n->nfiles++;
	return 0;
}

static int open_captures(struct nets *n)
{
	const struct options *opts = n->opts;
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < opts->nports; i++)
		ret = open_capture(n, &opts->ports[i]);
	for (unsigned int i = 0; ret == 0 && i < opts->ndevs; i++)
		ret = open_capture(n, &opts->devs[i].end);
	for (unsigned int i = 0; ret == 0 && i < opts->nsocks; i++)
		ret = open_capture(n, &opts->socks[i].end);
	return ret;
}

/* ---- networks ---- */

static int open_network(struct nets *n, unsigned int i)
{
	const struct option_net *o = &n->opts->nets[i];
	struct network_config config = { .macs = o->macs,
					 .age_s = o->age_s,
					 .mtu = o->mtu };
	int ret;

	memcpy(config.name, o->name, sizeof(config.name));
	ret = network_new(&config, &n->net[i]);
	if (ret < 0)
		log_err(NULL, "network %s: %s", o->name, strerror(-ret));
	return ret;
}

static struct network *network_named(const struct nets *n, const char *name)
{
	for (unsigned int i = 0; i < n->opts->nnets; i++)
		if (strcmp(n->opts->nets[i].name, name) == 0)
			return n->net[i];
	return NULL;
}

/* ---- attachments ---- */

int nets_attach(struct nets *n, const struct option_end *end,
		struct attach_config *config, struct attach **out, char *error,
		size_t size)
{
	const struct file *f = find_file(n, end->capture.file);
	struct swport_config *swport = &config->swport;

	config->port = end->port[0] ? end->port : NULL;
	config->network = network_named(n, end->net);
	config->fixed_name = end->name[0];
	if (config->fixed_name)
		memcpy(swport->name, end->name, sizeof(swport->name));
	swport->vlan = end->vlan;
	swport->macs = end->macs;
	swport->flood_fps = end->flood_fps;
	swport->mtu = end->mtu;
	memcpy(swport->trunk, end->trunk, sizeof(swport->trunk));
	config->guest_offloads_given = end->offloads != OPTIONS_OFFLOADS_UNSAID;
	if (config->guest_offloads_given)
		swport->guest_offloads = end->offloads;
	if (f) {
		config->capture = f->capture;
		config->capture_file = f->path;
	}
	return attach_new(config, out, error, size);
}

/* ---- ports ---- */

static int open_host_port(struct nets *n, unsigned int i)
{
	const struct option_end *end = &n->opts->ports[i];
	struct attach_config config = { .queues = 1 };
	char error[256];
	int ret;

	snprintf(config.swport.name, sizeof(config.swport.name), "%.*s",
		 (int)strcspn(end->port, ","), end->port);
	ret = nets_attach(n, end, &config, &n->port[i], error, sizeof(error));
	if (ret < 0)
		log_err(NULL, "network %s: %s", end->net, error);
	return ret;
}

static int start_port(struct nets *n, unsigned int i)
{
	const struct option_end *end = &n->opts->ports[i];
	int ret = attach_start(n->port[i]);

	if (ret < 0)
		log_err(NULL, "network %s: port %s: %s%s", end->net,
			end->name[0] ? end->name : end->port, strerror(-ret),
			ret == -EOPNOTSUPP ? " (its kind is for one device)"
					   : "");
	return ret;
}

int nets_start(struct nets *n)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < n->opts->nports; i++)
		ret = start_port(n, i);
	return ret;
}

/* ---- all ---- */

int nets_new(const struct options *opts, struct nets **out)
{
	struct nets *n = calloc(1, sizeof(*n));
	int ret;

	if (!n)
		return -ENOMEM;
	n->opts = opts;
	ret = open_captures(n);
	for (unsigned int i = 0; ret == 0 && i < opts->nnets; i++)
		ret = open_network(n, i);
	for (unsigned int i = 0; ret == 0 && i < opts->nports; i++)
		ret = open_host_port(n, i);
	if (ret < 0) {
		nets_free(n);
		return ret;
	}
	*out = n;
	return 0;
}

void nets_free(struct nets *n)
{
	if (!n)
		return;
	for (unsigned int i = 0; i < n->opts->nports; i++)
		attach_free(n->port[i]);
	for (unsigned int i = 0; i < n->opts->nnets; i++)
		network_free(n->net[i]);
	for (unsigned int i = 0; i < n->nfiles; i++)
		capture_free(n->file[i].capture);
	free(n);
}

void nets_print(struct nets *n, FILE *out)
{
	for (unsigned int i = 0; i < n->opts->nnets; i++)
		network_print(n->net[i], out);
}
