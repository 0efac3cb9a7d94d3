/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_pcapng.c tests blocks of pcapng, byte by byte on a little-endian machine
 * and as libpcap reads them.
 */
#include "check.h"

#include <endian.h>
#include <pcap/pcap.h>
#include <stdlib.h>

#include "bytes.h"
#include "pcapng.h"

static uint8_t block[PCAPNG_PACKET_MAX(100)];

static void assert_block(size_t len, const void *want, size_t want_len)
{
	if (htole16(1) != 1)
		skip_because("the bytes are those of a little-endian machine");
	assert_int_equal(len, want_len);
	assert_memory_equal(block, want, want_len);
	assert_int_equal(pcapng_block_len(block), len);
}

static void a_section_names_its_writer(void **state)
{
	static const uint8_t want[] =
		"\x0a\x0d\x0d\x0a\x30\0\0\0\x4d\x3c\x2b\x1a\1\0\0\0"
		"\xff\xff\xff\xff\xff\xff\xff\xff"
		"\3\0\3\0abc\0\4\0\4\0defg"
		"\0\0\0\0\x30\0\0";

	(void)state;
	assert_block(pcapng_section(block, "abc", "defg"), want, sizeof(want));
}

static void an_interface_has_name_and_resolution(void **state)
{
	static const uint8_t want[] = "\1\0\0\0\x28\0\0\0\1\0\0\0\0\4\0\0"
				      "\2\0\2\0et\0\0"
				      "\x9\0\1\0\x9\0\0\0"
				      "\0\0\0\0\x28\0\0";

	(void)state;
	memcpy(block, "junk", 4);
	assert_block(pcapng_interface(block, "et", 0x400), want, sizeof(want));
}

static void a_packet_has_direction_and_comments(void **state)
{
	static const uint8_t want[] =
		"\6\0\0\0\x44\0\0\0\2\0\0\0\x66\x55\0\0\x44\x33\x22\x11"
		"\5\0\0\0\x00\1\0\0hello\0\0\0"
		"\1\0\3\0why\0\1\0\1\0x\0\0\0"
		"\2\0\4\0\2\0\0\0"
		"\0\0\0\0\x44\0\0";
	const struct pcapng_packet packet = {
		.interface = 2,
		.caplen = 5,
		.len = 256,
		.direction = PCAPNG_OUTBOUND,
		.comment = { "why", "x" },
	};
	size_t len;

	(void)state;
	memset(block, 0xee, sizeof(block));
	memcpy(pcapng_packet_data(block), "hello", 5);
	len = pcapng_packet(block, &packet);
	pcapng_packet_set_time(block, UINT64_C(0x556611223344));
	assert_block(len, want, sizeof(want));
}

static void a_packet_without_news_has_no_options(void **state)
{
	static const uint8_t want[] = "\6\0\0\0\x28\0\0\0\0\0\0\0\0\0\0\0"
				      "\0\0\0\0\4\0\0\0\4\0\0\0abcd"
				      "\0\0\0\0\x28\0\0";
	const struct pcapng_packet packet = { .caplen = 4, .len = 4 };

	(void)state;
	memcpy(pcapng_packet_data(block), "abcd", 4);
	assert_block(pcapng_packet(block, &packet), want, sizeof(want));
}

static void statistics_count_what_was_lost(void **state)
{
	static const uint8_t want[] =
		"\5\0\0\0\x34\0\0\0\1\0\0\0\1\0\0\0\2\0\0\0"
		"\4\0\x8\0\x9\0\0\0\0\0\0\0"
		"\5\0\x8\0\x3\0\0\0\0\0\0\0"
		"\0\0\0\0\x34\0\0";

	(void)state;
	assert_block(pcapng_statistics(block, 1, UINT64_C(0x100000002), 9, 3),
		     want, sizeof(want));
}

static void a_long_text_is_cut(void **state)
{
	char text[PCAPNG_TEXT_MAX + 100];
	const struct pcapng_packet packet = {
		.caplen = 99,
		.len = 99,
		.direction = PCAPNG_INBOUND,
		.comment = { text, text },
	};
	size_t len;

	(void)state;
	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	len = pcapng_section(block, text, text);
	assert_int_equal(len, 24 + 2 * (4 + 256) + 8);
	assert_true(len <= PCAPNG_BLOCK_MAX);
	assert_true(pcapng_packet(block, &packet) <= PCAPNG_PACKET_MAX(99));
}

static void libpcap_reads_them(void **state)
{
	const struct pcapng_packet packet = {
		.interface = 1,
		.caplen = 3,
		.len = 70,
		.direction = PCAPNG_INBOUND,
		.comment = { "reason" },
	};
	char error[PCAP_ERRBUF_SIZE] = "";
	struct pcap_pkthdr *h;
	const u_char *bytes;
	FILE *f = tmpfile();
	size_t len;
	pcap_t *p;

	(void)state;
	assert_non_null(f);
	fwrite(block, 1, pcapng_section(block, "os", "test"), f);
	fwrite(block, 1, pcapng_interface(block, "a", 65535), f);
	fwrite(block, 1, pcapng_interface(block, "b", 65535), f);
	fwrite(block, 1, pcapng_statistics(block, 0, 1, 0, 0), f);
	memcpy(pcapng_packet_data(block), "xyz", 3);
	len = pcapng_packet(block, &packet);
	pcapng_packet_set_time(block, UINT64_C(1700000000123456789));
	fwrite(block, 1, len, f);
	rewind(f);

	p = pcap_fopen_offline_with_tstamp_precision(
		f, PCAP_TSTAMP_PRECISION_NANO, error);
	if (!p)
		fail_msg("%s", error);
	assert_int_equal(pcap_datalink(p), DLT_EN10MB);
	assert_int_equal(pcap_snapshot(p), 65535);
	check_ret(pcap_next_ex(p, &h, &bytes), 1);
	assert_int_equal(h->caplen, 3);
	assert_int_equal(h->len, 70);
	assert_int_equal(h->ts.tv_sec, 1700000000);
	assert_int_equal(h->ts.tv_usec, 123456789);
	assert_memory_equal(bytes, "xyz", 3);
	check_ret(pcap_next_ex(p, &h, &bytes), PCAP_ERROR_BREAK);
	pcap_close(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_section_names_its_writer),
		cmocka_unit_test(an_interface_has_name_and_resolution),
		cmocka_unit_test(a_packet_has_direction_and_comments),
		cmocka_unit_test(a_packet_without_news_has_no_options),
		cmocka_unit_test(statistics_count_what_was_lost),
		cmocka_unit_test(a_long_text_is_cut),
		cmocka_unit_test(libpcap_reads_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
