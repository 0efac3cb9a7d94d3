/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * keys.c has the table of keys and parses their values. A key is given behind a
 * comma of an option, in a section of a configuration file, or (keys of the
 * daemon) as an option of its own. The table drives the command line, files,
 * --help and the test of the manual.
 */
#ifndef KEYS_H
#define KEYS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "error_line.h"

/** complain() - write an error line about an option to @c, after its @where
 * ("--net", "FILE:LINE: [net lan]"); returns -EINVAL */
#define complain(c, ...) error_line((c), -EINVAL, __VA_ARGS__)

/** The owner of a key: the struct that gets its value */
enum key_owner {
	KEY_DAEMON,  /* struct options */
	KEY_NET,     /* struct option_net */
	KEY_SOCKET,  /* struct option_sock */
	KEY_DEVICE,  /* struct option_dev */
	KEY_END,     /* struct option_end */
	KEY_SWPORT,  /* struct option_end; only with a network */
	KEY_CAPTURE, /* struct option_capture */
	KEY_OWNERS,
};

/**
 * struct key - a row
 * @flag:   the value can be left out, which means yes
 * @read:   parses @text into *@field; error lines begin with @label
 * @min, @max: range of a number; @max of a text: most bytes
 * @field:  offset in the owner's struct
 * @arg:    name of the value in --help
 * @help:   text in --help, at most 50 bytes
 */
struct key {
	const char *name;
	enum key_owner owner;
	bool flag;
	int (*read)(const struct key *key, const char *label, const char *text,
		    void *field, struct error_line *c);
	uint64_t min, max;
	size_t field;
	const char *arg, *help;
};

/** The rows; at most 64, since struct item.seen has a bit for each */
extern const struct key keys[];
extern const unsigned int nkeys;

/**
 * key_find() - find the row of a key
 * @owners: bit o: keys of owner o count
 *
 * Return: the first row with that name; NULL: there is none.
 */
const struct key *key_find(const char *name, unsigned int owners);

/**
 * key_read() - parse a value
 * @label: the key as it was written, for error lines
 * @text:  the value; NULL: none was given
 * @base:  the owner's struct
 *
 * Return: 0; -EINVAL, with an error line in @c.
 */
int key_read(const struct key *key, const char *label, const char *text,
	     void *base, struct error_line *c);

/** keys_list() - write the names of @owners' keys: "a, b, c", cut to @size */
void keys_list(unsigned int owners, char *to, size_t size);

/** keys_print() - print a line of --help for each key of @owners: @indent
 * spaces,
 * @prefix, name, argument and help text */
void keys_print(FILE *out, unsigned int owners, int indent, const char *prefix);

/**
 * key_number() - parse decimal digits: no sign, no space, no 0x
 *
 * Return: 0; -EINVAL, with an error line in @c: no number, or not within
 * @min...@max.
 */
int key_number(const char *label, const char *text, uint64_t min, uint64_t max,
	       uint64_t *out, struct error_line *c);

#endif
