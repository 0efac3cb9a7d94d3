/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * quota.c counts the sessions of a device, and the mappings of guest memory
 * that they hold and the bytes of those: in all, of each user and of each
 * process.
 *
 * A session counts for the user that opened it until it has an owner, and for
 * the user and the process of its owner from then on: libvirt opens the device
 * as root and passes it on. It stays with that user until another one becomes
 * its owner or it is closed: a user cannot hand its sessions back to root.
 *
 * Root's opens are limited by the total alone, since libvirt opens the device
 * as root for all guests; sessions that root's processes own count as any
 * user's.
 *
 * All functions are thread-safe. A user's account also holds the budget of log
 * lines of its sessions.
 */
#ifndef QUOTA_H
#define QUOTA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "log_limit.h"

struct quota;
struct quota_account;

/** struct quota_limits - most sessions, each above 0; most mappings; most bytes
 * of them: addresses, of which we have no more than a process has */
struct quota_limits {
	unsigned int total;
	unsigned int user;
	unsigned int process;
	struct {
		unsigned int total;
		unsigned int user;
		unsigned int process;
	} maps;
	struct {
		uint64_t total;
		uint64_t user;
		uint64_t process;
	} bytes;
};

/**
 * struct quota_session - the accounts that a session counts for
 *
 * All 0: none. The quota's own data, under its lock.
 */
struct quota_session {
	struct quota_account *user;    /* NULL: does not count yet */
	struct quota_account *process; /* NULL: none */
	bool owned;                    /* there was an owner once */
	bool stranded;
	unsigned int maps;
	uint64_t bytes; /* of these */
};

/** Which limit refuses a request */
enum quota_verdict {
	QUOTA_OK,
	QUOTA_TOTAL,
	QUOTA_USER,
	QUOTA_PROCESS,
	QUOTA_BYTES, /* of mappings: of any of the three */
	QUOTA_NO_MEMORY,
};

/** quota_new() - 0 or -ENOMEM */
int quota_new(const struct quota_limits *limits, struct quota **out);
/** quota_free() - when no session counts; NULL is harmless */
void quota_free(struct quota *q);

/**
 * quota_open() - @s was opened by user @uid
 * @first: true: this user meets that limit for the first time since it had no
 *         session
 */
enum quota_verdict quota_open(struct quota *q, struct quota_session *s,
			      uid_t uid, bool *first);
/**
 * quota_own() - process @pid of user @uid becomes the owner of @s; if that
 * exceeds a limit, nothing changes
 * @lines: the session's budget of log lines; the user's becomes its parent
 */
enum quota_verdict quota_own(struct quota *q, struct quota_session *s,
			     uid_t uid, pid_t pid, struct log_limit *lines,
			     bool *first);
/**
 * quota_map() - @s, which has an owner, maps one more piece of memory, of
 * @bytes
 *
 * Root's processes have the same limits as others: what is not mapped is
 * copied.
 */
enum quota_verdict quota_map(struct quota *q, struct quota_session *s,
			     uint64_t bytes, bool *first);
/** quota_unmap() - one less, of @bytes */
void quota_unmap(struct quota *q, struct quota_session *s, uint64_t bytes);

/** quota_disown() - it has no owner any more */
void quota_disown(struct quota *q, struct quota_session *s);
/** quota_strand() - its worker hangs: it counts for its user only */
void quota_strand(struct quota *q, struct quota_session *s);
/** quota_close() - it is gone, without mappings; nothing logs through its
 * user's budget */
void quota_close(struct quota *q, struct quota_session *s);

/** quota_lines() - the budget of log lines of the user of @s */
struct log_limit *quota_lines(const struct quota_session *s);

/** quota_limit() - the number of sessions that @v is about */
unsigned int quota_limit(const struct quota *q, enum quota_verdict v);
/** quota_map_limit() - the number of mappings that @v is about */
unsigned int quota_map_limit(const struct quota *q, enum quota_verdict v);
/** quota_total() - sessions that count for the limit in all */
unsigned int quota_total(struct quota *q);

#endif
