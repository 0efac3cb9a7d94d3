/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmm.h"

#include "vmm_user.h"
#include "vmm_vdpa.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/memfd.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#define PAGE UINT64_C(4096)
#define HUGE_PAGE (UINT64_C(2) << 20)
#define CONNECT_MS 60000

/* ---- ioctls ---- */

int vmm_ioctl(int dev, unsigned long cmd, const void *arg)
{
	return ioctl(dev, cmd, arg) < 0 ? -errno : 0;
}

int vmm_get_features(int dev, uint64_t *features)
{
	return vmm_ioctl(dev, VHOST_GET_FEATURES, features);
}

int vmm_set_features(int dev, uint64_t features)
{
	return vmm_ioctl(dev, VHOST_SET_FEATURES, &features);
}

int vmm_get_backend_features(int dev, uint64_t *features)
{
	return vmm_ioctl(dev, VHOST_GET_BACKEND_FEATURES, features);
}

int vmm_set_backend_features(int dev, uint64_t features)
{
	return vmm_ioctl(dev, VHOST_SET_BACKEND_FEATURES, &features);
}

int vmm_set_owner(int dev)
{
	return vmm_ioctl(dev, VHOST_SET_OWNER, NULL);
}

int vmm_reset_owner(int dev)
{
	return vmm_ioctl(dev, VHOST_RESET_OWNER, NULL);
}

int vmm_set_log_base(int dev, uint64_t uva)
{
	return vmm_ioctl(dev, VHOST_SET_LOG_BASE, &uva);
}

int vmm_set_log_fd(int dev, int fd)
{
	return vmm_ioctl(dev, VHOST_SET_LOG_FD, &fd);
}

static int set_vring_state(int dev, unsigned long cmd, unsigned int qi,
			   unsigned int num)
{
	struct vhost_vring_state s = { .index = qi, .num = num };

	return vmm_ioctl(dev, cmd, &s);
}

int vmm_set_vring_num(int dev, unsigned int qi, unsigned int num)
{
	return set_vring_state(dev, VHOST_SET_VRING_NUM, qi, num);
}

int vmm_set_vring_base(int dev, unsigned int qi, unsigned int base)
{
	return set_vring_state(dev, VHOST_SET_VRING_BASE, qi, base);
}

int vmm_get_vring_base(int dev, unsigned int qi, unsigned int *base)
{
	struct vhost_vring_state s = { .index = qi };
	int ret = vmm_ioctl(dev, VHOST_GET_VRING_BASE, &s);

	if (!ret)
		*base = s.num;
	return ret;
}

int vmm_set_busyloop(int dev, unsigned int qi, unsigned int us)
{
	return set_vring_state(dev, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, qi, us);
}

static int set_vring_file(int dev, unsigned long cmd, unsigned int qi, int fd)
{
	struct vhost_vring_file f = { .index = qi, .fd = fd };

	return vmm_ioctl(dev, cmd, &f);
}

int vmm_set_vring_kick(int dev, unsigned int qi, int fd)
{
	return set_vring_file(dev, VHOST_SET_VRING_KICK, qi, fd);
}

int vmm_set_vring_call(int dev, unsigned int qi, int fd)
{
	return set_vring_file(dev, VHOST_SET_VRING_CALL, qi, fd);
}

int vmm_set_vring_err(int dev, unsigned int qi, int fd)
{
	return set_vring_file(dev, VHOST_SET_VRING_ERR, qi, fd);
}

int vmm_set_backend(int dev, unsigned int qi, int fd)
{
	return set_vring_file(dev, VHOST_NET_SET_BACKEND, qi, fd);
}

/* ---- IOTLB ---- */

int vmm_iotlb_send(int dev, uint8_t type, uint64_t iova, uint64_t size,
		   uint64_t uva, uint8_t perm)
{
	struct vhost_msg_v2 msg = {
		.type = VHOST_IOTLB_MSG_V2,
		.iotlb = {
			.iova = iova,
			.size = size,
			.uaddr = uva,
			.perm = perm,
			.type = type,
		},
	};

	return write(dev, &msg, sizeof(msg)) < 0 ? -errno : 0;
}

int vmm_iotlb_recv(int dev, struct vhost_iotlb_msg *msg, int ms)
{
	union {
		struct vhost_msg v1;
		struct vhost_msg_v2 v2;
	} m;
	struct pollfd p = { .fd = dev, .events = POLLIN };
	int ret = poll(&p, 1, ms);
	ssize_t n;

	if (ret < 0)
		return -errno;
	if (!ret)
		return -ETIMEDOUT;
	memset(&m, 0, sizeof(m));
	n = read(dev, &m, sizeof(m));
	if (n < 0)
		return -errno;
	if (n != sizeof(m))
		return -EPROTO;
	if (m.v1.type == VHOST_IOTLB_MSG)
		*msg = m.v1.iotlb;
	else if (m.v2.type == VHOST_IOTLB_MSG_V2)
		*msg = m.v2.iotlb;
	else
		return -EPROTO;
	return 0;
}

/* ---- guest memory ---- */

static int map_file(uint64_t size, unsigned int flags, uint8_t *at, void **out)
{
	int fd = memfd_create("vmm-memory", MFD_CLOEXEC | flags);
	int ret;
	void *p;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0) {
		ret = -errno;
		goto err;
	}
	p = mmap(at, size, PROT_READ | PROT_WRITE,
		 MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0);
	if (p == MAP_FAILED) {
		ret = -errno;
		goto err;
	}
	*out = p;
	return fd;
err:
	close(fd);
	return ret;
}

/* The file behind it, 0 (none) or -errno. */
static int map_memory(enum vmm_mem_kind kind, uint64_t size, void **out,
		      size_t *map_size)
{
	uint8_t *at;
	void *p;
	int ret;

	if (kind == VMM_MEM_HUGETLB) {
		*map_size = size;
		return map_file(size, MFD_HUGETLB | MFD_HUGE_2MB, NULL, out);
	}

	/* reserve, so that a page without access stays behind the end */
	*map_size = size + PAGE;
	at = mmap(NULL, *map_size, PROT_NONE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return -errno;
	if (kind == VMM_MEM_MEMFD) {
		ret = map_file(size, 0, at, out);
	} else {
		p = mmap(at, size, PROT_READ | PROT_WRITE,
			 MAP_FIXED | MAP_ANONYMOUS |
				 (kind == VMM_MEM_SHARED ? MAP_SHARED
							 : MAP_PRIVATE),
			 -1, 0);
		ret = p == MAP_FAILED ? -errno : 0;
		*out = p;
	}
	if (ret < 0)
		munmap(at, *map_size);
	return ret;
}

int vmm_mem_add(struct vmm_mem *m, enum vmm_mem_kind kind, uint64_t gpa,
		uint64_t size)
{
	struct vmm_region *r = &m->region[m->n];
	uint64_t unit = kind == VMM_MEM_HUGETLB ? HUGE_PAGE : PAGE;
	size_t map_size = 0;
	void *p = NULL;
	int ret;

	if (m->n == VMM_REGIONS)
		return -E2BIG;
	if (m->files && kind != VMM_MEM_HUGETLB)
		kind = VMM_MEM_MEMFD;
	ret = map_memory(kind, (size + unit - 1) / unit * unit, &p, &map_size);
	if (ret < 0)
		return ret;
	if (gpa == VMM_GPA_HVA) {
		gpa = (uintptr_t)p;
		m->gpa_is_hva = true;
	}
	*r = (struct vmm_region){
		.gpa = gpa,
		.size = size,
		.hva = p,
		.map = p,
		.map_size = map_size,
		.fd = ret,
		.used = gpa ? 0 : PAGE, /* 0 is no valid address */
	};
	m->n++;
	return 0;
}

int vmm_mem_add_pc(struct vmm_mem *m, enum vmm_mem_kind kind, uint64_t size,
		   uint64_t low)
{
	const uint64_t rom = 0xa0000;
	const uint64_t ram = 0xc0000;
	const uint64_t high = UINT64_C(1) << 32;
	struct vmm_region *r = &m->region[m->n];
	int ret;

	if (low <= ram || size <= low || m->n + 3 > VMM_REGIONS)
		return -EINVAL;
	ret = vmm_mem_add(m, kind, 0, size);
	if (ret < 0)
		return ret;
	r[0].size = rom;
	r[1] = (struct vmm_region){
		.gpa = ram,
		.size = low - ram,
		.hva = r[0].hva + ram,
		.fd = r[0].fd,
		.fd_offset = ram,
	};
	r[2] = (struct vmm_region){
		.gpa = high,
		.size = size - low,
		.hva = r[0].hva + low,
		.fd = r[0].fd,
		.fd_offset = low,
	};
	m->n += 2;
	return 0;
}

void vmm_mem_free(struct vmm_mem *m)
{
	unsigned int i;

	for (i = 0; i < m->n; i++) {
		if (!m->region[i].map)
			continue;
		munmap(m->region[i].map, m->region[i].map_size);
		if (m->region[i].fd)
			close(m->region[i].fd);
	}
	*m = (struct vmm_mem){ 0 };
}

uint64_t vmm_mem_alloc_in(struct vmm_mem *m, unsigned int ri, uint64_t len,
			  uint64_t align)
{
	struct vmm_region *r = &m->region[ri];
	uint64_t at;

	if (ri >= m->n)
		return 0;
	at = (r->gpa + r->used + align - 1) / align * align - r->gpa;
	if (at > r->size || len > r->size - at)
		return 0;
	r->used = at + len;
	return r->gpa + at;
}

uint64_t vmm_mem_alloc(struct vmm_mem *m, uint64_t len, uint64_t align)
{
	unsigned int i;

	for (i = 0; i < m->n; i++) {
		uint64_t gpa = vmm_mem_alloc_in(m, i, len, align);

		if (gpa)
			return gpa;
	}
	return 0;
}

void *vmm_mem_ptr(const struct vmm_mem *m, uint64_t gpa)
{
	unsigned int i;

	for (i = 0; i < m->n; i++) {
		const struct vmm_region *r = &m->region[i];

		if (gpa >= r->gpa && gpa - r->gpa < r->size)
			return r->hva + (gpa - r->gpa);
	}
	return NULL;
}

uint64_t vmm_mem_uva(const struct vmm_mem *m, uint64_t gpa)
{
	return (uintptr_t)vmm_mem_ptr(m, gpa);
}

int vmm_set_mem_table(int dev, const struct vmm_mem *m)
{
	struct vhost_memory *t;
	unsigned int i;
	int ret;

	t = calloc(1, sizeof(*t) + m->n * sizeof(t->regions[0]));
	if (!t)
		return -ENOMEM;
	t->nregions = m->n;
	for (i = 0; i < m->n; i++)
		t->regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = m->region[i].gpa,
			.memory_size = m->region[i].size,
			.userspace_addr = (uintptr_t)m->region[i].hva,
		};
	ret = vmm_ioctl(dev, VHOST_SET_MEM_TABLE, t);
	free(t);
	return ret;
}

/* ---- the device ---- */

unsigned int vmm_hdr_len(uint64_t features)
{
	uint64_t long_hdr =
		VMM_BIT(VIRTIO_NET_F_MRG_RXBUF) | VMM_BIT(VIRTIO_F_VERSION_1);

	return features & long_hdr ? sizeof(struct virtio_net_hdr_mrg_rxbuf)
				   : sizeof(struct virtio_net_hdr);
}

static int make_memory(struct vmm *v)
{
	const struct vmm_config *c = &v->config;
	uint64_t size = c->mem_size ? c->mem_size : UINT64_C(16) << 20;

	if (c->own_mem) {
		v->mem = *c->own_mem;
		*c->own_mem = (struct vmm_mem){ 0 };
		return 0;
	}
	v->mem.files = c->transport == VMM_USER || c->transport == VMM_VDPA;
	if (c->style == VMM_DPDK || c->style == VMM_VPP)
		return vmm_mem_add(&v->mem, c->mem_kind, VMM_GPA_HVA, size);
	return vmm_mem_add_pc(&v->mem, c->mem_kind, size, size / 2);
}

static int make_ring_memory(struct vmm *v, struct vmm_queue *q, size_t bytes)
{
	void *p;

	if (v->config.rings_outside) {
		p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			return -errno;
		q->ring_mem = p;
		q->ring_map = bytes;
		return 0;
	}
	q->ring_gpa = vmm_mem_alloc(&v->mem, bytes, PAGE);
	if (!q->ring_gpa)
		return -ENOMEM;
	q->ring_mem = vmm_mem_ptr(&v->mem, q->ring_gpa);
	return 0;
}

static int make_queue(struct vmm *v, unsigned int qi)
{
	struct vmm_queue *q = &v->q[qi];
	unsigned int num = v->config.num[qi] ? v->config.num[qi] : 256;
	int ret;

	q->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	q->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	q->err = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (q->kick < 0 || q->call < 0 || q->err < 0)
		return -errno;
	ret = make_ring_memory(v, q, vmm_ring_bytes(num));
	if (ret < 0)
		return ret;
	q->ring_uva = (uintptr_t)q->ring_mem;
	ret = vmm_ring_init(&q->ring, q->ring_mem, num, v->features);
	q->base = vmm_ring_base(&q->ring);
	return ret;
}

static int open_chardev(struct vmm *v)
{
	int fd = v->config.fd;
	int ret;

	if (!fd)
		fd = open(v->config.path,
			  O_RDWR | O_CLOEXEC | v->config.open_flags);
	if (fd < 0)
		return -errno;
	ret = uvh_kernel_from_fd(fd, &v->fe);
	if (ret < 0) {
		close(fd);
		return ret;
	}
	v->fd = fd;
	return 0;
}

static int open_user(struct vmm *v)
{
	int sock, ret;

	if (v->config.socket)
		return uvh_user_connect(v->config.socket, CONNECT_MS, &v->fe);
	ret = vmm_user_new(&v->user, &sock);
	if (ret < 0)
		return ret;
	ret = uvh_user_from_socket(sock, 0, &v->fe);
	if (ret < 0)
		close(sock);
	return ret;
}

static int open_device(struct vmm *v)
{
	struct uvh_inproc_config inproc = {
		.copied = v->config.mem_kind == VMM_MEM_PRIVATE,
	};

	switch (v->config.transport) {
	case VMM_USER:
		return open_user(v);
	case VMM_INPROC:
		return uvh_inproc_new(&inproc, &v->fe);
	case VMM_VDPA:
		return uvh_vdpa_open(v->config.path, &v->fe);
	case VMM_KERNEL:
		break;
	}
	return open_chardev(v);
}

int vmm_offered(const struct vmm_config *config, uint64_t *features)
{
	struct vmm v = { .config = *config, .fd = -1 };
	int ret = open_device(&v);

	if (ret == 0)
		ret = uvh_get_features(v.fe, features);
	uvh_close(v.fe);
	vmm_user_free(v.user);
	return ret;
}

static int choose_features(struct vmm *v)
{
	uint64_t offered = 0;
	int ret = 0;

	if (v->config.wanted)
		ret = uvh_get_features(v->fe, &offered);
	v->features = v->config.features | (v->config.wanted & offered);
	v->hdr_len = vmm_hdr_len(v->features);
	return ret;
}

int vmm_new(const struct vmm_config *config, struct vmm **out)
{
	struct vmm *v = calloc(1, sizeof(*v));
	unsigned int qi;
	int ret;

	if (!v)
		return -ENOMEM;
	v->config = *config;
	v->fd = v->backend = v->log_fd = -1;
	for (qi = 0; qi < VMM_QUEUES; qi++)
		v->q[qi].kick = v->q[qi].call = v->q[qi].err = -1;

	ret = open_device(v);
	if (ret == 0)
		ret = choose_features(v);
	if (ret == 0)
		ret = make_memory(v);
	for (qi = 0; ret == 0 && qi < VMM_QUEUES; qi++)
		ret = make_queue(v, qi);
	if (ret < 0) {
		vmm_free(v);
		return ret;
	}
	*out = v;
	return 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void vmm_free(struct vmm *v)
{
	unsigned int qi;

	if (!v)
		return;
	uvh_close(v->fe);
	vmm_user_free(v->user);
	if (v->log)
		munmap(v->log, v->log_size);
	close_fd(v->log_fd);
	for (qi = 0; qi < VMM_QUEUES; qi++) {
		struct vmm_queue *q = &v->q[qi];

		vmm_ring_free(&q->ring);
		if (q->ring_map)
			munmap(q->ring_mem, q->ring_map);
		close_fd(q->kick);
		close_fd(q->call);
		close_fd(q->err);
	}
	vmm_mem_free(&v->mem);
	free(v);
}

struct vhost_vring_addr vmm_vring_addr(const struct vmm *v, unsigned int qi)
{
	const struct vmm_queue *q = &v->q[qi];
	const uint8_t *start = q->ring_mem;
	uint64_t at = q->ring_uva;

	if (v->config.transport == VMM_VDPA)
		at = q->ring_gpa;
	return (struct vhost_vring_addr){
		.index = qi,
		.desc_user_addr = at,
		.avail_user_addr =
			at + (uint64_t)((const uint8_t *)q->ring.avail - start),
		.used_user_addr =
			at + (uint64_t)((const uint8_t *)q->ring.used - start),
	};
}

/* ---- what transports do in ways of their own ---- */

int vmm_table(struct vmm *v)
{
	struct uvh_region r[VMM_REGIONS];
	unsigned int i;

	for (i = 0; i < v->mem.n; i++)
		r[i] = (struct uvh_region){
			.gpa = v->mem.region[i].gpa,
			.size = v->mem.region[i].size,
			.uva = (uintptr_t)v->mem.region[i].hva,
			.fd = v->mem.region[i].fd ? v->mem.region[i].fd : -1,
			.fd_offset = v->mem.region[i].fd_offset,
		};
	return uvh_set_mem_table(v->fe, r, v->mem.n);
}

/* The kick comes last: it starts the ring, and a ring that is not enabled then
 * drops what it finds. */
static int start_user(struct vmm *v, unsigned int qi)
{
	int ret = uvh_set_vring_base(v->fe, qi, v->q[qi].base);

	if (ret == 0)
		ret = uvh_vring_start(v->fe, qi, -1);
	return ret ? ret : uvh_set_vring_kick(v->fe, qi, v->q[qi].kick);
}

static int user_backend(struct vmm *v, unsigned int qi, int backend)
{
	v->backend = backend;
	if (backend < 0)
		return uvh_vring_stop(v->fe, qi, &v->q[qi].base);
	if (v->user)
		vmm_user_backend(v->user, backend);
	return start_user(v, qi);
}

int vmm_backend(struct vmm *v, unsigned int qi, int backend)
{
	if (v->config.transport == VMM_USER)
		return user_backend(v, qi, backend);
	if (v->config.transport == VMM_VDPA)
		return -EOPNOTSUPP;
	if (backend < 0)
		return uvh_vring_stop(v->fe, qi, NULL);
	return uvh_vring_start(v->fe, qi, backend);
}

int vmm_base(struct vmm *v, unsigned int qi, unsigned int *base)
{
	if (v->config.transport != VMM_USER || v->backend < 0)
		return uvh_get_vring_base(v->fe, qi, base);
	*base = vmm_ring_used_idx(&v->q[qi].ring);
	return 0;
}

uint8_t *vmm_log_new(struct vmm *v, size_t size)
{
	void *p = NULL;

	v->log_size = size;
	if (v->config.transport == VMM_USER) {
		v->log_fd = map_file(size, 0, NULL, &p);
	} else {
		p = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			p = NULL;
	}
	v->log = p;
	return p;
}

int vmm_log(struct vmm *v, bool on)
{
	if (!on && v->config.transport == VMM_USER)
		return 0; /* there is no message for it */
	return uvh_set_log_base(v->fe, on ? (uintptr_t)v->log : 0,
				on ? v->log_size : 0, v->log_fd, 0);
}

int vmm_iotlb(struct vmm *v, uint8_t type, uint64_t iova, uint64_t size,
	      uint64_t uva, uint8_t perm)
{
	struct vhost_iotlb_msg msg = {
		.iova = iova,
		.size = size,
		.uaddr = uva,
		.perm = perm,
		.type = type,
	};

	return uvh_iotlb_send(v->fe, &msg, 0);
}

int vmm_iotlb_next(struct vmm *v, struct vhost_iotlb_msg *msg, int ms)
{
	int64_t end = vmm_now_ms() + ms;
	int ret;

	while ((ret = uvh_iotlb_recv(v->fe, msg)) == -EAGAIN) {
		int64_t left = end - vmm_now_ms();
		struct pollfd p = { .fd = uvh_event_fd(v->fe),
				    .events = POLLIN };

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) < 0)
			return -errno;
	}
	return ret;
}

/*
 * Sequences. Each step is one call; a style is a string of steps, run for the
 * device or for each queue, so that the orders can be read side by side.
 */
enum step {
	END,
	OWNER,
	GET_FEATURES,
	FEATURES,
	BACKEND_FEATURES,
	MEM,
	NUM,
	BASE,
	ADDR,
	KICK,
	CALL,
	ERR,
};

#define STEPS 8

static const struct sequence {
	enum step init[STEPS];       /* once, before the guest runs */
	enum step init_queue[STEPS]; /* then for each queue */
	enum step start[STEPS];      /* at each start */
	enum step queue[STEPS];      /* then for each queue */
	enum step after[STEPS];      /* when the backends are set */
} sequences[] = {
	// clang-format off
	[VMM_QEMU] = {
		.init = { OWNER, GET_FEATURES },
		.init_queue = { CALL, ERR },
		.start = { FEATURES, BACKEND_FEATURES, MEM },
		.queue = { NUM, BASE, ADDR, KICK, CALL },
	},
	[VMM_DPDK] = {
		.init = { OWNER, GET_FEATURES },
		.init_queue = { CALL },
		.start = { FEATURES, MEM },
		.queue = { NUM, BASE, ADDR, KICK },
	},
	[VMM_KVMTOOL] = {
		.init = { OWNER, MEM, GET_FEATURES },
		.queue = { KICK, NUM, BASE, ADDR, CALL },
		.after = { FEATURES },
	},
	[VMM_VPP] = {
		.init = { OWNER, GET_FEATURES, FEATURES, MEM },
		.queue = { NUM, ADDR, CALL, KICK },
	},
	[VMM_CROSVM] = {
		.init = { OWNER },
		.start = { GET_FEATURES, FEATURES, MEM },
		.queue = { NUM, ADDR, BASE, CALL, KICK },
	},
	// clang-format on
};

/* In-band notifications are used if they were requested, and so are guest
 * addresses ($UVHOST_GPA): with those addresses outside of the table have no
 * name. */
static int negotiate_user(struct vmm *v)
{
	uint64_t features;
	int ret = uvh_get_protocol_features(v->fe, &features);

	if (ret < 0)
		return ret;
	features &= UVH_PROTOCOL_KNOWN &
		    ~VMM_BIT(UVH_PROTOCOL_F_INBAND_NOTIFICATIONS);
	if (!getenv("UVHOST_GPA"))
		features &= ~VMM_BIT(UVH_PROTOCOL_F_GPA_ADDRESSES);
	return uvh_set_protocol_features(v->fe, features);
}

static int take_over(struct vmm *v)
{
	int ret = uvh_set_owner(v->fe);

	if (ret == 0 && v->config.transport == VMM_USER)
		ret = negotiate_user(v);
	if (ret == 0 && v->config.transport == VMM_VDPA)
		ret = uvh_set_backend_features(
			v->fe, VMM_BACKEND_IOTLB_V2 |
				       VMM_BIT(VHOST_BACKEND_F_IOTLB_BATCH));
	return ret;
}

static int do_step(struct vmm *v, enum step step, unsigned int qi)
{
	const struct vmm_queue *q = &v->q[qi];
	struct vhost_vring_addr addr;
	uint64_t offered;

	switch (step) {
	case OWNER:
		return take_over(v);
	case GET_FEATURES:
		return uvh_get_features(v->fe, &offered);
	case FEATURES:
		/* VDUSE wants its IOTLB to be accepted. */
		return v->config.transport == VMM_VDPA
			       ? vmm_vdpa_features(
					 v->fe,
					 v->features |
						 VMM_BIT(VIRTIO_F_ACCESS_PLATFORM))
			       : uvh_set_features(v->fe, v->features);
	case BACKEND_FEATURES:
		if (!v->config.backend_features ||
		    v->config.transport == VMM_USER ||
		    v->config.transport == VMM_VDPA)
			return 0;
		return uvh_set_backend_features(v->fe,
						v->config.backend_features);
	case MEM:
		return vmm_table(v);
	case NUM:
		return uvh_set_vring_num(v->fe, qi, q->ring.num);
	case BASE:
		return uvh_set_vring_base(v->fe, qi, q->base);
	case ADDR:
		addr = vmm_vring_addr(v, qi);
		return uvh_set_vring_addr(v->fe, &addr);
	case KICK:
		/* Where it starts the ring it comes with the backend. */
		return v->config.transport == VMM_USER
			       ? 0
			       : uvh_set_vring_kick(v->fe, qi, q->kick);
	case CALL:
		return v->config.no_call
			       ? 0
			       : uvh_set_vring_call(v->fe, qi, q->call);
	case ERR:
		return uvh_set_vring_err(v->fe, qi, q->err);
	case END:
		break;
	}
	return 0;
}

static int do_steps(struct vmm *v, const enum step *steps, unsigned int qi)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; ret == 0 && i < STEPS && steps[i] != END; i++)
		ret = do_step(v, steps[i], qi);
	return ret;
}

static int do_queue_steps(struct vmm *v, const enum step *steps)
{
	int ret = do_steps(v, steps, VMM_RX);

	return ret ? ret : do_steps(v, steps, VMM_TX);
}

int vmm_init(struct vmm *v)
{
	const struct sequence *s = &sequences[v->config.style];
	int ret = do_steps(v, s->init, 0);

	return ret ? ret : do_queue_steps(v, s->init_queue);
}

int vmm_prepare(struct vmm *v)
{
	const struct sequence *s = &sequences[v->config.style];
	int ret = do_steps(v, s->start, 0);

	return ret ? ret : do_queue_steps(v, s->queue);
}

/* VDUSE cannot suspend: what stops it is a reset, which forgets where the rings
 * are. */
static int stop_vdpa(struct vmm *v)
{
	unsigned int qi;
	int ret = 0;

	for (qi = 0; ret == 0 && qi < VMM_QUEUES; qi++)
		ret = uvh_get_vring_base(v->fe, qi, &v->q[qi].base);
	return ret ? ret : uvh_reset_device(v->fe);
}

static int vdpa_backends(struct vmm *v, int backend)
{
	int ret;

	if (backend < 0)
		return stop_vdpa(v);
	ret = vmm_vdpa_port(v->config.ports, backend);
	return ret ? ret : vmm_vdpa_start(v->fe);
}

int vmm_set_backends(struct vmm *v, int backend)
{
	int ret;

	if (v->config.transport == VMM_VDPA)
		return vdpa_backends(v, backend);
	ret = vmm_backend(v, VMM_RX, backend);
	return ret ? ret : vmm_backend(v, VMM_TX, backend);
}

int vmm_start(struct vmm *v, int backend)
{
	int ret = vmm_init(v);

	/* a restart: the owner is set already */
	if (ret < 0 && ret != -EBUSY)
		return ret;
	ret = vmm_prepare(v);
	if (ret < 0)
		return ret;
	ret = vmm_set_backends(v, backend);
	if (ret < 0)
		return ret;
	return do_steps(v, sequences[v->config.style].after, 0);
}

int vmm_stop(struct vmm *v)
{
	unsigned int qi;
	int ret = vmm_set_backends(v, -1);

	if (v->config.transport == VMM_VDPA)
		return ret;
	for (qi = 0; ret == 0 && qi < VMM_QUEUES; qi++)
		ret = uvh_get_vring_base(v->fe, qi, &v->q[qi].base);
	return ret;
}

void vmm_kick(struct vmm *v, unsigned int qi)
{
	uint64_t one = 1;

	/* can only fail when 2^64 - 2 kicks are pending */
	if (write(v->q[qi].kick, &one, sizeof(one)) < 0)
		return;
}

void vmm_publish_kick(struct vmm *v, unsigned int qi)
{
	if (vmm_ring_publish(&v->q[qi].ring))
		vmm_kick(v, qi);
}

/* ---- waiting ---- */

int64_t vmm_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

uint64_t vmm_event_count(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

int vmm_wait_event(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) > 0 ? 0 : -ETIMEDOUT;
}

int vmm_wait_used(struct vmm *v, unsigned int qi, unsigned int n, int ms)
{
	struct vmm_queue *q = &v->q[qi];
	int64_t end = vmm_now_ms() + ms;

	while (vmm_ring_pending(&q->ring) < n) {
		if (vmm_now_ms() >= end)
			return -ETIMEDOUT;
		if (vmm_wait_event(q->call, 1) == 0)
			vmm_event_count(q->call);
	}
	return 0;
}

int vmm_wait_base(struct vmm *v, unsigned int qi, unsigned int base, int ms)
{
	int64_t end = vmm_now_ms() + ms;
	unsigned int now = 0;
	int ret;

	for (;;) {
		ret = vmm_base(v, qi, &now);
		/* of a packed ring, only what was taken */
		if (ret < 0 || (now & 0xffff) == (base & 0xffff))
			return ret;
		if (vmm_now_ms() >= end)
			return -ETIMEDOUT;
		poll(NULL, 0, 1);
	}
}
