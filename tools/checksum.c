// SPDX-License-Identifier: GPL-2.0-only
/*
 * The checksum that cksum(1) prints, so that anybody can compare.
 */
#include <pthread.h>

#include "checksum.h"

#define POLYNOMIAL	0x04c11db7U

static uint32_t table[256];

static void fill_table(void)
{
	uint32_t crc;
	unsigned int byte, bit;

	for (byte = 0; byte < 256; byte++) {
		crc = byte << 24;
		for (bit = 0; bit < 8; bit++)
			crc = crc << 1 ^ (crc & 0x80000000U ? POLYNOMIAL : 0);
		table[byte] = crc;
	}
}

static uint32_t add(uint32_t crc, unsigned char byte)
{
	return crc << 8 ^ table[crc >> 24 ^ byte];
}

uint32_t checksum(const void *data, size_t bytes)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const unsigned char *byte = data;
	uint32_t crc = 0;
	size_t i, length;

	pthread_once(&once, fill_table);
	for (i = 0; i < bytes; i++)
		crc = add(crc, byte[i]);
	/* POSIX: then the length, least significant byte first, without leading zeros. */
	for (length = bytes; length; length >>= 8)
		crc = add(crc, length & 0xff);
	return ~crc;
}
