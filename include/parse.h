/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * parse.c reads numbers, MAC addresses, choices and lists from text: command
 * line, configuration files, port specifications, files of /proc and /sys.
 * No function here has side effects or logs: the caller reports the error.
 */
#ifndef PARSE_H
#define PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * parse_digits() - read the digits at the start of *@text
 * @text: moved behind the digits on success
 * @base: 10 or 16; no sign, no space, no 0x
 *
 * Return: 0; -EINVAL: there is no digit; -ERANGE: it does not fit 64 bits.
 */
int parse_digits(const char **text, unsigned int base, uint64_t *out);

/**
 * parse_number() - decimal digits and nothing else
 *
 * Return: 0; -EINVAL: no number; -ERANGE: not within @min...@max.
 */
int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/** parse_size() - the same; k, M or G (powers of 1024) may follow the digits */
int parse_size(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/** parse_mac() - aa:bb:cc:dd:ee:ff; 0 or -EINVAL */
int parse_mac(const char *text, uint8_t mac[6]);

/** parse_choice() - the index of @text in the @n entries of @names, or
 * -EINVAL */
int parse_choice(const char *text, const char *const *names, size_t n);

/**
 * parse_comma() - cut the first word off a list
 * @list: cut off at its first single comma; before it ",," becomes ","
 *
 * Return: the rest of the list, behind that comma; NULL: there is no rest.
 */
char *parse_comma(char *list);

/**
 * parse_plus() - copy the next word of a list with '+' between its words
 * @list: moved behind the word; NULL after the last one
 * @word: @size bytes; a longer word is cut
 *
 * Return: false if *@list was NULL.
 */
bool parse_plus(const char **list, char *word, size_t size);

#endif
