/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nets.c makes the networks, captures and host ports of the options. Captures
 * and interfaces of a network with worker-process are opened here as well; its
 * process uses them (netproc.h).
 */
#include "nets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "netif.h"
#include "netproc.h"

/* One capture for each file; each device, socket and port can name one. */
#define CAPTURES_MAX (OPTIONS_MAX_PORTS + OPTIONS_MAX_DEVS + OPTIONS_MAX_SOCKS)

/** struct file - a capture; @capture: in this process; NULL: it has @number in
 * the process of its network */
struct file {
	const char *path;
	struct capture *capture;
	int number;
};

/** struct net - a network: @here in this process, or in @process */
struct net {
	struct network *here;
	struct netproc *process;
};

/** struct port - a host port; @attach: its network is in this process; else
 * @netif, which the network's process uses */
struct port {
	struct attach *attach;
	struct netif *netif;
};

/** struct nets - all networks; @settling: processes that have not told whether
 * they have their ports, and 1 while they are started; @started, @ctx: of
 * nets_start() */
struct nets {
	const struct options *opts;
	struct loop *loop;
	struct store *store;
	struct net net[OPTIONS_MAX_NETS];
	struct file file[CAPTURES_MAX];
	unsigned int nfiles;
	struct port port[OPTIONS_MAX_PORTS];
	unsigned int settling;
	void (*started)(void *ctx);
	void *ctx;
};

/* Return: the network of @end; NULL: none. */
static struct net *net_of(struct nets *n, const struct option_end *end)
{
	const struct option_net *o = option_net_of(n->opts, end);

	return o ? &n->net[o - n->opts->nets] : NULL;
}

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
	const struct net *net = net_of(n, end);
	int ret;

	if (!c->file[0] || find_file(n, c->file))
		return 0;
	if (net && net->process)
		ret = f->number = netproc_add_capture(net->process, &config);
	else
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

static void net_settled(void *ctx)
{
	struct nets *n = ctx;

	if (--n->settling == 0)
		n->started(n->ctx);
}

static int open_network(struct nets *n, unsigned int i)
{
	const struct option_net *o = &n->opts->nets[i];
	struct netproc_config config = {
		.loop = n->loop,
		.store = n->store,
		.number = i,
		.settled = net_settled,
		.ctx = n,
		.network = { .macs = o->macs, .age_s = o->age_s, .mtu = o->mtu }
	};
	int ret;

	memcpy(config.network.name, o->name, sizeof(config.network.name));
	ret = o->worker_process ? netproc_new(&config, &n->net[i].process)
				: network_new(&config.network, &n->net[i].here);
	if (ret < 0)
		log_err(NULL, "network %s: %s", o->name, strerror(-ret));
	return ret;
}

/* ---- attachments ---- */

/* Sets what @end says of its port; name and offloads only if @end has them. */
static void set_swport(const struct option_end *end,
		       struct swport_config *swport)
{
	if (end->name[0])
		memcpy(swport->name, end->name, sizeof(swport->name));
	swport->vlan = end->vlan;
	swport->macs = end->macs;
	swport->flood_fps = end->flood_fps;
	swport->mtu = end->mtu;
	memcpy(swport->trunk, end->trunk, sizeof(swport->trunk));
	if (end->offloads != OPTIONS_OFFLOADS_UNSAID)
		swport->guest_offloads = end->offloads;
}

int nets_attach(struct nets *n, const struct option_end *end,
		struct attach_config *config, struct attach **out, char *error,
		size_t size)
{
	const struct file *f = find_file(n, end->capture.file);
	const struct net *net = net_of(n, end);

	config->port = end->port[0] ? end->port : NULL;
	config->network = net ? net->here : NULL;
	config->fixed_name = end->name[0];
	set_swport(end, &config->swport);
	config->guest_offloads_given = end->offloads != OPTIONS_OFFLOADS_UNSAID;
	config->remote_capture = -1;
	if (net && net->process)
		config->remote = netproc_remote(net->process);
	if (f && config->remote) {
		config->remote_capture = f->number;
	} else if (f) {
		config->capture = f->capture;
		config->capture_file = f->path;
	}
	return attach_new(config, out, error, size);
}

/* ---- ports ---- */

static void default_name(const struct option_end *end,
			 char name[NETWORK_NAME_MAX + 1])
{
	snprintf(name, NETWORK_NAME_MAX + 1, "%.*s",
		 (int)strcspn(end->port, ","), end->port);
}

/* Opens an interface that the network's process will use. */
static int open_remote_port(struct nets *n, const struct option_end *end,
			    struct netproc *process, struct port *port,
			    char *error, size_t size)
{
	const struct file *f = find_file(n, end->capture.file);
	struct swport_config swport = { 0 };
	int ret;

	default_name(end, swport.name);
	attach_clean_name(swport.name);
	set_swport(end, &swport);
	ret = netif_new(end->port, 1, &port->netif, error, size);
	if (ret < 0)
		return ret;
	ret = netproc_add_interface(
		process, end->port, port->netif, &swport, end->name[0],
		end->offloads != OPTIONS_OFFLOADS_UNSAID, f ? f->number : -1);
	if (ret < 0)
		snprintf(error, size, "port %s: %s", swport.name,
			 strerror(-ret));
	return ret;
}

static int open_host_port(struct nets *n, unsigned int i)
{
	const struct option_end *end = &n->opts->ports[i];
	struct attach_config config = { .queues = 1 };
	const struct net *net = net_of(n, end);
	char error[256];
	int ret;

	if (net->process) {
		ret = open_remote_port(n, end, net->process, &n->port[i], error,
				       sizeof(error));
	} else {
		default_name(end, config.swport.name);
		ret = nets_attach(n, end, &config, &n->port[i].attach, error,
				  sizeof(error));
	}
	if (ret < 0)
		log_err(NULL, "network %s: %s", end->net, error);
	return ret;
}

static int start_port(struct nets *n, unsigned int i)
{
	const struct option_end *end = &n->opts->ports[i];
	int ret = attach_start(n->port[i].attach);

	if (ret < 0)
		log_err(NULL, "network %s: port %s: %s%s", end->net,
			end->name[0] ? end->name : end->port, strerror(-ret),
			ret == -EOPNOTSUPP ? " (its kind is for one device)"
					   : "");
	return ret;
}

static int nets_start_process(struct nets *n, unsigned int i)
{
	int ret = netproc_start(n->net[i].process);

	n->settling++;
	if (ret < 0)
		log_err(NULL, "network %s: its worker process: %s",
			n->opts->nets[i].name, strerror(-ret));
	return ret;
}

int nets_start(struct nets *n, void (*started)(void *ctx), void *ctx)
{
	int ret = 0;

	n->started = started;
	n->ctx = ctx;
	n->settling = 1;
	for (unsigned int i = 0; ret == 0 && i < n->opts->nports; i++)
		if (n->port[i].attach)
			ret = start_port(n, i);
	for (unsigned int i = 0; ret == 0 && i < n->opts->nnets; i++)
		if (n->net[i].process)
			ret = nets_start_process(n, i);
	if (ret == 0)
		net_settled(n);
	return ret;
}

/* ---- all ---- */

int nets_new(const struct options *opts, struct loop *loop, struct store *store,
	     struct nets **out)
{
	struct nets *n = calloc(1, sizeof(*n));
	int ret = 0;

	if (!n)
		return -ENOMEM;
	n->opts = opts;
	n->loop = loop;
	n->store = store;
	netproc_drop_left(store);
	for (unsigned int i = 0; ret == 0 && i < opts->nnets; i++)
		ret = open_network(n, i);
	if (ret == 0)
		ret = open_captures(n);
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
	for (unsigned int i = 0; i < n->opts->nnets; i++)
		netproc_free(n->net[i].process);
	for (unsigned int i = 0; i < n->opts->nports; i++) {
		attach_free(n->port[i].attach);
		netif_free(n->port[i].netif);
	}
	for (unsigned int i = 0; i < n->opts->nnets; i++)
		network_free(n->net[i].here);
	for (unsigned int i = 0; i < n->nfiles; i++)
		capture_free(n->file[i].capture);
	free(n);
}

void nets_print(struct nets *n, FILE *out)
{
	for (unsigned int i = 0; i < n->opts->nnets; i++) {
		if (n->net[i].process)
			netproc_print(n->net[i].process, out);
		else
			network_print(n->net[i].here, out);
	}
}
