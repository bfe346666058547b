/* SPDX-License-Identifier: MIT */
/*
 * codec: a chunk smaller, and back.
 *
 * Neither way calls malloc (invariant 4): zstd and lz4 work in memory that the
 * caller has, so that a fault can be answered from inside the program's own
 * malloc, or a signal handler.
 */
#ifndef UF_IMAGE_CODEC_H
#define UF_IMAGE_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "ufault/image.h"

/* Of zstd, and 0: what stands for it. */
#define CODEC_LEVEL     1
#define CODEC_LEVEL_MAX 19

/* Bytes of work space, 8-aligned: of a compressor, of a decompressor for any
 * codec. */
size_t codec_packer_bytes(enum uf_image_codec codec, int level);
size_t codec_unpacker_bytes(void);

/* Compresses len_bytes of `from` into less than that many at `to`. The length
 * there, or 0: it does not get smaller. */
size_t codec_pack(enum uf_image_codec codec, int level, void *work,
                  size_t work_bytes, void *to, const void *from,
                  size_t len_bytes);

/* Makes exactly to_bytes of it again: 0, or -EBADMSG. Whatever `from` holds,
 * nothing outside `to` and `work` is written. */
int codec_unpack(enum uf_image_codec codec, void *work, size_t work_bytes,
                 void *to, size_t to_bytes, const void *from,
                 size_t from_bytes);

/* "none", "zstd", "lz4". */
const char *codec_name(uint32_t codec);

#endif
