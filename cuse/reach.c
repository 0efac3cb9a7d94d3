/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * reach.c decides whether all memory that a device can reach is mapped
 * (reach.h). The numbers come from the owner and may have any value: a log
 * address whose sum overflows counts as not mapped.
 */
#include "reach.h"

#include <string.h>

#include "abi.h"
#include "bytes.h"

/* Memory that one byte of the log stands for. */
#define LOG_UNIT (UINT64_C(4096) * 8)

/* ---- what was set ---- */

/* A call that matters, and the bytes of its argument but for the regions. */
static const struct {
	uint32_t cmd;
	uint32_t len;
} matters[] = {
	{ VHOST_SET_MEM_TABLE, sizeof(struct vhost_memory) },
	{ VHOST_SET_FEATURES, sizeof(uint64_t) },
	{ VHOST_SET_FEATURES_ARRAY, sizeof(uint64_t) },
	{ VHOST_SET_LOG_BASE, sizeof(uint64_t) },
	{ VHOST_SET_VRING_NUM, sizeof(struct vhost_vring_state) },
	{ VHOST_SET_VRING_ADDR, sizeof(struct vhost_vring_addr) },
};

/* SIZE_MAX: a call that does not matter. */
static size_t argument_len(uint32_t cmd)
{
	for (size_t i = 0; i < ARRAY_SIZE(matters); i++)
		if (matters[i].cmd == cmd)
			return matters[i].len;
	return SIZE_MAX;
}

bool reach_matters(uint32_t cmd)
{
	return argument_len(cmd) != SIZE_MAX;
}

static bool reach_set_table(struct reach *reach, const uint8_t *arg, size_t len)
{
	struct vhost_memory head;
	size_t n = (len - sizeof(head)) / sizeof(struct vhost_memory_region);

	memcpy(&head, arg, sizeof(head));
	if (head.nregions > n)
		return false;
	reach->regions = arg + sizeof(head);
	reach->nregions = head.nregions;
	return true;
}

static void reach_set_num(struct reach *reach, const void *arg)
{
	struct vhost_vring_state s;

	memcpy(&s, arg, sizeof(s));
	if (s.index < VDEV_VQS)
		reach->ring[s.index].num = s.num;
}

static void reach_set_addr(struct reach *reach, const void *arg)
{
	struct vhost_vring_addr addr;

	memcpy(&addr, arg, sizeof(addr));
	if (addr.index >= VDEV_VQS)
		return;
	reach->ring[addr.index].addr = addr;
	reach->ring[addr.index].has_addr = true;
}

/* The count, and then the words. */
static bool reach_set_features(struct reach *reach, const uint8_t *arg,
			       size_t len)
{
	uint64_t count;

	memcpy(&count, arg, sizeof(count));
	if (count && len < sizeof(count) + sizeof(reach->features))
		return false;
	reach->features = 0;
	if (count)
		memcpy(&reach->features, arg + sizeof(count),
		       sizeof(reach->features));
	return true;
}

/* False: nothing is set. */
static bool reach_set_call(struct reach *reach, uint32_t cmd, const void *arg,
			   size_t len)
{
	if (len < argument_len(cmd))
		return false;
	switch (cmd) {
	case VHOST_SET_MEM_TABLE:
		return reach_set_table(reach, arg, len);
	case VHOST_SET_FEATURES_ARRAY:
		return reach_set_features(reach, arg, len);
	case VHOST_SET_FEATURES:
		memcpy(&reach->features, arg, sizeof(reach->features));
		break;
	case VHOST_SET_LOG_BASE:
		memcpy(&reach->log_base, arg, sizeof(reach->log_base));
		reach->has_log = true;
		break;
	case VHOST_SET_VRING_NUM:
		reach_set_num(reach, arg);
		break;
	case VHOST_SET_VRING_ADDR:
		reach_set_addr(reach, arg);
		break;
	default:
		return false;
	}
	return true;
}

void reach_of_record(struct reach *reach, const struct record *r)
{
	*reach = (struct reach){ .map = NULL };
	for (size_t i = 0; i < ARRAY_SIZE(reach->ring); i++)
		reach->ring[i].num = 1;
	for (unsigned int i = 0; i < r->ncalls; i++)
		reach_set_call(reach, r->call[i].cmd, r->call[i].arg,
			       r->call[i].len);
}

static bool has(const struct reach *reach, unsigned int feature)
{
	return reach->features & BIT(feature);
}

bool reach_add(struct reach *reach, const struct ioctl_call *call)
{
	bool iotlb = has(reach, VIRTIO_F_ACCESS_PLATFORM);

	if (!reach_set_call(reach, call->cmd, call->in, call->in_len))
		return false;
	/* vdev_set_features() */
	if (iotlb != has(reach, VIRTIO_F_ACCESS_PLATFORM))
		for (size_t i = 0; i < ARRAY_SIZE(reach->ring); i++)
			reach->ring[i].has_addr = false;
	return true;
}

/* ---- what is mapped ---- */

/* Is all of [@uva, @uva + @len) in one mapping? */
static bool range_is_mapped(const struct owner_map *map, size_t nmaps,
			    uint64_t uva, uint64_t len)
{
	size_t lo = 0, hi = nmaps;

	/* The first mapping that begins behind @uva: the one before it may
	 * contain @uva. */
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (map[mid].uva <= uva)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo)
		return false;
	map += lo - 1;
	return uva - map->uva < map->size &&
	       len <= map->size - (uva - map->uva);
}

static bool is_mapped(const struct reach *reach, uint64_t uva, uint64_t len)
{
	return range_is_mapped(reach->map, reach->nmaps, uva, len);
}

/* The greatest size of each area; of a split ring with event indexes. */
static bool ring_is_mapped(const struct reach *reach,
			   const struct reach_ring *ring)
{
	bool packed = has(reach, VIRTIO_F_RING_PACKED);
	uint64_t event = sizeof(struct vring_packed_desc_event);
	uint64_t n = ring->num;

	return is_mapped(reach, ring->addr.desc_user_addr,
			 n * sizeof(struct vring_desc)) &&
	       is_mapped(reach, ring->addr.avail_user_addr,
			 packed ? event : 6 + n * sizeof(uint16_t)) &&
	       is_mapped(reach, ring->addr.used_user_addr,
			 packed ? event
				: 6 + n * sizeof(struct vring_used_elem));
}

/* Is the dirty log mapped for the pages up to the one of @last? */
static bool log_is_mapped(const struct reach *reach, uint64_t last)
{
	return is_mapped(reach, reach->log_base, last / LOG_UNIT + 1);
}

static bool used_log_is_mapped(const struct reach *reach,
			       const struct reach_ring *ring)
{
	uint64_t size = 6 + ring->num * sizeof(struct vring_used_elem), last;

	return !reach->has_log ||
	       !(ring->addr.flags & BIT(VHOST_VRING_F_LOG)) ||
	       (!add_overflows(ring->addr.log_guest_addr, size, &last) &&
		log_is_mapped(reach, last));
}

static bool rings_are_mapped(const struct reach *reach)
{
	if (has(reach, VIRTIO_F_ACCESS_PLATFORM))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(reach->ring); i++) {
		const struct reach_ring *ring = &reach->ring[i];

		if (!ring->has_addr)
			continue;
		if (!ring_is_mapped(reach, ring) ||
		    !used_log_is_mapped(reach, ring))
			return false;
	}
	return true;
}

bool reach_is_mapped(const struct reach *reach)
{
	bool logged = has(reach, VHOST_F_LOG_ALL) && reach->has_log;
	const uint8_t *at = reach->regions;

	if (!reach->regions)
		return true;
	for (size_t i = 0; i < reach->nregions; i++) {
		struct vhost_memory_region r;
		uint64_t last;

		memcpy(&r, at + i * sizeof(r), sizeof(r));
		if (!range_last(r.guest_phys_addr, r.memory_size, &last))
			continue; /* the device refuses the table */
		/* A size of 0 stands for all addresses. */
		if (!r.memory_size ||
		    !is_mapped(reach, r.userspace_addr, r.memory_size) ||
		    (logged && !log_is_mapped(reach, last)))
			return false;
	}
	return rings_are_mapped(reach);
}

bool reach_iotlb_is_mapped(const struct owner_map *map, size_t nmaps,
			   const void *msg, size_t len)
{
	struct vhost_iotlb_msg m;
	int type;

	if (len < offsetof(struct vhost_msg, iotlb) + sizeof(m))
		return true;
	memcpy(&type, msg, sizeof(type));
	memcpy(&m, (const uint8_t *)msg + offsetof(struct vhost_msg, iotlb),
	       sizeof(m));
	if ((type != VHOST_IOTLB_MSG && type != VHOST_IOTLB_MSG_V2) ||
	    m.type != VHOST_IOTLB_UPDATE || !m.size)
		return true;
	return range_is_mapped(map, nmaps, m.uaddr, m.size);
}
