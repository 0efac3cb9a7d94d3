/* SPDX-License-Identifier: BSD-3-Clause */
/* fe_log.c passes the library's log lines to its user, and names feature bits.
 */
#include "fe_priv.h"

#include "log.h"

_Static_assert((int)UVH_LOG_ERROR == LOG_LEVEL_ERROR &&
		       (int)UVH_LOG_DEBUG == LOG_LEVEL_DEBUG,
	       "the numbers of levels are equal");

static void (*log_fn)(void *ctx, enum uvh_log_level level, const char *line);

static void log_line(void *ctx, enum log_level level, const char *line)
{
	log_fn(ctx, (enum uvh_log_level)level, line);
}

void uvh_set_log(enum uvh_log_level level,
		 void (*fn)(void *ctx, enum uvh_log_level level,
			    const char *line),
		 void *ctx)
{
	log_fn = fn;
	log_set_sink(fn ? log_line : NULL, ctx);
	log_set_level(fn ? (enum log_level)level : LOG_LEVEL_NONE);
}

const char *uvh_feature_name(unsigned int bit)
{
	/* virtio 1.2 §5.1.3 and §6; <linux/vhost_types.h> */
	static const char *const names[64] = {
		[0] = "CSUM",
		[1] = "GUEST_CSUM",
		[2] = "CTRL_GUEST_OFFLOADS",
		[3] = "MTU",
		[5] = "MAC",
		[7] = "GUEST_TSO4",
		[8] = "GUEST_TSO6",
		[9] = "GUEST_ECN",
		[10] = "GUEST_UFO",
		[11] = "HOST_TSO4",
		[12] = "HOST_TSO6",
		[13] = "HOST_ECN",
		[14] = "HOST_UFO",
		[15] = "MRG_RXBUF",
		[16] = "STATUS",
		[17] = "CTRL_VQ",
		[18] = "CTRL_RX",
		[19] = "CTRL_VLAN",
		[20] = "CTRL_RX_EXTRA",
		[21] = "GUEST_ANNOUNCE",
		[22] = "MQ",
		[23] = "CTRL_MAC_ADDR",
		[24] = "NOTIFY_ON_EMPTY",
		[26] = "LOG_ALL",
		[27] = "ANY_LAYOUT",
		[28] = "INDIRECT_DESC",
		[29] = "EVENT_IDX",
		[30] = "PROTOCOL_FEATURES",
		[32] = "VERSION_1",
		[33] = "ACCESS_PLATFORM",
		[34] = "RING_PACKED",
		[35] = "IN_ORDER",
		[36] = "ORDER_PLATFORM",
		[37] = "SR_IOV",
		[38] = "NOTIFICATION_DATA",
		[39] = "NOTIF_CONFIG_DATA",
		[40] = "RING_RESET",
		[54] = "GUEST_USO4",
		[55] = "GUEST_USO6",
		[56] = "HOST_USO",
		[57] = "HASH_REPORT",
		[59] = "GUEST_HDRLEN",
		[60] = "RSS",
		[61] = "RSC_EXT",
		[62] = "STANDBY",
		[63] = "SPEED_DUPLEX",
	};

	return bit < ARRAY_SIZE(names) ? names[bit] : NULL;
}
