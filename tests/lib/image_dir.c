/* SPDX-License-Identifier: MIT */
/* See image_dir.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/image_dir.h"
#include "lib/image_file.h"
#include "lib/live.h"

char image_dir[32] = "/tmp/ufault-errors.XXXXXX";
char image_path[64], image_other[64], image_inner[64];

struct uf_space *image_dir_space(void)
{
    struct uf_space *space = live_space(NULL, 8);

    for (size_t i = 0; i < 8; i++)
        assert_int_equal(live_write(live_page(space, i), 1, NULL), 0);
    return space;
}

void image_dir_save(void)
{
    struct uf_image_opts how = {.size = sizeof(how),
                                .codec = UF_IMAGE_NONE,
                                .chunk_bytes = (uint32_t)page_size()};
    struct uf_space *space = image_dir_space();

    assert_int_equal(uf_image_save(space, image_path, &how), 0);
    assert_int_equal(uf_space_destroy(space), 0);
}

void image_dir_damage(const char *path, off_t offset)
{
    int fd = open(path, O_RDWR);
    unsigned char byte;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    image_file_put(fd, (uint64_t)offset, byte ^ 1);
    close(fd);
}

int image_dir_set_up(void **state)
{
    (void)state;
    if (!mkdtemp(image_dir))
        return -1;
    snprintf(image_path, sizeof(image_path), "%s/one", image_dir);
    snprintf(image_other, sizeof(image_other), "%s/two", image_dir);
    snprintf(image_inner, sizeof(image_inner), "%s/inner", image_dir);
    if (mkdir(image_inner, 0700) != 0)
        return -1;
    snprintf(image_inner, sizeof(image_inner), "%s/inner/image", image_dir);
    return 0;
}

int image_dir_clear(void **state)
{
    (void)state;
    unlink(image_path);
    unlink(image_other);
    return 0;
}

int image_dir_tear_down(void **state)
{
    image_dir_clear(state);
    *strrchr(image_inner, '/') = '\0';
    return rmdir(image_inner) || rmdir(image_dir);
}
