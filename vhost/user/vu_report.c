/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu_report.c logs errors of a session, and prints its state for SIGUSR1. A
 * hostile peer may cause any number of errors: ERRORS_LOGGED of a connection
 * are logged, and all lines count against the socket's rate limit.
 */
#include "vu_priv.h"

#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>

#define ERRORS_LOGGED 32

static void __attribute__((format(printf, 3, 0)))
log_va(struct vu_session *s, enum log_level level, const char *fmt, va_list ap)
{
	char text[160];

	vsnprintf(text, sizeof(text), fmt, ap);
	log_limited(s->cfg.limit, &s->cfg.tag, level, "%s", text);
}

void vu_log(struct vu_session *s, enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_va(s, level, fmt, ap);
	va_end(ap);
}

void vu_warn(struct vu_session *s, const char *fmt, ...)
{
	va_list ap;

	if (s->errors == ERRORS_LOGGED)
		vu_log(s, LOG_LEVEL_WARNING,
		       "no more of this peer's errors are logged");
	if (s->errors <= ERRORS_LOGGED)
		s->errors++;
	if (s->errors > ERRORS_LOGGED)
		return;
	va_start(ap, fmt);
	log_va(s, LOG_LEVEL_WARNING, fmt, ap);
	va_end(ap);
}

void vu_drop(struct vu_session *s, const char *fmt, ...)
{
	va_list ap;

	if (s->closing)
		return;
	s->closing = true;
	shutdown(s->ep.sock, SHUT_RDWR); /* on_socket() does the rest */
	va_start(ap, fmt);
	log_va(s, LOG_LEVEL_WARNING, fmt, ap);
	va_end(ap);
}

static int print_pair(struct vu_pair *p, void *out)
{
	if (p->vdev)
		vdev_print(p->vdev, out);
	return 0;
}

struct print {
	struct loop_job job;
	struct vu_session *s;
};

static void print_session(void *arg)
{
	struct print *p = arg;
	struct vu_session *s = p->s;

	fprintf(stderr,
		"%s: vhost-user features 0x%llx protocol 0x%llx status 0x%x "
		"regions %zu log %s\n",
		s->cfg.tag.name, (unsigned long long)s->features,
		(unsigned long long)s->protocol_features, s->status, s->mem.n,
		s->mem.log ? "yes" : "no");
	vu_each_pair(s, print_pair, stderr);
	free(p);
}

void vu_session_print(struct vu_session *s)
{
	struct print *p = malloc(sizeof(*p));

	if (!p)
		return;
	p->s = s;
	p->job = (struct loop_job){ .fn = print_session, .arg = p };
	worker_post(s->control, &p->job);
}
