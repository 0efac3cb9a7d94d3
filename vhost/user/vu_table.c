/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vu_table.c has a row for each request of vhost-user.rst. The dispatcher takes
 * checks and handlers from the rows, the log names, and the wire tests and the
 * table in README all of them.
 */
#include "vu_priv.h"

#include <assert.h>
#include <stddef.h>

#include "vu_backend_req.h"

/* Feature of a row, where it needs one. */
#define F_LOG_SHMFD VHOST_USER_PROTOCOL_F_LOG_SHMFD
#define F_RARP VHOST_USER_PROTOCOL_F_RARP
#define F_MTU VHOST_USER_PROTOCOL_F_MTU
#define F_BACKEND_REQ VHOST_USER_PROTOCOL_F_BACKEND_REQ
#define F_CROSS_ENDIAN VHOST_USER_PROTOCOL_F_CROSS_ENDIAN
#define F_CRYPTO VHOST_USER_PROTOCOL_F_CRYPTO_SESSION
#define F_PAGEFAULT VHOST_USER_PROTOCOL_F_PAGEFAULT
#define F_CONFIG VHOST_USER_PROTOCOL_F_CONFIG
#define F_INFLIGHT VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD
#define F_RESET_DEVICE VHOST_USER_PROTOCOL_F_RESET_DEVICE
#define F_INBAND VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS
#define F_MEM_SLOTS VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS
#define F_STATUS VHOST_USER_PROTOCOL_F_STATUS
#define F_SHARED_OBJECT VHOST_USER_PROTOCOL_F_SHARED_OBJECT
#define F_DEVICE_STATE VHOST_USER_PROTOCOL_F_DEVICE_STATE
#define F_SHMEM VHOST_USER_PROTOCOL_F_SHMEM
#define F_SKIP_DRAIN VHOST_USER_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN
#define NOTHING VU_NO_FEATURE

#define RING_START (VU_RING_STATE | VU_MAY_START)
#define RING_STOP (VU_RING_STATE | VU_STOPS)
#define RING_REST (VU_RING_STATE | VU_RING_STOPPED)
#define RING_FD (VU_RING_U64 | VU_MAY_START)

#define STATE sizeof(struct vhost_vring_state)
#define ADDR sizeof(struct vhost_vring_addr)
#define IOTLB sizeof(struct vhost_iotlb_msg)
#define TABLE sizeof(struct vu_memory)
#define REGION sizeof(struct vu_single_mem_region)
#define LOG sizeof(struct vu_log)
#define CFG sizeof(struct vu_config)
#define INFL_MIN VU_INFLIGHT_LISTED
#define INFL sizeof(struct vu_inflight)
#define DSTATE sizeof(struct vu_device_state)

#define NOT_NET VU_NOT_NET
#define ANY_SIZE 0, sizeof(union vu_payload), 0, VU_FDS

/* clang-format off */
static const struct vu_row rows[VHOST_USER_REQUESTS] = {
#define R(id, ...) [VHOST_USER_##id] = { #id, __VA_ARGS__ },
/* request               min     max     fds:  feature       reply           flags         measure               handler                   payload     note */
R(GET_FEATURES,          0,      0,      0, 0, NOTHING,      VU_REPLY,       0,            NULL,                 vu_get_features,          "",         NULL)
R(SET_FEATURES,          8,      8,      0, 0, NOTHING,      VU_ACK_OR_DROP, VU_MAY_START, NULL,                 vu_set_features,          "u64",      "a bit that was not offered is an error")
R(SET_OWNER,             0,      0,      0, 0, NOTHING,      VU_ACK,         0,            NULL,                 vu_set_owner,             "",         "accepted, without effect")
R(RESET_OWNER,           0,      0,      0, 0, NOTHING,      VU_ACK,         0,            NULL,                 vu_reset_owner,           "",         "disables all rings")
R(SET_MEM_TABLE,         8,      TABLE,  0, VU_FDS, NOTHING,      VU_ACK_OR_DROP, VU_MAY_START, vu_measure_mem_table, vu_set_mem_table,         "regions",  "one descriptor per region; replaces the whole table; with GPA_ADDRESSES user addresses are guest addresses")
R(SET_LOG_BASE,          8,      LOG,    0, 1, F_LOG_SHMFD,  VU_REPLY_FULL,  0,            vu_measure_log_base,  vu_set_log_base,          "log",      "a descriptor and 16 bytes, which the reply repeats (zeros on failure); 8 bytes are refused without a reply")
R(SET_LOG_FD,            0,      8,      1, 1, NOTHING,      VU_ACK,         0,            NULL,                 vu_set_log_fd,            "",         "an eventfd")
R(SET_VRING_NUM,         STATE,  STATE,  0, 0, NOTHING,      VU_ACK,         RING_REST,    NULL,                 vu_set_vring_num,         "state",    NULL)
R(SET_VRING_ADDR,        ADDR,   ADDR,   0, 0, NOTHING,      VU_ACK,         RING_START,   NULL,                 vu_set_vring_addr,        "addr",     "also while the ring runs; with GPA_ADDRESSES guest addresses, with ACCESS_PLATFORM iovas")
R(SET_VRING_BASE,        STATE,  STATE,  0, 0, NOTHING,      VU_ACK,         RING_REST,    NULL,                 vu_set_vring_base,        "state",    NULL)
R(GET_VRING_BASE,        STATE,  STATE,  0, 0, NOTHING,      VU_REPLY,       RING_STOP,    NULL,                 vu_get_vring_base,        "state",    "stops the ring, with nothing in flight; num is ignored, as DPDK does not set it")
R(SET_VRING_KICK,        8,      8,      1, 1, NOTHING,      VU_ACK,         RING_FD,      NULL,                 vu_set_vring_kick,        "u64",      "an eventfd; starts the ring without waiting for a kick; without an eventfd its worker polls and never sleeps")
R(SET_VRING_CALL,        8,      8,      1, 1, NOTHING,      VU_ACK,         VU_RING_U64,  NULL,                 vu_set_vring_call,        "u64",      "an eventfd, or none")
R(SET_VRING_ERR,         8,      8,      1, 1, NOTHING,      VU_ACK,         VU_RING_U64,  NULL,                 vu_set_vring_err,         "u64",      "an eventfd, or none")
R(GET_PROTOCOL_FEATURES, 0,      0,      0, 0, NOTHING,      VU_REPLY,       0,            NULL,                 vu_get_protocol_features, "",         NULL)
R(SET_PROTOCOL_FEATURES, 8,      8,      0, 0, NOTHING,      VU_ACK_OR_DROP, 0,            NULL,                 vu_set_protocol_features, "u64",      "INBAND_NOTIFICATIONS without BACKEND_REQ and REPLY_ACK ends the connection")
R(GET_QUEUE_NUM,         0,      0,      0, 0, NOTHING,      VU_REPLY,       0,            NULL,                 vu_get_queue_num,         "",         "virtqueues, two per queue pair, as rust-vmm reads it; QEMU reads pairs, and accepts more than it needs")
R(SET_VRING_ENABLE,      STATE,  STATE,  0, 0, NOTHING,      VU_ACK,         VU_RING_STATE, NULL,                vu_set_vring_enable,      "state",    "of started but disabled rings TX is drained and RX is not processed")
R(SEND_RARP,             8,      8,      0, 0, F_RARP,       VU_ACK,         0,            NULL,                 vu_send_rarp,             "u64",      "through the port of the first queue pair")
R(NET_SET_MTU,           8,      8,      0, 0, F_MTU,        VU_ACK,         0,            NULL,                 vu_net_set_mtu,           "u64",      "68...65535, and no more than was configured; CONFIG_CHANGE_MSG follows while a ring is started")
R(SET_BACKEND_REQ_FD,    0,      8,      1, 1, F_BACKEND_REQ, VU_ACK,         0,            NULL,                 vu_set_backend_req_fd,    "",         "a stream socket")
R(IOTLB_MSG,             IOTLB,  IOTLB,  0, 0, NOTHING,      VU_ACK_ASKED,   VU_MAY_START, NULL,                 vu_iotlb_msg,             "iotlb",    "update (with GPA_ADDRESSES to guest addresses), invalidate; misses are sent as BACKEND_IOTLB_MSG")
R(SET_VRING_ENDIAN,      0,      STATE,  0, 0, F_CROSS_ENDIAN, VU_ACK,         VU_REFUSED,   NULL,                 NULL,                     "state",    "refused: CROSS_ENDIAN is not offered, legacy rings have the host's byte order")
R(GET_CONFIG,            VU_CONFIG_HDR, CFG, 0, 0, F_CONFIG,     VU_REPLY_EMPTY, 0,            vu_measure_config,    vu_get_config,            "config",   "struct virtio_net_config, zeros behind it")
R(SET_CONFIG,            VU_CONFIG_HDR, CFG, 0, 0, F_CONFIG,     VU_ACK,         0,            vu_measure_config,    vu_set_config,            "config",   "a driver may set the MAC before VERSION_1; MAC and MTU for migration")
R(CREATE_CRYPTO_SESSION, ANY_SIZE,             F_CRYPTO,     VU_ACK,         VU_REFUSED,   NULL,                 NULL,                     "crypto",   NOT_NET)
R(CLOSE_CRYPTO_SESSION,  ANY_SIZE,             F_CRYPTO,     VU_ACK,         VU_REFUSED,   NULL,                 NULL,                     "u64",      NOT_NET)
R(POSTCOPY_ADVISE,       0,      0,      0, 0, F_PAGEFAULT,  VU_REPLY_EMPTY, 0,            NULL,                 vu_postcopy_advise,       "",         "a userfaultfd, which gives access to all memory of the process; offered with the key postcopy")
R(POSTCOPY_LISTEN,       0,      0,      0, 0, F_PAGEFAULT,  VU_ACK,         0,            NULL,                 vu_postcopy_listen,       "",         "before the memory table")
R(POSTCOPY_END,          0,      0,      0, 0, F_PAGEFAULT,  VU_REPLY_RESULT, 0,            NULL,                 vu_postcopy_end,          "",         NULL)
R(GET_INFLIGHT_FD,       INFL_MIN, INFL, 0, 0, F_INFLIGHT,   VU_REPLY_ZERO,  0,            vu_measure_inflight,  vu_get_inflight_fd,       "inflight", "a new memfd, which the frontend keeps; 24 bytes with padding of the structure, 20 without; the reply likewise")
R(SET_INFLIGHT_FD,       INFL_MIN, INFL, 1, 1, F_INFLIGHT,   VU_ACK,         0,            vu_measure_inflight,  vu_set_inflight_fd,       "inflight", "for rings that start from now on; no frame is sent twice")
R(RESET_DEVICE,          0,      0,      0, 0, F_RESET_DEVICE, VU_ACK,         0,            NULL,                 vu_reset_device,          "",         "memory and call descriptors stay")
R(VRING_KICK,            STATE,  STATE,  0, 0, F_INBAND,     VU_ACK,         RING_START,   NULL,                 vu_vring_kick,            "state",    NULL)
R(GET_MAX_MEM_SLOTS,     0,      0,      0, 0, F_MEM_SLOTS,  VU_REPLY,       0,            NULL,                 vu_get_max_mem_slots,     "",         "509; not offered with the key postcopy")
R(ADD_MEM_REG,           REGION, REGION, 1, 1, F_MEM_SLOTS,  VU_ACK_OR_DROP, VU_MAY_START, NULL,                 vu_add_mem_reg,           "region",   "one descriptor")
R(REM_MEM_REG,           REGION, REGION, 0, 1, F_MEM_SLOTS,  VU_ACK,         0,            NULL,                 vu_rem_mem_reg,           "region",   "by guest address, user address and size; a descriptor is closed")
R(SET_STATUS,            8,      8,      0, 0, F_STATUS,     VU_ACK,         0,            NULL,                 vu_set_status,            "u64",      "0 resets as RESET_DEVICE does")
R(GET_STATUS,            0,      0,      0, 0, F_STATUS,     VU_REPLY,       0,            NULL,                 vu_get_status,            "",         "FEATURES_OK only after features that were offered")
R(SET_DEVICE_STATE_FD,   DSTATE, DSTATE, 1, 1, F_DEVICE_STATE, VU_REPLY_RESULT, 0,            NULL,                 vu_set_device_state_fd,   "transfer", "40 bytes: features, queue pairs, MTU, MAC")
R(CHECK_DEVICE_STATE,    0,      0,      0, 0, F_DEVICE_STATE, VU_REPLY_RESULT, 0,            NULL,                 vu_check_device_state,    "",         "answered when the whole state has been transferred")
R(GPU_SET_SOCKET,        ANY_SIZE,             NOTHING,      VU_ACK,         VU_REFUSED,   NULL,                 NULL,                     "",         NOT_NET)
R(GET_SHARED_OBJECT,     ANY_SIZE,             F_SHARED_OBJECT, VU_ACK,         VU_REFUSED,   NULL,                 NULL,                     "uuid",     NOT_NET)
R(GET_SHMEM_CONFIG,      ANY_SIZE,             F_SHMEM,      VU_ACK,         VU_REFUSED,   NULL,                 NULL,                     "",         VU_NO_SHMEM)
R(GET_VRING_BASE_SKIP_DRAIN, ANY_SIZE,         F_SKIP_DRAIN, VU_ACK,         VU_REFUSED,   NULL,                 NULL,                     "state",    "refused: GET_VRING_BASE never waits")
#undef R
};
/* clang-format on */

const struct vu_row *vu_row_find(uint32_t request)
{
	if (request >= ARRAY_SIZE(rows) || !rows[request].name)
		return NULL;
	return &rows[request];
}

/* Names of protocol features, without VHOST_USER_PROTOCOL_F_. */
static const char *const feature_names[] = {
#define NAME(feature) [VHOST_USER_PROTOCOL_F_##feature] = #feature,
	/* clang-format off */
	NAME(MQ)
	NAME(LOG_SHMFD)
	NAME(RARP)
	NAME(REPLY_ACK)
	NAME(MTU)
	NAME(BACKEND_REQ)
	NAME(CROSS_ENDIAN)
	NAME(CRYPTO_SESSION)
	NAME(PAGEFAULT)
	NAME(CONFIG)
	NAME(BACKEND_SEND_FD)
	NAME(HOST_NOTIFIER)
	NAME(INFLIGHT_SHMFD)
	NAME(RESET_DEVICE)
	NAME(INBAND_NOTIFICATIONS)
	NAME(CONFIGURE_MEM_SLOTS)
	NAME(STATUS)
	NAME(XEN_MMAP)
	NAME(SHARED_OBJECT)
	NAME(DEVICE_STATE)
	NAME(GET_VRING_BASE_INFLIGHT)
	NAME(GPA_ADDRESSES)
	NAME(SHMEM)
	NAME(GET_VRING_BASE_SKIP_DRAIN)
/* clang-format on */
#undef NAME
};
_Static_assert(ARRAY_SIZE(feature_names) == VHOST_USER_PROTOCOL_FEATURES,
	       "each protocol feature has a name");

static const char *feature_name(unsigned int feature)
{
	if (feature == VU_NO_FEATURE)
		return "";
	assert(feature < ARRAY_SIZE(feature_names) && feature_names[feature]);
	return feature_names[feature];
}

static const char *reply_text(const struct vu_row *row)
{
	switch ((enum vu_reply)row->reply) {
	case VU_ACK:
	case VU_ACK_OR_DROP:
		return "";
	case VU_ACK_ASKED:
		return "on demand";
	case VU_REPLY:
	case VU_REPLY_RESULT:
	case VU_REPLY_EMPTY:
	case VU_REPLY_ZERO:
	case VU_REPLY_FULL:
		break;
	}
	return "yes";
}

static void print_range(FILE *out, unsigned int min, unsigned int max)
{
	if (min == max)
		fprintf(out, "| %u ", min);
	else
		fprintf(out, "| %u...%u ", min, max);
}

#define SERVED(handler) true
#define NOT_SERVED false

static const struct {
	const char *name, *payload;
	size_t size;
	const char *needs;
	bool sent, served;
	const char *note;
} backend_rows[VHOST_USER_BACKEND_REQUESTS] = {
#define R(id, ...) [VHOST_USER_BACKEND_##id] = { #id, __VA_ARGS__ },
	VU_BACKEND_REQUESTS(R)
#undef R
};

static void print_backend_rows(FILE *out)
{
	fputs("\n"
	      "And from the backend to the frontend:\n"
	      "\n"
	      "| request | no. | payload | bytes | needs | uvhostd sends it | "
	      "libuvhost serves it | note |\n"
	      "|---|---|---|---|---|---|---|---|\n",
	      out);
	for (size_t i = 1; i < ARRAY_SIZE(backend_rows); i++)
		fprintf(out,
			"| VHOST_USER_BACKEND_%s | %zu | %s | %zu | %s | %s | "
			"%s | %s |\n",
			backend_rows[i].name, i, backend_rows[i].payload,
			backend_rows[i].size, backend_rows[i].needs,
			backend_rows[i].sent ? "yes" : "no",
			backend_rows[i].served ? "yes" : "no",
			backend_rows[i].note);
}

static void print_rows(FILE *out)
{
	fputs("| request | no. | payload | bytes | fds | needs | reply | "
	      "served "
	      "| note |\n"
	      "|---|---|---|---|---|---|---|---|---|\n",
	      out);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct vu_row *row = &rows[i];
		bool refused = row->flags & VU_REFUSED;

		if (!row->name)
			continue;
		fprintf(out, "| VHOST_USER_%s | %zu | %s ", row->name, i,
			row->payload);
		if (refused)
			fputs("| | ", out);
		else {
			print_range(out, row->min, row->max);
			print_range(out,
				    row->flags & VU_RING_U64 ? 0 : row->fds_min,
				    row->fds_max);
		}
		fprintf(out, "| %s | %s | %s | %s |\n",
			feature_name(row->feature),
			refused ? "" : reply_text(row), refused ? "no" : "yes",
			row->note ? row->note : "");
	}
}

void vu_print_table(FILE *out)
{
	print_rows(out);
	print_backend_rows(out);
}
