/* SPDX-License-Identifier: BSD-3-Clause */
#include "caller.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <linux/vhost.h>

#include "fdmsg.h"

#define EXEC_WORD "--make-ioctl"
#define ARG_MAX_BYTES 4096

int caller_self(int fd, unsigned long cmd, const void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? -errno : 0;
}

struct call {
	int fd;
	unsigned long cmd;
	const void *arg;
	int ret;
};

static void *thread_main(void *opaque)
{
	struct call *c = opaque;

	c->ret = caller_self(c->fd, c->cmd, c->arg);
	return NULL;
}

int caller_thread(int fd, unsigned long cmd, const void *arg)
{
	struct call c = { .fd = fd, .cmd = cmd, .arg = arg };
	pthread_t t;

	if (pthread_create(&t, NULL, thread_main, &c) != 0)
		return -EPROTO;
	pthread_join(t, NULL);
	return c.ret;
}

static int vfork_main(void *opaque)
{
	thread_main(opaque);
	_exit(0);
}

int caller_vfork(int fd, unsigned long cmd, const void *arg)
{
	struct call c = { .fd = fd, .cmd = cmd, .arg = arg, .ret = -EPROTO };
	const size_t size = 65536;
	uint8_t *stack = malloc(size);
	pid_t pid;

	if (!stack)
		return -EPROTO;
	pid = clone(vfork_main, stack + size, CLONE_VM | CLONE_VFORK | SIGCHLD,
		    &c);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	free(stack);
	return c.ret;
}

static int wait_errno(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return -EPROTO;
	return -WEXITSTATUS(status);
}

int caller_child(int fd, unsigned long cmd, const void *arg)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(-caller_self(fd, cmd, arg));
	return wait_errno(pid);
}

struct request {
	int own;
	unsigned long cmd;
	uint8_t arg[ARG_MAX_BYTES];
};

static void other_main(int sock)
{
	static struct request r;
	int fd;

	while ((fd = fdmsg_recv(sock, &r, sizeof(r), 0)) >= 0) {
		int ret = 0;

		if (r.own)
			ret = caller_self(fd, VHOST_SET_OWNER, NULL);
		if (ret == 0)
			ret = caller_self(fd, r.cmd, r.arg);
		close(fd);
		if (send(sock, &ret, sizeof(ret), MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}

int caller_other_start(struct caller_other *c)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return -errno;
	c->pid = fork();
	if (c->pid == 0) {
		close(sv[0]);
		other_main(sv[1]);
	}
	close(sv[1]);
	c->sock = sv[0];
	return c->pid < 0 ? -EAGAIN : 0;
}

int caller_other_call(struct caller_other *c, int fd, int own,
		      unsigned long cmd, const void *arg, size_t len)
{
	static struct request r;
	int ret;

	memset(&r, 0, sizeof(r));
	r.own = own;
	r.cmd = cmd;
	if (arg)
		memcpy(r.arg, arg, len);
	if (fdmsg_send(c->sock, &r, sizeof(r), &fd, 1, 0) < 0 ||
	    recv(c->sock, &ret, sizeof(ret), 0) != sizeof(ret))
		return -EPROTO;
	return ret;
}

void caller_other_kill(struct caller_other *c)
{
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	close(c->sock);
}

/* ---- after exec ---- */

void caller_exec(int fd, unsigned long cmd, const void *arg, size_t len)
{
	char words[4][24];
	char *argv[] = { (char *)"self", (char *)EXEC_WORD, words[0],
			 words[1],       words[2],          NULL };
	int keep = dup(fd); /* without CLOEXEC */
	int mem = memfd_create("argument", 0);

	if (mem < 0 || keep < 0 || (len && write(mem, arg, len) < 0))
		_exit(EPROTO);
	snprintf(words[0], sizeof(words[0]), "%d", keep);
	snprintf(words[1], sizeof(words[1]), "%lu", cmd);
	snprintf(words[2], sizeof(words[2]), "%d", mem);
	execv("/proc/self/exe", argv);
	_exit(EPROTO);
}

void caller_exec_main(int argc, char **argv)
{
	static uint8_t arg[ARG_MAX_BYTES];
	int fd, mem;

	if (argc != 5 || strcmp(argv[1], EXEC_WORD) != 0)
		return;
	fd = (int)strtol(argv[2], NULL, 10);
	mem = (int)strtol(argv[4], NULL, 10);
	if (pread(mem, arg, sizeof(arg), 0) < 0)
		_exit(EPROTO);
	_exit(-caller_self(fd, strtoul(argv[3], NULL, 10), arg));
}

/* ---- 32-bit system call from a 64-bit process ---- */

#ifdef __x86_64__
static int int80_ioctl(int fd, unsigned int cmd, unsigned int arg)
{
	long ret = 54; /* __NR_ioctl of i386 */

	__asm__ volatile("int $0x80"
			 : "+a"(ret)
			 : "b"((long)fd), "c"((unsigned long)cmd),
			   "d"((unsigned long)arg)
			 : "memory", "r8", "r9", "r10", "r11");
	return (int)ret;
}

int caller_compat(int fd, unsigned int cmd, unsigned int arg)
{
	/* without IA32 emulation the instruction is a SIGSEGV: try it first */
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		_exit(int80_ioctl(-1, 0, 0) == -EBADF ? 0 : 1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
		return -ENOSYS;
	return int80_ioctl(fd, cmd, arg);
}
#else
int caller_compat(int fd, unsigned int cmd, unsigned int arg)
{
	(void)fd;
	(void)cmd;
	(void)arg;
	return -ENOSYS;
}
#endif
