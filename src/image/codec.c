/* SPDX-License-Identifier: MIT */
/* See codec.h. */
#include "image/codec.h"

#include <errno.h>
#include <lz4.h>
#include <string.h>

/* The functions without malloc; Debian's shared library has them. */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

size_t codec_packer_bytes(enum uf_image_codec codec, int level)
{
    switch (codec) {
    case UF_IMAGE_ZSTD:
        return ZSTD_estimateCCtxSize(level);
    case UF_IMAGE_LZ4:
        return (size_t)LZ4_sizeofState();
    default:
        return 8;
    }
}

size_t codec_unpacker_bytes(void)
{
    return ZSTD_estimateDCtxSize();
}

static size_t pack_zstd(int level, void *work, size_t work_bytes, void *to,
                        const void *from, size_t len_bytes)
{
    ZSTD_CCtx *context = ZSTD_initStaticCCtx(work, work_bytes);
    size_t n;

    if (!context)
        return 0;
    n = ZSTD_compressCCtx(context, to, len_bytes - 1, from, len_bytes, level);
    return ZSTD_isError(n) ? 0 : n;
}

size_t codec_pack(enum uf_image_codec codec, int level, void *work,
                  size_t work_bytes, void *to, const void *from,
                  size_t len_bytes)
{
    switch (codec) {
    case UF_IMAGE_ZSTD:
        return pack_zstd(level, work, work_bytes, to, from, len_bytes);
    case UF_IMAGE_LZ4:
        return (size_t)LZ4_compress_fast_extState(
            work, from, to, (int)len_bytes, (int)len_bytes - 1, 1);
    default:
        return 0;
    }
}

int codec_unpack(enum uf_image_codec codec, void *work, size_t work_bytes,
                 void *to, size_t to_bytes, const void *from, size_t from_bytes)
{
    ZSTD_DCtx *context;
    int n;

    switch (codec) {
    case UF_IMAGE_NONE:
        if (from_bytes != to_bytes)
            return -EBADMSG;
        memcpy(to, from, to_bytes);
        return 0;
    case UF_IMAGE_ZSTD:
        context = ZSTD_initStaticDCtx(work, work_bytes);
        if (!context || ZSTD_decompressDCtx(context, to, to_bytes, from,
                                            from_bytes) != to_bytes)
            return -EBADMSG;
        return 0;
    case UF_IMAGE_LZ4:
        n = LZ4_decompress_safe(from, to, (int)from_bytes, (int)to_bytes);
        return n == (int)to_bytes ? 0 : -EBADMSG;
    default:
        return -EBADMSG;
    }
}

const char *codec_name(uint32_t codec)
{
    static const char *const names[UF_IMAGE_CODECS] = {
        [UF_IMAGE_NONE] = "none",
        [UF_IMAGE_ZSTD] = "zstd",
        [UF_IMAGE_LZ4] = "lz4",
    };

    return codec < UF_IMAGE_CODECS ? names[codec] : "unknown";
}
