/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_config.h>

#include "vmm_net.h"

#define KERNEL_UVA UINT64_C(0xffff888000000000)
#define UNMAPPED_UVA UINT64_C(0x1000)

uint64_t fixture_user_limit(void)
{
	/* the flag is shown only if the kernel uses 5-level paging */
	static uint64_t limit;
	static char line[8192];
	FILE *f;

	if (limit)
		return limit;
	limit = (UINT64_C(1) << 47) - 4096;
	f = fopen("/proc/cpuinfo", "re");
	if (!f)
		return limit;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, "flags", 5) && strstr(line, " la57"))
			limit = (UINT64_C(1) << 56) - 4096;
	fclose(f);
	return limit;
}

/* ---- descriptors ---- */

static int closed_fd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	close(fd);
	return fd;
}

static int pipe_fd(void)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -1;
	close(p[1]);
	return p[0];
}

static int detached_tap(void)
{
	struct vmm_tap_config c = { .multi_queue = true };
	struct ifreq ifr = { .ifr_flags = IFF_DETACH_QUEUE };
	char name[IFNAMSIZ];
	int fd = vmm_tap_open(&c, name);

	if (fd < 0 || ioctl(fd, TUNSETQUEUE, &ifr) < 0)
		return -1;
	return fd;
}

static int make_fd(enum fd_kind kind)
{
	switch (kind) {
	case F_EVENTFD:
		return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	case F_PIPE:
		return pipe_fd();
	case F_FILE:
		return memfd_create("conf", MFD_CLOEXEC);
	case F_ZERO:
		return open("/dev/zero", O_RDWR | O_CLOEXEC);
	case F_PATH:
		return open("/dev/zero", O_PATH | O_CLOEXEC);
	case F_UDP:
		return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	case F_RAW_INET:
		return socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
	case F_UNIX:
		return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	case F_PACKET_DGRAM:
		return socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	case F_PACKET:
		return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	case F_TUN:
		return open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	case F_TAP_DETACHED:
		return detached_tap();
	default:
		return -1;
	}
}

int fixture_fd(struct fixture *f, enum fd_kind kind)
{
	static int made[F_KINDS];

	switch (kind) {
	case F_NONE:
		return -1;
	case F_MINUS2:
		return -2;
	case F_9999:
		return 9999;
	case F_CLOSED:
		return closed_fd();
	case F_TAP:
		return f->tap;
	case F_SELF:
		return f->fd;
	default:
		break;
	}
	if (kind >= F_KINDS)
		return -1;
	if (!made[kind]) {
		made[kind] = make_fd(kind);
		if (made[kind] < 0)
			made[kind] = FIXTURE_NO_FD;
	}
	return made[kind];
}

/* ---- arguments ---- */

static void shape_region(const struct vmm *v, enum mem_shape shape,
			 struct vhost_memory_region *r, unsigned int i)
{
	const struct vmm_region *own = &v->mem.region[0];
	uint64_t limit = fixture_user_limit();

	*r = (struct vhost_memory_region){
		.guest_phys_addr = own->gpa + i * UINT64_C(0x10000000),
		.memory_size = own->size,
		.userspace_addr = (uintptr_t)own->hva,
	};
	switch (shape) {
	case M_GOOD:
		break;
	case M_SAME:
		r->guest_phys_addr = own->gpa;
		break;
	case M_OVERLAP:
		r->guest_phys_addr = own->gpa + i * 100;
		break;
	case M_SIZE0:
		r->guest_phys_addr = 0x1000;
		r->memory_size = 0;
		break;
	case M_SIZE0_AT0:
		r->guest_phys_addr = 0;
		r->memory_size = 0;
		break;
	case M_WRAP:
		r->guest_phys_addr = -(r->memory_size - 1);
		break;
	case M_TOP:
		r->guest_phys_addr = -r->memory_size;
		break;
	case M_KERNEL:
		r->userspace_addr = KERNEL_UVA;
		break;
	case M_FLAGS:
		r->flags_padding = UINT64_MAX;
		break;
	case M_ODD:
		r->guest_phys_addr += 3;
		r->userspace_addr += 1;
		r->memory_size -= 7;
		break;
	case M_LIMIT:
		r->userspace_addr = limit - r->memory_size;
		break;
	case M_PAST_LIMIT:
		r->userspace_addr = limit - r->memory_size + 1;
		break;
	case M_UVA_WRAP:
		r->userspace_addr = -(r->memory_size - 1);
		break;
	case M_UNMAPPED:
		r->userspace_addr = UNMAPPED_UVA;
		break;
	}
}

static int mem_arg(const struct vmm *v, const struct arg *arg, uint8_t *buf)
{
	struct vhost_memory *t = (struct vhost_memory *)(void *)buf;
	unsigned int room = (ARG_BYTES - sizeof(*t)) / sizeof(t->regions[0]);
	unsigned int n = arg->a < room ? (unsigned int)arg->a : room;
	unsigned int i;

	t->nregions = (uint32_t)arg->a;
	t->padding = (uint32_t)arg->c;
	for (i = 0; i < n; i++)
		shape_region(v, (enum mem_shape)arg->b, &t->regions[i], i);
	return (int)(sizeof(*t) + n * sizeof(t->regions[0]));
}

static struct vhost_vring_addr addr_arg(const struct vmm *v, unsigned int qi,
					unsigned int shape)
{
	struct vhost_vring_addr a = vmm_vring_addr(v, qi & 1);
	uint64_t all = shape & A_KERNEL     ? KERNEL_UVA
		       : shape & A_UNMAPPED ? UNMAPPED_UVA
					    : 0;

	a.index = qi;
	if (shape & (A_ZERO | A_KERNEL | A_UNMAPPED))
		a.desc_user_addr = a.avail_user_addr = a.used_user_addr = all;
	if (shape & A_AVAIL_KERNEL)
		a.avail_user_addr = KERNEL_UVA;
	if (shape & A_USED_KERNEL)
		a.used_user_addr = KERNEL_UVA;
	a.desc_user_addr += shape & A_DESC_ODD ? 1 : 0;
	a.avail_user_addr += shape & A_AVAIL_ODD ? 1 : 0;
	a.used_user_addr += shape & A_USED_PLUS2 ? 2 : 0;
	a.log_guest_addr = shape & A_LOG_TOP     ? ~UINT64_C(3)
			   : shape & A_LOG_PLUS2 ? 2
						 : 0;
	a.flags = (shape & A_LOG ? 1U << VHOST_VRING_F_LOG : 0) |
		  (shape & A_FLAG2 ? 2U : 0) |
		  (shape & A_FLAG31 ? 1U << 31 : 0);
	return a;
}

static int array_arg(const struct arg *arg, uint8_t *buf)
{
	uint64_t words[3] = { arg->a, arg->b, arg->c };
	size_t n = arg->a < 16 ? arg->a : 16;

	memcpy(buf, words, sizeof(words));
	return (int)(8 + 8 * n);
}

int fixture_arg(struct fixture *f, const struct arg *arg, uint8_t *buf)
{
	struct vhost_vring_state state = { (uint32_t)arg->a, (uint32_t)arg->b };
	struct vhost_vring_file file = { (uint32_t)arg->a, 0 };
	struct vhost_vring_addr addr;
	int fd;

	memset(buf, 0, ARG_BYTES);
	switch (arg->kind) {
	case ARG_NONE:
	case ARG_NULL:
		return 0;
	case ARG_U8:
		buf[0] = (uint8_t)arg->a;
		return 1;
	case ARG_U32:
		memcpy(buf, &state.index, 4);
		return 4;
	case ARG_U64:
		memcpy(buf, &arg->a, 8);
		return 8;
	case ARG_STATE:
		memcpy(buf, &state, sizeof(state));
		return sizeof(state);
	case ARG_FILE:
		fd = fixture_fd(f, (enum fd_kind)arg->b);
		if (fd == FIXTURE_NO_FD)
			return -ENODEV;
		file.fd = fd;
		memcpy(buf, &file, sizeof(file));
		return sizeof(file);
	case ARG_FD:
		fd = fixture_fd(f, (enum fd_kind)arg->a);
		if (fd == FIXTURE_NO_FD)
			return -ENODEV;
		memcpy(buf, &fd, sizeof(fd));
		return sizeof(fd);
	case ARG_ADDR:
		addr = addr_arg(f->v, (unsigned int)arg->a,
				(unsigned int)arg->b);
		memcpy(buf, &addr, sizeof(addr));
		return sizeof(addr);
	case ARG_MEM:
		return mem_arg(f->v, arg, buf);
	case ARG_ARRAY:
		return array_arg(arg, buf);
	}
	return -EINVAL;
}

/* ---- states ---- */

static int set_addr_shape(struct fixture *f, unsigned int shape)
{
	struct vhost_vring_addr a;
	unsigned int qi;
	int ret = 0;

	for (qi = 0; ret == 0 && qi < VMM_QUEUES; qi++) {
		a = addr_arg(f->v, qi, shape);
		ret = vmm_ioctl(f->fd, VHOST_SET_VRING_ADDR, &a);
	}
	return ret;
}

static int set_table_shape(struct fixture *f, unsigned int n,
			   enum mem_shape shape)
{
	static uint8_t buf[ARG_BYTES];
	struct arg arg = { .kind = ARG_MEM, .a = n, .b = shape };

	mem_arg(f->v, &arg, buf);
	return vmm_ioctl(f->fd, VHOST_SET_MEM_TABLE, buf);
}

/* What comes on top of the state in base_of(). */
static int finish_setup(struct fixture *f, enum setup setup)
{
	int ret;

	switch (setup) {
	case S_STOPPED:
		return vmm_stop(f->v);
	case S_RESET:
		return vmm_reset_owner(f->fd);
	case S_REOWNED:
		ret = vmm_reset_owner(f->fd);
		return ret ? ret : vmm_set_owner(f->fd);
	case S_IOTLB:
		return vmm_set_features(f->fd,
					VMM_BIT(VIRTIO_F_ACCESS_PLATFORM));
	case S_NO_RINGS:
		return set_addr_shape(f, A_ZERO);
	case S_UNMAPPED_RINGS:
		return set_addr_shape(f, A_UNMAPPED);
	case S_KERNEL_RINGS:
		return set_addr_shape(f, A_KERNEL);
	case S_KERNEL_TABLE:
		return set_table_shape(f, 1, M_KERNEL);
	case S_EMPTY_TABLE:
		return set_table_shape(f, 0, M_GOOD);
	case S_WHOLE_TABLE:
		return set_table_shape(f, 1, M_SIZE0_AT0);
	case S_LOG_TOP:
		return vmm_set_log_base(f->fd, UINT64_MAX);
	case S_LOGGING:
		ret = vmm_set_log_base(f->fd, 0);
		return ret ? ret
			   : vmm_set_features(f->fd, VMM_BIT(VHOST_F_LOG_ALL));
	default:
		return 0;
	}
}

static enum setup base_of(enum setup setup)
{
	switch (setup) {
	case S_FRESH:
	case S_OWNED:
	case S_TABLE:
	case S_READY:
	case S_ACTIVE:
		return setup;
	case S_IOTLB:
		return S_OWNED;
	case S_STOPPED:
	case S_RESET:
	case S_REOWNED:
	case S_LOG_TOP:
	case S_LOGGING:
		return S_ACTIVE;
	default:
		return S_READY;
	}
}

static int run_setup(struct fixture *f, enum setup setup)
{
	enum setup base = base_of(setup);
	int ret = 0;

	if (base == S_OWNED || base == S_TABLE)
		ret = vmm_set_owner(f->fd);
	if (ret == 0 && base == S_TABLE)
		ret = vmm_set_mem_table(f->fd, &f->v->mem);
	if (base == S_READY || base == S_ACTIVE) {
		ret = vmm_init(f->v);
		if (ret == 0)
			ret = vmm_prepare(f->v);
	}
	if (ret == 0 && base == S_ACTIVE)
		ret = vmm_set_backends(f->v, f->tap);
	return ret ? ret : finish_setup(f, setup);
}

int fixture_open(struct fixture *f, const char *path, int tap, enum setup setup)
{
	struct vmm_config c = { .path = path, .mem_size = 4U << 20 };
	int ret;

	*f = (struct fixture){ .tap = tap, .fd = -1 };
	ret = vmm_new(&c, &f->v);
	if (ret < 0)
		return ret;
	f->fd = f->v->fd;
	ret = run_setup(f, setup);
	if (ret < 0)
		fixture_close(f);
	return ret;
}

void fixture_close(struct fixture *f)
{
	vmm_free(f->v);
	f->v = NULL;
}
