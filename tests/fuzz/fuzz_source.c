/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Specifications of ports: the input is the text, or, where its first byte is
 * not printable, words put together: a kind, keys that it has and others, and
 * values.
 *
 * What must hold: a refusal comes with one line that fits; keys of what is
 * taken are those of its kind.
 */
#include "fuzz.h"

#include <ctype.h>
#include <errno.h>

#include "bytes.h"
#include "netif.h"

#define TEXT_MAX 700

static void put(char *to, size_t *len, const char *word)
{
	while (*word && *len < TEXT_MAX - 1)
		to[(*len)++] = *word++;
	to[*len] = '\0';
}

static void make_text(struct input *in, char *to)
{
	static const char *const words[] = {
		"tap",
		"macvtap",
		"packet",
		"qemu",
		"gen",
		"null",
		"loop",
		":",
		",",
		",,",
		"=",
		"dgram",
		"stream",
		"local",
		"remote",
		"server",
		"connect",
		"fd",
		"unix:/a",
		"inet:127.0.0.1:1",
		"inet:[::",
		"]:65535",
		"fanout",
		"hash",
		"lb",
		"rate",
		"count",
		"flows",
		"src",
		"dst",
		"tag",
		"payload",
		"random",
		"60",
		"65550",
		"18446744073709551616",
		"eth0",
		"02:00:00:00:00:01",
		"qdisc-bypass",
		"a23456789012345",
	};
	size_t len = 0;

	to[0] = '\0';
	while (!in_empty(in))
		put(to, &len, words[in_below(in, ARRAY_SIZE(words))]);
}

static void check_line(const char *line, size_t size)
{
	size_t len = strnlen(line, size);

	must(len > 0 && len < size);
	for (size_t i = 0; i < len; i++)
		must(!iscntrl((unsigned char)line[i]));
}

/* As far as the next comma. */
static const char *word_of(const char *from)
{
	static char word[TEXT_MAX];
	size_t len = strcspn(from, ",");

	memcpy(word, from, len);
	word[len] = '\0';
	return word;
}

/* Words behind single commas begin with a key that the kind has. */
static void check_keys(const char *text)
{
	for (const char *c = text; *c; c++) {
		if (*c != ',')
			continue;
		if (c[1] == ',')
			c++;
		else
			must(netif_has_key(text, word_of(c + 1)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	char text[TEXT_MAX], line[160], small[8];
	int ret;

	if (size && isprint(data[0])) {
		in_bytes(&in, text, MIN(size, sizeof(text) - 1));
		text[MIN(size, sizeof(text) - 1)] = '\0';
	} else {
		make_text(&in, text);
	}
	memset(line, 0x55, sizeof(line));
	ret = netif_check(text, line, sizeof(line));
	must(ret == 0 || ret == -EINVAL);
	if (ret < 0)
		check_line(line, sizeof(line));
	must(netif_check(text, small, sizeof(small)) == ret);
	if (ret == 0)
		check_keys(text);
	return 0;
}
