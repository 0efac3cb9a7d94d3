/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of keys: what may stand behind a comma of an option, in a section
 * of a configuration file, and (those of the daemon) as an option of its own.
 * It drives the command line, files, --help and the check of the manual.
 */
#ifndef KEYS_H
#define KEYS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "error_line.h"

/** complain() - write the line that says what is wrong with an option, after
 * @c->where ("--net", "FILE:LINE: [net lan]"); -EINVAL */
#define complain(c, ...) error_line((c), -EINVAL, __VA_ARGS__)

/** Whose key it is: in which struct its value goes */
enum key_owner {
	KEY_DAEMON,  /* struct options */
	KEY_NET,     /* struct option_net */
	KEY_SOCKET,  /* struct option_sock */
	KEY_DEVICE,  /* struct option_dev */
	KEY_END,     /* struct option_end */
	KEY_SWPORT,  /* struct option_end, and only with a network: its port */
	KEY_CAPTURE, /* struct option_capture */
	KEY_OWNERS,
};

/**
 * struct key - a row
 * @flag:   may be without a value, which means yes
 * @read:   turns @text into *@field; @label stands before what it complains of
 * @min, @max: of a number; @max of a text: its bytes
 * @field:  offset in the owner's struct
 * @arg:    what to write for a value, for help
 * @help:   a line of at most 50 bytes
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

/** The rows. At most 64, so that a bit can stand for each */
extern const struct key keys[];
extern const unsigned int nkeys;

/**
 * key_find() - the row of a key
 * @owners: whose keys are meant: bit o for owner o; of several rows with that
 *          name, the first
 *
 * Return: NULL if there is none.
 */
const struct key *key_find(const char *name, unsigned int owners);

/**
 * key_read() - read a value
 * @label: for complaints: the key as it was written
 * @text:  NULL: there was none
 * @base:  the owner's struct
 *
 * Return: 0 or -EINVAL, complained.
 */
int key_read(const struct key *key, const char *label, const char *text,
	     void *base, struct error_line *c);

/** keys_list() - "a, b, c": the names of @owners' keys, cut to @size */
void keys_list(unsigned int owners, char *to, size_t size);

/** keys_print() - a line for each key of @owners, for --help: @indent, @prefix,
 * name, argument and explanation */
void keys_print(FILE *out, unsigned int owners, int indent, const char *prefix);

/**
 * key_number() - decimal digits and nothing else: no sign, no space, no 0x
 *
 * Return: 0; -EINVAL: no number, or not within @min...@max, complained.
 */
int key_number(const char *label, const char *text, uint64_t min, uint64_t max,
	       uint64_t *out, struct error_line *c);

#endif
