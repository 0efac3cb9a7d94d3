/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internals of a character device: chardev.c serves its channel, chardev_keep.c
 * keeps it for the next process and resumes what an earlier one kept.
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
	struct log_limit limit; /* of lines that concern no session */
	struct quota *quota;
	struct fuse_session *se;
	int fd;              /* the channel; @se closes it */
	void *msg;           /* CHANNEL_MSG_MAX bytes: the current message */
	struct slots *slots; /* NULL: no store */
	struct req_slot
		*slot; /* of the current message; NULL: none, or taken */
	bool adopted;  /* from an earlier process */
	struct loop_job resume_job;
	struct loop_watch watch;
	struct node_wait *node; /* NULL: not waiting */
	bool real;              /* /dev/cuse, not a socket */
	bool ready;             /* ready() has been called */
	bool ended;             /* no more requests; sessions are closing */
	int error;              /* why it ended: 0 or -errno */
	struct loop_job ended_job;
	bool ended_posted;

	LIST_HEAD(, open_file) sessions;
	unsigned int nsessions, nhanging;
	uint64_t last_id;
};

/* chardev.c */

/** chardev_process() - have libfuse decode the current message, of @n bytes */
void chardev_process(struct chardev *c, size_t n);
/** chardev_place() - count a session of user @uid against the limits; 0;
 * -ENOMEM (logged) */
int chardev_place(struct chardev *c, uid_t uid, struct quota_session *place);
/** chardev_add_file() - add an open file to the list */
void chardev_add_file(struct chardev *c, struct open_file *e);
/** chardev_fail() - end the device with @error: the channel cannot be served.
 * Channel and sessions stay in the store, for the next process */
void chardev_fail(struct chardev *c, int error);

/* chardev_keep.c */

/** chardev_adopt() - take the channel of an earlier process from the store as
 * config.fd; false: there is none */
bool chardev_adopt(struct chardev *c);
/** chardev_keep() - put a new channel into the store, if any; 0 or -errno */
int chardev_keep(struct chardev *c);
/** chardev_forget() - remove channel and requests from the store */
void chardev_forget(struct chardev *c);
/** chardev_resume() - job: continue an adopted channel */
void chardev_resume(void *arg);

#endif
