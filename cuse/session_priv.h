/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of a session: session.c serves its requests, session_keep.c keeps what
 * it was told for another process, and makes it again from that.
 */
#ifndef SESSION_PRIV_H
#define SESSION_PRIV_H

#include "session.h"

#include <stdatomic.h>

#include "ioctl.h"
#include "peer.h"
#include "persist.h"
#include "vdev.h"

struct request {
	struct loop_job job;
	struct session *session;
	void (*run)(struct request *r); /* on the worker; answers and frees */
	fuse_req_t req;
	pid_t tid; /* the calling thread; 0 if it is out of our sight */
	uid_t uid; /* its file system user */
	STAILQ_ENTRY(request) link;
	struct req_slot *slot; /* NULL: none; freed after the answer */

	uint32_t cmd;               /* ioctl */
	uint64_t arg;               /* ioctl */
	size_t out_room;            /* ioctl: bytes that may be stored */
	size_t size;                /* read, write: what the caller asked for */
	bool nonblock;              /* read */
	struct fuse_file_info fi;   /* open */
	struct fuse_pollhandle *ph; /* poll */

	size_t in_len;
	unsigned char in[];
};

struct session {
	const struct session_config *config;
	uint64_t id;
	struct log_tag tag;
	struct log_limit limit; /* lines that guest and caller can provoke */
	struct quota_session place;
	struct worker *worker;

	atomic_size_t in_flight;   /* bytes of struct request */
	atomic_bool print_posted;  /* print_job is the worker's */
	atomic_bool signal_posted; /* interrupt_job is the worker's */
	atomic_bool answer_posted; /* answer_job is the loop's */
	atomic_bool owner_posted;  /* owner_job is the loop's */
	atomic_int owner_pidfd;    /* for the loop; -1: it has it */

	/* loop */
	bool closing;
	struct watchdog_entry dog;
	struct loop_watch owner_death; /* a pidfd of the loop's */
	fuse_req_t close_req;        /* the worker's once close_job is posted */
	struct req_slot *close_slot; /* likewise */
	uint64_t open_unique; /* of a session that was restored: its OPEN, if
				 that was its last request */

	/* worker */
	struct vdev *vdev;            /* NULL before open and after the end */
	struct attach_pair *attached; /* NULL as @vdev */
	struct peer peer;
	struct map_budget budget;
	struct owner_maps found; /* for the ioctl at hand */
	struct ioctl_target target;
	pid_t caller; /* of the ioctl at hand */
	uid_t caller_uid;
	STAILQ_HEAD(, request) reads;
	struct fuse_pollhandle *ph; /* of the last poll(2) that waits */
	struct worker_work iotlb_work;
	enum log_level news; /* of lines about opening and closing */
	bool ended;

	/* worker; session_keep.c */
	struct persist *persist; /* NULL: nothing is kept */
	int fetched_fd; /* copy of what the ioctl at hand brought; -1 */
	const struct record_call *replayed;
	int mem_fd, pidfd; /* of the owner, until it is restored; -1 */
	unsigned int late; /* bit mask of rings that wait for the IOTLB */
	bool leaving;      /* the next process goes on */

	struct loop_job close_job;
	struct loop_job print_job;
	struct loop_job interrupt_job;
	struct loop_job done_job;
	struct loop_job answer_job;
	struct loop_job owner_job;
	struct loop_job restore_job;
};

/* session.c */

/** session_owner_died() - struct peer's died() */
void session_owner_died(void *ctx);
/** session_enable_queue() - after a change of the rings */
void session_enable_queue(struct session *s);
/**
 * session_own() - the attached peer becomes the owner
 * @user: whom the session counts for
 *
 * On failure the peer is detached.
 * Return: 0, -ENOMEM (also: quota), or what vdev_set_owner() returns.
 */
int session_own(struct session *s, uid_t user);
/** session_find_maps() - peer_find_maps() for thread @tid, and map that */
int session_find_maps(struct session *s, pid_t tid,
		      const struct vhost_memory_region *regions, size_t n,
		      struct aspace_map ***maps, size_t *nmaps);
/** session_forget_found() - nothing of what session_find_maps() found is in
 * force
 */
void session_forget_found(struct session *s);
/** session_maps_set() - call @cmd, which may have used session_find_maps(), has
 * ended with @error */
void session_maps_set(struct session *s, uint32_t cmd, int error);
/** session_make_device() - device and attachment; 0 or -errno */
int session_make_device(struct session *s);
/** session_end() - the worker's clean-up for this session; safe to repeat */
void session_end(struct session *s);

/* session_keep.c, all on the worker */

/** keep_begin() - keep a session that is being opened */
void keep_begin(struct session *s, uid_t user);
/** keep_open() - the open is about to be answered */
void keep_open(struct request *r);
/** keep_fd() - ioctl_ops.fetch_fd() has given @fd; 0, -ENOMEM */
int keep_fd(struct session *s, int fd);
/** keep_ioctl() - a call was carried out with result @error: keep what it has
 * set, with its answer */
void keep_ioctl(struct request *r, const struct ioctl_call *call, int error);
/** keep_answer() - another request is about to be answered, with @data */
void keep_answer(struct request *r, const void *data, size_t len);
/** keep_iotlb() - the IOTLB message in @buf (of write(2)) was carried out */
void keep_iotlb(struct session *s, const void *buf);
/** keep_poll() - the last poll(2) that waits */
void keep_poll(const struct request *r);
/** keep_answered() - the answer to @r, if an earlier process has carried it
 * out; NULL: it has not */
const struct record_answer *keep_answered(const struct request *r);
/** keep_restore() - make the session again */
void keep_restore(struct session *s);
/** keep_retry() - the IOTLB has changed: resume rings that wait for it */
void keep_retry(struct session *s);

#endif
