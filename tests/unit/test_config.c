/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_config.c tests configuration files: their keys mean what options mean,
 * and an error names its line.
 */
#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

#include "bytes.h"
#include "config.h"
#include "options.h"

static struct options opts, other;
static char error[768];

/* The line before the last character is not taken for a whole one. */
static int read_bytes(const void *text, size_t len, struct options *to)
{
	FILE *f = tmpfile();
	int ret;

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	rewind(f);
	memset(error, 0, sizeof(error));
	ret = config_read(f, "file", to, error, sizeof(error));
	fclose(f);
	return ret;
}

static int read_text(const char *text)
{
	memset(&opts, 0, sizeof(opts));
	return read_bytes(text, strlen(text), &opts);
}

/* What options_parse() makes of "--config FILE" with @text, then @argv. */
static int parse_with_file(const char *text, char **more, struct options *to)
{
	char path[64], *argv[16] = { (char[]){ "uvhostd" },
				     (char[]){ "--config" }, path };
	int fd = memfd_create("config", MFD_CLOEXEC), argc = 3, ret;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	while (more && *more && argc < 15)
		argv[argc++] = *more++;
	ret = options_parse(argc, argv, to, error, sizeof(error));
	close(fd);
	return ret;
}

static int parse_line(char **words, struct options *to)
{
	char *argv[32] = { (char[]){ "uvhostd" } };
	int argc = 1;

	while (*words)
		argv[argc++] = *words++;
	return options_parse(argc, argv, to, error, sizeof(error));
}

static void a_file_says_what_options_say(void **state)
{
	static const char text[] = "# everything once\n"
				   "[daemon]\n"
				   "busy-poll-us = 7\n"
				   "log-level=debug ; a comment\n"
				   "takeover = yes\n"
				   "\n"
				   "[net lan]\n"
				   "\tmtu = 9000\n"
				   "[net  empty ]  # no keys\n"
				   "[port lan tap:t 0]\n"
				   "trunk = 10+20-30\n"
				   "capture = /var/a,b.pcapng\n"
				   "capture-vnet-hdr = yes\n"
				   "  capture-file-size = 1M\n"
				   "[port lan vhost-user:/run/v]\n"
				   "queues = 2\n"
				   "[device vhost-net]\r\n"
				   "net = lan\r\n"
				   "offloads = csum+tso4\r\n"
				   "[socket-path /run/with space]\n"
				   "client = yes\n"
				   "mac = 02:00:00:00:00:01\n"
				   "port = null:60\n"
				   "[fd 9]\n"
				   "port = loop";
	char *words[] = {
		(char[]){ "--busy-poll-us=7" },
		(char[]){ "--log-level=debug" },
		(char[]){ "--takeover" },
		(char[]){ "--net=lan,mtu=9000" },
		(char[]){ "--net=empty" },
		(char[]){ "--port=lan,tap:t0,trunk=10+20-30,capture=/var/a,,b."
			  "pcapng,capture-vnet-hdr,capture-file-size=1M" },
		(char[]){ "--port=lan,vhost-user:/run/v,queues=2" },
		(char[]){ "--device=vhost-net,net=lan,offloads=csum+tso4" },
		(char[]){ "--socket-path=/run/with space,client,"
			  "mac=02:00:00:00:00:01,port=null:60" },
		(char[]){ "--fd=9,port=loop" },
		NULL,
	};
	char file[sizeof(text)];

	(void)state;
	/* An interface has no spaces, and a name with one is told. */
	check_ret(parse_with_file(text, NULL, &opts), -EINVAL);
	assert_non_null(strstr(error, ":10: [port lan tap:t 0]: "));
	memcpy(file, text, sizeof(text));
	memmove(strstr(file, "t 0]") + 1, "0] ", 3);
	check_ret(parse_with_file(file, NULL, &opts), 0);
	check_ret(parse_line(words, &other), 0);
	/* Where the file was named is noted beside. */
	assert_int_equal(opts.nconfigs, 1);
	opts.nconfigs = 0;
	opts.configs[0] = NULL;
	assert_memory_equal(&opts, &other, sizeof(opts));
}

static void errors_name_their_place(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "a = 1\n", "file:1: 'a': before the first section" },
		{ "\n[net\n", "file:2: '[net" },
		{ "[net a] b\n", "file:1: 'b" },
		{ "[bridge a]\n", "file:1: [bridge a]: no such section" },
		{ "[]\n", "file:1: []: no such section" },
		{ "[net]\n", "file:1: [net]: name: ''" },
		{ "[daemon]\n\n[daemon]\n",
		  "file:3: [daemon]: is there twice" },
		{ "[daemon]\nport = 1\n",
		  "file:2: [daemon]: 'port' is no key" },
		{ "[daemon]\ndev-major = 0\n",
		  "file:2: [daemon]: dev-major: '0' is not within 1...4095" },
		{ "[daemon]\ndev-major = 1\ndev-major = 2\n",
		  "file:3: [daemon]: dev-major is given twice" },
		{ "[daemon]\ntakeover\n",
		  "file:2: [daemon]: 'takeover': expected KEY = VALUE" },
		{ "[daemon]\ntakeover ; = yes\n",
		  "file:2: [daemon]: expected KEY = VALUE" },
		{ "[daemon]\ntakeover =\n", "file:2: [daemon]: takeover: ''" },
		{ "[daemon]\ncuse-fd = 3\n", "cuse-fd" },
		{ "[net a]\nmtu = 1\n",
		  "file:2: [net a]: mtu: '1' is not within 68...65535" },
		{ "[net a]\nmtu = 99\nmtu = 98\n", "file:3: [net a]: mtu is" },
		{ "[net a]\n[net a]\n", "file:2: [net a]: 'a' is named twice" },
		{ "[net a]\ncolour = red\n", "file:2: [net a]: 'colour'" },
		{ "[port lan]\n", "file:1: [port lan]: 'lan': no kind" },
		{ "[port lan what:ever]\n", "file:1: [port lan what:ever]: " },
		{ "[port lan null:60]\nqueues = 2\n",
		  "file:2: [port lan null:60]: 'queues' is no key" },
		{ "[device d]\nport = tap:t\n", "file:1: [device d]: port:" },
		{ "[socket-path /s]\nmtu = 100\n",
		  "file:1: [socket-path /s]: no port" },
		{ "[fd x]\n", "file:1: [fd x]: descriptor: 'x'" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		check_ret(read_text(bad[i].text), -EINVAL);
		if (!strstr(error, bad[i].says))
			fail_msg("%s: \"%s\"", bad[i].text, error);
		assert_null(strchr(error, '\n'));
	}
}

static void a_file_that_is_no_text_is_refused(void **state)
{
	static const char zero[] = "[net a]\nmtu\0 = 1\n";
	char line[5000];

	(void)state;
	memset(&opts, 0, sizeof(opts));
	check_ret(read_bytes(zero, sizeof(zero) - 1, &opts), -EINVAL);
	assert_string_equal(error, "file:2: [net a]: byte 0x00 is not text");
	check_ret(read_text("[net a]\nmtu = \x1b[31m\n"), -EINVAL);
	assert_non_null(strstr(error, "0x1b"));
	memset(line, 'x', sizeof(line));
	check_ret(read_bytes(line, sizeof(line), &opts), -EINVAL);
	assert_non_null(strstr(error, "file:1: longer than"));
	memset(line, '\n', sizeof(line));
	check_ret(read_bytes(line, sizeof(line), &opts), 0);
	check_ret(read_bytes(line, 0, &opts), 0);
}

static void a_path_may_be_as_long_as_a_socket_takes(void **state)
{
	char text[512], path[OPTIONS_PATH_MAX + 1];

	(void)state;
	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	snprintf(text, sizeof(text), "[net n]\n[port n vhost-user:%s]\n", path);
	check_ret(read_text(text), 0);
	assert_string_equal(opts.socks[0].path, path);
}

static void leading_marks_and_spaces_are_no_matter(void **state)
{
	(void)state;
	check_ret(read_text("\xef\xbb\xbf[net a]\n   mtu = 100\n \t[net b]\n"
			    "mtu=200"),
		  0);
	assert_int_equal(opts.nnets, 2);
	assert_int_equal(opts.nets[0].mtu, 100);
	assert_int_equal(opts.nets[1].mtu, 200);
}

static void later_wins_and_items_add_up(void **state)
{
	static const char text[] = "[daemon]\nmax-sessions = 5\n[device a]\n";
	char *after[] = { (char[]){ "--max-sessions=6" },
			  (char[]){ "--device=b" }, NULL };
	char *twice[] = { (char[]){ "--device=a" }, NULL };

	(void)state;
	check_ret(parse_with_file(text, after, &opts), 0);
	assert_int_equal(opts.max_sessions, 6);
	assert_int_equal(opts.ndevs, 2);
	assert_string_equal(opts.devs[0].name, "a");
	assert_string_equal(opts.devs[1].name, "b");
	check_ret(parse_with_file(text, twice, &opts), -EINVAL);
	check_ret(parse_with_file(text, NULL, &opts), 0);
	assert_int_equal(opts.max_sessions, 5);
}

static void a_folder_is_no_file(void **state)
{
	memset(&opts, 0, sizeof(opts));
	(void)state;
	check_ret(config_read_file("/", &opts, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, strerror(EISDIR)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_says_what_options_say),
		cmocka_unit_test(errors_name_their_place),
		cmocka_unit_test(a_file_that_is_no_text_is_refused),
		cmocka_unit_test(a_path_may_be_as_long_as_a_socket_takes),
		cmocka_unit_test(leading_marks_and_spaces_are_no_matter),
		cmocka_unit_test(later_wins_and_items_add_up),
		cmocka_unit_test(a_folder_is_no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
