/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of a device: chardev.c serves its channel, chardev_keep.c keeps it for
 * another process, and goes on with what one before this kept.
 */
#ifndef CHARDEV_PRIV_H
#define CHARDEV_PRIV_H

#include "chardev.h"

#include <stddef.h>

struct open_file {
	struct session *session;
	bool hangs; /* closed, and its worker does not answer */
	LIST_ENTRY(open_file) link;
};

struct chardev {
	struct chardev_config config;
	struct log_tag tag;
	struct log_limit limit; /* lines that are of no session */
	struct quota *quota;
	struct fuse_session *se;
	int fd;              /* the channel; @se closes it */
	void *msg;           /* CHANNEL_MSG_MAX bytes: the message at hand */
	struct slots *slots; /* NULL: without a store */
	struct req_slot
		*slot; /* of the message at hand; NULL: none, or taken */
	bool adopted;  /* from another process */
	struct loop_job resume_job;
	struct loop_watch watch;
	struct node_wait *node; /* NULL: not waiting */
	bool real;              /* /dev/cuse, not a socket */
	bool ready;             /* ready() has been called */
	bool ended;             /* no more requests; sessions are going */
	int error;              /* why it ended */
	struct loop_job ended_job;
	bool ended_posted;

	LIST_HEAD(, open_file) sessions;
	unsigned int nsessions, nhanging;
	uint64_t last_id;
};

/* chardev.c */

/** chardev_process() - have libfuse decode the message at hand, of @n bytes */
void chardev_process(struct chardev *c, size_t n);
/** chardev_place() - a place for a session of user @uid; 0, -ENOMEM (told) */
int chardev_place(struct chardev *c, uid_t uid, struct quota_session *place);
/** chardev_add_file() - one more open file */
void chardev_add_file(struct chardev *c, struct open_file *e);
/** chardev_fail() - the channel cannot be served: end, with @error */
void chardev_fail(struct chardev *c, int error);

/* chardev_keep.c */

/** chardev_adopt() - is there a channel of a process before this one? If so it
 * becomes config.fd */
bool chardev_adopt(struct chardev *c);
/** chardev_keep() - keep a new channel, if there is a store; 0 or -errno */
int chardev_keep(struct chardev *c);
/** chardev_forget() - nothing to go on with is left */
void chardev_forget(struct chardev *c);
/** chardev_resume() - job: go on with an adopted channel */
void chardev_resume(void *arg);

#endif
