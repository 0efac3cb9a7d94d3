/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line: what is taken, and that what is refused says why. */
#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "options.h"

#define ARGS_MAX 16

static struct options opts;
static char error[256];

/* Words of @line behind the name of the program. */
static int parse(const char *line)
{
	char text[512], *argv[ARGS_MAX + 2] = { (char[]){ "uvhostd" } };
	char *rest = NULL, *word;
	int argc = 1;

	snprintf(text, sizeof(text), "%s", line);
	for (word = strtok_r(text, " ", &rest); word && argc <= ARGS_MAX;
	     word = strtok_r(NULL, " ", &rest))
		argv[argc++] = word;
	memset(error, 0, sizeof(error));
	return options_parse(argc, argv, &opts, error, sizeof(error));
}

static void without_options_there_is_one_device(void **state)
{
	(void)state;
	check_ret(parse(""), 0);
	assert_int_equal(opts.mode, OPTIONS_RUN);
	assert_int_equal(opts.ndevs, 1);
	assert_string_equal(opts.devs[0].name, "uvhost-net");
	assert_int_equal(opts.devs[0].fd, -1);
	assert_int_equal(opts.nsocks, 0);
	assert_int_equal(opts.busy_poll_us, 50);
	assert_int_equal(opts.log_level, LOG_LEVEL_INFO);
}

static void sockets_need_no_device(void **state)
{
	(void)state;
	check_ret(parse("--socket-path /run/a,port=loop"), 0);
	assert_int_equal(opts.ndevs, 0);
	assert_int_equal(opts.nsocks, 1);
	check_ret(parse("--dev d --socket-path /run/a,port=loop"), 0);
	assert_int_equal(opts.ndevs, 1);
	check_ret(parse("--takeover --socket-path /run/a,port=loop"), 0);
	assert_string_equal(opts.devs[0].name, "vhost-net");
}

static void a_socket_is_taken_apart(void **state)
{
	const struct option_sock *s = opts.socks;
	static const uint8_t mac[] = { 0x02, 0xab, 0xCD, 0, 0, 0x10 };

	(void)state;
	check_ret(parse("--socket-path /run/a "
			"--fd 7,port=null:60"),
		  -EINVAL); /* a socket leads somewhere */
	check_ret(parse("--socket-path /run/a,port=tap:t0,queues=3,client,"
			"mtu=9000,mac=02:ab:CD:00:00:10 --fd 7,port=null:60"),
		  0);
	assert_int_equal(opts.nsocks, 2);
	assert_string_equal(s[0].path, "/run/a");
	assert_int_equal(s[0].fd, -1);
	assert_true(s[0].client);
	assert_string_equal(s[0].port, "tap:t0");
	assert_int_equal(s[0].queues, 3);
	assert_int_equal(s[0].mtu, 9000);
	assert_true(s[0].has_mac);
	assert_memory_equal(s[0].mac, mac, sizeof(mac));
	assert_string_equal(s[1].path, "");
	assert_int_equal(s[1].fd, 7);
	assert_false(s[1].client);
	assert_int_equal(s[1].queues, 1);
	assert_int_equal(s[1].mtu, 0);
	assert_false(s[1].has_mac);
}

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *line, *names;
	} bad[] = {
		{ "word", "word" },
		{ "--nothing", "--nothing" },
		{ "--dev", "--dev" },
		{ "--dev a/b", "a/b" },
		{ "--dev a --dev a", "a" },
		{ "--dev ..", ".." },
		{ "--dev a!..!b", "a!..!b" },
		{ "--dev a,port=tap", "null" },
		{ "--dev a,port=null:13", "13" },
		{ "--dev a,what=1", "a,what=1" },
		{ "--dev-major 0", "0" },
		{ "--dev-major 4096", "4096" },
		{ "--dev-minor -1", "-1" },
		{ "--dev-minor 1048576", "1048576" },
		{ "--dev-minor 1048575 --dev a --dev b", "1048575" },
		{ "--busy-poll-us 1000001", "1000001" },
		{ "--busy-poll-us 0x10", "0x10" },
		{ "--max-sessions 0", "0" },
		{ "--max-mem-regions 4096", "4096" },
		{ "--max-mem-regions 99999999999999999999", "9999" },
		{ "--log-level loud", "loud" },
		{ "--takeover --dev a", "vhost-net" },
		{ "--cuse-fd x", "x" },
		{ "--cuse-fd 3 --cuse-fd 3", "3" },
		{ "--cuse-fd 3 --cuse-fd 4", "2 channels" },
		{ "--help=1", "--help=1" },
		{ "--socket-path ,port=null", ",port=null" },
		{ "--socket-path /s", "port=" },
		{ "--socket-path /s,port=", "port" },
		{ "--socket-path /s,port=pcap:eth0", "pcap:eth0" },
		{ "--socket-path /s,port=null,queues=0", "queues" },
		{ "--socket-path /s,port=null,queues=65", "65" },
		{ "--socket-path /s,port=null,mtu=67", "67" },
		{ "--socket-path /s,port=null,mtu=65536", "65536" },
		{ "--socket-path /s,port=null,mac=02:00:00:00:00", "mac" },
		{ "--socket-path /s,port=null,mac=02:00:00:00:00:0g", "mac" },
		{ "--socket-path /s,port=null,mac=02-00-00-00-00-01", "mac" },
		{ "--socket-path /s,port=null,mac=01:00:00:00:00:01", "mac" },
		{ "--socket-path /s,port=null,server", "server" },
		{ "--socket-path /s,port=null --socket-path /s,port=loop",
		  "twice" },
		{ "--fd -1,port=null", "-1" },
		{ "--fd 3,port=null,client", "client" },
		{ "--fd 3,port=null --fd 3,port=loop", "twice" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		check_ret(parse(bad[i].line), -EINVAL);
		if (!strstr(error, bad[i].names))
			fail_msg("'%s': \"%s\"", bad[i].line, error);
		assert_null(strchr(error, '\n'));
	}
}

static void paths_have_a_longest(void **state)
{
	char line[512], path[OPTIONS_PATH_MAX + 2];

	(void)state;
	memset(path, 'p', sizeof(path));
	path[OPTIONS_PATH_MAX] = '\0';
	snprintf(line, sizeof(line), "--socket-path %s,port=null", path);
	check_ret(parse(line), 0);
	assert_string_equal(opts.socks[0].path, path);
	path[OPTIONS_PATH_MAX] = 'p';
	path[OPTIONS_PATH_MAX + 1] = '\0';
	snprintf(line, sizeof(line), "--socket-path %s,port=null", path);
	check_ret(parse(line), -EINVAL);
}

static void modes(void **state)
{
	(void)state;
	check_ret(parse("--help"), 0);
	assert_int_equal(opts.mode, OPTIONS_HELP);
	check_ret(parse("--version"), 0);
	assert_int_equal(opts.mode, OPTIONS_VERSION);
	check_ret(parse("--print-ioctl-table"), 0);
	assert_int_equal(opts.mode, OPTIONS_IOCTL_TABLE);
	check_ret(parse("--print-message-table"), 0);
	assert_int_equal(opts.mode, OPTIONS_MESSAGE_TABLE);
	check_ret(parse("--print-capabilities"), 0);
	assert_int_equal(opts.mode, OPTIONS_CAPABILITIES);
	check_ret(parse("-d"), 0);
	assert_int_equal(opts.log_level, LOG_LEVEL_DEBUG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_options_there_is_one_device),
		cmocka_unit_test(sockets_need_no_device),
		cmocka_unit_test(a_socket_is_taken_apart),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(paths_have_a_longest),
		cmocka_unit_test(modes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
