/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * chardev_keep.c keeps a device in the store, and resumes a device that an
 * earlier process kept.
 *
 * The store has the channel under "channel-DEVICE", the requests that are not
 * answered under "slots-DEVICE" (slots.h), and the sessions under names of
 * their own (persist.h). The kernel and its callers notice only a pause.
 *
 * chardev_resume() processes, in this order:
 *   1. The kept CUSE_INIT message, without which libfuse does not start. The
 *      kernel refuses the second answer with ENOENT, which libfuse accepts.
 *   2. The sessions.
 *   3. The kept requests, in the order in which they came.
 * After that it reads new requests.
 */
#include "chardev_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/fuse.h>
#include <sys/epoll.h>

#include "bytes.h"
#include "vdev.h"

/* ---- in the store ---- */

#define SLOTS_PREFIX "slots-"

static void channel_store_name(const struct chardev *c, const char *prefix,
			       char name[STORE_NAME_MAX + 1])
{
	snprintf(name, STORE_NAME_MAX + 1, "%s%s", prefix, c->config.name);
}

void chardev_forget(struct chardev *c)
{
	char name[STORE_NAME_MAX + 1];

	if (!c->config.store)
		return;
	channel_store_name(c, CHARDEV_PREFIX, name);
	store_remove(c->config.store, name);
	channel_store_name(c, SLOTS_PREFIX, name);
	store_remove(c->config.store, name);
}

/* Return: the descriptor that an earlier process stored; -1: none. */
static int take_stored(struct chardev *c, const char *what)
{
	char name[STORE_NAME_MAX + 1];
	int fd;

	if (!c->config.store)
		return -1;
	channel_store_name(c, what, name);
	return store_take(c->config.store, name, &fd, 1) == 1 ? fd : -1;
}

static int put_stored(struct chardev *c, const char *what, int fd)
{
	char name[STORE_NAME_MAX + 1];

	channel_store_name(c, what, name);
	return store_put(c->config.store, name, &fd, 1, true);
}

/* Channel and slots are needed both: one without the other is dropped. */
bool chardev_adopt(struct chardev *c)
{
	int channel = take_stored(c, CHARDEV_PREFIX);
	int slots = take_stored(c, SLOTS_PREFIX);
	int ret = -ENOENT;

	if (channel >= 0 && slots >= 0)
		ret = slots_adopt(slots, &c->slots);
	if (ret == 0) {
		c->config.fd = channel;
		return true;
	}
	if (channel >= 0 || slots >= 0) {
		log_err(&c->tag, "the channel that was kept cannot be used: %s",
			strerror(-ret));
		chardev_forget(c);
	}
	if (channel >= 0)
		close(channel);
	if (slots >= 0)
		close(slots);
	return false;
}

/* Slots first: if the next process finds no channel, it makes a new one. */
int chardev_keep(struct chardev *c)
{
	int fd, ret;

	if (!c->config.store)
		return 0;
	ret = slots_new(&c->slots, &fd);
	if (ret == 0)
		ret = put_stored(c, SLOTS_PREFIX, fd);
	if (ret == 0)
		ret = put_stored(c, CHARDEV_PREFIX, c->fd);
	if (ret < 0)
		log_err(&c->tag, "cannot be kept for a restart: %s",
			strerror(-ret));
	return ret;
}

/* ---- what an earlier process left ---- */

/* A caller that waits in poll(2) sends a new POLL, with which the session
 * learns of it. */
static void wake_poll(struct chardev *c, uint64_t kh)
{
	struct {
		struct fuse_out_header head;
		struct fuse_notify_poll_wakeup_out out;
	} msg = { { .len = sizeof(msg), .error = FUSE_NOTIFY_POLL },
		  { .kh = kh } };

	/* ENOENT: the caller waits no more. */
	if (kh && write(c->fd, &msg, sizeof(msg)) < 0)
		log_debug(&c->tag, "waking a poll(2): %s", strerror(errno));
}

static bool session_adopt(struct chardev *c, const char *name, uint64_t id)
{
	struct open_file *e = calloc(1, sizeof(*e));
	struct quota_session place;
	struct persist *persist;
	struct persist_fds left;
	uint64_t kh;
	int ret;

	if (!e)
		return false;
	ret = persist_adopt(c->config.store, name, vdev_cursor_size(), &persist,
			    &left);
	if (ret < 0)
		goto err_free;
	if (!(persist_record(persist)->flags & RECORD_OPEN)) {
		/* Its OPEN was not answered: it is processed again, and
		 * makes a session with another number. */
		persist_end(persist, true);
		free(e);
		return false;
	}
	kh = persist_poll(persist);
	ret = chardev_place(c, persist_record(persist)->owner.user, &place);
	if (ret < 0)
		goto err_persist;
	ret = session_restore(&c->config.session, id, &place, persist, &left,
			      &e->session);
	if (ret < 0)
		goto err_place;
	c->last_id = MAX(c->last_id, id);
	chardev_add_file(c, e);
	wake_poll(c, kh);
	return true;

err_place:
	quota_close(c->quota, &place);
err_persist:
	persist_end(persist, true);
	persist_fds_close(&left);
err_free:
	if (ret != -ENOENT)
		log_err(&c->tag, "session %" PRIu64 " is lost: %s", id,
			strerror(-ret));
	free(e);
	return false;
}

static unsigned int sessions_adopt(struct chardev *c)
{
	unsigned int at = 0, n = 0;
	const char *name;

	while ((name = store_next_name(c->config.store, PERSIST_PREFIX, &at))) {
		uint64_t id = persist_parse_name(name, c->config.name);

		if (id)
			n += session_adopt(c, name, id);
	}
	return n;
}

/* Processes a kept request, and the FUSE_INTERRUPT that followed it. */
static void process_again(struct chardev *c, struct req_slot *slot)
{
	size_t n = slots_len(slot);
	uint64_t unique = slots_unique(slot);
	bool interrupted = slot->interrupted;
	struct {
		struct fuse_in_header head;
		struct fuse_interrupt_in in;
	} again = { { .len = sizeof(again),
		      .opcode = FUSE_INTERRUPT,
		      .unique = unique | 1 },
		    { .unique = unique } };

	memcpy(c->msg, slot->msg, n);
	c->slot = slot;
	chardev_process(c, n);
	if (!interrupted)
		return;
	memcpy(c->msg, &again, sizeof(again));
	chardev_process(c, sizeof(again));
}

static void requests_adopt(struct chardev *c)
{
	struct req_slot **left;
	ssize_t n = slots_left(c->slots, &left);

	for (ssize_t i = 0; i < n; i++) {
		const struct fuse_in_header *in = (void *)left[i]->msg;

		if (in->opcode == CUSE_INIT)
			slots_free(c->slots, left[i]);
		else
			process_again(c, left[i]);
	}
	if (n < 0)
		log_err(&c->tag, "requests are lost: %s", strerror((int)-n));
	else
		free(left);
}

/* Processes the kept CUSE_INIT, if the earlier process had received it. */
static void init_adopt(struct chardev *c)
{
	size_t n = slots_init(c->slots, c->msg);

	if (n)
		chardev_process(c, n);
}

void chardev_resume(void *arg)
{
	struct chardev *c = arg;
	unsigned int n;
	int ret;

	if (c->ended)
		return;
	c->last_id = slots_last_id(c->slots);
	init_adopt(c);
	n = sessions_adopt(c);
	log_info(&c->tag, "the channel was kept, with %u open files", n);
	requests_adopt(c);
	ret = loop_add(c->config.session.loop, &c->watch, c->fd, EPOLLIN);
	if (ret < 0) {
		log_err(&c->tag, "the channel: %s", strerror(-ret));
		chardev_fail(c, ret);
	}
}
