/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fe_user.h: what the files of transport "user" share. There are two channels
 * with a lock each. The frontend's lock protects the main channel, with the
 * frontend's requests and their replies (fe_user_msg.c). ev_lock protects the
 * channel of the backend's requests (fe_user_events.c) and is held while
 * handlers run. A handler may take the frontend's lock, so the order is
 * ev_lock, then the frontend's.
 *
 * A reply has no number of its request. So fe_user_fail() ends the connection
 * as soon as a reply is late or does not fit the last request, and every later
 * call returns -EPIPE.
 */
#ifndef FE_USER_H
#define FE_USER_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "fe_priv.h"
#include "vhost/user/vu_msg.h"
#include "vhost/user/vu_proto.h"

#define FE_USER_TIMEOUT_MS 5000
#define FE_USER_QUEUED_MAX 64

struct fe_user {
	struct uvh fe;
	struct vu_endpoint ep;
	int timeout_ms;
	bool dead;        /* atomic */
	uint64_t offered; /* features as the backend sent them */
	bool offered_known;
	uint64_t protocol;  /* features that were negotiated; atomic */
	unsigned int slots; /* 0: not asked yet */
	bool postcopy;      /* between listen and end */
	uint64_t *bases;    /* backend addresses of the regions in force */
	unsigned int nbases;

	int epfd;             /* for the caller to poll */
	struct mutex ev_lock; /* protects the rest */
	struct vu_endpoint back;
	bool have_back; /* atomic: set once, when back is complete */
	bool back_dead;
	int queued_fd; /* eventfd, readable while queue is not empty */
	struct vhost_iotlb_msg queue[FE_USER_QUEUED_MAX];
	unsigned int queue_head, queued;
};

static inline struct fe_user *fe_user_of(const struct uvh *fe)
{
	return container_of(fe, struct fe_user, fe);
}

/** fe_user_negotiated() - was VHOST_USER_PROTOCOL_F_* negotiated? */
static inline bool fe_user_negotiated(const struct fe_user *u,
				      unsigned int protocol_feature)
{
	return __atomic_load_n(&u->protocol, __ATOMIC_RELAXED) &
	       BIT(protocol_feature);
}

/** fe_user_need() - 0 if it was negotiated, else -EOPNOTSUPP */
static inline int fe_user_need(const struct fe_user *u,
			       unsigned int protocol_feature)
{
	return fe_user_negotiated(u, protocol_feature) ? 0 : -EOPNOTSUPP;
}

/* ---- fe_user_msg.c: requests and replies on the main channel ---- */

bool fe_user_is_dead(const struct fe_user *u);
/**
 * fe_user_fail() - end the use of the connection
 *
 * The socket stays open until uvh_close(), since another thread may poll it.
 * Return: @why, or -EPIPE for -ECONNRESET.
 */
int fe_user_fail(struct fe_user *u, int why);

/* Make a message with @size bytes of payload, or with this payload. */
struct vu_msg fe_user_message(uint32_t request, uint32_t size);
struct vu_msg fe_user_message_u64(uint32_t request, uint64_t value);
struct vu_msg fe_user_message_state(uint32_t request, unsigned int index,
				    unsigned int num);
/** fe_user_attach() - send @fd, borrowed, with @m, unless it is -1 */
void fe_user_attach(struct vu_msg *m, int fd);

/* A request returns -EOPNOTSUPP if the protocol feature that it needs
 * (feature_of_request[]) was not negotiated. */

#define FE_USER_ANY_SIZE UINT32_MAX
/**
 * fe_user_ask() - send a request that has a reply of its own, of exactly @size
 * bytes
 *
 * If the reply has more than @nfds_max descriptors they are closed.
 */
int fe_user_ask(struct fe_user *u, const struct vu_msg *m, uint32_t size,
		unsigned int nfds_max, struct vu_msg *reply);
int fe_user_ask_u64(struct fe_user *u, uint32_t request, uint64_t *value);
/** fe_user_tell() - send a request without a reply; with REPLY_ACK the result
 * is that of the backend */
int fe_user_tell(struct fe_user *u, struct vu_msg *m);
/** fe_user_tell_and_wait() - the same, and wait until the backend has handled
 * it */
int fe_user_tell_and_wait(struct fe_user *u, struct vu_msg *m);

/* ---- fe_user_events.c: the channel of the backend's requests ---- */

/** fe_user_init_events() - make the descriptor of uvh_event_fd(); @sock: the
 * main socket */
int fe_user_init_events(struct fe_user *u, int sock);
void fe_user_fini_events(struct fe_user *u);
/** fe_user_open_back() - make the channel: a socket pair, one end for each
 * side */
int fe_user_open_back(struct fe_user *u);

int fe_user_handle_events(struct uvh *fe) EXCLUDES(fe->lock);
int fe_user_iotlb_recv(struct uvh *fe, struct vhost_iotlb_msg *msg)
	EXCLUDES(fe->lock);
int fe_user_event_fd(const struct uvh *fe);

/* ---- fe_user_migrate.c ---- */

/** fe_user_set_bases() - store the backend's addresses of the @n regions
 */
int fe_user_set_bases(struct fe_user *u, const struct vu_mem_region *r,
		      unsigned int n);

int fe_user_get_inflight(struct uvh *fe, struct uvh_inflight *inflight);
int fe_user_set_inflight(struct uvh *fe, const struct uvh_inflight *inflight);
int fe_user_postcopy_advise(struct uvh *fe, int *uffd);
int fe_user_postcopy_listen(struct uvh *fe);
int fe_user_postcopy_end(struct uvh *fe);
int fe_user_postcopy_base(struct uvh *fe, unsigned int i, uint64_t *base);
int fe_user_set_device_state(struct uvh *fe, enum uvh_state_direction direction,
			     int fd, int *other);
int fe_user_check_device_state(struct uvh *fe);

#endif
