/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * log.c writes one line per event to stderr, with the tag of the object that it
 * is about. Under systemd (stderr is the journal) each line starts with "<N>",
 * the syslog priority. In the library (log.c compiled with LOG_SILENT) nothing
 * is written before log_set_level() is called.
 */
#ifndef LOG_H
#define LOG_H

enum log_level {
	LOG_LEVEL_NONE = -1, /* for log_set_level() only */
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/** struct log_tag - the object that a line is about, e.g. "uvhost-net/3.tx" */
struct log_tag {
	char name[48];
};

/**
 * log_set_level() - write lines of @level and of more important levels
 * @level: for all threads, at once; default LOG_LEVEL_INFO
 */
void log_set_level(enum log_level level);

/**
 * log_set_sink() - pass lines to @fn instead of writing them to stderr
 * @fn:  called on the thread that logs, with tag and text, without level and
 *       newline; NULL: stderr again
 * @ctx: for @fn
 *
 * To be called while no other thread logs.
 */
void log_set_sink(void (*fn)(void *ctx, enum log_level level, const char *line),
		  void *ctx);

/** log_level_now() - the level that was set last */
enum log_level log_level_now(void);

/** log_enabled() - would a line of this level be written? */
int log_enabled(enum log_level level);

/** log_tag_init() - format a tag; a long one is cut */
void log_tag_init(struct log_tag *tag, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/**
 * log_write() - write one line; thread-safe, one write(2) a line, keeps errno
 * @tag: NULL for the program itself
 */
void log_write(const struct log_tag *tag, enum log_level level, const char *fmt,
	       ...) __attribute__((format(printf, 3, 4)));

#define log_err(tag, ...) log_write((tag), LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(tag, ...) log_write((tag), LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(tag, ...) log_write((tag), LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(tag, ...)                                             \
	do {                                                            \
		if (log_enabled(LOG_LEVEL_DEBUG))                       \
			log_write((tag), LOG_LEVEL_DEBUG, __VA_ARGS__); \
	} while (0)

#endif
