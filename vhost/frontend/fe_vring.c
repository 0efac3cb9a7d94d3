/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fe_vring.c has the calls of <uvhost/frontend.h> that name a ring. Like fe.c
 * it checks arguments and state for all transports.
 *
 * fe->running has a bit for each ring that was started through this frontend. A
 * ring starts with the call that the transport's ops->start names:
 *
 *   stopped ─ net_set_backend(fd)                                ─► running
 *   stopped ─ set_vring_enable(true)         (UVH_START_ENABLE)  ─► running
 *   stopped ─ set_vring_kick(fd), vring_kick (UVH_START_KICK)    ─► running
 *   running ─ net_set_backend(-1)                                ─► stopped
 *   running ─ set_vring_enable(false)        (UVH_START_ENABLE)  ─► stopped
 *   running ─ get_vring_base                 (UVH_START_KICK)    ─► stopped
 *   running ─ reset_owner, reset_device, set_status(0) in fe.c   ─► stopped
 */
#include "fe_call.h"

static bool is_running(const struct uvh *fe, unsigned int qi)
{
	return fe->running[qi / 8] & (1u << qi % 8);
}

static void set_running(struct uvh *fe, unsigned int qi, bool running)
	NEEDS(fe->lock)
{
	if (running)
		fe->running[qi / 8] |= (uint8_t)(1u << qi % 8);
	else
		fe->running[qi / 8] &= (uint8_t)~(1u << qi % 8);
}

static int check_ring(const struct uvh *fe, unsigned int qi)
{
	int ret = check_owner(fe);

	if (qi >= fe->queues)
		return -EINVAL;
	return ret;
}

/* For settings that are legal only while the ring is stopped. */
static int check_stopped(const struct uvh *fe, unsigned int qi)
{
	int ret = check_ring(fe, qi);

	if (ret == 0 && !fe->ops->checks_state && is_running(fe, qi))
		ret = -EBUSY;
	return ret;
}

static int check_ring_fd(const struct uvh *fe, unsigned int qi, int fd)
{
	int ret = check_ring(fe, qi);

	return ret < 0 ? ret : check_fd(fd);
}

static bool is_packed(const struct uvh *fe)
{
	return fe->features & BIT(VIRTIO_F_RING_PACKED);
}

static int check_num(const struct uvh *fe, unsigned int qi, unsigned int num)
{
	int ret = check_stopped(fe, qi);

	if (ret < 0)
		return ret;
	if (num == 0 || num > UVH_RING_MAX)
		return -EINVAL;
	return is_power_of_two(num) || is_packed(fe) ? 0 : -EINVAL;
}

int uvh_set_vring_num(struct uvh *fe, unsigned int qi, unsigned int num)
{
	return CALL(fe, set_vring_num, check_num(fe, qi, num), qi, num);
}

static int check_addr(const struct uvh *fe, const struct vhost_vring_addr *addr)
{
	int ret;

	if (!addr)
		return -EINVAL;
	ret = check_ring(fe, addr->index);
	if (ret < 0)
		return ret;
	if (addr->flags & ~BIT(VHOST_VRING_F_LOG))
		return -EOPNOTSUPP;
	if (addr->avail_user_addr % VRING_AVAIL_ALIGN_SIZE ||
	    addr->used_user_addr % VRING_USED_ALIGN_SIZE ||
	    addr->log_guest_addr % VRING_USED_ALIGN_SIZE)
		return -EINVAL;
	return 0;
}

int uvh_set_vring_addr(struct uvh *fe, const struct vhost_vring_addr *addr)
{
	return CALL(fe, set_vring_addr, check_addr(fe, addr), addr);
}

static int check_base(const struct uvh *fe, unsigned int qi, uint32_t base)
{
	int ret = check_stopped(fe, qi);

	if (ret == 0 && base > UINT16_MAX && !is_packed(fe))
		ret = -EINVAL;
	return ret;
}

int uvh_set_vring_base(struct uvh *fe, unsigned int qi, uint32_t base)
{
	return CALL(fe, set_vring_base, check_base(fe, qi, base), qi, base);
}

static int get_base(struct uvh *fe, unsigned int qi, uint32_t *base)
	NEEDS(fe->lock)
{
	int ret = fe->ops->get_vring_base(fe, qi, base);

	if (ret == 0 && fe->ops->start == UVH_START_KICK)
		set_running(fe, qi, false);
	return ret;
}

int uvh_get_vring_base(struct uvh *fe, unsigned int qi, uint32_t *base)
{
	return CALL_VIA(fe, get_vring_base, get_base,
			base ? check_ring(fe, qi) : -EINVAL, qi, base);
}

static int set_kick(struct uvh *fe, unsigned int qi, int fd) NEEDS(fe->lock)
{
	int ret = fe->ops->set_vring_kick(fe, qi, fd);

	if (ret == 0 && fd >= 0 && fe->ops->start == UVH_START_KICK)
		set_running(fe, qi, true);
	return ret;
}

int uvh_set_vring_kick(struct uvh *fe, unsigned int qi, int fd)
{
	return CALL_VIA(fe, set_vring_kick, set_kick, check_ring_fd(fe, qi, fd),
			qi, fd);
}

int uvh_set_vring_call(struct uvh *fe, unsigned int qi, int fd)
{
	return CALL(fe, set_vring_call, check_ring_fd(fe, qi, fd), qi, fd);
}

int uvh_set_vring_err(struct uvh *fe, unsigned int qi, int fd)
{
	return CALL(fe, set_vring_err, check_ring_fd(fe, qi, fd), qi, fd);
}

static int set_enable(struct uvh *fe, unsigned int qi, bool enable)
	NEEDS(fe->lock)
{
	int ret = fe->ops->set_vring_enable(fe, qi, enable);

	if (ret == 0 && fe->ops->start == UVH_START_ENABLE)
		set_running(fe, qi, enable);
	return ret;
}

int uvh_set_vring_enable(struct uvh *fe, unsigned int qi, bool enable)
{
	return CALL_VIA(fe, set_vring_enable, set_enable, check_ring(fe, qi),
			qi, enable);
}

int uvh_set_vring_busyloop(struct uvh *fe, unsigned int qi, uint32_t us)
{
	return CALL(fe, set_vring_busyloop, check_ring(fe, qi), qi, us);
}

static int set_net_backend(struct uvh *fe, unsigned int qi, int fd)
	NEEDS(fe->lock)
{
	int ret = fe->ops->net_set_backend(fe, qi, fd);

	if (ret == 0)
		set_running(fe, qi, fd >= 0);
	return ret;
}

/* Does not check the descriptor: the device returns -ENOTSOCK. */
int uvh_net_set_backend(struct uvh *fe, unsigned int qi, int fd)
{
	return CALL_VIA(fe, net_set_backend, set_net_backend,
			check_ring(fe, qi), qi, fd);
}

int uvh_vring_start(struct uvh *fe, unsigned int qi, int backend)
{
	if (fe->ops->start == UVH_START_BACKEND)
		return uvh_net_set_backend(fe, qi, backend);
	return uvh_set_vring_enable(fe, qi, true);
}

/* vhost-user: a ring that is disabled before it is stopped would discard frames
 * of the guest. A backend without SET_VRING_ENABLE needs only the stop. */
static int stop_then_disable(struct uvh *fe, unsigned int qi, uint32_t *base)
{
	int ret = uvh_get_vring_base(fe, qi, base);

	if (ret == 0)
		ret = uvh_set_vring_enable(fe, qi, false);
	return ret == -EOPNOTSUPP ? 0 : ret;
}

int uvh_vring_stop(struct uvh *fe, unsigned int qi, uint32_t *base)
{
	uint32_t dummy;
	int ret;

	base = base ? base : &dummy;
	if (fe->ops->start == UVH_START_KICK)
		return stop_then_disable(fe, qi, base);
	if (fe->ops->start == UVH_START_BACKEND)
		ret = uvh_net_set_backend(fe, qi, -1);
	else
		ret = uvh_set_vring_enable(fe, qi, false);
	return ret < 0 ? ret : uvh_get_vring_base(fe, qi, base);
}

int uvh_get_vring_group(struct uvh *fe, unsigned int qi, uint32_t *group)
{
	return CALL(fe, get_vring_group, group ? check_ring(fe, qi) : -EINVAL,
		    qi, group);
}

int uvh_get_vring_desc_group(struct uvh *fe, unsigned int qi, uint32_t *group)
{
	return CALL(fe, get_vring_desc_group,
		    group ? check_ring(fe, qi) : -EINVAL, qi, group);
}

int uvh_get_vring_size(struct uvh *fe, unsigned int qi, uint32_t *num)
{
	return CALL(fe, get_vring_size, num ? check_ring(fe, qi) : -EINVAL, qi,
		    num);
}

static int vring_kick(struct uvh *fe, unsigned int qi) NEEDS(fe->lock)
{
	int ret = fe->ops->vring_kick(fe, qi);

	if (ret == 0)
		set_running(fe, qi, true);
	return ret;
}

int uvh_vring_kick(struct uvh *fe, unsigned int qi)
{
	return CALL_VIA(fe, vring_kick, vring_kick, check_ring(fe, qi), qi);
}
