/* SPDX-License-Identifier: BSD-3-Clause */
#include "procfile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int procfile_number(const char *path, const char *key, long *out)
{
	size_t len = key ? strlen(key) : 0;
	char line[256], *end;
	int ret = -ENOENT;
	long value;
	FILE *f;

	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (ret == -ENOENT && fgets(line, sizeof(line), f)) {
		if (key && strncmp(line, key, len) != 0)
			continue;
		value = strtol(line + len, &end, 10);
		ret = end == line + len ? -EINVAL : 0;
		if (ret == 0)
			*out = value;
	}
	fclose(f);
	return ret;
}
