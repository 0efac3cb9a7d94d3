/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * config.c reads a configuration file into struct options.
 *
 * inih splits lines into keys and values. It calls next_line() for each line,
 * which counts and checks the line and handles sections itself: inih keeps only
 * 49 bytes of a section's name, less than a path can have, and does not report
 * sections without keys.
 *
 * After the first error inih gets no more lines, and keys that it still reports
 * are ignored.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <string.h>

#include "bytes.h"
#include "items.h"
#include "keys.h"

#define SECTION_DAEMON "daemon"
#define OF_DAEMON (1u << KEY_DAEMON)

enum section {
	SECTION_NONE, /* nothing but comments so far */
	SECTION_IS_DAEMON,
	SECTION_IS_ITEM,
};

struct reader {
	FILE *f;
	const char *name;
	struct options *opts;
	char *error;
	size_t size;

	unsigned int line;
	enum section section;
	unsigned int section_line;
	char title[ITEM_TEXT_MAX + 1]; /* the text in brackets */
	struct item item;
	bool had_daemon;
	uint64_t seen; /* keys of [daemon] */
	bool failed;
};

/* ---- errors ---- */

/* Writes "FILE:LINE: [SECTION]" to @where, 256 bytes. */
static struct error_line complaint_at(const struct reader *r, unsigned int line,
				      char *where)
{
	int len = snprintf(where, 256, "%.120s:%u", r->name, line);

	if (r->section != SECTION_NONE)
		snprintf(where + len, 256 - (size_t)len, ": [%.100s]",
			 r->title);
	return (struct error_line){ r->error, r->size, where };
}

static int __attribute__((format(printf, 3, 4)))
fail(struct reader *r, unsigned int line, const char *fmt, ...)
{
	char where[256], text[256];
	struct error_line c = complaint_at(r, line, where);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	r->failed = true;
	return complain(&c, "%s", text);
}

/* Number of bytes of a line that an error shows. */
static int shown(const char *text)
{
	return (int)MIN(strcspn(text, "\r\n"), 64);
}

/* ---- sections ---- */

static int end_section(struct reader *r)
{
	char where[256];
	struct error_line c = complaint_at(r, r->section_line, where);

	if (r->section != SECTION_IS_ITEM)
		return 0;
	return item_end(&r->item, &c);
}

/* Return: the first word of *@text, terminated; *@text moves to the next. */
static char *take_word(char **text)
{
	char *word = *text;
	size_t len = strcspn(word, " \t");

	*text = word + len + strspn(word + len, " \t");
	word[len] = '\0';
	return word;
}

/* The title is KIND NAME, or "port NET SPEC"; the last word can have spaces. */
static int begin_item(struct reader *r)
{
	char where[256], text[ITEM_TEXT_MAX + 1], *rest = text, *word, *spec;
	struct error_line c = complaint_at(r, r->line, where);
	enum item_kind kind;

	memcpy(text, r->title, sizeof(text));
	word = take_word(&rest);
	kind = item_find(word, strlen(word));
	if (kind == ITEM_KINDS)
		return fail(r, r->line,
			    "no such section: expected daemon, net NAME, "
			    "port NET KIND[:ARG], device NAME, socket-path "
			    "PATH or fd N");
	r->section = SECTION_IS_ITEM;
	word = rest;
	spec = kind == ITEM_PORT ? (take_word(&rest), rest) : NULL;
	return item_begin(&r->item, r->opts, kind, word, spec, &c);
}

static int begin_section(struct reader *r)
{
	r->section_line = r->line;
	r->section = SECTION_IS_DAEMON; /* so that errors show the title */
	if (strcmp(r->title, SECTION_DAEMON) != 0)
		return begin_item(r);
	if (r->had_daemon)
		return fail(r, r->line, "is there twice");
	r->had_daemon = true;
	return 0;
}

/* "[TITLE]", with or without a comment behind it. */
static int read_section(struct reader *r, const char *text)
{
	const char *close = strchr(text, ']');
	const char *first = text + 1 + strspn(text + 1, " \t");
	size_t len;
	int ret;

	ret = end_section(r);
	if (ret < 0)
		return ret;
	r->section = SECTION_NONE;
	if (!close)
		return fail(r, r->line, "'%.*s': no ']'", shown(text), text);
	len = strspn(close + 1, " \t\r\n");
	if (close[1 + len] && !strchr(";#", close[1 + len]))
		return fail(r, r->line, "'%.*s' behind a section",
			    shown(close + 1 + len), close + 1 + len);
	len = first < close ? (size_t)(close - first) : 0;
	while (len && isspace((unsigned char)first[len - 1]))
		len--;
	if (len > ITEM_TEXT_MAX)
		return fail(r, r->line, "longer than %d bytes", ITEM_TEXT_MAX);
	memcpy(r->title, first, len);
	r->title[len] = '\0';
	return begin_section(r);
}

/* ---- keys ---- */

static int read_daemon_key(struct reader *r, const char *name,
			   const char *value)
{
	const struct key *k = key_find(name, OF_DAEMON);
	char where[256], known[256];
	struct error_line c = complaint_at(r, r->line, where);

	if (!k) {
		keys_list(OF_DAEMON, known, sizeof(known));
		return complain(&c, "'%.64s' is no key of it: expected %s",
				name, known);
	}
	if (r->seen & BIT(k - keys))
		return complain(&c, "%s is given twice", name);
	r->seen |= BIT(k - keys);
	return key_read(k, name, value, r->opts, &c);
}

/* Called by inih for each key. Return: 1; 0: an error. */
static int on_key(void *user, const char *section, const char *name,
		  const char *value)
{
	struct reader *r = user;
	char where[256];
	struct error_line c = complaint_at(r, r->line, where);
	int ret;

	(void)section;
	if (r->failed)
		return 0;
	if (r->section == SECTION_NONE)
		ret = fail(r, r->line, "'%.64s': before the first section",
			   name);
	else if (r->section == SECTION_IS_DAEMON)
		ret = read_daemon_key(r, name, value);
	else
		ret = item_key(&r->item, name, value, &c);
	r->failed = ret < 0;
	return ret == 0;
}

/* ---- lines ---- */

/* Checks that a line is text and complete: @len bytes were read, with space for
 * @room. */
static int check_line(struct reader *r, const char *line, size_t len,
		      size_t room)
{
	if (len == room && line[len - 1] != '\n')
		return fail(r, r->line, "longer than %zu bytes", room - 1);
	for (size_t i = 0; i < len; i++) {
		unsigned char byte = (unsigned char)line[i];

		/* isspace(): CR is allowed, before LF. */
		if ((byte < ' ' && !isspace(byte)) || byte == 0x7f)
			return fail(r, r->line, "byte 0x%02x is not text",
				    byte);
	}
	return 0;
}

/* As fgets(), but returns the length: the line can contain zero bytes. */
static size_t read_line(FILE *f, char *line, size_t room)
{
	size_t len = 0;
	int c;

	while (len < room && (c = getc(f)) != EOF) {
		line[len++] = (char)c;
		if (c == '\n')
			break;
	}
	line[len] = '\0';
	return len;
}

static bool is_comment(const char *text)
{
	return *text == '\0' || *text == ';' || *text == '#';
}

/*
 * Gives inih one line. inih gets no sections, no leading space (it would take
 * the line as the continuation of the one before), and no lines without '='.
 */
static char *next_line(char *line, int room, void *stream)
{
	struct reader *r = stream;
	const char *text;
	size_t len;

	if (r->failed || room < 2)
		return NULL;
	len = read_line(r->f, line, (size_t)room - 1);
	if (len == 0)
		return NULL;
	r->line++;
	if (check_line(r, line, len, (size_t)room - 1) < 0)
		return NULL;
	text = line;
	if (r->line == 1 && strncmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3;
	while (isspace((unsigned char)*text))
		text++;
	if (*text == '[') {
		r->failed = read_section(r, text) < 0;
		text = "";
	} else if (!is_comment(text) && !strchr(text, '=')) {
		fail(r, r->line, "'%.*s': expected KEY = VALUE", shown(text),
		     text);
		text = "";
	}
	len = strlen(text);
	memmove(line, text, len + 1);
	/* inih takes an empty string as the end of the file. */
	return len ? line : memcpy(line, "\n", 2);
}

int config_read(FILE *f, const char *name, struct options *opts, char *error,
		size_t size)
{
	struct reader r = {
		.f = f, .name = name, .opts = opts, .error = error, .size = size
	};
	int ret;

	ret = ini_parse_stream(next_line, &r, on_key, &r);
	if (r.failed)
		return -EINVAL;
	if (ferror(f))
		return fail(&r, r.line + 1, "%s", strerror(errno));
	if (ret < 0)
		return fail(&r, r.line, "%s", strerror(ENOMEM));
	if (ret > 0)
		return fail(&r, (unsigned int)ret, "expected KEY = VALUE");
	return end_section(&r);
}

int config_read_file(const char *path, struct options *opts, char *error,
		     size_t size)
{
	struct error_line c = { error, size, "--config" };
	FILE *f = fopen(path, "re");
	int ret;

	if (!f)
		return complain(&c, "%s: %s", path, strerror(errno));
	ret = config_read(f, path, opts, error, size);
	fclose(f);
	return ret;
}
