/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Client of QEMU's qtest protocol: reads and writes the ports, the PCI
 * configuration and the memory of a machine from outside.
 *
 * One request, one answer; a call waits for its answer for at most 5 s. PCI
 * devices are on bus 0, function 0. Each call returns 0 or -errno, and after a
 * failure all later ones fail too, so that a row of calls needs one check.
 */
#ifndef QTEST_H
#define QTEST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * struct qtest - a connection
 * @fd:  the socket; -1: none
 * @err: of the first call that failed
 */
struct qtest {
	int fd;
	int err;
};

/** qtest_listen() - socket for QEMU's "-qtest unix:PATH"; fd or -errno */
int qtest_listen(const char *path);
/** qtest_accept() - wait until QEMU (@pid) has connected; closes @listener. 0,
 * -ECHILD (it has ended) or -errno */
int qtest_accept(struct qtest *q, int listener, pid_t pid, int ms);
void qtest_close(struct qtest *q);

/** qtest_write() - store @size (1, 2, 4 or 8) bytes at a physical address */
int qtest_write(struct qtest *q, unsigned int size, uint64_t addr,
		uint64_t value);
/** qtest_read() - load them; 0 after a failure */
uint64_t qtest_read(struct qtest *q, unsigned int size, uint64_t addr);

/** qtest_pci_read(), qtest_pci_write() - configuration space of device @slot;
 * @size is 1, 2 or 4 and @offset a multiple of it */
uint32_t qtest_pci_read(struct qtest *q, unsigned int slot, unsigned int size,
			unsigned int offset);
int qtest_pci_write(struct qtest *q, unsigned int slot, unsigned int size,
		    unsigned int offset, uint32_t value);
/** qtest_pci_bar() - put a memory BAR at @addr */
int qtest_pci_bar(struct qtest *q, unsigned int slot, unsigned int bar,
		  uint64_t addr);
/** qtest_pci_enable() - memory accesses and bus mastering */
int qtest_pci_enable(struct qtest *q, unsigned int slot);
/** qtest_pci_cap() - offset of the next capability @id behind @after (0: the
 * first); 0: none */
unsigned int qtest_pci_cap(struct qtest *q, unsigned int slot, uint8_t id,
			   unsigned int after);

#endif
