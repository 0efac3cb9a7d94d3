/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration files: INI, as the library inih reads it. A section is an
 * option that has keys, its keys stand below it:
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
 * config_read_file() - add to @opts what the file @path says
 * @error: @size bytes; on failure one line that names file, line and section
 *
 * Devices and the like are added to those that are there, values of [daemon]
 * replace. Return: 0 or -EINVAL.
 */
int config_read_file(const char *path, struct options *opts, char *error,
		     size_t size);

/** config_read() - the same, from @f; @name stands in complaints */
int config_read(FILE *f, const char *name, struct options *opts, char *error,
		size_t size);

#endif
