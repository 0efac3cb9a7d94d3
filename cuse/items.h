/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Networks, ports, devices and sockets: each is begun with its name, given its
 * keys one by one, and ended. What an option of the command line and a section
 * of a file have in common.
 */
#ifndef ITEMS_H
#define ITEMS_H

#include "keys.h"
#include "options.h"

/** The names are item_name() */
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
 * struct item - one that has been begun
 *
 * Private to items.c. Nothing has to be given back if it is not ended.
 */
struct item {
	struct options *opts;
	enum item_kind kind;
	void *base[KEY_OWNERS]; /* NULL: it has no such keys */
	unsigned int owners;    /* bit o: base[o] is there */
	struct option_end *end; /* NULL: a network */
	struct option_sock *sock;
	uint64_t seen; /* bit i: keys[i] was given */
	/* Keys of the port's kind: ",KEY=VALUE...", commas doubled. */
	char extra[OPTIONS_PORT_MAX + 1];
};

/** item_name() - "net", "port", ...: of the option, and of the section */
const char *item_name(enum item_kind kind);
/** item_find() - the kind of a name of @len bytes, or ITEM_KINDS */
enum item_kind item_find(const char *name, size_t len);

/**
 * item_begin() - a new one in @opts
 * @name: of network or device, path or number of a socket, network of a port
 * @spec: KIND[:ARG] of a port; NULL: none given
 *
 * A port of kind vhost-user becomes a socket. Return: 0 or -EINVAL, complained.
 */
int item_begin(struct item *it, struct options *opts, enum item_kind kind,
	       const char *name, const char *spec, struct error_line *c);

/** item_key() - one key; @value NULL: there was none. 0 or -EINVAL */
int item_key(struct item *it, const char *key, const char *value,
	     struct error_line *c);

/** item_end() - what its keys mean together; then @opts has it. 0 or -EINVAL */
int item_end(struct item *it, struct error_line *c);

/** items_end() - every end there is, by number: ports, devices, sockets; NULL:
 * no more */
struct option_end *items_end(struct options *opts, unsigned int i);

/** items_finish() - what all of them mean together: networks that are named are
 * there, names are unique, captures agree. 0 or -EINVAL */
int items_finish(struct options *opts, struct error_line *c);

/** items_print_help() - options, and keys of each */
void items_print_help(FILE *out);

#endif
