/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port from which the frames of a pcap or pcapng file are received. The file
 * is hostile input: records that are no whole Ethernet frame are skipped, and
 * the file ends where libpcap cannot read it.
 */
#ifndef PCAP_PLAYER_H
#define PCAP_PLAYER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "netport.h"

/**
 * struct player_config - copied
 * @open:   the file from its beginning, a new FILE each time; NULL and errno
 * @ctx:    for @open; outlives the port
 * @name:   for the log; outlives the port
 * @rounds: how often it is played; 0: without end
 * @timed:  as fast as it was recorded; else as fast as it is taken
 */
struct player_config {
	FILE *(*open)(void *ctx);
	void *ctx;
	const char *name;
	uint64_t rounds;
	bool timed;
};

/**
 * pcap_player_new() - what is sent to the port is dropped
 * @error: @size bytes: a line if the file is to blame
 *
 * Return: 0; -EINVAL: no capture of Ethernet frames; -errno of @config->open;
 * -ENOMEM; -EMFILE.
 */
int pcap_player_new(const struct player_config *config, struct netport **out,
		    char *error, size_t size);

#endif
