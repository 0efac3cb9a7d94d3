/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devmem.c keeps the cursors of the rings and the IOTLB of one device in memory
 * that outlives the process.
 *
 * Layout of the memfd: a page (struct devmem_area), two lists of IOTLB messages
 * (struct iotlb_row), and the memory of the rings. One list is valid. When it
 * is full, a shorter one is written to the other place.
 */
#include "devmem.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/mman.h>

#include "bytes.h"
#include "fd.h"

#define MAGIC UINT64_C(0x316d656d7675) /* "uvmem1" */
#define PAGE ((size_t)4096)

/* The first page. */
struct devmem_area {
	uint64_t magic;
	uint32_t row; /* 0 or 1: the valid list */
};

/* @n is stored after the messages that it counts. */
struct iotlb_row {
	uint32_t n;
	struct vhost_iotlb_msg msg[DEVMEM_IOTLB_MAX];
};

#define ROUND_UP(n) (((n) + PAGE - 1) & ~(PAGE - 1))
#define ROW_SIZE ROUND_UP(sizeof(struct iotlb_row))
#define RINGS_AT (PAGE + 2 * ROW_SIZE)

struct devmem {
	int fd;
	unsigned int row; /* bit 0: the list that gets messages */
	uint8_t *mem;
	size_t size;
};

static struct devmem_area *head_of(const struct devmem *m)
{
	return (void *)m->mem;
}

static struct iotlb_row *row_at(const struct devmem *m, unsigned int i)
{
	return (void *)(m->mem + PAGE + (i & 1) * ROW_SIZE);
}

/* Maps @fd, and owns it on success. */
static int wrap(int fd, size_t size, struct devmem **out)
{
	struct devmem *m = calloc(1, sizeof(*m));
	void *mem;

	if (!m)
		return -ENOMEM;
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (mem == MAP_FAILED) {
		free(m);
		return -ENOMEM;
	}
	m->fd = fd;
	m->size = size;
	m->mem = mem;
	*out = m;
	return 0;
}

int devmem_new(size_t ring_bytes, struct devmem **out)
{
	size_t size = RINGS_AT + ROUND_UP(ring_bytes);
	int fd = fd_memory("uvhost-device", size);
	int ret;

	if (fd < 0)
		return fd;
	ret = wrap(fd, size, out);
	if (ret < 0)
		close(fd);
	else
		head_of(*out)->magic = MAGIC;
	return ret;
}

int devmem_adopt(int fd, size_t ring_bytes, struct devmem **out)
{
	size_t size = RINGS_AT + ROUND_UP(ring_bytes);
	struct devmem *m;
	int ret;

	if (!fd_is_memory(fd, size))
		return -EBADMSG;
	ret = wrap(fd, size, &m);
	if (ret < 0)
		return ret;
	if (head_of(m)->magic != MAGIC) {
		m->fd = -1;
		devmem_free(m);
		return -EBADMSG;
	}
	m->row = head_of(m)->row & 1;
	*out = m;
	return 0;
}

void devmem_free(struct devmem *m)
{
	if (!m)
		return;
	munmap(m->mem, m->size);
	if (m->fd >= 0)
		close(m->fd);
	free(m);
}

int devmem_fd(const struct devmem *m)
{
	return m->fd;
}

void *devmem_rings(const struct devmem *m)
{
	return m->mem + RINGS_AT;
}

/* ---- the IOTLB ---- */

static void row_set(struct iotlb_row *row, uint32_t n)
{
	__atomic_store_n(&row->n, n, __ATOMIC_RELEASE);
}

bool devmem_iotlb_add(struct devmem *m, const struct vhost_iotlb_msg *msg)
{
	struct iotlb_row *row = row_at(m, m->row);
	uint32_t n = __atomic_load_n(&row->n, __ATOMIC_ACQUIRE);

	if (n >= DEVMEM_IOTLB_MAX)
		return false;
	row->msg[n] = *msg;
	row_set(row, n + 1);
	return true;
}

void devmem_iotlb_clear(struct devmem *m)
{
	row_set(row_at(m, m->row), 0);
}

void devmem_iotlb_begin(struct devmem *m)
{
	row_set(row_at(m, ++m->row), 0);
}

void devmem_iotlb_end(struct devmem *m)
{
	__atomic_store_n(&head_of(m)->row, m->row & 1, __ATOMIC_RELEASE);
}

void devmem_iotlb_abort(struct devmem *m)
{
	m->row--;
}

unsigned int devmem_iotlb_get(const struct devmem *m,
			      const struct vhost_iotlb_msg **msg)
{
	struct iotlb_row *row = row_at(m, m->row);
	uint32_t n = __atomic_load_n(&row->n, __ATOMIC_ACQUIRE);

	*msg = row->msg;
	return MIN(n, DEVMEM_IOTLB_MAX);
}
