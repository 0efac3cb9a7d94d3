/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cusehost_peer.c reads and writes the client's memory and takes its
 * descriptors, as the kernel's CUSE does.
 *
 * All access is by the thread id of the notification, which is valid while that
 * thread waits for the answer; after it was killed, another thread may have
 * that id, so a result may only be used to answer that notification. Nothing is
 * cached: between two calls the client may have closed, duplicated, mapped or
 * executed anything.
 */
#include "cusehost.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH 64

/* process_vm_readv/writev stop at the first bad page but may count whole
 * elements only, so that an element never spans two pages. */
static size_t peer_copy(pid_t tid, uint64_t uva, void *buf, size_t len,
			bool to_peer)
{
	struct iovec remote[BATCH];
	size_t done = 0;

	while (done < len) {
		struct iovec local = { (char *)buf + done, 0 };
		unsigned int n = 0;
		ssize_t ret;

		while (n < BATCH && done + local.iov_len < len) {
			uint64_t at = uva + done + local.iov_len;
			size_t piece = CH_PAGE - at % CH_PAGE;

			if (piece > len - done - local.iov_len)
				piece = len - done - local.iov_len;
			if (at < uva)
				break;
			remote[n].iov_base = (void *)(uintptr_t)at;
			remote[n].iov_len = piece;
			local.iov_len += piece;
			n++;
		}
		if (n == 0)
			break;
		ret = to_peer ? process_vm_writev(tid, &local, 1, remote, n, 0)
			      : process_vm_readv(tid, &local, 1, remote, n, 0);
		if (ret <= 0)
			break;
		done += (size_t)ret;
		if ((size_t)ret < local.iov_len)
			break;
	}
	return done;
}

size_t peer_read(pid_t tid, uint64_t uva, void *buf, size_t len)
{
	return peer_copy(tid, uva, buf, len, false);
}

size_t peer_write(pid_t tid, uint64_t uva, const void *buf, size_t len)
{
	return peer_copy(tid, uva, (void *)(uintptr_t)buf, len, true);
}

/* The number after @key in @text, 0 if there is none. */
static uint64_t text_number(const char *text, const char *key, int base)
{
	const char *at = strstr(text, key);

	return at ? strtoull(at + strlen(key), NULL, base) : 0;
}

/* The kernel pins a read's pages before it sends the request, so that a bad
 * buffer costs no message. Writability cannot be probed without writing. */
size_t peer_writable(pid_t tid, uint64_t uva, size_t len)
{
	char name[64];
	char line[512];
	uint64_t at = uva;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/maps", (int)tid);
	f = fopen(name, "re");
	if (!f)
		return 0;
	while (at - uva < len && fgets(line, sizeof(line), f)) {
		size_t got = strlen(line);
		char *rest;
		uint64_t start = strtoull(line, &rest, 16);
		uint64_t end = *rest ? strtoull(rest + 1, &rest, 16) : 0;

		/* "start-end rwxp ..." */
		if (start > at ||
		    (end > at && (strlen(rest) < 3 || rest[2] != 'w')))
			break;
		if (end > at)
			at = end;
		/* a long file name: skip the rest of its line */
		while (got && line[got - 1] != '\n' &&
		       fgets(line, sizeof(line), f))
			got = strlen(line);
	}
	fclose(f);
	return at - uva < len ? (size_t)(at - uva) : len;
}

/* The link's text is made by the kernel without asking any filesystem: safe on
 * a descriptor of a hung network mount, and cheap. */
bool peer_fd_pipe(pid_t tid, int fd, ino_t *ino)
{
	static const char kind[] = "pipe:[";
	char name[64], text[64];
	ssize_t len;

	snprintf(name, sizeof(name), "/proc/%d/fd/%d", (int)tid, fd);
	len = readlink(name, text, sizeof(text) - 1);
	if (len <= 0)
		return false;
	text[len] = '\0';
	if (strncmp(text, kind, sizeof(kind) - 1) != 0)
		return false;
	*ino = (ino_t)text_number(text, kind, 10);
	return true;
}

/* A small file of /proc, whole; -errno or the length. */
static ssize_t proc_read(const char *name, char *buf, size_t size)
{
	ssize_t len;
	int fd;

	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	len = read(fd, buf, size - 1);
	if (len < 0)
		len = -errno;
	else
		buf[len] = '\0';
	close(fd);
	return len;
}

int peer_fd_flags(pid_t tid, int fd)
{
	char name[64], text[512];

	snprintf(name, sizeof(name), "/proc/%d/fdinfo/%d", (int)tid, fd);
	if (proc_read(name, text, sizeof(text)) <= 0)
		return -EBADF;
	return (int)text_number(text, "flags:", 8);
}

/* The fourth of "Uid: real effective saved filesystem" */
static uint32_t status_fs_id(const char *text, const char *key)
{
	const char *at = strstr(text, key);
	char *end;

	if (!at)
		return 0;
	end = (char *)(uintptr_t)at + strlen(key);
	for (int i = 0; i < 3; i++)
		strtoul(end, &end, 10);
	return (uint32_t)strtoul(end, NULL, 10);
}

bool peer_caller(pid_t tid, struct caller *out)
{
	char name[64], text[4096];

	snprintf(name, sizeof(name), "/proc/%d/status", (int)tid);
	if (proc_read(name, text, sizeof(text)) <= 0)
		return false;
	out->tid = tid;
	out->tgid = (pid_t)text_number(text, "\nTgid:", 10);
	out->uid = status_fs_id(text, "\nUid:");
	out->gid = status_fs_id(text, "\nGid:");
	return true;
}

/* Whether the kernel would say signal_pending() of it. A signal sent to the
 * whole process may be meant for another thread, but then it does not stay
 * pending: that thread takes it. */
bool peer_signal_pending(pid_t tid)
{
	char name[64], text[4096];
	uint64_t pending;

	snprintf(name, sizeof(name), "/proc/%d/status", (int)tid);
	if (proc_read(name, text, sizeof(text)) <= 0)
		return false;
	pending = text_number(text, "\nSigPnd:", 16) |
		  text_number(text, "\nShdPnd:", 16);
	return pending & ~text_number(text, "\nSigBlk:", 16) &
	       ~text_number(text, "\nSigIgn:", 16);
}

/* By the text alone: symbolic links are not followed. */
static bool path_normalise(char *path)
{
	char *out = path;
	const char *at = path;

	if (*at != '/')
		return false;
	while (*at) {
		size_t len;

		while (*at == '/')
			at++;
		len = strcspn(at, "/");
		if (len == 2 && at[0] == '.' && at[1] == '.') {
			while (out > path && *--out != '/')
				;
		} else if (len && !(len == 1 && at[0] == '.')) {
			*out++ = '/';
			memmove(out, at, len);
			out += len;
		}
		at += len;
	}
	*out = '\0';
	return true;
}

bool peer_path(pid_t tid, int dirfd, uint64_t uva, char out[PATH_MAX],
	       bool (*wanted)(const struct host *h, const char *last),
	       const struct host *h)
{
	char name[PATH_MAX], proc[64];
	const char *last;
	size_t len;
	ssize_t dir_len;

	len = peer_read(tid, uva, name, sizeof(name));
	if (!memchr(name, '\0', len))
		return false;
	last = strrchr(name, '/');
	if (!wanted(h, last ? last + 1 : name))
		return false;
	if (name[0] == '/') {
		memcpy(out, name, strlen(name) + 1);
		return path_normalise(out);
	}
	if (dirfd == AT_FDCWD)
		snprintf(proc, sizeof(proc), "/proc/%d/cwd", (int)tid);
	else
		snprintf(proc, sizeof(proc), "/proc/%d/fd/%d", (int)tid, dirfd);
	dir_len = readlink(proc, out, PATH_MAX);
	if (dir_len <= 0 || (size_t)dir_len + 1 + strlen(name) >= PATH_MAX)
		return false;
	out[dir_len] = '/';
	memcpy(out + dir_len + 1, name, strlen(name) + 1);
	return path_normalise(out);
}
