/* SPDX-License-Identifier: BSD-3-Clause */
/* captured.c reads files of captured/. */
#include "captured.h"

#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"

const char *const captured_files[] = {
	"qemu-blk",     "qemu-net",    "qemu-in",  "qemu-dpdk",   "qemu-iommu",
	"dpdk-uvhostd", "dpdk-dpdk",   "rust-vmm", "rust-vmm-32", "fe-dpdk",
	"fe-qsd",       "fe-rust-vmm", NULL,
};

static void parse(struct captured *c, const char *line, const char *file)
{
	uint8_t *at[2] = { (uint8_t *)&c->m.hdr, c->m.payload.bytes };
	size_t room[2] = { sizeof(c->m.hdr), sizeof(c->m.payload) };
	size_t n = 0;
	int skip = 0;

	if (sscanf(line, "%c %u %n", &c->way, &c->nfds, &skip) < 2 ||
	    !strchr("FBbf", c->way) || c->nfds > VU_FDS)
		fail_msg("%s: %s", file, line);
	for (const char *p = line + skip; *p > ' '; p += 2, n++) {
		unsigned int part = n >= room[0], byte;
		size_t i = part ? n - room[0] : n;

		if (sscanf(p, "%2x", &byte) != 1 || i >= room[part])
			fail_msg("%s: %s", file, line);
		at[part][i] = (uint8_t)byte;
	}
	assert_int_equal(n, sizeof(c->m.hdr) + c->m.hdr.size);
}

struct captured_file captured_load(const char *name)
{
	struct captured_file f = { .n = 0 };
	char path[256], *line = NULL;
	size_t size = 0;
	FILE *in;

	snprintf(f.name, sizeof(f.name), "%s", name);
	snprintf(path, sizeof(path), CAPTURED "%s.txt", name);
	in = fopen(path, "re");
	if (!in)
		fail_msg("%s: %s", path, strerror(errno));
	while (getline(&line, &size, in) >= 0) {
		if (line[0] == '#')
			continue;
		f.msg = realloc(f.msg, (f.n + 1) * sizeof(*f.msg));
		assert_non_null(f.msg);
		memset(&f.msg[f.n], 0, sizeof(*f.msg));
		parse(&f.msg[f.n++], line, path);
	}
	free(line);
	fclose(in);
	assert_true(f.n > 0);
	return f;
}

void captured_free(struct captured_file *f)
{
	free(f->msg);
	f->msg = NULL;
}

static int file_of(uint64_t size)
{
	int fd = check_ok(memfd_create("captured", MFD_CLOEXEC));

	check_ret(ftruncate(fd, (off_t)size), 0);
	return fd;
}

/* A pipe that has a reader and a writer in one descriptor. */
static int pipe_of_one(void)
{
	char path[32];
	int ends[2], fd;

	check_ret(pipe2(ends, O_CLOEXEC), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
	fd = check_ok(open(path, O_RDWR | O_CLOEXEC));
	close(ends[0]);
	close(ends[1]);
	return fd;
}

unsigned int captured_fds(const struct captured *c, int *fds)
{
	const union vu_payload *p = &c->m.payload;
	const struct vu_mem_region *r = p->memory.regions;

	for (unsigned int i = 0; i < c->nfds; i++) {
		switch (c->m.hdr.request) {
		case VHOST_USER_SET_MEM_TABLE:
			fds[i] = file_of(r[i].mmap_offset + r[i].memory_size);
			break;
		case VHOST_USER_ADD_MEM_REG:
			r = &p->region.region;
			fds[i] = file_of(r->mmap_offset + r->memory_size);
			break;
		case VHOST_USER_SET_LOG_BASE:
			fds[i] = file_of(p->log.mmap_offset + p->log.mmap_size);
			break;
		case VHOST_USER_SET_INFLIGHT_FD:
			fds[i] = file_of(UINT64_C(1) << 20);
			break;
		case VHOST_USER_SET_BACKEND_REQ_FD:
			fds[i] = check_ok(
				socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
			break;
		case VHOST_USER_SET_DEVICE_STATE_FD:
			fds[i] = pipe_of_one();
			break;
		default:
			fds[i] = check_ok(eventfd(0, EFD_CLOEXEC));
			break;
		}
	}
	return c->nfds;
}

const struct captured *captured_reply(const struct captured_file *f,
				      unsigned int i)
{
	for (unsigned int k = i + 1; k < f->n && f->msg[k].way != 'F'; k++)
		if (f->msg[k].way == 'B' &&
		    f->msg[k].m.hdr.request == f->msg[i].m.hdr.request)
			return &f->msg[k];
	return NULL;
}
