/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * config.c reads configuration files: INI, parsed by the library inih. A
 * section stands for an option that has keys; the lines below it are its keys:
 *
 *   [daemon]            [net NAME]            [port NET KIND:ARG]
 *   log-level = debug   mtu = 9000            vlan = 7
 *
 *   [device NAME]       [socket-path PATH]    [fd N]
 */
#ifndef CONFIG_H
#define CONFIG_H

#include <stddef.h>
#include <stdio.h>
#include "options.h"

/**
 * config_read_file() - add the options in the file @path to @opts
 * @error: @size bytes; on failure one line that names file, line and section
 *
 * Networks, ports, devices and sockets are added to those in @opts; values of
 * [daemon] replace those in @opts. Return: 0 or -EINVAL.
 */
int config_read_file(const char *path, struct options *opts, char *error,
		     size_t size);

/** config_read() - the same, from @f; error lines call it @name */
int config_read(FILE *f, const char *name, struct options *opts, char *error,
		size_t size);

#endif
