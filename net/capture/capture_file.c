/* SPDX-License-Identifier: BSD-3-Clause */
/* capture_file.c opens the files of captures, safely in folders of other users.
 */
#include "capture_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as many as the kernel follows */
#define FILE_MODE 0600

/**
 * struct walk - resolves a path, folder by folder
 * @at:    the current folder, O_PATH
 * @rest:  of the path, from there
 * @links: number of links followed
 */
struct walk {
	int at;
	char rest[PATH_MAX];
	unsigned int links;
};

/* Whether a user other than root and the process's may write to the folder. */
static bool others_may_write(int folder)
{
	struct stat st;

	return fstat(folder, &st) < 0 ||
	       (st.st_uid != 0 && st.st_uid != geteuid()) ||
	       st.st_mode & (S_IWGRP | S_IWOTH);
}

static int go_to(struct walk *w, int fd)
{
	if (fd < 0)
		return -errno;
	if (w->at >= 0)
		close(w->at);
	w->at = fd;
	return 0;
}

static int walk_begin(struct walk *w)
{
	return go_to(w, open(w->rest[0] == '/' ? "/" : ".",
			     O_PATH | O_DIRECTORY | O_CLOEXEC));
}

/* Puts the target of @link, a descriptor of a symbolic link, before the rest.
 */
static int follow(struct walk *w, int link)
{
	char path[PATH_MAX];
	ssize_t n;
	size_t len = strlen(w->rest);

	if (++w->links > LINKS_MAX || others_may_write(w->at))
		return -ELOOP;
	n = readlinkat(link, "", path, sizeof(path));
	if (n < 0)
		return -errno;
	if ((size_t)n + 1 + len >= sizeof(w->rest))
		return -ENAMETOOLONG;
	memmove(w->rest + n + 1, w->rest, len + 1);
	memcpy(w->rest, path, (size_t)n);
	w->rest[n] = '/';
	return w->rest[0] == '/' ? walk_begin(w) : 0;
}

/* Resolves the first part of the rest of the path. */
static int walk_step(struct walk *w)
{
	char name[NAME_MAX + 1];
	size_t skip = strspn(w->rest, "/");
	size_t len = strcspn(w->rest + skip, "/");
	struct stat st;
	int fd, ret;

	if (len > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(name, w->rest + skip, len);
	name[len] = '\0';
	memmove(w->rest, w->rest + skip + len,
		strlen(w->rest + skip + len) + 1);
	if (!len)
		return 0;
	fd = openat(w->at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		ret = -errno;
	else if (S_ISLNK(st.st_mode))
		ret = follow(w, fd);
	else if (S_ISDIR(st.st_mode))
		return go_to(w, fd);
	else
		ret = -ENOTDIR;
	close(fd);
	return ret;
}

int capture_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	struct walk w = { .at = -1 };
	size_t len = slash ? (size_t)(slash - path) + 1 : 0;
	int ret;

	if (len >= sizeof(w.rest))
		return -ENAMETOOLONG;
	memcpy(w.rest, path, len);
	ret = walk_begin(&w);
	while (ret == 0 && w.rest[0])
		ret = walk_step(&w);
	if (ret == 0)
		return w.at;
	if (w.at >= 0)
		close(w.at);
	return ret;
}

static int check_fifo(int folder, const struct stat *st)
{
	struct stat dir;

	if (!others_may_write(folder) || st->st_uid == geteuid() ||
	    st->st_uid == 0)
		return 0;
	if (fstat(folder, &dir) < 0)
		return -errno;
	return st->st_uid == dir.st_uid ? 0 : -EPERM;
}

/* Checks a file that existed before. Return: 0 if it may be written to. */
static int check_old(int folder, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		if (st.st_uid != geteuid())
			return -EPERM;
		if (st.st_nlink > 1)
			return -EMLINK;
		return ftruncate(fd, 0) < 0 ? -errno : 0;
	case S_IFIFO:
		return check_fifo(folder, &st);
	case S_IFCHR:
		return 0;
	default:
		return -EINVAL;
	}
}

int capture_create(int folder, const char *name)
{
	const int flags = O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	int fd, ret;

	fd = openat(folder, name, flags | O_CREAT | O_EXCL, FILE_MODE);
	if (fd >= 0)
		return fd;
	if (errno != EEXIST)
		return -errno;
	fd = openat(folder, name, flags | O_NOCTTY);
	if (fd < 0)
		return -errno;
	ret = check_old(folder, fd);
	if (ret < 0) {
		close(fd);
		return ret;
	}
	return fd;
}
