/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * node.c checks the name and the node of a device. It never opens the node: the
 * open would wait for a reply of this process. If this process were killed in
 * between, it would never end, since the thread that waits (fuse:
 * request_wait_answer) keeps the channel open; and a service manager would wait
 * for its end without end.
 */
#include "node.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "bytes.h"
#include "log.h"
#include "parse.h"

#define POLL_MS 10

/* What was found last; each stage includes those before. */
enum stage {
	STAGE_SYSFS,  /* no such device in sysfs */
	STAGE_NODE,   /* no node */
	STAGE_NUMBER, /* the node has the number of another device */
	STAGE_ACCESS, /* open(2) would fail */
	STAGE_DONE,
};

struct node_wait {
	char name[80];
	char path[96];
	struct loop *loop;
	struct loop_job job;
	void (*done)(void *ctx, int result);
	void *ctx;
	pthread_t thread;
	atomic_bool cancelled;
	int result;
};

/* "a!b" becomes "/dev/a/b". */
static void node_dev_path(const char *name, char *path, size_t size)
{
	snprintf(path, size, "/dev/%s", name);
	for (char *p = path; *p; p++) {
		if (*p == '!')
			*p = '/';
	}
}

static void sysfs_path(const char *name, const char *file, char *path,
		       size_t size)
{
	snprintf(path, size, "/sys/class/cuse/%s%s", name, file);
}

int node_check_free(const char *name)
{
	char path[160];
	struct stat st;

	sysfs_path(name, "", path, sizeof(path));
	if (lstat(path, &st) == 0) {
		log_err(NULL,
			"device '%s' exists already (%s): is another uvhostd "
			"running? Choose another name with --dev",
			name, path);
		return -EEXIST;
	}
	node_dev_path(name, path, sizeof(path));
	if (lstat(path, &st) < 0)
		return 0;
	if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(10, 238))
		log_err(NULL,
			"%s is the node of the kernel's vhost_net (10:238) and "
			"would hide ours. Choose another name with --dev, or "
			"see --takeover",
			path);
	else
		log_err(NULL,
			"%s exists already and would hide ours. Choose another "
			"name with --dev, or remove it",
			path);
	return -EEXIST;
}

/* Reads the device's number from sysfs: "246:0". */
static bool sysfs_number(const char *name, dev_t *dev)
{
	char path[160], line[32];
	const char *at = line;
	uint64_t ma, mi;
	bool ok;
	FILE *f;

	sysfs_path(name, "/dev", path, sizeof(path));
	f = fopen(path, "re");
	if (!f)
		return false;
	ok = fgets(line, sizeof(line), f);
	fclose(f);
	if (!ok || parse_digits(&at, 10, &ma) < 0 || *at != ':')
		return false;
	at++;
	if (parse_digits(&at, 10, &mi) < 0)
		return false;
	*dev = makedev(ma, mi);
	return true;
}

static enum stage find_stage(const struct node_wait *w, dev_t *dev)
{
	struct stat st;

	if (!sysfs_number(w->name, dev))
		return STAGE_SYSFS;
	if (stat(w->path, &st) < 0)
		return STAGE_NODE;
	if (!S_ISCHR(st.st_mode) || st.st_rdev != *dev)
		return STAGE_NUMBER;
	/* Checks what open(2) checks, the cgroup device controller too. */
	if (faccessat(AT_FDCWD, w->path, R_OK | W_OK, AT_EACCESS) < 0)
		return STAGE_ACCESS;
	return STAGE_DONE;
}

/* Logs why the node was not usable in time. */
static int explain_stage(const struct node_wait *w, enum stage stage, dev_t dev,
			 int err)
{
	unsigned int ma = major(dev), mi = minor(dev);

	switch (stage) {
	case STAGE_SYSFS:
		log_err(NULL,
			"device '%s' does not appear in /sys/class/cuse; "
			"see the kernel log (dmesg), and is /sys mounted?",
			w->name);
		return -ENODEV;
	case STAGE_NODE:
		log_err(NULL,
			"%s does not appear: /dev is not a devtmpfs (in a "
			"container?). mknod %s c %u %u makes it; see "
			"--dev-major for a number that stays",
			w->path, w->path, ma, mi);
		return -ENOENT;
	case STAGE_NUMBER:
		log_err(NULL,
			"%s is not our device %u:%u: a node that was there "
			"before hides it. Remove it, or choose another name "
			"with --dev",
			w->path, ma, mi);
		return -EEXIST;
	case STAGE_ACCESS:
		if (err == EACCES || err == EPERM) {
			log_warn(NULL,
				 "%s cannot be opened by ourselves (user %u): "
				 "has udev given it to a group? See "
				 "60-uvhostd.rules",
				 w->path, getuid());
			return 0;
		}
		log_err(NULL, "%s cannot be opened: %s", w->path,
			strerror(err));
		return -err;
	case STAGE_DONE:
		break;
	}
	return 0;
}

static void *wait_thread(void *arg)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
	struct node_wait *w = arg;
	enum stage stage = STAGE_SYSFS;
	dev_t dev = 0;
	int err = 0;

	for (int ms = 0; ms < NODE_WAIT_MS; ms += POLL_MS) {
		stage = find_stage(w, &dev);
		err = errno;
		if (stage == STAGE_DONE || atomic_load(&w->cancelled))
			break;
		nanosleep(&pause, NULL);
	}
	if (atomic_load(&w->cancelled))
		w->result = -ECANCELED;
	else
		w->result = explain_stage(w, stage, dev, err);
	loop_post(w->loop, &w->job);
	return NULL;
}

static void wait_done(void *arg)
{
	struct node_wait *w = arg;

	w->done(w->ctx, w->result);
}

int node_wait_start(const char *name, struct loop *loop,
		    void (*done)(void *ctx, int result), void *ctx,
		    struct node_wait **out)
{
	struct node_wait *w;
	int ret;

	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	snprintf(w->name, sizeof(w->name), "%s", name);
	node_dev_path(name, w->path, sizeof(w->path));
	w->loop = loop;
	w->job = (struct loop_job){ .fn = wait_done, .arg = w };
	w->done = done;
	w->ctx = ctx;
	ret = pthread_create(&w->thread, NULL, wait_thread, w);
	if (ret != 0) {
		free(w);
		return -ret;
	}
	*out = w;
	return 0;
}

void node_wait_cancel(struct node_wait *w)
{
	atomic_store(&w->cancelled, true);
}

void node_wait_free(struct node_wait *w)
{
	pthread_join(w->thread, NULL);
	free(w);
}
