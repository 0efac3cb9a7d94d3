/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * options.c parses the command line and the files that --config names. Parsing
 * prints nothing, does not exit, opens only those files, and keeps no state but
 * getopt's.
 *
 *   options.c   the command line, and checks of all options together
 *   config.c    configuration files
 *   items.c     networks, ports, devices and sockets, for both
 *   keys.c      the table of all keys, and the parsers of values
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "log.h"
#include "network.h"

/** Most items of each kind */
#define OPTIONS_MAX_DEVS 64
#define OPTIONS_MAX_SOCKS 64
#define OPTIONS_MAX_NETS 64
#define OPTIONS_MAX_PORTS 256
/** OPTIONS_NAME_MAX - longest device name, bytes */
#define OPTIONS_NAME_MAX 63
/** OPTIONS_MAX_REGIONS - most regions that fit into an ioctl of CUSE (128 KiB)
 */
#define OPTIONS_MAX_REGIONS 4095
/** OPTIONS_PATH_MAX - longest path of a socket, bytes (sun_path) */
#define OPTIONS_PATH_MAX 107
/** OPTIONS_PORT_MAX - longest specification of a port, bytes */
#define OPTIONS_PORT_MAX 511
/** OPTIONS_RING_QUEUES - most queue pairs of a socket in a network with
 * worker-process: the store can keep this number of frame rings
 * (WMSG_SOCK_RINGS_MAX) */
#define OPTIONS_RING_QUEUES 12
/** OPTIONS_FILE_MAX - longest path of a capture, bytes */
#define OPTIONS_FILE_MAX 255

/**
 * struct option_net - a network; see struct network_config
 * @worker_process: network and guests have processes of their own; its
 *        interfaces are of kinds that netif_moves(), its captures are single
 *        files that no other network uses
 */
struct option_net {
	char name[NETWORK_NAME_MAX + 1];
	unsigned int macs, age_s, mtu;
	bool worker_process;
};

/**
 * struct option_capture - a capture; see struct capture_config
 * @file: "": none. After options_parse() all captures to the same file have the
 *        same values
 */
struct option_capture {
	char file[OPTIONS_FILE_MAX + 1];
	unsigned int snaplen;
	bool vnet_hdr;
	uint64_t file_bytes;
	unsigned int files;
};

/** OPTIONS_OFFLOADS_UNSAID - no offloads= was given */
#define OPTIONS_OFFLOADS_UNSAID UINT64_MAX

/**
 * struct option_end - where frames go
 * @net:  name of a network that exists; "": none
 * @port: specification for netif_new(); "": a port of @net, or the descriptor
 *        that the caller passes (device)
 * @name, @vlan, @trunk, @macs, @flood_fps, @mtu: of the port of @net, as in
 *        struct swport_config
 * @offloads: those that the receiver accepts: VIRTIO_NET_F_GUEST_* bits
 */
struct option_end {
	char net[NETWORK_NAME_MAX + 1];
	char port[OPTIONS_PORT_MAX + 1];
	char name[NETWORK_NAME_MAX + 1];
	unsigned int vlan;
	uint64_t trunk[NETWORK_VLANS / 64];
	unsigned int macs, flood_fps, mtu;
	uint64_t offloads;
	struct option_capture capture;
};

/** enum option_choice - yes, no, or not given */
enum option_choice {
	CHOICE_DEFAULT,
	CHOICE_NO,
	CHOICE_YES,
};

/**
 * struct option_dev - one character device
 * @name: in the form of CUSE: '!' stands for '/' below /dev
 * @end:  @end.port is "", null[:LEN] or loop
 * @features: those of VDEV_OPTIONAL_FEATURES that are offered
 * @worker_process: see option_dev_has_worker()
 * @fd: channel that --cuse-fd passed; -1: open /dev/cuse
 */
struct option_dev {
	char name[OPTIONS_NAME_MAX + 1];
	struct option_end end;
	uint64_t features;
	enum option_choice worker_process;
	int fd;
};

/** option_dev_has_worker() - whether the device of an owner runs in a worker
 * process: by default if it has no @end.net, @end.port or capture; never with
 * @end.port, nor with a capture that has no @end.net */
bool option_dev_has_worker(const struct option_dev *dev);

/**
 * struct option_sock - one vhost-user socket, and the device behind it
 * @path: "" if @fd is given
 * @fd: connected or listening socket that was passed; else -1
 * @end: has @end.net or @end.port
 * @client: connect to @path instead of listening there
 * @queues: queue pairs
 * @mtu: 0: not given; also the MTU of the port of @end.net
 * @mac: all 0: not given
 * @postcopy: give userfaultfds to the frontend, with which it can access all
 *        memory of the process that serves the connection
 * @worker_process: a worker process serves each connection; not with a port
 *        that cannot move to it (netif_moves()), nor with a capture that has no
 *        @end.net. With @end.net at most OPTIONS_RING_QUEUES @queues. Is
 *        CHOICE_YES if the network has a process
 */
struct option_sock {
	char path[OPTIONS_PATH_MAX + 1];
	int fd;
	struct option_end end;
	bool client;
	unsigned int queues;
	unsigned int mtu;
	uint8_t mac[6];
	bool postcopy;
	enum option_choice worker_process;
};

enum options_mode {
	OPTIONS_RUN,
	OPTIONS_HELP,
	OPTIONS_VERSION,
	OPTIONS_IOCTL_TABLE,
	OPTIONS_MESSAGE_TABLE,
	OPTIONS_CAPABILITIES,
	OPTIONS_RELEASE_NODE,
};

/** OPTIONS_MAX_CONFIGS - most configuration files that lastconfig.c can keep */
#define OPTIONS_MAX_CONFIGS 16

/**
 * struct options - all options
 * @ports: host ports: both @net and @port are set
 * @dev_major, @dev_minor: 0: the kernel chooses; device i gets @dev_minor + i
 * @busy_poll_us: upper bound of adaptive polling, µs; 0 is off
 * @max_sessions: most open files of a device
 * @max_user_sessions: of these, of one user; 0: not given
 * @max_process_sessions: of these, owned by one process; 0: not given
 * @max_user_mappings, @max_process_mappings: most mappings of guest memory of
 *              one user, of one process; 0: not given
 * @configs:    values of --config, inside argv; @nconfigs can be greater than
 *              OPTIONS_MAX_CONFIGS, then the others are missing
 * @max_mem_regions: 0: not given; then max(64, limit of the host's vhost)
 */
struct options {
	enum options_mode mode;
	struct option_net nets[OPTIONS_MAX_NETS];
	unsigned int nnets;
	struct option_end ports[OPTIONS_MAX_PORTS];
	unsigned int nports;
	struct option_dev devs[OPTIONS_MAX_DEVS];
	unsigned int ndevs;
	struct option_sock socks[OPTIONS_MAX_SOCKS];
	unsigned int nsocks;
	bool takeover;
	unsigned int dev_major;
	unsigned int dev_minor;
	unsigned int busy_poll_us;
	unsigned int max_sessions;
	unsigned int max_user_sessions;
	unsigned int max_process_sessions;
	unsigned int max_user_mappings;
	unsigned int max_process_mappings;
	unsigned int max_mem_regions;
	enum log_level log_level;
	const char *configs[OPTIONS_MAX_CONFIGS];
	unsigned int nconfigs;
};

/**
 * options_parse() - parse the command line and the files that it names
 * @argc, @argv: arguments of main(); getopt may reorder @argv
 * @opts:  filled in; the default device, if there is no device, socket or port
 * @error: @size bytes; on failure one line that names option (or file, line and
 *         section), key and value
 *
 * Not reentrant (getopt), but can be called repeatedly.
 * Return: 0 or -EINVAL.
 */
int options_parse(int argc, char **argv, struct options *opts, char *error,
		  size_t size);

/** option_net_of() - the network of @end; NULL: none */
const struct option_net *option_net_of(const struct options *opts,
				       const struct option_end *end);

/** options_print_help() - usage: all options and keys */
void options_print_help(FILE *out);

#endif
