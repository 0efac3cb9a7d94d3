/* SPDX-License-Identifier: BSD-3-Clause */
#include "nets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "log.h"

/* One a file: of how many ends at most. */
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
	log_err(NULL, "capture %s: %s%s", c->file, strerror(-err), cure);
	return err;
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

	if (!c->file[0] || nets_capture(n, end))
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

struct capture *nets_capture(struct nets *n, const struct option_end *end)
{
	for (unsigned int i = 0; i < n->nfiles; i++)
		if (strcmp(n->file[i].path, end->capture.file) == 0)
			return n->file[i].capture;
	return NULL;
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

struct network *nets_find(struct nets *n, const char *name)
{
	for (unsigned int i = 0; i < n->opts->nnets; i++)
		if (strcmp(n->opts->nets[i].name, name) == 0)
			return n->net[i];
	return NULL;
}

int nets_member(struct nets *n, const struct option_end *end, const char *name,
		struct netmember_config *config)
{
	int ret = 0;

	*config = (struct netmember_config){ .vlan = end->vlan,
					     .macs = end->macs,
					     .flood_fps = end->flood_fps,
					     .mtu = end->mtu };
	if (end->offloads != OPTIONS_OFFLOADS_UNSAID)
		config->takes = end->offloads;
	memcpy(config->trunk, end->trunk, sizeof(config->trunk));
	snprintf(config->name, sizeof(config->name), "%s", name);
	config->capture = nets_capture(n, end);
	if (config->capture)
		ret = capture_add(config->capture, config->name);
	if (ret < 0) {
		log_err(NULL, "capture %s: more than %d ports",
			end->capture.file, CAPTURE_INTERFACES);
		return ret;
	}
	config->capture_if = (unsigned int)ret;
	return 0;
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
	for (unsigned int i = 0; i < n->opts->nnets; i++)
		if (n->net[i])
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
