/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * items.c adds networks, ports, devices and sockets to struct options: an item
 * is begun with its name, gets its keys one by one, and is ended. Options of
 * the command line and sections of configuration files both use it.
 */
#ifndef ITEMS_H
#define ITEMS_H

#include "keys.h"
#include "options.h"

/** Kinds of item; item_name() has their names */
enum item_kind {
	ITEM_NET,
	ITEM_PORT,
	ITEM_DEVICE,
	ITEM_SOCKET_PATH,
	ITEM_FD,
	ITEM_KINDS,
};

/** ITEM_TEXT_MAX - longest argument of an option, and line of a file */
#define ITEM_TEXT_MAX 1023

/**
 * struct item - an item that was begun
 *
 * Private to items.c. An item that is not ended needs no clean-up.
 */
struct item {
	struct options *opts;
	enum item_kind kind;
	void *base[KEY_OWNERS]; /* NULL: it has no keys of that owner */
	unsigned int owners;    /* bit o: base[o] is set */
	struct option_end *end; /* NULL: a network */
	struct option_sock *sock;
	uint64_t seen; /* bit i: keys[i] was given */
	/* Keys of the kind of port: ",KEY=VALUE...", commas doubled. */
	char extra[OPTIONS_PORT_MAX + 1];
};

/** item_name() - "net", "port", ...: name of the option and of the section */
const char *item_name(enum item_kind kind);
/** item_find() - the kind with a name of @len bytes; ITEM_KINDS: none */
enum item_kind item_find(const char *name, size_t len);

/**
 * item_begin() - begin a new item of @opts
 * @name: of a network or device; path or descriptor of a socket; network of a
 *        port
 * @spec: KIND[:ARG] of a port; NULL: none given
 *
 * A port of kind vhost-user becomes a socket. Return: 0; -EINVAL, with an error
 * line in @c.
 */
int item_begin(struct item *it, struct options *opts, enum item_kind kind,
	       const char *name, const char *spec, struct error_line *c);

/** item_key() - set a key; @value NULL: it has no value. 0 or -EINVAL */
int item_key(struct item *it, const char *key, const char *value,
	     struct error_line *c);

/** item_end() - check the keys together, and add the item to @opts. 0 or
 * -EINVAL
 */
int item_end(struct item *it, struct error_line *c);

/** items_end() - struct option_end number @i of ports, devices and sockets, in
 * that order; NULL: there are no more */
struct option_end *items_end(struct options *opts, unsigned int i);

/** items_finish() - check all items together: each network that is named
 * exists, names are unique, captures to one file agree. 0 or -EINVAL */
int items_finish(struct options *opts, struct error_line *c);

/** items_print_help() - print the options and their keys */
void items_print_help(FILE *out);

#endif
