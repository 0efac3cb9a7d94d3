/* SPDX-License-Identifier: BSD-3-Clause */
#include "nets.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "limit.h"
#include "log.h"
#include "netpatch.h"
#include "netsource.h"

/* One a file: of how many ends at most. */
#define CAPTURES_MAX (OPTIONS_MAX_PORTS + OPTIONS_MAX_DEVS + OPTIONS_MAX_SOCKS)

struct file {
	const char *path;
	struct capture *capture;
};

/* A port: its source, from nets_new() on; the others from nets_start() on. */
struct port {
	struct netsource *source;
	struct netmember *member;
	struct netpatch *patch;
};

struct nets {
	const struct options *opts;
	struct network *net[OPTIONS_MAX_NETS];
	struct file file[CAPTURES_MAX];
	unsigned int nfiles;
	struct port port[OPTIONS_MAX_PORTS];
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
		log_limited(&log_limit_all, NULL, LOG_LEVEL_ERROR,
			    "capture %s: more than %d ports", end->capture.file,
			    CAPTURE_INTERFACES);
		return ret;
	}
	config->capture_if = (unsigned int)ret;
	return 0;
}

/* ---- ports ---- */

static int open_port(struct nets *n, unsigned int i)
{
	const struct option_end *end = &n->opts->ports[i];
	char error[256];
	int ret;

	ret = netsource_new(end->port, 1, &n->port[i].source, error,
			    sizeof(error));
	if (ret < 0)
		log_err(NULL, "network %s: %s", end->net, error);
	return ret;
}

/* Unless it is called something: what it is, of what names may have. */
static void port_name(const struct option_end *end, char *to, size_t size)
{
	size_t len = strcspn(end->port, ",");
	char *c;

	if (end->name[0])
		snprintf(to, size, "%s", end->name);
	else
		snprintf(to, size, "%.*s", (int)len, end->port);
	for (c = to; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("-_.:+", *c))
			*c = '-';
}

/* Of several ports with the same name those that were not given one can have
 * another. */
static int new_member(struct nets *n, const struct option_end *end,
		      struct netmember_config *config, struct netmember **out)
{
	struct network *net = nets_find(n, end->net);
	int ret = netmember_new(net, config, 1, out);

	if (ret != -EEXIST || end->name[0])
		return ret;
	config->name[0] = '\0';
	return netmember_new(net, config, 1, out);
}

static int start_port(struct nets *n, unsigned int i)
{
	const struct option_end *end = &n->opts->ports[i];
	struct netmember_config config;
	struct port *p = &n->port[i];
	char name[NETWORK_NAME_MAX + 1];
	int ret;

	port_name(end, name, sizeof(name));
	ret = nets_member(n, end, name, &config);
	if (ret < 0)
		return ret;
	ret = new_member(n, end, &config, &p->member);
	if (ret == 0)
		ret = netpatch_new(p->source, p->member, 1, &p->patch);
	if (ret < 0) {
		log_err(NULL, "network %s: port %s: %s%s", end->net, name,
			strerror(-ret),
			ret == -EOPNOTSUPP ? " (its kind is for one device)"
					   : "");
		return ret;
	}
	if (end->offloads != OPTIONS_OFFLOADS_UNSAID)
		netmember_set_takes(p->member, end->offloads);
	return 0;
}

int nets_start(struct nets *n)
{
	int ret = 0;

	for (unsigned int i = 0; ret == 0 && i < n->opts->nports; i++)
		ret = start_port(n, i);
	return ret;
}

static void close_port(struct port *p)
{
	netpatch_free(p->patch);
	if (p->member)
		netmember_free(p->member);
	netsource_free(p->source);
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
		ret = open_port(n, i);
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
		close_port(&n->port[i]);
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
