/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The checksum that cksum(1) prints, so that anybody can compare.
 */
#ifndef ISTHMUS_CHECKSUM_H
#define ISTHMUS_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint32_t checksum(const void *data, size_t bytes);

#endif /* ISTHMUS_CHECKSUM_H */
