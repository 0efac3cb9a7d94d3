/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lastconfig.c keeps the last good configuration in a memfd.
 *
 * The memfd has for each argument a struct piece, the bytes of the argument,
 * and those of the file that it names, if any. The name of the file is not
 * kept: the argument ends before it.
 */
#include "lastconfig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "bytes.h"

#define NAME "config"
#define MAGIC UINT32_C(0x31666375) /* "ucf1" */
#define ARGS_MAX 4096
#define LEN_MAX (UINT32_C(16) << 20)

struct piece {
	uint32_t magic;
	uint32_t len;
	uint32_t has_file;
	uint32_t file_len;
};

/* ---- keeping ---- */

static int memfd_write(int fd, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* @text: malloc()ed content of the file. Return: its length, or -errno. */
static ssize_t read_file(const char *path, char **text)
{
	FILE *f = fopen(path, "re");
	size_t len = 0;
	struct stat st;
	FILE *to;
	int c;

	if (!f)
		return -errno;
	/* A pipe cannot be read a second time. */
	if (fstat(fileno(f), &st) < 0 || !S_ISREG(st.st_mode)) {
		fclose(f);
		return -ENOTSUP;
	}
	to = open_memstream(text, &len);
	while (to && (c = getc(f)) != EOF)
		putc(c, to);
	fclose(f);
	if (!to || fclose(to) != 0)
		return -ENOMEM;
	return (ssize_t)len;
}

/* Return: the file name inside @arg; NULL: @arg names no file. */
static const char *file_in(const struct options *opts, const char *arg)
{
	const char *end = arg + strlen(arg);

	for (unsigned int i = 0; i < opts->nconfigs; i++)
		if (opts->configs[i] >= arg && opts->configs[i] <= end)
			return opts->configs[i];
	return NULL;
}

static int keep_arg(int fd, const struct options *opts, const char *arg)
{
	const char *path = file_in(opts, arg);
	struct piece p = { MAGIC, (uint32_t)strlen(arg), path != NULL, 0 };
	char *text = NULL;
	ssize_t len = 0;
	int ret;

	if (path) {
		len = read_file(path, &text);
		if (len < 0 || len > (ssize_t)LEN_MAX)
			return len < 0 ? (int)len : -E2BIG;
		p.len = (uint32_t)(path - arg);
		p.file_len = (uint32_t)len;
	}
	ret = memfd_write(fd, &p, sizeof(p));
	if (ret == 0)
		ret = memfd_write(fd, arg, p.len);
	if (ret == 0 && text)
		ret = memfd_write(fd, text, p.file_len);
	free(text);
	return ret;
}

int lastconfig_keep(struct store *store, int argc, char **argv,
		    const struct options *opts)
{
	int ret = 0, fd = memfd_create("uvhost-config", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	/* @opts has only the first OPTIONS_MAX_CONFIGS names. */
	if (opts->nconfigs > OPTIONS_MAX_CONFIGS)
		ret = -E2BIG;
	for (int i = 0; i < argc && ret == 0; i++)
		ret = keep_arg(fd, opts, argv[i]);
	store_remove(store, NAME);
	if (ret == 0)
		ret = store_put(store, NAME, &fd, 1, true);
	close(fd);
	return ret;
}

/* ---- loading ---- */

/* Return: a memfd with the content of a file, or -errno. */
static int make_file(const uint8_t *data, size_t len)
{
	int fd = memfd_create("uvhost-config-file", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (memfd_write(fd, data, len) < 0 || lseek(fd, 0, SEEK_SET) < 0) {
		close(fd);
		return -EIO;
	}
	return fd;
}

/* Reads one argument from *@at, which advances. @arg: malloc()ed */
static int load_arg(const uint8_t **at, const uint8_t *end, char **arg)
{
	struct piece p;
	int fd, n;

	if ((size_t)(end - *at) < sizeof(p))
		return -EBADMSG;
	memcpy(&p, *at, sizeof(p));
	*at += sizeof(p);
	if (p.magic != MAGIC || p.len > LEN_MAX || p.file_len > LEN_MAX ||
	    (size_t)(end - *at) < (size_t)p.len + p.file_len)
		return -EBADMSG;
	if (!p.has_file) {
		*arg = strndup((const char *)*at, p.len);
	} else {
		fd = make_file(*at + p.len, p.file_len);
		if (fd < 0)
			return fd;
		n = asprintf(arg, "%.*s/dev/fd/%d", (int)p.len,
			     (const char *)*at, fd);
		if (n < 0)
			*arg = NULL;
	}
	*at += (size_t)p.len + p.file_len;
	return *arg ? 0 : -ENOMEM;
}

static int load_args(const uint8_t *at, const uint8_t *end, char ***out)
{
	char **argv = calloc(ARGS_MAX + 1, sizeof(*argv));
	int argc = 0, ret = 0;

	if (!argv)
		return -ENOMEM;
	while (at < end && ret == 0) {
		ret = argc < ARGS_MAX ? load_arg(&at, end, &argv[argc])
				      : -EBADMSG;
		argc += ret == 0;
	}
	if (ret == 0 && argc == 0)
		ret = -EBADMSG;
	if (ret == 0) {
		*out = argv;
		return argc;
	}
	while (argc)
		free(argv[--argc]);
	free(argv);
	return ret;
}

int lastconfig_load(struct store *store, char ***argv)
{
	struct stat st;
	void *mem;
	int fd, ret;

	if (store_take(store, NAME, &fd, 1) != 1)
		return -ENOENT;
	ret = fstat(fd, &st) < 0 || st.st_size <= 0 ? -EBADMSG : 0;
	if (ret == 0) {
		mem = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd,
			   0);
		ret = mem == MAP_FAILED ? -ENOMEM : 0;
	}
	if (ret == 0) {
		ret = load_args(mem, (uint8_t *)mem + st.st_size, argv);
		munmap(mem, (size_t)st.st_size);
	}
	close(fd);
	return ret;
}
