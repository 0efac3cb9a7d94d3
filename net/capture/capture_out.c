/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * capture_out.c writes the blocks of a capture.
 *
 * The flags of stdout are shared with other processes, so O_NONBLOCK is not set
 * there. A pipe is opened again, which makes a file with flags of its own;
 * where that is not allowed no more than PIPE_BUF bytes are written at once,
 * which a pipe that polls writable accepts. A regular file never blocks.
 *
 * The calling thread blocks SIGPIPE.
 */
#include "capture_out.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "capture_file.h"
#include "clock.h"
#include "evfd.h"
#include "parse.h"
#include "pcapng.h"

#define LAST_WAIT_MS 1000

/* Opens the folder of @path, and sets @base to its last part. */
static int open_folder(struct capture_out *o, const char *path)
{
	const char *slash = strrchr(path, '/');

	o->base = strdup(slash ? slash + 1 : path);
	if (!o->base)
		return -ENOMEM;
	o->dir = capture_folder(path);
	return MIN(o->dir, 0);
}

static int file_name(const struct capture_out *o, uint64_t number,
		     char name[NAME_MAX + 1])
{
	int len = snprintf(name, NAME_MAX + 1, "%s.%" PRIu64, o->base, number);

	return len > NAME_MAX ? -ENAMETOOLONG : 0;
}

int capture_out_next(struct capture_out *o)
{
	char name[NAME_MAX + 1];
	struct stat st;
	int fd, ret;

	ret = file_name(o, o->number + 1, name);
	if (ret < 0)
		return ret;
	fd = capture_create(o->dir, name);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	if (o->fd >= 0)
		close(o->fd);
	o->fd = fd;
	o->number++;
	o->size = 0;
	o->start = 0;
	if (o->files && o->number > o->files &&
	    file_name(o, o->number - o->files, name) == 0)
		unlinkat(o->dir, name, 0);
	return 0;
}

/* The descriptor that "-", "/dev/stdout" or "/dev/fd/N" names, or -1 */
static int inherited(const char *path)
{
	static const char folder[] = "/dev/fd/";
	uint64_t n;

	if (strcmp(path, "-") == 0 || strcmp(path, "/dev/stdout") == 0)
		return STDOUT_FILENO;
	if (strncmp(path, folder, strlen(folder)) != 0)
		return -1;
	return parse_number(path + strlen(folder), 0, INT_MAX, &n) < 0 ? -1
								       : (int)n;
}

static int open_inherited(int number)
{
	char path[32];
	struct stat st;
	int fd;

	if (fstat(number, &st) < 0)
		return -errno;
	if (S_ISFIFO(st.st_mode)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", number);
		fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0)
			return fd;
	}
	fd = fcntl(number, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

static int open_one(struct capture_out *o, const char *path)
{
	int number = inherited(path), ret;

	if (number >= 0) {
		o->fd = open_inherited(number);
		return MIN(o->fd, 0);
	}
	ret = open_folder(o, path);
	if (ret < 0)
		return ret;
	/* As open(2) of a path that ends with a slash. */
	o->fd = o->base[0] ? capture_create(o->dir, o->base) : -EISDIR;
	return MIN(o->fd, 0);
}

static int inspect(struct capture_out *o)
{
	struct stat st;
	int flags = fcntl(o->fd, F_GETFL);
	off_t at;

	if (flags < 0 || fstat(o->fd, &st) < 0)
		return -errno;
	o->socket = S_ISSOCK(st.st_mode);
	o->waits = !S_ISREG(st.st_mode);
	o->chunk = flags & O_NONBLOCK || o->socket || !o->waits ? SIZE_MAX
								: PIPE_BUF;
	/* stdout may be a file with older contents. */
	at = 0;
	if (!o->waits)
		at = lseek(o->fd, 0, flags & O_APPEND ? SEEK_END : SEEK_CUR);
	if (at < 0)
		return -errno;
	o->start = (uint64_t)at;
	return 0;
}

int capture_out_open(struct capture_out *o, const char *path, bool row,
		     unsigned int files)
{
	int ret;

	memset(o, 0, sizeof(*o));
	o->fd = o->dir = o->stop = -1;
	o->files = files;
	o->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (o->stop < 0)
		return -errno;
	if (!row)
		ret = open_one(o, path);
	else if (inherited(path) >= 0)
		ret = -EINVAL;
	else
		ret = open_folder(o, path);
	if (ret == 0 && row)
		ret = capture_out_next(o);
	if (ret == 0)
		ret = inspect(o);
	if (ret < 0)
		capture_out_close(o);
	return ret;
}

int capture_out_adopt(struct capture_out *o, int fd, struct capture_mark *mark)
{
	int ret;

	memset(o, 0, sizeof(*o));
	o->dir = -1;
	o->fd = fd;
	o->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = o->stop < 0 ? -errno : inspect(o);
	if (ret < 0) {
		o->fd = -1; /* the caller's */
		capture_out_close(o);
		return ret;
	}
	o->mark = mark;
	if (!mark->used)
		return 0;
	if (!o->waits)
		o->start = mark->end;
	o->torn = mark->torn;
	return 0;
}

/* What the next process has to know if this one is ended now. */
static void set_mark(const struct capture_out *o, bool torn)
{
	struct capture_mark *m = o->mark;

	if (!m)
		return;
	m->end = o->start + o->size;
	__atomic_store_n(&m->torn, torn, __ATOMIC_RELEASE);
	__atomic_store_n(&m->used, 1, __ATOMIC_RELEASE);
}

void capture_out_close(struct capture_out *o)
{
	if (o->fd >= 0)
		close(o->fd);
	if (o->dir >= 0)
		close(o->dir);
	if (o->stop >= 0)
		close(o->stop);
	free(o->base);
	o->base = NULL;
	o->fd = o->dir = o->stop = -1;
}

void capture_out_give_up(struct capture_out *o)
{
	evfd_signal(o->stop);
}

/* Waits for a reader. Return: 0; -ECANCELED; -errno. */
static int out_wait_writable(const struct capture_out *o, int64_t *deadline)
{
	struct pollfd p[] = { { .fd = o->fd, .events = POLLOUT },
			      { .fd = o->stop, .events = POLLIN } };

	while (o->waits) {
		int left = -1;

		if (*deadline)
			left = (int)MAX(*deadline - now_ms(), 0);
		if (poll(p, *deadline ? 1 : 2, left) < 0 && errno != EINTR)
			return -errno;
		if (p[0].revents)
			break;
		if (*deadline && left == 0)
			return -ECANCELED;
		if (p[1].revents && !*deadline)
			*deadline = now_ms() + LAST_WAIT_MS;
	}
	return 0;
}

static ssize_t out_write_some(const struct capture_out *o, const uint8_t *p,
			      size_t len)
{
	len = MIN(len, o->chunk);
	if (o->socket)
		return send(o->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	return write(o->fd, p, len);
}

/* The bytes of whole blocks of @done bytes. */
static size_t whole_blocks(const uint8_t *blocks, size_t done)
{
	size_t whole = 0;

	while (whole < done && whole + pcapng_block_len(blocks + whole) <= done)
		whole += pcapng_block_len(blocks + whole);
	return whole;
}

/* Removes a part of a block at the end of the file. Return: 0, -EPIPE or
 * -errno, as capture_out_write(). */
static int capture_out_repair(struct capture_out *o)
{
	off_t end = (off_t)(o->start + o->size);

	if (!o->torn)
		return 0;
	if (o->waits)
		return -EPIPE; /* the reader has got the part */
	if (ftruncate(o->fd, end) < 0 || lseek(o->fd, end, SEEK_SET) < 0)
		return -errno;
	o->torn = false;
	return 0;
}

int capture_out_write(struct capture_out *o, const uint8_t *blocks, size_t len,
		      size_t *written)
{
	int64_t deadline = 0;
	size_t done = 0;
	int ret;

	*written = 0;
	ret = capture_out_repair(o);
	if (ret < 0)
		return ret;
	set_mark(o, true);
	while (done < len) {
		ssize_t n;

		ret = out_wait_writable(o, &deadline);
		if (ret < 0)
			break;
		n = out_write_some(o, blocks + done, len - done);
		if (n >= 0) {
			done += (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR) {
			ret = -errno;
			break;
		}
	}
	*written = whole_blocks(blocks, done);
	o->size += *written;
	o->torn = *written < done;
	if (ret < 0)
		capture_out_repair(o); /* or later */
	set_mark(o, o->torn);
	return ret < 0 ? ret : 0;
}
