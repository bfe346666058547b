/* SPDX-License-Identifier: MIT */
/*
 * compress: LZO of the request, if that begins with '+'; with '-' it is
 * decompressed. Buffers are there when warm. A request that is no good is
 * answered with nothing.
 */
#include <minilzo.h>
#include <stdlib.h>

#include "guest.h"

#define MAX_BYTES ((size_t)1 << 20)

static unsigned char *in, *out;
static lzo_align_t work[LZO1X_1_MEM_COMPRESS / sizeof(lzo_align_t)];

void warm(void)
{
    in = malloc(MAX_BYTES);
    out = malloc(MAX_BYTES + MAX_BYTES / 16 + 67);
    if (!in || !out || lzo_init() != LZO_E_OK)
        abort();
}

void serve(void)
{
    size_t len = request(in, MAX_BYTES);
    lzo_uint n = MAX_BYTES;
    int err = LZO_E_ERROR;

    if (len > 0 && in[0] == '+')
        err = lzo1x_1_compress(in + 1, len - 1, out, &n, work);
    else if (len > 0)
        err = lzo1x_decompress_safe(in + 1, len - 1, out, &n, NULL);
    if (err == LZO_E_OK)
        answer(out, n);
}
