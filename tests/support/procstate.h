/* SPDX-License-Identifier: BSD-3-Clause */
/* procstate.h looks at the threads of a process. */
#ifndef PROCSTATE_H
#define PROCSTATE_H

#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

/**
 * procstate_stopped() - has SIGSTOP stopped each thread of @pid?
 *
 * It takes effect when one thread runs and takes it. Until then the others go
 * on. False too if there is no such process.
 */
static inline bool procstate_stopped(pid_t pid)
{
	bool all = true;
	char path[40];
	glob_t threads;

	snprintf(path, sizeof(path), "/proc/%d/task/*/stat", pid);
	if (glob(path, 0, NULL, &threads) != 0)
		return false;
	for (size_t i = 0; i < threads.gl_pathc && all; i++) {
		FILE *f = fopen(threads.gl_pathv[i], "re");
		char state = 0;

		all = f && fscanf(f, "%*d (%*[^)]) %c", &state) == 1 &&
		      state == 'T';
		if (f)
			fclose(f);
	}
	globfree(&threads);
	return all;
}

#endif
