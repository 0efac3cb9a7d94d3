/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qtest.c sends QEMU's qtest commands (lines of text) and reads the answers.
 *
 * Source: QEMU softmmu/qtest.c.
 */
#include "qtest.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/pci_regs.h>

#define ANSWER_MS 60000
#define LOOK_MS 100
#define LINE 128
#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc

int qtest_listen(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(fd, 1) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int wait_readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int ret = poll(&p, 1, ms);

	if (ret < 0)
		return -errno;
	return ret ? 0 : -ETIMEDOUT;
}

static bool has_ended(pid_t pid)
{
	siginfo_t si = { .si_pid = 0 };

	return waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG | WNOWAIT) < 0 ||
	       si.si_pid;
}

int qtest_accept(struct qtest *q, int listener, pid_t pid, int ms)
{
	int ret;

	do {
		ret = wait_readable(listener, LOOK_MS);
		ms -= LOOK_MS;
	} while (ret == -ETIMEDOUT && ms > 0 && !has_ended(pid));
	if (ret == -ETIMEDOUT && ms > 0)
		ret = -ECHILD;
	*q = (struct qtest){ .fd = -1 };
	if (ret == 0) {
		q->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (q->fd < 0)
			ret = -errno;
	}
	close(listener);
	q->err = ret;
	return ret;
}

void qtest_close(struct qtest *q)
{
	if (q->fd >= 0)
		close(q->fd);
	*q = (struct qtest){ .fd = -1, .err = -ENOTCONN };
}

/* One line, without the end of line. */
static int read_answer(int fd, char line[LINE])
{
	size_t n = 0;
	int ret;

	while (n + 1 < LINE) {
		ret = wait_readable(fd, ANSWER_MS);
		if (ret < 0)
			return ret;
		if (read(fd, &line[n], 1) != 1)
			return -EPIPE;
		if (line[n] == '\n') {
			line[n] = '\0';
			return 0;
		}
		n++;
	}
	return -EPROTO;
}

/* The number behind OK, if there is one. */
static int parse_answer(const char *line, uint64_t *value)
{
	if (strncmp(line, "OK", 2) != 0)
		return -EIO;
	*value = strtoull(line + 2, NULL, 0);
	return 0;
}

__attribute__((format(printf, 2, 3))) static uint64_t
request(struct qtest *q, const char *format, ...)
{
	char line[LINE];
	uint64_t value = 0;
	va_list args;
	int len;

	if (q->err)
		return 0;
	va_start(args, format);
	len = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (write(q->fd, line, (size_t)len) != len)
		q->err = -EPIPE;
	if (!q->err)
		q->err = read_answer(q->fd, line);
	if (!q->err)
		q->err = parse_answer(line, &value);
	return value;
}

/* The letter that the commands have for a size. */
static char letter(unsigned int size)
{
	return "?bw?l???q"[size & 15];
}

int qtest_write(struct qtest *q, unsigned int size, uint64_t addr,
		uint64_t value)
{
	request(q, "write%c 0x%" PRIx64 " 0x%" PRIx64 "\n", letter(size), addr,
		value);
	return q->err;
}

uint64_t qtest_read(struct qtest *q, unsigned int size, uint64_t addr)
{
	return request(q, "read%c 0x%" PRIx64 "\n", letter(size), addr);
}

/* Selects a register; the port at which its bytes are then. */
static unsigned int select_config(struct qtest *q, unsigned int slot,
				  unsigned int offset)
{
	request(q, "outl 0x%x 0x%x\n", CONFIG_ADDRESS,
		1u << 31 | slot << 11 | (offset & 0xfc));
	return CONFIG_DATA + (offset & 3);
}

uint32_t qtest_pci_read(struct qtest *q, unsigned int slot, unsigned int size,
			unsigned int offset)
{
	unsigned int port = select_config(q, slot, offset);

	return (uint32_t)request(q, "in%c 0x%x\n", letter(size), port);
}

int qtest_pci_write(struct qtest *q, unsigned int slot, unsigned int size,
		    unsigned int offset, uint32_t value)
{
	unsigned int port = select_config(q, slot, offset);

	request(q, "out%c 0x%x 0x%x\n", letter(size), port, value);
	return q->err;
}

int qtest_pci_bar(struct qtest *q, unsigned int slot, unsigned int bar,
		  uint64_t addr)
{
	unsigned int offset = PCI_BASE_ADDRESS_0 + 4 * bar;
	uint32_t kind = qtest_pci_read(q, slot, 4, offset);

	qtest_pci_write(q, slot, 4, offset, (uint32_t)addr);
	if ((kind & PCI_BASE_ADDRESS_MEM_TYPE_MASK) ==
	    PCI_BASE_ADDRESS_MEM_TYPE_64)
		qtest_pci_write(q, slot, 4, offset + 4, (uint32_t)(addr >> 32));
	return q->err;
}

int qtest_pci_enable(struct qtest *q, unsigned int slot)
{
	uint32_t command = qtest_pci_read(q, slot, 2, PCI_COMMAND);

	return qtest_pci_write(q, slot, 2, PCI_COMMAND,
			       command | PCI_COMMAND_MEMORY |
				       PCI_COMMAND_MASTER);
}

unsigned int qtest_pci_cap(struct qtest *q, unsigned int slot, uint8_t id,
			   unsigned int after)
{
	unsigned int at =
		after ? after + PCI_CAP_LIST_NEXT : PCI_CAPABILITY_LIST;
	unsigned int left = 48; /* more do not fit */

	at = qtest_pci_read(q, slot, 1, at);
	while (at && left-- && !q->err) {
		if (qtest_pci_read(q, slot, 1, at) == id)
			return at;
		at = qtest_pci_read(q, slot, 1, at + PCI_CAP_LIST_NEXT);
	}
	return 0;
}
