/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line. Pure: nothing is opened, printed or ended here, and no
 * state is kept but getopt's own.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "log.h"

/** OPTIONS_MAX_DEVS - how often --dev may be given */
#define OPTIONS_MAX_DEVS 64
/** OPTIONS_NAME_MAX - longest device name, bytes */
#define OPTIONS_NAME_MAX 63
/** OPTIONS_MAX_REGIONS - regions that fit one ioctl of CUSE (128 KiB) */
#define OPTIONS_MAX_REGIONS 4095

/**
 * struct option_dev - one character device
 * @name: as CUSE takes it: '!' stands for '/' below /dev
 * @port_kind: NULL, or "null" (see struct vdev_config)
 * @null_frame_len: with @port_kind "null": bytes of frames made up, 0 for none
 * @fd: channel handed over by --cuse-fd, -1 to open /dev/cuse
 */
struct option_dev {
	char name[OPTIONS_NAME_MAX + 1];
	const char *port_kind;
	unsigned int null_frame_len;
	int fd;
};

/** OPTIONS_MAX_SOCKS - how often --socket-path and --fd may be given */
#define OPTIONS_MAX_SOCKS 64
/** OPTIONS_PATH_MAX - longest path of a socket, bytes (sun_path) */
#define OPTIONS_PATH_MAX 107
/** OPTIONS_PORT_MAX - longest name of a port, bytes */
#define OPTIONS_PORT_MAX 63

/**
 * struct option_sock - one vhost-user socket, and the device behind it
 * @path: "" if @fd is given
 * @fd: connected or listening socket that was handed over, else -1
 * @client: connect to @path instead of listening there
 * @port: as netsource_new() takes it
 * @queues: queue pairs
 * @mtu: 0: not said
 * @mac: valid if @has_mac
 */
struct option_sock {
	char path[OPTIONS_PATH_MAX + 1];
	int fd;
	bool client;
	char port[OPTIONS_PORT_MAX + 1];
	unsigned int queues;
	unsigned int mtu;
	bool has_mac;
	uint8_t mac[6];
};

enum options_mode {
	OPTIONS_RUN,
	OPTIONS_HELP,
	OPTIONS_VERSION,
	OPTIONS_IOCTL_TABLE,
	OPTIONS_MESSAGE_TABLE,
	OPTIONS_CAPABILITIES,
};

/**
 * struct options - what the command line asks for
 * @dev_major, @dev_minor: 0: the kernel chooses; device i gets @dev_minor + i
 * @busy_poll_us: upper bound of adaptive polling, µs; 0 is off
 * @max_sessions: open files a device
 * @max_mem_regions: 0 if not given: max(64, what the host's vhost says)
 */
struct options {
	enum options_mode mode;
	struct option_dev devs[OPTIONS_MAX_DEVS];
	unsigned int ndevs;
	struct option_sock socks[OPTIONS_MAX_SOCKS];
	unsigned int nsocks;
	bool takeover;
	unsigned int dev_major;
	unsigned int dev_minor;
	unsigned int busy_poll_us;
	unsigned int max_sessions;
	unsigned int max_mem_regions;
	enum log_level log_level;
};

/**
 * options_parse() - read the command line
 * @argc, @argv: as main() got them; getopt may reorder @argv
 * @opts:  filled in; without --dev and sockets it holds one device
 * @error: @size bytes; on failure one line that names option and value
 *
 * Not reentrant (getopt). May be called again and again.
 * Return: 0 or -EINVAL.
 */
int options_parse(int argc, char **argv, struct options *opts, char *error,
		  size_t size);

/** options_print_help() - usage, a screenful */
void options_print_help(FILE *out);

#endif
