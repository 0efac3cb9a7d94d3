/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports by name: the table of kinds, and what they have in common. A kind is a
 * file netif_KIND.c and a row here.
 */
#include "netif_priv.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "bytes.h"
#include "parse.h"

/* clang-format off */
static const struct netif_kind *const kinds[] = {
	&netif_tap,
	&netif_macvtap,
	&netif_packet,
	&netif_qemu,
	&netif_gen,
	&netif_null,
	&netif_loop,
	&netif_pcap,
	&netif_pcap_in,
	&netif_pcap_out,
};
/* clang-format on */

/**
 * struct taken - a specification that is taken apart
 * @text: where the parts are, each with an end of its own
 */
struct taken {
	const struct netif_kind *kind;
	struct netif_spec spec;
	char text[NETIF_SPEC_MAX + 1];
};

int netif_fail(struct netif_error *e, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->text, e->size, fmt, ap);
	va_end(ap);
	/* What was given is repeated in it, and might not be one line. */
	for (char *c = e->text; e->size && *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	return err;
}

/* ---- values ---- */

int netif_number(struct netif_error *e, const char *what, const char *text,
		 uint64_t min, uint64_t max, uint64_t *out)
{
	int ret = parse_number(text, min, max, out);

	if (ret == -EINVAL)
		return netif_fail(e, ret, "%s: '%s' is not a number", what,
				  text);
	if (ret < 0)
		return netif_fail(
			e, -EINVAL, "%s: '%s' is not within %llu...%llu", what,
			text, (unsigned long long)min, (unsigned long long)max);
	return 0;
}

int netif_mac(struct netif_error *e, const char *what, const char *text,
	      uint8_t mac[6])
{
	if (parse_mac(text, mac) == 0)
		return 0;
	return netif_fail(e, -EINVAL,
			  "%s: '%s' is no MAC address: expected six bytes as "
			  "in 02:00:00:00:00:01",
			  what, text);
}

int netif_ifname(struct netif_error *e, const char *kind, const char *arg,
		 char ifname[IFNAMSIZ])
{
	size_t len = arg ? strlen(arg) : 0;

	if (!len)
		return netif_fail(e, -EINVAL,
				  "%s: no interface: expected %s:NAME", kind,
				  kind);
	if (len >= IFNAMSIZ || strpbrk(arg, "/: \t\n\v\f\r%") ||
	    !strcmp(arg, ".") || !strcmp(arg, ".."))
		return netif_fail(e, -EINVAL,
				  "%s: '%s' is no name of an interface", kind,
				  arg);
	memcpy(ifname, arg, len + 1);
	return 0;
}

/* ---- taking apart ---- */

static const struct netif_kind *find_kind(const char *text)
{
	size_t len = strcspn(text, ":,");

	if (text[len] == ',' && text[len + 1] == ',')
		return NULL; /* a comma of the name, which none has */
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strlen(kinds[i]->name) == len &&
		    strncmp(kinds[i]->name, text, len) == 0)
			return kinds[i];
	return NULL;
}

static int find_key(const struct netif_kind *kind, const char *key, size_t len)
{
	for (int i = 0; kind->keys && kind->keys[i]; i++)
		if (strlen(kind->keys[i]) == len &&
		    strncmp(kind->keys[i], key, len) == 0)
			return i;
	return -1;
}

static void list_kinds(char *to, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds) && len < size; i++)
		len += (size_t)snprintf(to + len, size - len, "%s%s",
					i ? ", " : "", kinds[i]->name);
}

static void list_keys(const struct netif_kind *kind, char *to, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; kind->keys && kind->keys[i] && len < size; i++)
		len += (size_t)snprintf(to + len, size - len, "%s%s",
					i ? ", " : "", kind->keys[i]);
	if (!len)
		snprintf(to, size, "none");
}

static int take_key(struct taken *t, char *word, struct netif_error *e)
{
	size_t len = strcspn(word, "=");
	int i = find_key(t->kind, word, len);
	char known[128];

	if (i < 0) {
		list_keys(t->kind, known, sizeof(known));
		return netif_fail(e, -EINVAL,
				  "%s: '%.*s' is no key of it: it has %s",
				  t->kind->name, (int)len, word, known);
	}
	if (t->spec.keys[i])
		return netif_fail(e, -EINVAL, "%s: %s is given twice",
				  t->kind->name, t->kind->keys[i]);
	t->spec.keys[i] = word[len] ? word + len + 1 : "";
	return 0;
}

static int take_apart(struct taken *t, const char *text, struct netif_error *e)
{
	char list[128], *word, *rest;
	int ret;

	memset(&t->spec, 0, sizeof(t->spec));
	t->kind = find_kind(text);
	if (!t->kind) {
		list_kinds(list, sizeof(list));
		return netif_fail(e, -EINVAL,
				  "'%.64s' is no kind of port: expected one "
				  "of %s",
				  text, list);
	}
	if (snprintf(t->text, sizeof(t->text), "%s", text) > NETIF_SPEC_MAX)
		return netif_fail(e, -EINVAL,
				  "%s: longer than the %d bytes allowed",
				  t->kind->name, NETIF_SPEC_MAX);
	word = t->text + strlen(t->kind->name);
	rest = parse_comma(word);
	if (*word == ':')
		t->spec.arg = word + 1;
	while (rest) {
		word = rest;
		rest = parse_comma(word);
		ret = take_key(t, word, e);
		if (ret < 0)
			return ret;
	}
	return t->kind->check(&t->spec, e);
}

int netif_check(const char *spec, char *error, size_t size)
{
	struct netif_error e = { error, size };
	struct taken t;

	return take_apart(&t, spec, &e);
}

bool netif_has_key(const char *spec, const char *key)
{
	const struct netif_kind *kind = find_kind(spec);

	return kind && find_key(kind, key, strcspn(key, "=")) >= 0;
}

void netif_print_kinds(FILE *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		fprintf(out, "%s\n", kinds[i]->usage);
}

/* ---- sources ---- */

int netif_new(const char *spec, unsigned int queues, struct netif **out,
	      char *error, size_t size)
{
	struct netif_error e = { error, size };
	struct netif *s;
	struct taken t;
	int ret;

	ret = take_apart(&t, spec, &e);
	if (ret < 0)
		return ret;
	t.spec.queues = queues;
	ret = t.kind->new(&t.spec, &s, &e);
	if (ret == -ENOMEM)
		netif_fail(&e, ret, "%s: %s", t.kind->name, strerror(ENOMEM));
	if (ret < 0)
		return ret;
	s->kind = t.kind;
	s->queues = queues;
	netif_set_offload(s, 0);
	*out = s;
	return 0;
}

void netif_free(struct netif *s)
{
	if (s)
		s->ops->free(s);
}

uint64_t netif_features(const struct netif *s)
{
	return s->ops->features ? s->ops->features(s) : 0;
}

int netif_open(struct netif *s, unsigned int pair, struct netport **rx,
	       struct netport **tx)
{
	return pair < s->queues ? s->ops->open(s, pair, rx, tx) : -EINVAL;
}

void netif_enable(struct netif *s, unsigned int pair, bool on)
{
	if (s->ops->enable && pair < s->queues)
		s->ops->enable(s, pair, on);
}

void netif_set_offload(struct netif *s, uint64_t features)
{
	if (s->ops->set_offload)
		s->ops->set_offload(s, features);
}
