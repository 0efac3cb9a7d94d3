/* SPDX-License-Identifier: BSD-3-Clause */
/* parse.c reads numbers, MAC addresses, choices and lists from text. */
#include "parse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The value of a digit; 16 or more: it is none. */
static unsigned int digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned int)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned int)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned int)(c - 'A') + 10;
	return 16;
}

int parse_digits(const char **text, unsigned int base, uint64_t *out)
{
	const char *first = *text;
	bool overflow = false;
	uint64_t n = 0;

	for (; digit(**text) < base; ++*text)
		overflow |= __builtin_mul_overflow(n, base, &n) ||
			    __builtin_add_overflow(n, digit(**text), &n);
	if (*text == first)
		return -EINVAL;
	if (overflow)
		return -ERANGE;
	*out = n;
	return 0;
}

/* @units: letters that may stand behind the number: 1024, 1024^2, ... */
static int parse_units(const char *text, const char *units, uint64_t min,
		       uint64_t max, uint64_t *out)
{
	unsigned int shift = 0;
	uint64_t n = 0;
	int ret = parse_digits(&text, 10, &n);
	const char *unit = *text ? strchr(units, *text) : NULL;

	if (unit) {
		shift = 10 * (unsigned int)(unit - units + 1);
		text++;
	}
	if (ret == -EINVAL || *text)
		return -EINVAL;
	if (ret < 0 || n > max >> shift || n << shift < min)
		return -ERANGE;
	*out = n << shift;
	return 0;
}

int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	return parse_units(text, "", min, max, out);
}

int parse_size(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	return parse_units(text, "kMG", min, max, out);
}

int parse_mac(const char *text, uint8_t mac[6])
{
	uint8_t bytes[6];

	for (size_t i = 0; i < sizeof(bytes); i++, text += 3) {
		unsigned int high = digit(text[0]);
		unsigned int low = high < 16 ? digit(text[1]) : 16;

		if (low >= 16 || text[2] != (i == 5 ? '\0' : ':'))
			return -EINVAL;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(mac, bytes, sizeof(bytes));
	return 0;
}

int parse_choice(const char *text, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(text, names[i]) == 0)
			return (int)i;
	return -EINVAL;
}

char *parse_comma(char *list)
{
	char *to = list;

	for (; *list; list++) {
		if (*list == ',') {
			list++;
			if (*list != ',') {
				*to = '\0';
				return list;
			}
		}
		*to++ = *list;
	}
	*to = '\0';
	return NULL;
}

bool parse_plus(const char **list, char *word, size_t size)
{
	size_t len;

	if (!*list)
		return false;
	len = strcspn(*list, "+");
	snprintf(word, size, "%.*s", (int)len, *list);
	*list = (*list)[len] ? *list + len + 1 : NULL;
	return true;
}
