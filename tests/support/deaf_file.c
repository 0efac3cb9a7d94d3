/* SPDX-License-Identifier: BSD-3-Clause */
#include "deaf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/stat.h>

static void reply(int fd, const struct fuse_in_header *in, int error,
		  const void *data, size_t len)
{
	char buf[512];
	struct fuse_out_header out = {
		.len = (uint32_t)(sizeof(out) + len),
		.error = error,
		.unique = in->unique,
	};

	memcpy(buf, &out, sizeof(out));
	if (len)
		memcpy(buf + sizeof(out), data, len);
	if (write(fd, buf, out.len) < 0)
		return; /* the request was aborted */
}

static struct fuse_attr attr_of(uint64_t node, uint64_t size)
{
	return (struct fuse_attr){
		.ino = node,
		.size = node == 1 ? 0 : size,
		.mode = node == 1 ? S_IFDIR | 0755 : S_IFREG | 0600,
		.nlink = 1,
	};
}

static void reply_init(int fd, const struct fuse_in_header *in)
{
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_write = 4096,
	};

	reply(fd, in, 0, &out, sizeof(out));
}

static void serve_one(const struct deaf_file *file, int fd,
		      const struct fuse_in_header *in)
{
	const struct fuse_read_in *read_in = (const void *)(in + 1);
	struct fuse_entry_out entry = { .nodeid = 2,
					.entry_valid = 1000,
					.attr_valid = 1000,
					.attr = attr_of(2, file->size) };
	struct fuse_attr_out attr = { .attr_valid = 1000,
				      .attr = attr_of(in->nodeid, file->size) };
	struct fuse_open_out open_out = { .fh = 1 };
	struct fuse_statfs_out statfs = { .st.bsize = 4096 };

	switch (in->opcode) {
	case FUSE_INIT:
		reply_init(fd, in);
		break;
	case FUSE_LOOKUP:
		reply(fd, in, 0, &entry, sizeof(entry));
		break;
	case FUSE_GETATTR:
		reply(fd, in, 0, &attr, sizeof(attr));
		break;
	case FUSE_OPEN:
		reply(fd, in, 0, &open_out, sizeof(open_out));
		break;
	case FUSE_STATFS:
		reply(fd, in, 0, &statfs, sizeof(statfs));
		break;
	case FUSE_READ:
		if (file->reads)
			file->reads(read_in->offset);
		break; /* never answered */
	case FUSE_FLUSH:
		if (!file->no_flush)
			reply(fd, in, 0, NULL, 0);
		break;
	case FUSE_RELEASE:
		reply(fd, in, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		reply(fd, in, -ENOSYS, NULL, 0);
	}
}

static _Noreturn void serve(const struct deaf_file *file, int fd)
{
	static char buf[FUSE_MIN_READ_BUFFER * 4] __attribute__((aligned(8)));

	alarm(file->life_s);
	for (;;) {
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n < (ssize_t)sizeof(struct fuse_in_header)) {
			if (errno == EINTR)
				continue;
			_exit(0);
		}
		serve_one(file, fd, (const void *)buf);
	}
}

static int mount_fuse(const char *dir, int fd)
{
	char options[80];

	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (mount("deaf", dir, "fuse.deaf", MS_NOSUID | MS_NODEV, options) < 0)
		return -errno;
	return 0;
}

int deaf_file_open(const struct deaf_file *file, pid_t *server)
{
	char dir[] = "/tmp/deafXXXXXX", path[64];
	int fd, ret, opened;

	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    !mkdtemp(dir)) {
		ret = -errno;
		close(fd);
		return ret;
	}
	ret = mount_fuse(dir, fd);
	if (ret == 0) {
		*server = fork();
		if (*server == 0)
			serve(file, fd);
		snprintf(path, sizeof(path), "%s/file", dir);
		opened = open(path, O_RDWR | O_CLOEXEC);
		ret = opened < 0 ? -errno : opened;
		umount2(dir, MNT_DETACH);
	}
	close(fd);
	rmdir(dir);
	return ret;
}
