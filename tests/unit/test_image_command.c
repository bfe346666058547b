/* SPDX-License-Identifier: MIT */
/*
 * `ufault image`: what it prints of images, good and damaged, how two differ,
 * and how it ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/range.h"
#include "lib/image_file.h"

static char dir[] = "/tmp/ufault-command.XXXXXX";
static char output[8192];

/* Runs `ufault image ARGUMENTS` in the directory; its output, errors included,
 * is in `output`. Its exit status. */
static int run(const char *arguments)
{
    char line[512];
    FILE *pipe;
    size_t n;
    int status;

    snprintf(line, sizeof(line), "cd %s && %s image %s 2>&1", dir,
             UFAULT_COMMAND, arguments);
    pipe = popen(line, "r");
    assert_non_null(pipe);
    n = fread(output, 1, sizeof(output) - 1, pipe);
    output[n] = '\0';
    status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect(const char *arguments, int status, const char *text)
{
    assert_int_equal(run(arguments), status);
    if (!strstr(output, text))
        fail_msg("ufault image %s: no \"%s\" in\n%s", arguments, text, output);
}

static void make(const char *name, const char *drawing)
{
    int fd =
        image_file_make(drawing, UF_IMAGE_ZSTD, (uint32_t)page_size(), NULL, 0);
    uint64_t len = image_file_bytes(fd);
    char path[64], *bytes = malloc(len);
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    file = fopen(path, "w");
    assert_true(file && bytes);
    assert_int_equal(pread(fd, bytes, len, 0), len);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    free(bytes);
    close(fd);
}

static void flip(const char *name, uint64_t offset)
{
    char path[64];
    FILE *file;
    int byte;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    byte = fgetc(file);
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    fputc(byte ^ 1, file);
    assert_int_equal(fclose(file), 0);
}

static void info_and_verify(void **state)
{
    (void)state;
    make("a", "ab.c  ..d");
    expect("info a", 0, "pages        7 mapped, 4 stored here");
    expect("info a", 0, "mapping      7000000000-7000004000 rw-");
    expect("info a a", 0, "chunks       4096 bytes, zstd");
    expect("verify a", 0, "a: good");
    flip("a", 513);
    expect("info a", 0, "version      2");
    expect("verify a", 1, "a: page 0: damaged");
    flip("a", 100);
    expect("verify a", 1, "a: not an image, or damaged");
    expect("info a", 1, "a: not an image, or damaged");
    expect("verify nothing", 1, "nothing: No such file");
}

static void what_differs(void **state)
{
    (void)state;
    make("a", "ab.c  ..de|f");
    make("b", "ab.c  ..de|f");
    expect("diff a b", 0, "");
    assert_string_equal(output, "");
    make("b", "axxc..  .e|.");
    expect("diff a b", 1, "");
    assert_string_equal(output, "b 1000-3000\n"
                                "> 4000-6000\n"
                                "< 6000-8000\n"
                                "b 8000-9000\n"
                                "b a000-b000\n");
    make("b", "");
    expect("diff b a", 1, "> 0-4000\n> 6000-a000\n> a000-b000\n");
}

static void one_that_stands_alone(void **state)
{
    (void)state;
    make("a", "ab.c  ..de|f");
    expect("flatten a b", 0, "");
    expect("diff a b", 0, "");
    expect("flatten a none/b", 1, "none/b: No such file");
    flip("a", 513);
    expect("flatten a c", 1, "damaged");
    expect("info c", 1, "No such file");
}

static void wrong_arguments(void **state)
{
    (void)state;
    expect("", 2, "ufault image: \"\"");
    expect("nonsense a", 2, "\"nonsense\"");
    expect("info", 2, "\"info\" with 0 files");
    expect("diff a", 2, "\"diff\" with 1 files");
    expect("flatten a b c", 2, "\"flatten\" with 3 files");
    expect("--help", 0, "usage: ufault image info");
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    char line[64];

    (void)state;
    snprintf(line, sizeof(line), "rm -r %s", dir);
    return system(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(info_and_verify),
        cmocka_unit_test(what_differs),
        cmocka_unit_test(one_that_stands_alone),
        cmocka_unit_test(wrong_arguments),
    };

    if (page_size() != 4096) {
        puts("skipped: the texts are those of pages of 4096 bytes");
        return 77;
    }
    return cmocka_run_group_tests_name("ufault image", tests, set_up,
                                       tear_down);
}
