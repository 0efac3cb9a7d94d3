/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last configuration that was good: command line and the files that it
 * names, in the store. While there are open files to go on with, a process that
 * finds its own configuration wrong uses that one.
 */
#ifndef LASTCONFIG_H
#define LASTCONFIG_H

#include "options.h"
#include "store.h"

/**
 * lastconfig_keep() - this configuration is good
 * @argc, @argv: what options_parse() was given
 * @opts: what came of it
 *
 * Return: 0 or -errno, with which nothing is kept.
 */
int lastconfig_keep(struct store *store, int argc, char **argv,
		    const struct options *opts);

/**
 * lastconfig_load() - the command line that was kept
 * @argv: malloc()ed, NULL-terminated, with its strings; files are named as
 *        /dev/fd/N. They stay for the life of the process
 *
 * Return: argc; -ENOENT (there is none); -EBADMSG; -ENOMEM.
 */
int lastconfig_load(struct store *store, char ***argv);

#endif
