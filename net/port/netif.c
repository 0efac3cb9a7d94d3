/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * netif.c opens interfaces by name, and reads the options of their kinds. A
 * kind is a file netif_KIND.c and a row of netif_kinds.c.
 */
#include "netif_priv.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "parse.h"

/**
 * struct netif_spec - a specification, taken apart
 * @text:   its words, each with an end of its own
 * @config: the kind's configuration; texts in it are in @text
 */
struct netif_spec {
	const struct netif_kind *kind;
	char text[NETIF_SPEC_MAX + 1];
	_Alignas(max_align_t) uint8_t config[NETIF_CONFIG_MAX];
};

/* ---- values ---- */

int netif_read_number(const struct netif_value *v)
{
	const struct netif_key *key = v->key;
	int ret = v->text ? parse_number(v->text, key->min, key->max, v->field)
			  : 0;

	if (ret == -EINVAL)
		return error_line(v->e, ret, "%s: '%s' is not a number",
				  v->label, v->text);
	if (ret < 0)
		return error_line(
			v->e, -EINVAL, "%s: '%s' is not within %llu...%llu",
			v->label, v->text, (unsigned long long)key->min,
			(unsigned long long)key->max);
	return 0;
}

int netif_read_mac(const struct netif_value *v)
{
	if (parse_mac(v->text, v->field) == 0)
		return 0;
	return error_line(v->e, -EINVAL,
			  "%s: '%s' is no MAC address: expected six bytes as "
			  "in 02:00:00:00:00:01",
			  v->label, v->text);
}

int netif_read_flag(const struct netif_value *v)
{
	*(bool *)v->field = true;
	return *v->text ? error_line(v->e, -EINVAL,
				     "%s: '%s': it takes no value", v->label,
				     v->text)
			: 0;
}

int netif_read_choice(const struct netif_value *v)
{
	const char *text = v->text ? v->text : "", *word = v->key->choices;
	size_t len = strlen(text);

	for (unsigned int i = 0; *word; i++) {
		size_t n = strcspn(word, "|");

		if (n == len && strncmp(word, text, n) == 0) {
			*(unsigned int *)v->field = i;
			return 0;
		}
		word += n + (word[n] == '|');
	}
	return error_line(v->e, -EINVAL, "%s: '%s': expected %s", v->label,
			  text, v->key->choices);
}

int netif_read_text(const struct netif_value *v)
{
	*(const char **)v->field = v->text;
	return 0;
}

int netif_read_path(const struct netif_value *v)
{
	if (!v->text || !*v->text)
		return error_line(v->e, -EINVAL,
				  "%s: no file: expected %s:FILE", v->label,
				  v->label);
	return netif_read_text(v);
}

int netif_read_ifname(const struct netif_value *v)
{
	size_t len = v->text ? strlen(v->text) : 0;

	if (!len)
		return error_line(v->e, -EINVAL,
				  "%s: no interface: expected %s:NAME",
				  v->label, v->label);
	if (len >= IFNAMSIZ || strpbrk(v->text, "/: \t\n\v\f\r%") ||
	    !strcmp(v->text, ".") || !strcmp(v->text, ".."))
		return error_line(v->e, -EINVAL,
				  "%s: '%s' is no name of an interface",
				  v->label, v->text);
	memcpy(v->field, v->text, len + 1);
	return 0;
}

/* ---- specifications ---- */

static const struct netif_kind *find_kind(const char *text)
{
	size_t len = strcspn(text, ":,");

	if (text[len] == ',' && text[len + 1] == ',')
		return NULL; /* a comma of the name, which no kind has */
	for (size_t i = 0; i < netif_nkinds; i++)
		if (strlen(netif_kinds[i]->name) == len &&
		    strncmp(netif_kinds[i]->name, text, len) == 0)
			return netif_kinds[i];
	return NULL;
}

static int find_key(const struct netif_kind *kind, const char *key, size_t len)
{
	for (int i = 0; kind->keys && kind->keys[i].name; i++)
		if (strlen(kind->keys[i].name) == len &&
		    strncmp(kind->keys[i].name, key, len) == 0)
			return i;
	return -1;
}

/* Appends a word to the list in @to. */
static void list_add(char *to, size_t size, const char *word)
{
	size_t len = strlen(to);

	snprintf(to + len, size - len, "%s%s", len ? ", " : "", word);
}

static int read_value(struct netif_spec *spec, const struct netif_key *key,
		      const char *label, const char *text, struct error_line *e)
{
	const struct netif_value v = { key, label, text,
				       spec->config + key->field, e };

	return key->read(&v);
}

/* @given: bit i: key i has been read */
static int read_key(struct netif_spec *spec, char *word, unsigned int *given,
		    struct error_line *e)
{
	const struct netif_key *keys = spec->kind->keys;
	const char *kind = spec->kind->name;
	size_t len = strcspn(word, "=");
	int i = find_key(spec->kind, word, len);
	char text[128] = "";

	if (i < 0) {
		for (i = 0; keys && keys[i].name; i++)
			list_add(text, sizeof(text), keys[i].name);
		return error_line(e, -EINVAL,
				  "%s: '%.*s' is no key of it: it has %s", kind,
				  (int)len, word, *text ? text : "none");
	}
	if (*given & BIT(i))
		return error_line(e, -EINVAL, "%s: %s is given twice", kind,
				  keys[i].name);
	*given |= (unsigned int)BIT(i);
	snprintf(text, sizeof(text), "%s: %s", kind, keys[i].name);
	return read_value(spec, &keys[i], text, word[len] ? word + len + 1 : "",
			  e);
}

static int read_arg(struct netif_spec *spec, const char *text,
		    struct error_line *e)
{
	const struct netif_key *arg = spec->kind->arg;

	if (arg)
		return read_value(spec, arg, spec->kind->name, text, e);
	return text ? error_line(e, -EINVAL, "%s: '%s': it takes no argument",
				 spec->kind->name, text)
		    : 0;
}

static int read_spec(struct netif_spec *spec, const char *text,
		     struct error_line *e)
{
	const struct netif_kind *kind = find_kind(text);
	unsigned int given = 0;
	char list[128] = "", *rest, *word;
	int ret;

	spec->kind = kind;
	if (!kind) {
		for (size_t i = 0; i < netif_nkinds; i++)
			list_add(list, sizeof(list), netif_kinds[i]->name);
		return error_line(e, -EINVAL,
				  "'%.64s' is no kind of port: expected one "
				  "of %s",
				  text, list);
	}
	if (snprintf(spec->text, sizeof(spec->text), "%s", text) >
	    NETIF_SPEC_MAX)
		return error_line(e, -EINVAL,
				  "%s: longer than the %d bytes allowed",
				  kind->name, NETIF_SPEC_MAX);
	assert(kind->config_size <= sizeof(spec->config));
	if (kind->defaults)
		memcpy(spec->config, kind->defaults, kind->config_size);
	word = spec->text + strlen(kind->name);
	rest = parse_comma(word);
	ret = read_arg(spec, *word == ':' ? word + 1 : NULL, e);
	while (ret == 0 && (word = rest)) {
		rest = parse_comma(word);
		ret = read_key(spec, word, &given, e);
	}
	if (ret == 0 && kind->check)
		ret = kind->check(spec->config, e);
	return ret;
}

int netif_check(const char *text, char *error, size_t size)
{
	struct error_line e = { error, size, NULL };
	struct netif_spec spec;

	return read_spec(&spec, text, &e);
}

bool netif_has_key(const char *text, const char *key)
{
	const struct netif_kind *kind = find_kind(text);

	return kind && find_key(kind, key, strcspn(key, "=")) >= 0;
}

void netif_print_kinds(FILE *out)
{
	for (size_t i = 0; i < netif_nkinds; i++)
		fprintf(out, "%s\n", netif_kinds[i]->usage);
}

/* ---- interfaces ---- */

int netif_new(const char *text, unsigned int queues, struct netif **out,
	      char *error, size_t size)
{
	struct error_line e = { error, size, NULL };
	struct netif_spec spec;
	struct netif *s;
	int ret;

	ret = read_spec(&spec, text, &e);
	if (ret < 0)
		return ret;
	ret = spec.kind->new(spec.config, queues, &s, &e);
	if (ret == -ENOMEM)
		error_line(&e, ret, "%s: %s", spec.kind->name,
			   strerror(ENOMEM));
	if (ret < 0)
		return ret;
	s->queues = queues;
	s->moves = spec.kind->adopt;
	netif_set_offload(s, 0);
	*out = s;
	return 0;
}

bool netif_moves(const char *text)
{
	const struct netif_kind *kind = find_kind(text);

	return kind && kind->adopt;
}

int netif_fds(const struct netif *s, int *fds)
{
	if (!s->moves)
		return -EOPNOTSUPP;
	return s->ops->fds ? s->ops->fds(s, fds) : 0;
}

int netif_adopt(const char *text, unsigned int queues, const int *fds,
		unsigned int n, struct netif **out, char *error, size_t size)
{
	struct error_line e = { error, size, NULL };
	struct netif_spec spec;
	int ret = read_spec(&spec, text, &e);

	if (ret < 0)
		return ret;
	if (!spec.kind->adopt)
		return error_line(&e, -EOPNOTSUPP,
				  "%s: it stays in one process",
				  spec.kind->name);
	ret = spec.kind->adopt(spec.config, queues, fds, n, out);
	if (ret < 0)
		return error_line(&e, ret, "%s: %s", spec.kind->name,
				  strerror(-ret));
	(*out)->queues = queues;
	(*out)->moves = true;
	return 0;
}

void netif_free(struct netif *s)
{
	if (s)
		s->ops->free(s);
}

uint64_t netif_features(const struct netif *s)
{
	return s->ops->features;
}

int netif_open(struct netif *s, unsigned int pair, struct netport **rx,
	       struct netport **tx)
{
	struct netport *port = NULL;
	int ret;

	if (pair >= s->queues)
		return -EINVAL;
	if (s->ops->open_both)
		return s->ops->open_both(s, pair, rx, tx);
	ret = s->ops->open(s, pair, NETIF_RX, &port);
	if (ret < 0)
		return ret;
	ret = s->ops->open(s, pair, NETIF_TX, tx);
	if (ret < 0)
		netport_close(port);
	else
		*rx = port;
	return ret;
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
