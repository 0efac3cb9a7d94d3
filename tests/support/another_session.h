/* SPDX-License-Identifier: BSD-3-Clause */
/* another_session.h: one more open file of a device, from its open to its
 * close. */
#ifndef ANOTHER_SESSION_H
#define ANOTHER_SESSION_H

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "die.h"
#include "vmm.h"

/** another_session() - open @device, own it, set what @v has set, reset it, own
 * it again, close it; ends the program if a call fails */
static inline void another_session(const char *device, const struct vmm *v)
{
	int fd = must(open(device, O_RDWR | O_CLOEXEC), "open");
	uint64_t features;

	must(vmm_set_owner(fd), "SET_OWNER");
	if (vmm_set_owner(fd) != -EBUSY)
		die(-EPROTO, "second SET_OWNER");
	must(vmm_get_features(fd, &features), "GET_FEATURES");
	must(vmm_set_features(fd, features & v->features), "SET_FEATURES");
	must(vmm_set_mem_table(fd, &v->mem), "SET_MEM_TABLE");
	must(vmm_reset_owner(fd), "RESET_OWNER");
	must(vmm_set_owner(fd), "SET_OWNER again");
	close(fd);
}

#endif
