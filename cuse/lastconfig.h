/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lastconfig.c keeps the last good configuration in the store: the command line
 * and the configuration files that it names. A process that has sessions to
 * continue and whose own configuration is wrong uses that one.
 */
#ifndef LASTCONFIG_H
#define LASTCONFIG_H

#include "options.h"
#include "store.h"

/**
 * lastconfig_keep() - keep a good configuration, in place of the one before
 * @argc, @argv: arguments of options_parse()
 * @opts: its result
 *
 * Return: 0; -errno: no configuration is kept.
 */
int lastconfig_keep(struct store *store, int argc, char **argv,
		    const struct options *opts);

/**
 * lastconfig_load() - get the command line that was kept
 * @argv: malloc()ed array and strings, NULL-terminated. Configuration files are
 *        named /dev/fd/N; these descriptors stay open
 *
 * Return: argc; -ENOENT (none is kept); -EBADMSG; -ENOMEM.
 */
int lastconfig_load(struct store *store, char ***argv);

#endif
