/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * taker.c takes descriptors of callers in child processes: takers.
 *
 * A caller may pass any file, and share memory of any file. The close(2) of
 * some waits without end: FUSE asks the file's server at the close of each
 * copy, and at the last close of a CUSE device. So may other calls, fstatfs(2)
 * for instance. A process that is killed meanwhile does not end, with all that
 * it has open. So this process never has such a file: a taker takes the
 * descriptor, sees what it is, and passes on what is of use.
 */
#ifndef TAKER_H
#define TAKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/** enum taker_kind - what a descriptor has to be */
enum taker_kind {
	TAKER_EVENTFD,
	TAKER_NETPORT, /* tun, macvtap, raw packet socket: netport_from_fd() */
	TAKER_FILE, /* the regular file @ino of @dev, for reading and writing */
	TAKER_MAPPED, /* that file, mapped at @start...@end: O_PATH */
	/* No descriptor: @end bytes at @start of @tid are faulted in. */
	TAKER_FAULT_IN_READ,
	TAKER_FAULT_IN_WRITE,
};

/**
 * struct taker_order - the descriptor that is wanted
 * @tid:    the calling thread, which waits for us
 * @table:  the process or thread whose descriptor table @tid uses
 * @number: the descriptor, not below 0; of TAKER_MAPPED 0
 * @dev, @ino: of a file
 * @start, @end: a VMA, as in /proc/PID/maps; see TAKER_FAULT_IN_*
 * @uid:    the user that the caller counts for
 * @owner:  the process that owns the device
 * @given_up: true: the caller does not wait any more; asked now and then, may
 *            be NULL
 */
struct taker_order {
	pid_t tid;
	pid_t table;
	int number;
	enum taker_kind kind;
	dev_t dev;
	ino_t ino;
	uint64_t start, end;
	uid_t uid;
	pid_t owner;
	bool (*given_up)(void *ctx);
	void *ctx;
};

/**
 * taker_take() - duplicate a caller's descriptor
 * @fd: on success the caller's to close, close-on-exec. If the descriptor is
 *      neither an eventfd nor a network device, as @kind wants: a descriptor of
 *      /dev/null in its place
 *
 * Any thread. Waits until the taker has answered, or @given_up says so. It may
 * start a process, and the spawner (spawner.h).
 * Return: 0; -EBADF (there is no such descriptor, or an O_PATH one); -ESRCH
 * (@table names no process); -EPERM; -EMFILE, -ENFILE, -ENOMEM, -EAGAIN;
 * -ECANCELED (given up). Of files also -EINVAL (it is not that file, or not
 * open for both); -EOPNOTSUPP (on a file system whose server may not answer:
 * all but tmpfs, hugetlbfs and some of local disks); -errno of
 * /proc/PID/map_files. Of TAKER_FAULT_IN_*: 0, also if there is no such memory;
 * -EAGAIN, -ENOMEM, -EMFILE (there is no taker); -ECANCELED.
 */
int taker_take(const struct taker_order *o, int *fd);

/** taker_hold(), taker_release() - there is one more owner; one less: with the
 * last one the takers end, so that an idle daemon has none. Any thread */
void taker_hold(void);
void taker_release(void);

/** taker_finish() - end all takers, when no order is being carried out. A taker
 * that is waiting in close(2) is left behind */
void taker_finish(void);

#endif
