/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store.c keeps descriptors beyond the life of the process, in the service
 * manager.
 *
 * libsystemd is not used: what is needed of it is one message with descriptors
 * and three environment variables, and it would bring five more libraries into
 * a process with privileges.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "fdsend.h"
#include "log.h"
#include "parse.h"

/* No store keeps more. */
#define LEFT_MAX 65536

struct left {
	int fd; /* -1: taken */
	char *name;
};

struct store {
	struct left *left;
	unsigned int n;
};

static uint64_t env_number(const char *name, uint64_t max)
{
	const char *text = getenv(name);
	uint64_t v;

	return text && parse_number(text, 0, max, &v) == 0 ? v : 0;
}

/* How many descriptors were passed to this process. */
static unsigned int env_listen_fds(void)
{
	if (env_number("LISTEN_PID", INT_MAX) != (uint64_t)getpid())
		return 0;
	return (unsigned int)env_number("LISTEN_FDS", LEFT_MAX);
}

static int left_take_in(struct store *s, unsigned int n, const char *names)
{
	s->left = calloc(n, sizeof(*s->left));
	if (!s->left)
		return -ENOMEM;
	for (unsigned int i = 0; i < n; i++) {
		size_t len = strcspn(names, ":");
		char *name = strndup(names, len);

		if (!name)
			return -ENOMEM;
		names += len;
		names += *names == ':';
		s->left[s->n++] =
			(struct left){ NOTIFY_FIRST_FD + (int)i, name };
	}
	return 0;
}

/* Drops numbers that name no descriptor: a later descriptor would get them. */
static void left_drop_bad(struct store *s)
{
	for (unsigned int i = 0; i < s->n; i++) {
		if (fcntl(s->left[i].fd, F_SETFD, FD_CLOEXEC) == 0)
			continue;
		log_warn(NULL, "LISTEN_FDS: descriptor %d is not open",
			 s->left[i].fd);
		s->left[i].fd = -1;
	}
}

static bool env_has_store(void)
{
	const char *socket = getenv("NOTIFY_SOCKET");

	return socket && *socket && env_number("FDSTORE", UINT32_MAX) > 0;
}

static void env_clear(void)
{
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

int store_open(struct store **out)
{
	unsigned int n = env_listen_fds();
	const char *names = getenv("LISTEN_FDNAMES");
	struct store *s;
	int ret = 0;

	*out = NULL;
	if (!n && !env_has_store()) {
		env_clear();
		return 0;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	if (n)
		ret = left_take_in(s, n, names ? names : "");
	env_clear();
	if (ret < 0) {
		store_free(s);
		return ret;
	}
	left_drop_bad(s);
	if (env_has_store())
		*out = s;
	else
		store_free(s);
	return 0;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	for (unsigned int i = 0; i < s->n; i++) {
		if (s->left[i].fd >= 0)
			close(s->left[i].fd);
		free(s->left[i].name);
	}
	free(s->left);
	free(s);
}

static bool has_earlier(const struct store *s, unsigned int i)
{
	for (unsigned int k = 0; k < i; k++)
		if (s->left[k].fd >= 0 &&
		    strcmp(s->left[k].name, s->left[i].name) == 0)
			return true;
	return false;
}

const char *store_next_name(const struct store *s, const char *prefix,
			    unsigned int *at)
{
	while (*at < s->n) {
		unsigned int i = (*at)++;
		const struct left *l = &s->left[i];

		if (l->fd >= 0 && !has_earlier(s, i) &&
		    strncmp(l->name, prefix, strlen(prefix)) == 0)
			return l->name;
	}
	return NULL;
}

unsigned int store_take(struct store *s, const char *name, int *fds,
			unsigned int max)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < s->n && n < max; i++) {
		struct left *l = &s->left[i];

		if (l->fd < 0 || strcmp(l->name, name) != 0)
			continue;
		fds[n++] = l->fd;
		l->fd = -1;
	}
	return n;
}

int store_put(struct store *s, const char *name, const int *fds, unsigned int n,
	      bool poll)
{
	char text[STORE_NAME_MAX + 64];
	int ret, waited_ms = 0;

	(void)s;
	if (!notify_name_ok(name))
		return -EINVAL;
	snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s%s", name,
		 poll ? "" : "\nFDPOLL=0");
	do
		ret = notify_send_fds(text, fds, n);
	while (ret == -ETOOMANYREFS && fdsend_wait(&waited_ms));
	return ret < 0 ? ret : 0;
}

int store_remove(struct store *s, const char *name)
{
	char text[STORE_NAME_MAX + 64];
	int ret;

	(void)s;
	if (!notify_name_ok(name))
		return -EINVAL;
	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	ret = notify_send_fds(text, NULL, 0);
	return ret < 0 ? ret : 0;
}
