/* SPDX-License-Identifier: BSD-3-Clause */
/* vukeep.c makes the names under which the store keeps what belongs to
 * vhost-user sockets, and checks what it gives back (vukeep.h). */
#include "vukeep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "fd.h"
#include "log.h"
#include "netif.h"
#include "unixsock.h"
#include "wmsg.h"
#include "wproc.h"

#define PREFIX "vu-"
#define LISTEN "vu-listen-"
#define PORT "vu-port-"

_Static_assert(OPTIONS_RING_QUEUES == WMSG_SOCK_RINGS_MAX, "they are the same");
_Static_assert(WMSG_SOCK_RINGS_MAX *FRAMERING_FDS <= BAG_FDS_MAX,
	       "they fit in a bag");

/* Milliseconds that the process of a socket that is gone may take to end. */
#define DROP_MS 1000

/* FNV-1a over the text and its final null byte. */
static uint64_t add_text(uint64_t id, const char *text)
{
	do
		id = (id ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	while (*text++);
	return id;
}

static uint64_t id_of(const struct option_sock *o)
{
	char queues[16];
	uint64_t id = UINT64_C(0xcbf29ce484222325);

	snprintf(queues, sizeof(queues), "%u", o->queues);
	id = add_text(id, o->path);
	id = add_text(id, o->client ? "client" : "server");
	id = add_text(id, o->end.port);
	id = add_text(id, o->end.net);
	return add_text(id, queues);
}

static void make_keep_name(uint64_t id, const char *prefix,
			   char name[STORE_NAME_MAX + 1])
{
	snprintf(name, STORE_NAME_MAX + 1, "%s%016" PRIx64, prefix, id);
}

bool vukeep_has_process(const struct option_sock *o)
{
	if (o->worker_process != CHOICE_YES || o->end.net[0])
		return o->worker_process == CHOICE_YES;
	return o->end.port[0] && !o->end.capture.file[0] &&
	       netif_moves(o->end.port);
}

bool vukeep_is_for(const struct option_sock *o)
{
	return o->path[0] && vukeep_has_process(o);
}

/* ---- what nobody wants ---- */

static bool is_wanted(const struct options *opts, const char *name)
{
	static const char *const prefix[] = { LISTEN, PORT, VUKEEP_WORKER };
	char wanted[STORE_NAME_MAX + 1];

	for (unsigned int i = 0; i < opts->nsocks; i++) {
		if (!vukeep_is_for(&opts->socks[i]))
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(prefix); k++) {
			make_keep_name(id_of(&opts->socks[i]), prefix[k],
				       wanted);
			if (strcmp(name, wanted) == 0)
				return true;
		}
	}
	return false;
}

static bool is_socket(int fd)
{
	socklen_t len = sizeof(int);
	int type;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
}

/* Closes a listener, or ends a process. The listener is shut down first: its
 * path would be busy until the store has closed its copy. */
static void drop_kept_fd(int fd)
{
	struct wproc p = { 0 };
	struct wproc_end end;

	if (is_socket(fd)) {
		shutdown(fd, SHUT_RDWR);
		close(fd);
		return;
	}
	wproc_adopt(&p, 1, fd);
	if (wproc_fence(&p, DROP_MS, &end) < 0) {
		log_warn(NULL, "the worker process of a socket that is left "
			       "out does not end");
		wproc_leave(&p);
	}
}

static void drop_name(struct store *store, const char *name)
{
	bool port = strncmp(name, PORT, strlen(PORT)) == 0;
	unsigned int n;
	int fds[2];

	while ((n = store_take(store, name, fds, 2)) > 0)
		for (unsigned int i = 0; i < n; i++) {
			if (port)
				close(fds[i]);
			else
				drop_kept_fd(fds[i]);
		}
	store_remove(store, name);
}

void vukeep_drop_others(struct store *store, const struct options *opts)
{
	unsigned int at = 0;
	const char *name;

	while (store && (name = store_next_name(store, PREFIX, &at)))
		if (!is_wanted(opts, name))
			drop_name(store, name);
}

/* ---- one socket ---- */

void vukeep_init(struct vukeep *k, struct store *store,
		 const struct option_sock *o)
{
	*k = (struct vukeep){ .port = { .in = -1, .out = -1 } };
	if (!store || !vukeep_is_for(o))
		return;
	k->store = store;
	k->id = id_of(o);
}

void vukeep_end(struct vukeep *k)
{
	fd_drop(&k->port.in);
	fd_drop(&k->port.out);
}

static unsigned int take_kept(struct vukeep *k, const char *prefix, int *fds,
			      unsigned int max)
{
	char name[STORE_NAME_MAX + 1];

	if (!k->store)
		return 0;
	make_keep_name(k->id, prefix, name);
	return store_take(k->store, name, fds, max);
}

static void remove_kept(struct vukeep *k, const char *prefix)
{
	char name[STORE_NAME_MAX + 1];

	if (!k->store)
		return;
	make_keep_name(k->id, prefix, name);
	store_remove(k->store, name);
}

/* Replaces what is kept under the name. */
static int put_kept(struct vukeep *k, const char *prefix, const int *fds,
		    unsigned int n)
{
	char name[STORE_NAME_MAX + 1];

	if (!k->store)
		return -ENOENT;
	make_keep_name(k->id, prefix, name);
	remove_kept(k, prefix);
	return store_put(k->store, name, fds, n, false);
}

int vukeep_take_listener(struct vukeep *k)
{
	int fd = -1;

	if (take_kept(k, LISTEN, &fd, 1) == 1 && unix_fd_listens(fd))
		return fd;
	fd_drop(&fd);
	return -1;
}

int vukeep_put_listener(struct vukeep *k, int fd)
{
	return put_kept(k, LISTEN, &fd, 1);
}

unsigned int vukeep_take_port(struct vukeep *k, int *fds)
{
	int ends[2] = { -1, -1 };
	int n = -ENOENT;

	if (take_kept(k, PORT, ends, 2) == 2 && bag_adopt(&k->port, ends) == 0)
		n = bag_peek(&k->port, BAG_ANY, fds);
	if (n > 0)
		return (unsigned int)n;
	if (k->port.in < 0) {
		fd_drop(&ends[0]);
		fd_drop(&ends[1]);
	}
	vukeep_end(k);
	return 0;
}

int vukeep_put_port(struct vukeep *k, const int *fds, unsigned int n)
{
	int ends[2], ret;

	if (!k->store)
		return -ENOENT;
	if (!n || k->port.in >= 0) /* nothing to keep, or it is there */
		return 0;
	ret = bag_open(&k->port);
	if (ret < 0)
		return ret;
	ends[0] = k->port.in;
	ends[1] = k->port.out;
	ret = bag_fill(&k->port, 0, fds, n);
	if (ret == 0)
		ret = put_kept(k, PORT, ends, 2);
	if (ret < 0)
		vukeep_end(k);
	return ret;
}

void vukeep_none(struct vukeep *k)
{
	vukeep_drop_port(k);
	remove_kept(k, LISTEN);
	k->store = NULL;
}

bool vukeep_take_process(struct vukeep *k, int *sock, int *pidfd)
{
	int fds[2] = { -1, -1 };

	if (take_kept(k, VUKEEP_WORKER, fds, 2) == 2 &&
	    is_socket(fds[0]) != is_socket(fds[1])) {
		*sock = is_socket(fds[0]) ? fds[0] : fds[1];
		*pidfd = is_socket(fds[0]) ? fds[1] : fds[0];
		return true;
	}
	for (unsigned int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			drop_kept_fd(fds[i]);
	vukeep_remove_process(k);
	return false;
}

int vukeep_put_process(struct vukeep *k, int sock, int pidfd)
{
	const int fds[2] = { sock, pidfd };

	return put_kept(k, VUKEEP_WORKER, fds, 2);
}

void vukeep_remove_process(struct vukeep *k)
{
	remove_kept(k, VUKEEP_WORKER);
}

void vukeep_drop_port(struct vukeep *k)
{
	int fds[2];

	if (vukeep_take_process(k, &fds[0], &fds[1])) {
		drop_kept_fd(fds[0]);
		drop_kept_fd(fds[1]);
		vukeep_remove_process(k);
	}
	vukeep_end(k);
	remove_kept(k, PORT);
}
