/* SPDX-License-Identifier: BSD-3-Clause */
/* procfile.c reads numbers from small files of /proc and /sys. */
#include "procfile.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "parse.h"

int procfile_number(const char *path, const char *key, long *out)
{
	const char *at;
	size_t len = key ? strlen(key) : 0;
	int ret = -ENOENT;
	uint64_t value;
	char line[256];
	FILE *f;

	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (ret == -ENOENT && fgets(line, sizeof(line), f)) {
		if (key && strncmp(line, key, len) != 0)
			continue;
		at = line + len + strspn(line + len, " \t");
		ret = parse_digits(&at, 10, &value);
		if (ret < 0 || value > LONG_MAX)
			ret = -EINVAL;
		else
			*out = (long)value;
	}
	fclose(f);
	return ret;
}
