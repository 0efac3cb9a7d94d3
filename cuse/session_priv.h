/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of a session: session.c serves its requests; session_caller.c finds
 * out what they need of the caller; session_keep.c keeps what the session was
 * told for another process, and makes it again from that; session_worker.c has
 * its device run in a worker process; session_net.c connects that to a network.
 */
#ifndef SESSION_PRIV_H
#define SESSION_PRIV_H

#include "session.h"

#include <stdatomic.h>

#include "devlink.h"
#include "ioctl_table.h"
#include "map_budget.h"
#include "peer.h"
#include "persist.h"
#include "wproc.h"

struct request {
	struct loop_job job;
	struct session *session;
	void (*run)(struct request *r); /* on the worker; answers and frees */
	fuse_req_t req;
	pid_t tid; /* the calling thread; 0: not in our pid namespace */
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
	atomic_bool signal_posted; /* interrupt_job is the worker's */
	atomic_bool answer_posted; /* answer_job is the loop's */
	atomic_bool owner_posted;  /* owner_job is the loop's */
	atomic_int owner_pidfd;    /* for the loop; -1: the loop has taken it */

	atomic_bool given_up; /* being closed: no caller waits for answers */
	atomic_int shown_pid; /* of @process, for print_silent(); 0: none */
	atomic_bool stuck;    /* that process got SIGKILL and has not ended */

	/* loop */
	bool closing;
	bool printing; /* print_job has not finished */
	struct watchdog_entry print_dog;
	struct watchdog_entry dog;
	struct loop_watch owner_death; /* a pidfd of the loop's */
	fuse_req_t close_req;        /* the worker's once close_job is posted */
	struct req_slot *close_slot; /* likewise */
	uint64_t open_unique; /* of a session that was restored: its OPEN, if
				 that was its last request */

	/* worker */
	struct devlink *link; /* to the device; NULL before open and after the
				 end */
	struct peer peer;     /* the owner; its pid is 0 if there is none */
	bool owner_died;      /* session_owner_died() has handled its death */
	bool ended;
	bool leaving; /* the next process goes on */
	struct map_budget budget;
	STAILQ_HEAD(, request) reads;
	struct fuse_pollhandle *ph; /* of the last poll(2) that waits */
	struct worker_work iotlb_work;

	/* worker; session_worker.c */
	struct wproc process; /* has the device; none: it is in this process */
	struct wproc_backoff backoff;
	bool stopped;   /* no process: see the states in session_worker.c */
	bool malformed; /* it sent a malformed message */
	uint64_t
		repeat_seq; /* of the last call of the daemon before; 0: none */
	struct worker_work gone_work;

	/* worker; session_net.c */
	struct framering *ring; /* between worker process and network; NULL:
				   none */
	struct attach_pair *net_pair; /* in the network; NULL: no ring */
	struct loop_watch ring_watch; /* is it broken? */

	/* worker; session_keep.c */
	struct persist *persist; /* NULL: nothing is kept */
	struct persist_fds left; /* by a process before, until restored */
	unsigned int late;       /* bit mask of rings that wait for the IOTLB */

	struct loop_job close_job;
	struct loop_job print_job;
	struct loop_job printed_job;
	struct loop_job interrupt_job;
	struct loop_job done_job;
	struct loop_job answer_job;
	struct loop_job owner_job;
	struct loop_job restore_job;
};

/* session.c */

/** session_link_config() - of a link of any kind; @gone: of its events */
struct devlink_config session_link_config(struct session *s,
					  void (*gone)(void *ctx));
/** session_make_link() - a fresh device in this process; 0 or -errno */
int session_make_link(struct session *s);
/** session_reads_retry() - give every waiting read another try */
void session_reads_retry(struct session *s);
/** session_end() - the worker's clean-up for this session; safe to repeat */
void session_end(struct session *s);

/* session_caller.c, all on the worker */

/** caller_init() - of a new session */
void caller_init(struct session *s);
/** caller_facts() - what a pass needs of the caller; @facts->is_owner is known
 * before */
void caller_facts(const struct request *r, const struct ioctl_call *call,
		  const struct ioctl_needs *needs, struct call_facts *facts);
/** caller_find_memory() - of these facts, those about memory: the mappings, and
 * the memory file, for the process that has the device now. @facts has no
 * mappings before */
void caller_find_memory(const struct request *r, const struct ioctl_call *call,
			const struct ioctl_needs *needs,
			struct call_facts *facts);
/** caller_settle() - the call with these facts has the result @error: keep or
 * undo what the facts have counted; -EAGAIN: another pass follows. Frees the
 * mappings of @facts, but not their descriptor */
void caller_settle(struct session *s, uint32_t cmd, struct call_facts *facts,
		   int error);
/** caller_fault_in() - devlink_events.fault_in: peer_fault_in() of the owner */
int caller_fault_in(struct session *s, bool write, uint64_t uva, uint64_t len);
/**
 * caller_find_maps() - mappings of thread @tid, within the budget
 * @uid: the user for whom the session counts
 * @regions: @n struct vhost_memory_region, without alignment
 *
 * caller_settle_maps() or caller_forget_maps() has to follow.
 */
void caller_find_maps(struct session *s, pid_t tid, uid_t uid,
		      const void *regions, size_t n, struct call_facts *facts);
/** caller_settle_maps() - VHOST_SET_MEM_TABLE with these has the result @error
 */
void caller_settle_maps(struct session *s, struct call_facts *facts, int error);
/** caller_forget_maps() - they are not used; @facts has none then */
void caller_forget_maps(struct session *s, struct call_facts *facts);
/** caller_is_copied() - has the worker process the owner's memory file? */
bool caller_is_copied(const struct session *s);
/** caller_memory_facts() - the memory file, if the device needs it after this
 * call, whose other facts are known */
void caller_memory_facts(struct session *s, const struct ioctl_call *call,
			 struct call_facts *facts);
/** caller_iotlb_memory() - the memory file, if the device needs it after this
 * message for its IOTLB; borrowed; -1: it does not */
int caller_iotlb_memory(struct session *s, const void *msg, size_t len);
/** caller_owner_facts() - the facts of VHOST_SET_OWNER, from the peer */
void caller_owner_facts(const struct session *s, struct call_facts *facts);
/** caller_take_place() - the session counts for @user and the peer; 0, -ENOMEM
 */
int caller_take_place(struct session *s, uid_t user);
/** caller_watch_owner() - the loop watches the owner's pidfd too: the worker
 * may wait in a call that only the owner would have ended */
void caller_watch_owner(struct session *s);
/** caller_disown() - there is no owner any more */
void caller_disown(struct session *s);
/** session_owner_died() - struct peer's died() */
void session_owner_died(void *ctx);

/* session_worker.c, all on the worker */

/** worker_is_wanted() - does the device of an owner run in a worker process? */
bool worker_is_wanted(const struct session *s);
/** worker_is_given_up() - does no caller wait for the device any more? */
bool worker_is_given_up(const struct session *s);
/** worker_has_guest() - may the device that the link leads to reach guest
 * memory? */
bool worker_has_guest(const struct session *s);
/**
 * worker_begin() - before the device gets an owner, or goes on after it was
 * stopped: start a process, if one is wanted
 *
 * Return: 0; -ENOMEM (logged): the device is as it was.
 */
int worker_begin(struct session *s);
/**
 * worker_resume() - the device of a session that is being restored; its owner
 * is attached
 *
 * The process of the daemon before goes on, or another one, or the device is in
 * this process. Return: 0, -errno.
 */
int worker_resume(struct session *s);
/** worker_told() - the device was told the whole record: note that the next
 * daemon can adopt its process. Not while rings of session.late have yet to
 * start */
void worker_told(struct session *s);
/** worker_note_call() - note in the record that @r makes the next call to the
 * process, and that call's number. If the daemon before made that call for the
 * same request, the process repeats its answer instead of carrying it out
 * twice. NULL: the call is not of a request; the note is cleared, as this call
 * takes the number */
void worker_note_call(struct session *s, const struct request *r);
/** worker_fence() - end the process, if there is one, and free its link;
 * worker_end() has to follow */
void worker_fence(struct session *s);
/** worker_end() - the device has no owner, or a dead one: make it anew in this
 * process */
void worker_end(struct session *s);
/** worker_close() - free the link, and end the process if there is one, unless
 * it is left to the next daemon */
void worker_close(struct session *s);
/**
 * worker_again() - does a call that returned @ret have to be repeated?
 *
 * Yes, if the process was gone and another one went on, or the device is in
 * this process now.
 */
bool worker_again(struct session *s, int ret);
/** worker_gone() - session.gone_work */
void worker_gone(struct worker_work *work);

/* session_net.c, all on the worker */

/** net_begin() - a worker process is about to start: see to a ring, if the
 * device is in a network; 0 or -errno */
int net_begin(struct session *s);
/** net_connect() - a call is about to go to the worker process: if it starts
 * rings of the device, the guest joins the network. On failure @facts has the
 * error for the caller */
void net_connect(struct session *s, uint32_t cmd, struct call_facts *facts);
/** net_connected() - that call was made: from now on frames for the guest reach
 * its rings, if they run */
void net_connected(struct session *s, uint32_t cmd);
/** net_resume() - take over the ring of the daemon before. Return: can its
 * worker process be adopted? No, if only one of that process and this daemon
 * is in a network, or the ring cannot be taken over */
bool net_resume(struct session *s);
/** net_end() - the device is in this process: there is no ring */
void net_end(struct session *s);
/** net_leave() - the same, but another daemon can go on with the ring */
void net_leave(struct session *s);

/* session_keep.c, all on the worker */

/** keep_begin() - keep a session that is being opened */
void keep_begin(struct session *s, uid_t user);
/** keep_open() - the open is about to be answered */
void keep_open(struct request *r);
/**
 * keep_ioctl() - a call was carried out with result @error: keep what it has
 * set, with its answer
 * @fd: the descriptor that came with it, consumed; below 0: none
 */
void keep_ioctl(struct request *r, const struct ioctl_call *call, int fd,
		int error);
/**
 * keep_starting() - a call is about to go to the device: note the ring that it
 * starts, if any
 *
 * Return: was it noted before? Then the process that had the call, or the
 * daemon, has died since, and the ring may have run (call_facts.repeated).
 */
bool keep_starting(struct session *s, const struct ioctl_call *call,
		   const struct call_facts *facts);
/**
 * keep_starts_late() - a repeated start of a ring that fails for want of an
 * IOTLB entry (-EAGAIN) has succeeded: the ring starts when the entry comes
 *
 * Return: the ring as a bit of session.late, for keep_late() once the call is
 * kept; 0: @v stays as it is.
 */
uint32_t keep_starts_late(const struct session *s,
			  const struct ioctl_call *call,
			  const struct call_facts *facts,
			  struct ioctl_verdict *v);
/** keep_late() - these rings have to be started with keep_retry() */
void keep_late(struct session *s, uint32_t rings);
/** keep_answer() - another request is about to be answered, with @data */
void keep_answer(struct request *r, const void *data, size_t len);
/** keep_unique() - number of a request that has a slot; else 0 */
uint64_t keep_unique(const struct request *r);
/** keep_find_maps() - the mappings of the memory table in the record, as
 * caller_find_maps() */
void keep_find_maps(struct session *s, struct call_facts *facts);
/** keep_poll() - keep the handle of the last poll(2) that waits */
void keep_poll(const struct request *r);
/** keep_answered() - the answer to @r, if an earlier process has carried @r
 * out; else NULL */
const struct record_answer *keep_answered(const struct request *r);
/** keep_restore() - restore the session from its record, or end it */
void keep_restore(struct session *s);
/**
 * keep_replay() - make a fresh device what the record says
 *
 * The owner is attached before. Return: 0, or what the link returns.
 */
int keep_replay(struct session *s);
/** keep_retry() - the IOTLB has changed: resume rings that wait for it */
void keep_retry(struct session *s);
/** keep_worker() - commit the record, with what persist_set_worker() noted */
void keep_worker(struct session *s);
/** keep_stop() - the rings have stopped by themselves, in a device that is in
 * this process again: tell the VMM */
void keep_stop(struct session *s);

#endif
