/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_options.c tests the command line: values that are accepted, and the
 * error text of those that are not.
 */
#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "options.h"

#define ARGS_MAX 32

static struct options opts;
static char error[768];

/* Words of @line behind the name of the program. */
static int parse(const char *line)
{
	char text[2048], *argv[ARGS_MAX + 2] = { (char[]){ "uvhostd" } };
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

static void a_device_offers_more_if_it_is_told_to(void **state)
{
	(void)state;
	check_ret(parse("--dev a --dev b,features=+packed "
			"--dev c,features=+packed+in_order "
			"--dev d,port=loop,features=+in_order+in_order"),
		  0);
	assert_int_equal(opts.devs[0].features, 0);
	assert_true(opts.devs[1].features == BIT(VIRTIO_F_RING_PACKED));
	assert_true(opts.devs[2].features ==
		    (BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER)));
	assert_true(opts.devs[3].features == BIT(VIRTIO_F_IN_ORDER));
}

static void guests_have_worker_processes_unless_told(void **state)
{
	(void)state;
	check_ret(parse("--net n --dev a --dev b,worker-process "
			"--dev c,worker-process=off --dev d,worker-process=on "
			"--dev e,net=n,worker-process=off --dev f,net=n "
			"--dev g,port=loop --dev h,capture=/c "
			"--dev i,net=n,capture=c,worker-process"),
		  0);
	assert_int_equal(opts.devs[0].worker_process, CHOICE_DEFAULT);
	assert_true(option_dev_has_worker(&opts.devs[0]));
	assert_true(option_dev_has_worker(&opts.devs[1]));
	assert_false(option_dev_has_worker(&opts.devs[2]));
	assert_true(option_dev_has_worker(&opts.devs[3]));
	for (int i = 4; i < 8; i++)
		assert_false(option_dev_has_worker(&opts.devs[i]));
	assert_true(option_dev_has_worker(&opts.devs[8]));
}

static void what_is_on_a_network_with_a_process_has_one(void **state)
{
	(void)state;
	check_ret(
		parse("--net n,worker-process --net m --dev a,net=n "
		      "--dev b,net=n,worker-process,capture=/c --dev c,net=m "
		      "--socket-path d,net=n --socket-path e,net=m,capture=/e "
		      "--port n,tap:t,capture=/c --port n,vhost-user:f "
		      "--port m,gen,capture=/e"),
		0);
	assert_true(opts.nets[0].worker_process);
	assert_false(opts.nets[1].worker_process);
	assert_true(option_dev_has_worker(&opts.devs[0]));
	assert_true(option_dev_has_worker(&opts.devs[1]));
	assert_false(option_dev_has_worker(&opts.devs[2]));
	assert_true(opts.socks[0].worker_process);
	assert_false(opts.socks[1].worker_process);
	assert_true(opts.socks[2].worker_process);
}

static void the_port_of_a_device_has_keys(void **state)
{
	(void)state;
	check_ret(parse("--dev a,port=null:60,copy --dev b,copy,port=null"), 0);
	assert_string_equal(opts.devs[0].end.port, "null:60,copy");
	assert_string_equal(opts.devs[1].end.port, "null,copy");
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
	assert_string_equal(s[0].end.port, "tap:t0");
	assert_int_equal(s[0].queues, 3);
	assert_int_equal(s[0].mtu, 9000);
	assert_memory_equal(s[0].mac, mac, sizeof(mac));
	assert_string_equal(s[1].path, "");
	assert_int_equal(s[1].fd, 7);
	assert_false(s[1].client);
	assert_int_equal(s[1].queues, 1);
	assert_int_equal(s[1].mtu, 0);
	assert_memory_equal(s[1].mac, (uint8_t[6]){ 0 }, 6);
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
		{ "--dev a,port=tap:t", "null" },
		{ "--dev a,port=null:13", "13" },
		{ "--dev a,what=1", "what" },
		{ "--dev a,copy", "copy" },
		{ "--dev a,port=loop,copy", "copy" },
		{ "--dev a,port=null,copy=1", "copy" },
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
		{ "--dev a,capture=c,worker-process", "worker-process of 'a'" },
		{ "--dev a,port=loop,worker-process", "not with port" },
		{ "--net n --socket-path a,net=n,queues=13,worker-process",
		  "at most 12 queues" },
		{ "--net n,worker-process --socket-path a,net=n,queues=13",
		  "worker-process of 'a': with net at most 12 queues" },
		{ "--net n,worker-process --dev a,net=n,worker-process=off",
		  "worker-process=off of 'a': its network 'n' has" },
		{ "--net n,worker-process --socket-path /a,net=n,"
		  "worker-process=off",
		  "worker-process=off of '/a': its network 'n' has" },
		{ "--net n,worker-process --port n,gen",
		  "worker-process of network 'n': not with port 'gen'" },
		{ "--net n,worker-process --port n,loop",
		  "not with port 'loop'" },
		{ "--net n,worker-process --port n,pcap-out:/f,snaplen=60",
		  "not with port 'pcap-out'" },
		{ "--net n,worker-process --dev a,net=n,capture=/c,"
		  "capture-file-size=1M",
		  "worker-process of network 'n': not with capture-file-size" },
		{ "--net n,worker-process --net m --dev a,net=n,capture=/c "
		  "--port m,null,capture=/c",
		  "its capture '/c' is also one of network m" },
		{ "--net n,worker-process --dev a,net=n,capture=/c "
		  "--socket-path b,port=loop,capture=/c",
		  "its capture '/c' is also one of no network" },
		{ "--takeover --dev vhost-net,features=+packed",
		  "features of 'vhost-net'" },
		{ "--takeover --dev vhost-net --dev a,features=+in_order",
		  "features of 'a'" },
		{ "--dev a,features=packed", "'packed'" },
		{ "--dev a,features=", "expected +packed" },
		{ "--dev a,features=+", "''" },
		{ "--dev a,features=+packed+", "''" },
		{ "--dev a,features=+packed+mq", "'mq'" },
		{ "--dev a,features=-packed", "'-packed'" },
		{ "--dev a,features", "needs a value" },
		{ "--fd 3,port=loop,features=+packed", "'features'" },
		{ "--net a --port a,null,features=+packed", "'features'" },
		{ "--cuse-fd x", "x" },
		{ "--cuse-fd 3 --cuse-fd 3", "3" },
		{ "--cuse-fd 3 --cuse-fd 4", "2 channels" },
		{ "--help=1", "--help=1" },
		{ "--socket-path ,port=null", "path ''" },
		{ "--socket-path /s", "port=" },
		{ "--socket-path /s,port=", "port" },
		{ "--socket-path /s,port=what:eth0", "what:eth0" },
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
		{ "--socket-path /s,port=null,port=loop", "port is given" },
		{ "--socket-path /s,port=null,promisc=1", "promisc" },
		{ "--socket-path /s,port=null,net=a --net a", "exclude" },
		{ "--socket-path /s,port=null,vlan=1", "only with net" },
		{ "--socket-path /s,net=a", "there is no 'a'" },
		{ "--socket-path /s,net=a,offloads=all --net a", "guest" },
		{ "--socket-path /s,port=null,capture-files=2", "capture" },
		{ "--net a --net a", "twice" },
		{ "--net a/b", "a/b" },
		{ "--net 12345678901234567890123456789012", "1...31" },
		{ "--net a,macs=15", "15" },
		{ "--net a,macs", "needs a value" },
		{ "--net a,age=0", "age" },
		{ "--net a,mtu=67", "67" },
		{ "--net a,colour=red", "macs, age, mtu" },
		{ "--port a", "KIND" },
		{ "--port a,", "KIND" },
		{ "--port a,null", "there is no 'a'" },
		{ "--port a,nothing:x --net a", "nothing" },
		{ "--port a,null:x --net a", "'x' is not a number" },
		{ "--port a,null,net=a --net a", "net" },
		{ "--port a,null,vlan=0 --net a", "vlan" },
		{ "--port a,null,vlan=4095 --net a", "4095" },
		{ "--port a,null,trunk=1+ --net a", "''" },
		{ "--port a,null,trunk=30-20 --net a", "30-20" },
		{ "--port a,null,trunk=1-4095 --net a", "1-4095" },
		{ "--port a,null,trunk=-5 --net a", "-5" },
		{ "--port a,null,flood=-1 --net a", "-1" },
		{ "--port a,null,offloads=csum+lro --net a", "lro" },
		{ "--port a,null,offloads=tso4 --net a", "csum" },
		{ "--port a,null,offloads=csum+ecn --net a", "tso4 or tso6" },
		{ "--port a,null,offloads=csum+all --net a", "'all'" },
		{ "--port a,null,name=x --port a,null,name=x --net a",
		  "twice" },
		{ "--port a,null,capture=/c,capture-snaplen=13 --net a", "13" },
		{ "--port a,null,capture=/c,capture-file-size=1 --net a",
		  "4096" },
		{ "--port a,null,capture=/c,capture-file-size=4T --net a",
		  "4T" },
		{ "--port a,null,capture=/c,capture-file-size=k --net a",
		  "'k'" },
		{ "--port a,null,capture=/c,capture-file-size=1kk --net a",
		  "1kk" },
		{ "--port a,null,capture=/c,capture-file-size=99999999999G "
		  "--net a",
		  "99999999999G" },
		{ "--port a,null,capture=-,capture-file-size=1M --net a",
		  "stdout" },
		{ "--port a,null,capture=/c,capture-files=2 --net a",
		  "capture-file-size" },
		{ "--port a,null,capture= --net a", "capture" },
		{ "--port a,null,capture-vnet-hdr=maybe,capture=/c --net a",
		  "neither yes" },
		{ "--device a,port=null,vlan=1", "vlan" },
		{ "--device a,vlan=1", "vlan" },
		{ "--device a,net=n,port=loop --net n", "exclude" },
		{ "--device a,queues=2", "queues" },
		{ "--config /nowhere/at/all", "/nowhere/at/all" },
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

static bool in_trunk(const struct option_end *e, unsigned int vlan)
{
	return e->trunk[vlan / 64] >> vlan % 64 & 1;
}

static void networks_and_their_ports_are_taken_apart(void **state)
{
	const struct option_end *p = opts.ports;

	(void)state;
	check_ret(parse("--port lan,tap:t0,trunk=10+20-30,name=up,macs=5,"
			"flood=1000,mtu=1400,offloads=csum+tso4+ecn "
			"--port lan,null:60,vlan=7 --net lan,age=10,mtu=9000 "
			"--device d,net=lan,offloads=all --net other"),
		  0);
	assert_int_equal(opts.nnets, 2);
	assert_string_equal(opts.nets[0].name, "lan");
	assert_int_equal(opts.nets[0].macs, 4096);
	assert_int_equal(opts.nets[0].age_s, 10);
	assert_int_equal(opts.nets[0].mtu, 9000);
	assert_int_equal(opts.nports, 2);
	assert_string_equal(p[0].net, "lan");
	assert_string_equal(p[0].port, "tap:t0");
	assert_string_equal(p[0].name, "up");
	assert_int_equal(p[0].vlan, 0);
	assert_true(in_trunk(&p[0], 10) && in_trunk(&p[0], 20) &&
		    in_trunk(&p[0], 30));
	assert_false(in_trunk(&p[0], 11) || in_trunk(&p[0], 31));
	assert_int_equal(p[0].macs, 5);
	assert_int_equal(p[0].flood_fps, 1000);
	assert_int_equal(p[0].mtu, 1400);
	assert_int_equal(p[0].offloads, BIT(VIRTIO_NET_F_GUEST_CSUM) |
						BIT(VIRTIO_NET_F_GUEST_TSO4) |
						BIT(VIRTIO_NET_F_GUEST_ECN));
	assert_string_equal(p[1].port, "null:60");
	assert_int_equal(p[1].vlan, 7);
	assert_true(p[1].offloads == OPTIONS_OFFLOADS_UNSAID);
	assert_string_equal(opts.devs[0].end.net, "lan");
	assert_int_equal(opts.devs[0].end.vlan, 1);
	assert_true(opts.devs[0].end.offloads & BIT(VIRTIO_NET_F_GUEST_UFO));
}

static void a_port_may_be_a_socket(void **state)
{
	(void)state;
	check_ret(parse("--net n --port n,vhost-user:/run/a,queues=2,mtu=1400"),
		  0);
	assert_int_equal(opts.nports, 0);
	assert_int_equal(opts.ndevs, 0);
	assert_int_equal(opts.nsocks, 1);
	assert_string_equal(opts.socks[0].path, "/run/a");
	assert_string_equal(opts.socks[0].end.net, "n");
	assert_int_equal(opts.socks[0].queues, 2);
	assert_int_equal(opts.socks[0].mtu, 1400);
	assert_int_equal(opts.socks[0].end.mtu, 1400);
}

static void networks_of_ports_alone_need_no_device(void **state)
{
	(void)state;
	check_ret(parse("--net n --port n,null --port n,loop"), 0);
	assert_int_equal(opts.ndevs, 0);
	assert_int_equal(opts.nports, 2);
}

static void a_comma_of_a_value_is_written_twice(void **state)
{
	(void)state;
	check_ret(parse("--socket-path /run/a,,b,port=loop,capture=/c,,,,d"),
		  0);
	assert_string_equal(opts.socks[0].path, "/run/a,b");
	assert_string_equal(opts.socks[0].end.capture.file, "/c,,d");
}

static void captures_to_one_file_agree(void **state)
{
	const struct option_capture *c;

	(void)state;
	check_ret(parse("--net n "
			"--port n,null,capture=/c,capture-snaplen=100 "
			"--port n,null,capture=/c,capture-file-size=2M,"
			"capture-files=3 --device d,capture=/c "
			"--socket-path /s,port=loop,capture=/other,"
			"capture-vnet-hdr"),
		  0);
	for (unsigned int i = 0; i < 3; i++) {
		c = i < 2 ? &opts.ports[i].capture : &opts.devs[0].end.capture;
		assert_string_equal(c->file, "/c");
		assert_int_equal(c->snaplen, 100);
		assert_int_equal(c->file_bytes, 2 << 20);
		assert_int_equal(c->files, 3);
		assert_false(c->vnet_hdr);
	}
	c = &opts.socks[0].end.capture;
	assert_int_equal(c->snaplen, NETPORT_FRAME_MAX);
	assert_int_equal(c->file_bytes, 0);
	assert_true(c->vnet_hdr);
	check_ret(parse("--net n "
			"--port n,null,capture=/c,capture-snaplen=100 "
			"--port n,null,capture=/c,capture-snaplen=99"),
		  -EINVAL);
	assert_non_null(strstr(error, "capture-snaplen: '/c'"));
}

static void there_may_be_so_many_of_each(void **state)
{
	static const struct {
		const char *option, *before, *after;
		unsigned int most;
	} kinds[] = {
		{ "--net", "n", "", OPTIONS_MAX_NETS },
		{ "--port", "n0,null,name=p", "", OPTIONS_MAX_PORTS },
		{ "--device", "d", "", OPTIONS_MAX_DEVS },
		{ "--socket-path", "/s", ",port=loop", OPTIONS_MAX_SOCKS },
	};
	static char name[] = "uvhostd", net[] = "--net=n0";
	static char text[OPTIONS_MAX_PORTS + 1][32];
	static char *argv[2 * OPTIONS_MAX_PORTS + 8];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		int argc = 0;

		argv[argc++] = name;
		if (i == 1)
			argv[argc++] = net;
		for (unsigned int n = 0; n <= kinds[i].most; n++) {
			snprintf(text[n], sizeof(text[n]), "%s%u%s",
				 kinds[i].before, n, kinds[i].after);
			argv[argc++] = (char *)kinds[i].option;
			argv[argc++] = text[n];
		}
		argv[argc] = NULL;
		check_ret(
			options_parse(argc, argv, &opts, error, sizeof(error)),
			-EINVAL);
		assert_non_null(strstr(error, "more than"));
		check_ret(options_parse(argc - 2, argv, &opts, error,
					sizeof(error)),
			  0);
	}
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
	check_ret(parse("--release-node"), 0);
	assert_int_equal(opts.mode, OPTIONS_RELEASE_NODE);
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
		cmocka_unit_test(a_device_offers_more_if_it_is_told_to),
		cmocka_unit_test(guests_have_worker_processes_unless_told),
		cmocka_unit_test(what_is_on_a_network_with_a_process_has_one),
		cmocka_unit_test(the_port_of_a_device_has_keys),
		cmocka_unit_test(a_socket_is_taken_apart),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(paths_have_a_longest),
		cmocka_unit_test(networks_and_their_ports_are_taken_apart),
		cmocka_unit_test(a_port_may_be_a_socket),
		cmocka_unit_test(networks_of_ports_alone_need_no_device),
		cmocka_unit_test(a_comma_of_a_value_is_written_twice),
		cmocka_unit_test(captures_to_one_file_agree),
		cmocka_unit_test(there_may_be_so_many_of_each),
		cmocka_unit_test(modes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
