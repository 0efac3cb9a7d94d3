/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu_priv.h: what the files of a vhost-user session (the backend's side of one
 * connection) share.
 *
 *   vu_session.c   life of a session: the connection and its control thread
 *   vu_dispatch.c  the path of a message: checks, handler, reply
 *   vu_table.c     one row for each request: its shape and its handler
 *   vu_pair.c      life of a queue pair, calls on its worker, its ports
 *   vu_device.c    features, status, configuration, MTU, RARP
 *   vu_ring.c      rings
 *   vu_mem.c       memory regions and the dirty log
 *   vu_inflight.c  the in-flight buffer (inflight.c has its contents)
 *   vu_channel.c   requests to the frontend: IOTLB misses, in-band calls
 *   vu_migrate.c   postcopy and device state
 *   vu_report.c    log lines and counters
 *
 *   thread         owns
 *   control        the session except what the workers own
 *   worker (pair)  vdev, ports
 *
 * The control thread accesses a vdev only through vu_pair_call(), and waits for
 * it. So a function that is called there may use the session too.
 *
 * The path of SET_MEM_TABLE:
 *   vu_session.c   receive() reads the message from the socket (vu_msg.c)
 *   vu_dispatch.c  vu_handle() checks it against its row (vu_table.c)
 *   vu_mem.c       vu_set_mem_table() maps the regions; publish() calls
 *   vu_pair.c      vu_each_pair(), which calls on each worker
 *   vdev_mem.c     vdev_set_mem_table()
 *   vu_ring.c      vu_start_rings() starts rings that waited for memory; then
 *                  vu_dispatch.c sends the reply
 */
#ifndef VU_PRIV_H
#define VU_PRIV_H

#include <assert.h>
#include <stdbool.h>
#include "bytes.h"
#include "fd.h"
#include "vdev.h"
#include "vu_msg.h"
#include "vu_server.h"
#include "worker.h"

/** VU_MEM_SLOTS - most regions of a session; QEMU hot-plugs memory in small
 * pieces only if there are 509 */
#define VU_MEM_SLOTS 509
/** VU_SEND_MS - longest wait for space in a full socket */
#define VU_SEND_MS 1000

struct vu_session;
struct vu_pair;

/**
 * struct vu_notice - how the calls (or errors) of a ring reach the frontend
 *
 * With INBAND_NOTIFICATIONS, unless the frontend sends a descriptor, the device
 * signals an eventfd of the session, and each signal becomes a message.
 *
 *   NOTICE_UNSET    ─ vu_notice_open()                  ─► NOTICE_IDLE
 *   NOTICE_IDLE     ─ take_notice(): it was signalled   ─► NOTICE_PENDING
 *   NOTICE_PENDING  ─ send_notices(), drop_notice()     ─► NOTICE_IDLE
 *   any             ─ vu_notice_close()                 ─► NOTICE_FRONTEND
 */
struct vu_notice {
	enum {
		NOTICE_UNSET,    /* not decided */
		NOTICE_FRONTEND, /* to the descriptor of SET_VRING_CALL, _ERR */
		NOTICE_IDLE,     /* becomes messages; none is due */
		NOTICE_PENDING,  /* becomes messages; one is due */
	} state;
	struct loop_watch watch; /* of the eventfd; control thread */
	struct vu_pair *pair;
	unsigned int qi;
	uint32_t request;
};

/** enum vu_ring_state - only change_state() in vu_ring.c changes it; its table
 * has the transitions */
enum vu_ring_state {
	VRING_STOPPED, /* since GET_VRING_BASE or a reset */
	VRING_STARTED, /* has a kick; waits for addresses, memory, or the IOTLB
			*/
	VRING_RUNNING, /* in the vdev */
};

/**
 * struct vu_ring - state of a ring that the vdev does not have
 * @has_addr: SET_VRING_ADDR came, and its addresses are still valid
 * @enabled:  by SET_VRING_ENABLE, or by features without PROTOCOL_FEATURES
 * @base:     for GET_VRING_BASE after a reset (QEMU sets status 0 before it):
 * the base before the reset; -1: ask the vdev
 * @kick:     eventfd for in-band kicks; -1: none
 */
struct vu_ring {
	enum vu_ring_state state;
	bool has_addr, enabled;
	int64_t base;
	int kick;
	struct vu_notice call, err;
};

struct vu_pair {
	struct vu_session *s;
	unsigned int n;
	struct worker *worker;
	struct vdev *vdev;
	struct netport *port[VDEV_VQS];
	bool ports_on[VDEV_VQS]; /* arguments of enable_ports() */
	struct vu_ring ring[VDEV_VQS];
};

/**
 * struct vu_mem - memory of the frontend
 * @map: mapping of each region, with a reference of the session
 * @adds: how often each region was added: QEMU up to version 8 adds and removes
 * a region once for every queue pair
 * @fresh: postcopy: the frontend has not acknowledged the addresses of the
 *        mappings yet; the devices still have the old table
 */
struct vu_mem {
	bool have_table, fresh;
	size_t n;
	struct vu_mem_region region[VU_MEM_SLOTS];
	struct aspace_map *map[VU_MEM_SLOTS];
	unsigned int adds[VU_MEM_SLOTS];
	struct aspace_map *log;
};

/** struct vu_channel - backend-to-frontend channel (SET_BACKEND_REQ_FD) */
struct vu_channel {
	struct vu_endpoint ep;
	struct loop_watch watch;
	struct loop_watch misses; /* an eventfd: a device has an IOTLB miss */
	bool waiting;             /* for the reply to the last request */
	bool config_pending;
};

#define VU_STATE_BUF 64

/**
 * struct vu_transfer - device state that is being received
 * @fd:     -1: no transfer
 * @sock:   @fd is a socket; else a pipe
 * @result: of the last one
 * @check:  CHECK_DEVICE_STATE waits for the result
 */
struct vu_transfer {
	struct loop_watch watch;
	int fd;
	bool sock;
	int result;
	bool check;
	size_t have;
	uint8_t buf[VU_STATE_BUF];
};

struct vu_session {
	struct vu_session_config cfg;
	struct worker *control;
	struct loop_job start;
	struct vu_endpoint ep;
	struct loop_watch watch;
	bool closing;
	unsigned int errors; /* logged */

	uint64_t features; /* VHOST_USER_F_PROTOCOL_FEATURES included */
	uint64_t protocol_features;
	bool features_failed;
	bool postcopy; /* offered */
	bool enabled;  /* for rings of pairs that do not exist yet */
	uint8_t status;
	uint8_t mac[6];
	uint16_t mtu;

	uint64_t mapped; /* bytes of the peer's files; atomic */
	struct vu_mem mem;
	/* The old table, while devices may still use it: threads that wait for
	 * a page there have to be woken too. */
	const struct vu_mem *mem_before;
	struct vu_channel ch;
	int log_fd;     /* -1 */
	int uffd;       /* of POSTCOPY_ADVISE; -1 */
	bool listening; /* POSTCOPY_LISTEN has come */
	struct vu_transfer transfer;
	struct aspace_map *inflight;
	uint16_t inflight_queues, inflight_num;
	struct vu_pair *pair[VU_QUEUE_PAIRS_MAX];
};

/**
 * struct vu_op - a request that is being handled
 * @m:     the message; its size, descriptors and feature fit its row
 * @index: ring of the device, if the message names one; @pair, @qi: the same
 *         ring
 * @reply: what is sent if the row has a reply. Its header is set before the
 *         handler runs; the handler sets the payload and hdr.size
 * @reply_fd: the handler's; sent with the reply, and closed then; -1: none
 * @later: the handler sends the reply later itself
 */
struct vu_op {
	struct vu_session *s;
	const struct vu_row *row;
	struct vu_msg *m;
	uint32_t index;
	struct vu_pair *pair;
	unsigned int qi;
	struct vu_msg reply;
	int reply_fd;
	bool later;
	int ret;
};

/** vu_op_reply_u64() - set the reply, which is sent after the handler, to
 * @value; returns 0, as handlers do */
static inline int vu_op_reply_u64(struct vu_op *op, uint64_t value)
{
	op->reply.payload.u64 = value;
	op->reply.hdr.size = sizeof(value);
	return 0;
}

/** vu_has() - was a protocol feature negotiated? */
static inline bool vu_has(const struct vu_session *s, unsigned int bit)
{
	assert(bit < 64);
	return s->protocol_features >> bit & 1;
}

/* ---- vu_report.c ---- */

/** vu_log() - log a line of the session, within the socket's rate limit */
void vu_log(struct vu_session *s, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/** vu_drop() - end the connection; logs the reason */
void vu_drop(struct vu_session *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/** vu_warn() - log an error of the peer, up to a number for each session */
void vu_warn(struct vu_session *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- vu_pair.c ---- */

/** vu_pair_new() - make s->pair[@n]: a worker and a device with the features,
 * memory and descriptors of the session; 0 or -errno */
int vu_pair_new(struct vu_session *s, unsigned int n);
/** vu_pair_close() - stop the rings, release memory and descriptors */
void vu_pair_close(struct vu_pair *p);
/** vu_pair_free() - join the worker; after vu_pair_close(), any thread */
void vu_pair_free(struct vu_pair *p);
/** vu_pair_open_ports() - open both ports with cfg.open_ports; control thread
 */
int vu_pair_open_ports(struct vu_pair *p);
/** vu_pair_update_ports() - call cfg.enable_ports if a ring of the pair moves
 * frames now and none did before, or the reverse; control thread */
void vu_pair_update_ports(struct vu_pair *p);
/** vu_update_ports() - the same for all pairs */
void vu_update_ports(struct vu_session *s);
/** vu_pair_call() - run @fn on the pair's worker; returns its result */
int vu_pair_call(struct vu_pair *p, int (*fn)(struct vu_pair *p, void *arg),
		 void *arg);
/** vu_each_pair() - the same for all pairs; returns the first error */
int vu_each_pair(struct vu_session *s, int (*fn)(struct vu_pair *p, void *arg),
		 void *arg);

/* ---- vu_dispatch.c ---- */

/** vu_send_reply_u64() - send a reply to @request now; for rows whose handler
 * has set @later, and vu_dispatch.c */
void vu_send_reply_u64(struct vu_session *s, uint32_t request, uint64_t value);
/** vu_handle() - handle one message; its descriptors stay the caller's */
void vu_handle(struct vu_session *s, struct vu_msg *m);

/* ---- vu_table.c ---- */

/** How a request is replied to, and its errors reported */
enum vu_reply {
	VU_ACK,          /* no reply; an acknowledgement if REPLY_ACK is
			    negotiated and the message requests one */
	VU_ACK_OR_DROP,  /* the same; an error that cannot be reported ends the
			    connection */
	VU_ACK_ASKED,    /* an acknowledgement if the message requests one, also
			    without REPLY_ACK */
	VU_REPLY,        /* a reply with a value, which cannot report an error
			    (GET_STATUS): an error ends the connection */
	VU_REPLY_RESULT, /* a reply of 64 bits, the result (POSTCOPY_END);
			    error: a number that is not 0 */
	VU_REPLY_EMPTY,  /* error: a reply without payload */
	VU_REPLY_ZERO,   /* error: a payload of zeros */
	VU_REPLY_FULL, /* as VU_REPLY_ZERO if the message has the full size and
			  its feature was negotiated; else the sender expects
			  no reply: as VU_ACK */
};

enum vu_row_flags {
	VU_RING_STATE = 1, /* starts with a ring's index, 32 bits */
	VU_RING_U64 = 2,   /* index in bits 0...7, VU_VRING_NOFD_MASK */
	VU_RING_STOPPED = 4,
	VU_MAY_START = 8, /* rings may have become ready */
	VU_REFUSED = 16,
	VU_STOPS = 32, /* a ring */
};

#define VU_NO_FEATURE 255

/**
 * struct vu_row - a request: its shape and its handler
 * @min, @max: bytes of payload
 * @fds_min, @fds_max: descriptors; of VU_RING_U64 rows: without
 * VU_VRING_NOFD_MASK, with it there are none
 * @feature:  enum vu_protocol_feature that must have been negotiated
 * @measure:  further checks of size and count, 0 or -EPROTO; may be NULL
 * @run:      handler; of rows with a ring on the pair's worker
 */
struct vu_row {
	const char *name;
	uint16_t min, max;
	uint8_t fds_min, fds_max;
	uint8_t feature;
	uint8_t reply; /* enum vu_reply */
	uint8_t flags; /* enum vu_row_flags */
	int (*measure)(const struct vu_op *op);
	int (*run)(struct vu_op *op);
	const char *payload, *note;
};

/** vu_row_find() - NULL if there is no such request */
const struct vu_row *vu_row_find(uint32_t request);

/* ---- handlers ---- */

/* vu_device.c */
uint64_t vu_device_features(const struct vu_session *s);
uint64_t vu_protocol_features(const struct vu_session *s);
int vu_get_features(struct vu_op *op);
int vu_set_features(struct vu_op *op);
int vu_set_owner(struct vu_op *op);
int vu_reset_owner(struct vu_op *op);
int vu_get_protocol_features(struct vu_op *op);
int vu_set_protocol_features(struct vu_op *op);
int vu_get_queue_num(struct vu_op *op);
int vu_send_rarp(struct vu_op *op);
int vu_net_set_mtu(struct vu_op *op);
int vu_measure_config(const struct vu_op *op);
int vu_get_config(struct vu_op *op);
int vu_set_config(struct vu_op *op);
int vu_reset_device(struct vu_op *op);
int vu_set_status(struct vu_op *op);
int vu_get_status(struct vu_op *op);
/** vu_pair_set_features() - set the session's features in one device */
int vu_pair_set_features(struct vu_pair *p, void *unused);

/* vu_ring.c */
int vu_set_vring_num(struct vu_op *op);
int vu_set_vring_addr(struct vu_op *op);
int vu_set_vring_base(struct vu_op *op);
int vu_get_vring_base(struct vu_op *op);
int vu_set_vring_kick(struct vu_op *op);
int vu_set_vring_call(struct vu_op *op);
int vu_set_vring_err(struct vu_op *op);
int vu_set_vring_enable(struct vu_op *op);
int vu_vring_kick(struct vu_op *op);
/**
 * vu_start_rings() - start the rings of @p, or of all pairs (NULL), that are
 * ready; control thread
 * Return: 0, or what keeps a ring of @p from running.
 */
int vu_start_rings(struct vu_session *s, struct vu_pair *p);
/** vu_pair_stop() - all rings of a pair stop; as a vu_pair_call() */
int vu_pair_stop(struct vu_pair *p, void *unused);
/** vu_pair_enable() - as SET_VRING_ENABLE for both rings; @arg: bool * */
int vu_pair_enable(struct vu_pair *p, void *arg);
/** vu_suspended() - are all rings stopped? The backend then sends only replies
 * (vhost-user.rst, Suspended device state) */
bool vu_suspended(const struct vu_session *s);

/* vu_mem.c */
int vu_measure_mem_table(const struct vu_op *op);
int vu_set_mem_table(struct vu_op *op);
int vu_get_max_mem_slots(struct vu_op *op);
int vu_add_mem_reg(struct vu_op *op);
int vu_rem_mem_reg(struct vu_op *op);
int vu_measure_log_base(const struct vu_op *op);
int vu_set_log_base(struct vu_op *op);
int vu_set_log_fd(struct vu_op *op);

/* vu_inflight.c */
int vu_measure_inflight(const struct vu_op *op);
int vu_get_inflight_fd(struct vu_op *op);
int vu_set_inflight_fd(struct vu_op *op);
/** vu_pair_set_inflight() - set the in-flight buffer in one device */
int vu_pair_set_inflight(struct vu_pair *p, void *unused);

/* vu_mem.c, for others */
/**
 * vu_map_file() - map a piece of a frontend's file
 * @uva: the frontend's address of it
 * Return: 0; -EINVAL (not a regular file, or size 0); -ENXIO (past its end);
 * -ENOMEM (also: more than the session may map); an error of mmap(2).
 */
int vu_map_file(struct vu_session *s, int fd, uint64_t offset, uint64_t size,
		uint64_t uva, struct aspace_map **out);
/** vu_pair_set_log_fd() - set the descriptor of SET_LOG_FD in one device */
int vu_pair_set_log_fd(struct vu_pair *p, void *unused);
/** vu_pair_set_mem() - set the session's memory table and log in one device */
int vu_pair_set_mem(struct vu_pair *p, void *unused);
/** vu_mem_free() - drop the session's references */
void vu_mem_free(struct vu_session *s);

/* vu_migrate.c */
int vu_postcopy_advise(struct vu_op *op);
int vu_postcopy_listen(struct vu_op *op);
int vu_postcopy_end(struct vu_op *op);
/** vu_postcopy_check() - 0, or -errno if no userfaultfd can be made */
int vu_postcopy_check(const struct vu_session *s);
/** vu_postcopy_register() - let the frontend serve faults in @map */
int vu_postcopy_register(struct vu_session *s, const struct aspace_map *map);
/** vu_postcopy_stop() - end that for all mappings; wakes threads that wait for
 * a page */
void vu_postcopy_stop(struct vu_session *s);
int vu_set_device_state_fd(struct vu_op *op);
int vu_check_device_state(struct vu_op *op);
void vu_transfer_stop(struct vu_session *s);

/* vu_channel.c */
int vu_channel_open(struct vu_session *s);
void vu_channel_close(struct vu_session *s);
int vu_set_backend_req_fd(struct vu_op *op);
int vu_iotlb_msg(struct vu_op *op);
/** vu_iotlb_event() - vdev_config.iotlb_event; ctx: the pair; on its worker */
void vu_iotlb_event(void *ctx);
/** vu_notice_open() - make the eventfd of an unset notice; returns a duplicate
 * for the device, or -errno */
int vu_notice_open(struct vu_session *s, struct vu_notice *n);
void vu_notice_close(struct vu_session *s, struct vu_notice *n);
/** vu_config_changed() - send CONFIG_CHANGE_MSG when allowed */
void vu_config_changed(struct vu_session *s);
/** vu_channel_pump() - send the pending requests that may be sent now */
void vu_channel_pump(struct vu_session *s);
/** vu_channel_flush() - after a ring of @p has stopped, before the reply: send
 * calls and errors of its last batches, if earlier ones are acknowledged; the
 * others wait until a ring starts */
void vu_channel_flush(struct vu_pair *p);
/** vu_channel_forget() - drop the calls and errors that were not sent */
void vu_channel_forget(struct vu_session *s);

#endif
