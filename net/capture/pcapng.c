/* SPDX-License-Identifier: BSD-3-Clause */
/* pcapng.c writes the blocks of a pcapng file into a buffer. */
#include "pcapng.h"

#include <string.h>

#include "bytes.h"

enum block {
	SECTION_HEADER = 0x0a0d0d0a,
	INTERFACE_DESCRIPTION = 1,
	INTERFACE_STATISTICS = 5,
	ENHANCED_PACKET = 6,
};

enum option {
	OPT_ENDOFOPT = 0,
	OPT_COMMENT = 1,
	SHB_OS = 3,
	SHB_USERAPPL = 4,
	IF_NAME = 2,
	IF_TSRESOL = 9,
	EPB_FLAGS = 2,
	ISB_IFRECV = 4,
	ISB_IFDROP = 5,
};

#define BYTE_ORDER_MAGIC 0x1a2b3c4d
#define VERSION_MAJOR 1
#define LINKTYPE_ETHERNET 1
#define TSRESOL_NS 9
#define PACKET_TIME 12 /* where it stands in its block */
#define PACKET_DATA 28

static uint8_t *put_u32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

/* The upper half first, in either byte order. */
static uint8_t *put_time(uint8_t *p, uint64_t ns)
{
	return put_u32(put_u32(p, (uint32_t)(ns >> 32)), (uint32_t)ns);
}

static uint8_t *pad(uint8_t *p, size_t len)
{
	while (len++ % 4)
		*p++ = 0;
	return p;
}

static uint8_t *put_option(uint8_t *p, enum option code, const void *value,
			   size_t len)
{
	const uint16_t head[2] = { (uint16_t)code, (uint16_t)len };

	memcpy(p, head, sizeof(head));
	memcpy(p + sizeof(head), value, len);
	return pad(p + sizeof(head) + len, len);
}

static uint8_t *put_text(uint8_t *p, enum option code, const char *text)
{
	return put_option(p, code, text, strnlen(text, PCAPNG_TEXT_MAX));
}

/* The length of a block follows its type, and ends it. */
static size_t finish_block(uint8_t *block, enum block type, uint8_t *end)
{
	size_t len;

	end = put_u32(end, OPT_ENDOFOPT);
	len = (size_t)(end - block) + sizeof(uint32_t);
	put_u32(block, type);
	put_u32(block + 4, (uint32_t)len);
	put_u32(end, (uint32_t)len);
	return len;
}

size_t pcapng_section(uint8_t *to, const char *os, const char *application)
{
	const uint16_t version[2] = { VERSION_MAJOR, 0 };
	const uint64_t unknown_len = UINT64_MAX;
	uint8_t *p = put_u32(to + 8, BYTE_ORDER_MAGIC);

	memcpy(p, version, sizeof(version));
	p += sizeof(version);
	memcpy(p, &unknown_len, sizeof(unknown_len));
	p += sizeof(unknown_len);
	p = put_text(p, SHB_OS, os);
	p = put_text(p, SHB_USERAPPL, application);
	return finish_block(to, SECTION_HEADER, p);
}

size_t pcapng_interface(uint8_t *to, const char *name, uint32_t snaplen)
{
	const uint16_t link[2] = { LINKTYPE_ETHERNET, 0 };
	const uint8_t resolution = TSRESOL_NS;
	uint8_t *p = to + 8;

	memcpy(p, link, sizeof(link));
	p = put_u32(p + sizeof(link), snaplen);
	p = put_text(p, IF_NAME, name);
	p = put_option(p, IF_TSRESOL, &resolution, sizeof(resolution));
	return finish_block(to, INTERFACE_DESCRIPTION, p);
}

uint8_t *pcapng_packet_data(uint8_t *to)
{
	return to + PACKET_DATA;
}

size_t pcapng_packet(uint8_t *to, const struct pcapng_packet *packet)
{
	uint32_t flags = packet->direction;
	uint8_t *p = put_u32(to + 8, packet->interface);

	p = put_time(p, 0);
	p = put_u32(p, packet->caplen);
	p = put_u32(p, packet->len);
	p = pad(p + packet->caplen, packet->caplen);
	for (size_t i = 0; i < ARRAY_SIZE(packet->comment); i++)
		if (packet->comment[i])
			p = put_text(p, OPT_COMMENT, packet->comment[i]);
	if (flags)
		p = put_option(p, EPB_FLAGS, &flags, sizeof(flags));
	return finish_block(to, ENHANCED_PACKET, p);
}

void pcapng_packet_set_time(uint8_t *packet, uint64_t ns)
{
	put_time(packet + PACKET_TIME, ns);
}

size_t pcapng_statistics(uint8_t *to, uint32_t interface, uint64_t ns,
			 uint64_t seen, uint64_t dropped)
{
	uint8_t *p = put_time(put_u32(to + 8, interface), ns);

	p = put_option(p, ISB_IFRECV, &seen, sizeof(seen));
	p = put_option(p, ISB_IFDROP, &dropped, sizeof(dropped));
	return finish_block(to, INTERFACE_STATISTICS, p);
}

size_t pcapng_block_len(const uint8_t *block)
{
	uint32_t len;

	memcpy(&len, block + 4, sizeof(len));
	return len;
}
