/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stuck-close.so - to be preloaded: the daemon's threads that close sockets of
 * peers hang in close(2) of those that were accepted at $STUCK_CLOSE, as long
 * as that name with ".hang" behind it exists. ".stuck" says that one hangs.
 * (The name that a listener is bound to begins so.) Signals do not end it, as
 * with a file whose release the kernel waits for.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int is_marked(int fd, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNSPEC };
	socklen_t len = sizeof(addr);
	char name[17] = "";

	prctl(PR_GET_NAME, name);
	return strcmp(name, "uvhost-closer") == 0 &&
	       getsockname(fd, (struct sockaddr *)&addr, &len) == 0 &&
	       addr.sun_family == AF_UNIX &&
	       strncmp(addr.sun_path, path, strlen(path)) == 0;
}

int close(int fd)
{
	const char *path = getenv("STUCK_CLOSE");
	char hang[256], stuck[256];

	if (path && is_marked(fd, path)) {
		snprintf(hang, sizeof(hang), "%s.hang", path);
		snprintf(stuck, sizeof(stuck), "%s.stuck", path);
		syscall(SYS_close, open(stuck, O_CREAT | O_WRONLY, 0600));
		while (access(hang, F_OK) == 0)
			poll(NULL, 0, 10);
	}
	return (int)syscall(SYS_close, fd);
}
