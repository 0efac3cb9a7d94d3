/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs a fuzz target over files, without libFuzzer. Arguments are files and
 * directories; without any, tests/fuzz/corpus/NAME is gone through, where
 * replay_NAME is the program. Every file has a process of its own, so that one
 * that crashes does not hide the others.
 *
 * Prints TAP, and a last line "# N passed, M failed".
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned int passed, failed;

/* The whole file, or NULL */
static uint8_t *slurp(const char *path, size_t *size)
{
	uint8_t *data = NULL;
	struct stat st;
	FILE *f;

	f = fopen(path, "re");
	if (!f)
		return NULL;
	if (fstat(fileno(f), &st) == 0)
		data = malloc((size_t)st.st_size + 1);
	if (data)
		*size = fread(data, 1, (size_t)st.st_size, f);
	fclose(f);
	return data;
}

static void run_file(const char *path)
{
	uint8_t *data;
	int status = 1;
	size_t size;
	pid_t pid;

	data = slurp(path, &size);
	if (data) {
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			alarm(60);
			LLVMFuzzerTestOneInput(data, size);
			fflush(stdout);
			_exit(0);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			status = 1;
		free(data);
	}
	if (status)
		failed++;
	else
		passed++;
	printf("%s %u - %s\n", status ? "not ok" : "ok", passed + failed, path);
}

static int not_hidden(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static void run_path(const char *path)
{
	struct dirent **names;
	struct stat st;
	char sub[4096];
	int n;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
		run_file(path);
		return;
	}
	n = scandir(path, &names, not_hidden, alphasort);
	for (int i = 0; i < n; i++) {
		snprintf(sub, sizeof(sub), "%s/%s", path, names[i]->d_name);
		run_path(sub);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '_');
	char path[256];

	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	if (argc == 1) {
		snprintf(path, sizeof(path), "tests/fuzz/corpus/%s",
			 name ? name + 1 : "");
		run_path(path);
	}
	printf("1..%u\n# %u passed, %u failed\n", passed + failed, passed,
	       failed);
	return failed || !passed;
}
