/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devsession.c is the device half of an open file of the character device: the
 * device with its rings, its attachment, the ioctl handlers, and the memory
 * that outlives them (devmem.h). It reads the bytes of guest and caller. It
 * opens nothing of other processes: what a call needs of the caller comes as
 * descriptors and mappings in struct call_facts (devlink.h).
 *
 * It runs on one struct worker, in a worker process or in the broker.
 */
#ifndef DEVSESSION_H
#define DEVSESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include "attach.h"
#include "devlink.h"
#include "devmem.h"
#include "log.h"
#include "log_limit.h"
#include "worker.h"

/**
 * struct devsession_config - copied; what it refers to must outlive the session
 * @worker: the thread on which it runs
 * @tag, @limit: for log lines
 * @attach: gives the rings their ports; the session is a queue pair on it
 * @features: offered in addition to vdev_features()
 * @max_mem_regions: limit of VHOST_SET_MEM_TABLE
 * @mem: where cursors and IOTLB messages are noted; NULL: nowhere
 * @iotlb_event: as vdev_config.iotlb_event
 * @fault_in: as devlink_events.fault_in; NULL: copies do not wait for pages
 * @ctx: argument of both
 */
struct devsession_config {
	struct worker *worker;
	struct log_tag tag;
	struct log_limit *limit;
	struct attach *attach;
	uint64_t features;
	unsigned int max_mem_regions;
	struct devmem *mem;
	void (*iotlb_event)(void *ctx);
	int (*fault_in)(void *ctx, bool write, uint64_t uva, uint64_t len);
	void *ctx;
};

struct devsession;

/** devsession_new() - make a device; 0, -ENOMEM. Runs on any thread */
int devsession_new(const struct devsession_config *config,
		   struct devsession **out);

/* All other functions run on the worker's thread. */

/** devsession_free() - stop the rings and free all; @ds may be NULL */
void devsession_free(struct devsession *ds);

/** devsession_ioctl() - run one pass of an ioctl; @facts are borrowed, and the
 * device duplicates the descriptors that it keeps */
void devsession_ioctl(struct devsession *ds, const struct ioctl_call *call,
		      const struct call_facts *facts, struct ioctl_verdict *v);

/** devsession_read() - vdev_iotlb_read() */
ssize_t devsession_read(struct devsession *ds, void *buf, size_t len);

/** devsession_write() - vdev_iotlb_write(); a message that was carried out is
 * noted in struct devmem. @mem_fd: as in struct call_facts; -ENOMEM too */
ssize_t devsession_write(struct devsession *ds, const void *buf, size_t len,
			 int mem_fd);

/** devsession_readable() - vdev_iotlb_readable() */
bool devsession_readable(const struct devsession *ds);

/** devsession_repeat_misses() - vdev_iotlb_repeat() */
void devsession_repeat_misses(struct devsession *ds);

/** devsession_resume() - as devlink_resume() */
void devsession_resume(struct devsession *ds, bool on, bool was_reset);

/** devsession_replay_iotlb() - as devlink_replay_iotlb() */
void devsession_replay_iotlb(struct devsession *ds);

/** devsession_owner_died() - vdev_owner_died() */
void devsession_owner_died(struct devsession *ds);

/** devsession_print() - print state and counters */
void devsession_print(const struct devsession *ds, FILE *out);

#endif
