/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks of a pcapng file, written into a buffer. Pure; in the byte order of
 * the machine, which the format allows. Time stamps are in ns.
 *
 * Texts are cut at PCAPNG_TEXT_MAX bytes. Every function here returns the bytes
 * of its block, a multiple of 4.
 *
 * Source: draft-ietf-opsawg-pcapng.
 */
#ifndef PCAPNG_H
#define PCAPNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCAPNG_TEXT_MAX 255

/** PCAPNG_BLOCK_MAX - bytes of any block but a packet */
#define PCAPNG_BLOCK_MAX 640

/** PCAPNG_PACKET_MAX() - bytes of a packet of @caplen bytes, two comments */
#define PCAPNG_PACKET_MAX(caplen) ((size_t)(caplen) + PCAPNG_BLOCK_MAX)

/** pcapng_section() - Section Header, the first block of a file
 * @os, @application: names of what wrote the file */
size_t pcapng_section(uint8_t *to, const char *os, const char *application);

/** pcapng_interface() - Interface Description: Ethernet; the first is number 0
 */
size_t pcapng_interface(uint8_t *to, const char *name, uint32_t snaplen);

/** Bits of epb_flags */
enum pcapng_direction {
	PCAPNG_UNKNOWN,
	PCAPNG_INBOUND,
	PCAPNG_OUTBOUND,
};

/**
 * struct pcapng_packet - Enhanced Packet, all but its bytes and its time
 * @caplen:  bytes recorded
 * @len:     bytes of the frame
 * @comment: NULL: none
 */
struct pcapng_packet {
	uint32_t interface;
	uint32_t caplen, len;
	enum pcapng_direction direction;
	const char *comment[2];
};

/** pcapng_packet_data() - where the packet's bytes go, before pcapng_packet()
 */
uint8_t *pcapng_packet_data(uint8_t *to);
/** pcapng_packet() - the other fields, after the bytes; time 0 */
size_t pcapng_packet(uint8_t *to, const struct pcapng_packet *packet);
/** pcapng_packet_set_time() - @ns since 1970 */
void pcapng_packet_set_time(uint8_t *packet, uint64_t ns);

/** pcapng_statistics() - Interface Statistics: frames seen, and of these not
 * recorded */
size_t pcapng_statistics(uint8_t *to, uint32_t interface, uint64_t ns,
			 uint64_t seen, uint64_t dropped);

/** pcapng_block_len() - bytes of the block at @block, which a function above
 * made */
size_t pcapng_block_len(const uint8_t *block);

#endif
