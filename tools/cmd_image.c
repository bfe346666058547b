/* SPDX-License-Identifier: MIT */
/*
 * ufault image: what is in an image, whether it is whole, how two differ, and
 * one out of a chain. The comparison is in image_diff.c.
 */
#include "commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "image_diff.h"
#include "ufault/image.h"
#include "ufault/ufault.h"

static const char usage[] =
    "usage: ufault image info FILE...\n"
    "       ufault image verify FILE...\n"
    "       ufault image diff FILE FILE\n"
    "       ufault image flatten FILE NEWFILE\n"
    "\n"
    "  info      what the image says of itself, and its mappings\n"
    "  verify    reads all of it, and of the images that it stands on, and\n"
    "            compares every checksum\n"
    "  diff      what is mapped, protected or filled differently in two, by\n"
    "            address from the base:\n"
    "                < START-END   mapped in the first only\n"
    "                > START-END   mapped in the second only\n"
    "                p START-END   other protection or advice\n"
    "                b START-END   other bytes\n"
    "  flatten   writes an image that stands on others as one that stands\n"
    "            alone\n"
    "  --help    this text\n"
    "\n"
    "Exit status: 0 if all is well, or nothing differs; 1 if not; 2 for a "
    "wrong\n"
    "argument.\n";

const char *image_error(int err)
{
    switch (err) {
    case -EBADMSG:
        return "not an image, or damaged";
    case -EOPNOTSUPP:
        return "an image of another version, byte order or page size";
    case -ESTALE:
        return "the image it stands on is another than it was saved with";
    case -ENOSYS:
        return "this ufault was built without images";
    default:
        return strerror(-err);
    }
}

static struct uf_image *open_image(const char *path)
{
    struct uf_image *image = NULL;
    int err = uf_image_open(path, &image);

    if (err)
        fprintf(stderr, "ufault image: %s: %s\n", path, image_error(err));
    return image;
}

/* ---- info ---- */

static int print_mapping(void *data, const struct uf_vma_info *vma)
{
    static const struct {
        uint32_t flag;
        const char *name;
    } names[] = {
        {UF_VMA_HEAP, "heap"},
        {UF_VMA_GROWSDOWN, "growsdown"},
        {UF_VMA_NORESERVE, "noreserve"},
        {UF_VMA_DONTFORK, "dontfork"},
        {UF_VMA_WIPEONFORK, "wipeonfork"},
        {UF_VMA_DONTDUMP, "dontdump"},
        {UF_VMA_HUGEPAGE, "hugepage"},
        {UF_VMA_NOHUGEPAGE, "nohugepage"},
        {UF_VMA_MERGEABLE, "mergeable"},
        {UF_VMA_SEQUENTIAL, "sequential"},
        {UF_VMA_RANDOM, "random"},
    };

    (void)data;
    printf("mapping      %zx-%zx %c%c%c", (size_t)vma->start, (size_t)vma->end,
           vma->prot & PROT_READ ? 'r' : '-',
           vma->prot & PROT_WRITE ? 'w' : '-',
           vma->prot & PROT_EXEC ? 'x' : '-');
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (vma->flags & names[i].flag)
            printf(" %s", names[i].name);
    printf("\n");
    return 0;
}

static void print_id(const char *label, const uint8_t id[16])
{
    printf("%-12s ", label);
    for (int i = 0; i < 16; i++)
        printf("%02x", id[i]);
    printf("\n");
}

static int info(const char *path, struct uf_image *image)
{
    static const char *const codecs[UF_IMAGE_CODECS] = {
        [UF_IMAGE_ZSTD] = "zstd",
        [UF_IMAGE_LZ4] = "lz4",
        [UF_IMAGE_NONE] = "none",
    };
    struct uf_image_info i = {.size = sizeof(i)};

    uf_image_info(image, &i);
    printf("file         %s\n", path);
    printf("version      %u\n", i.version);
    print_id("id", i.id);
    if (i.nparents > 0) {
        print_id("parent", i.parent);
        printf("stands on    %u\n", i.nparents);
    }
    printf("base         %zx%s\n", (size_t)i.base,
           i.flags & UF_IMAGE_FIXED ? " fixed" : "");
    printf("length       %zu\n", i.len_bytes);
    printf("break        %zu\n", i.brk);
    printf("pages        %llu mapped, %llu stored here\n",
           (unsigned long long)i.mapped_pages,
           (unsigned long long)i.stored_pages);
    printf("bytes        %llu, %llu of them pages\n",
           (unsigned long long)i.file_bytes, (unsigned long long)i.data_bytes);
    printf("chunks       %u bytes, %s\n", i.chunk_bytes, codecs[i.codec]);
    printf("working set  %llu, %llu of them stored here\n",
           (unsigned long long)i.nworking, (unsigned long long)i.nahead);
    return uf_image_walk(image, print_mapping, NULL);
}

static int verify(const char *path, struct uf_image *image)
{
    uint64_t page = 0;
    int err = uf_image_verify(image, &page);

    if (err)
        printf("%s: page %llu: %s\n", path, (unsigned long long)page,
               err == -EBADMSG ? "damaged" : strerror(-err));
    else
        printf("%s: good\n", path);
    return err;
}

/* Each of the files. */
static int for_each(int argc, char **argv,
                    int (*act)(const char *path, struct uf_image *image))
{
    int status = EXIT_DONE;

    for (int i = 1; i < argc; i++) {
        struct uf_image *image = open_image(argv[i]);

        if (!image || act(argv[i], image) != 0)
            status = EXIT_NOT_DONE;
        uf_image_close(image);
    }
    return status;
}

/* ---- two files ---- */

static int diff(char **argv)
{
    struct uf_image *first = open_image(argv[1]), *second = NULL;
    int status = EXIT_NOT_DONE, n;

    if (first)
        second = open_image(argv[2]);
    if (second) {
        n = image_diff(first, second);
        if (n < 0)
            fprintf(stderr, "ufault image: %s\n", image_error(n));
        else if (n == 0)
            status = EXIT_DONE;
    }
    uf_image_close(first);
    uf_image_close(second);
    return status;
}

static int flatten(char **argv)
{
    struct uf_image *image = open_image(argv[1]);
    int err;

    if (!image)
        return EXIT_NOT_DONE;
    err = uf_image_flatten(image, argv[2]);
    if (err)
        fprintf(stderr, "ufault image: %s: %s\n", argv[2], image_error(err));
    uf_image_close(image);
    return err ? EXIT_NOT_DONE : EXIT_DONE;
}

int cmd_image(int argc, char **argv)
{
    const char *action = argc > 1 ? argv[1] : "";

    if (strcmp(action, "--help") == 0 || strcmp(action, "-h") == 0) {
        fputs(usage, stdout);
        return EXIT_DONE;
    }
    argc--;
    argv++;
    if (strcmp(action, "info") == 0 && argc > 1)
        return for_each(argc, argv, info);
    if (strcmp(action, "verify") == 0 && argc > 1)
        return for_each(argc, argv, verify);
    if (strcmp(action, "diff") == 0 && argc == 3)
        return diff(argv);
    if (strcmp(action, "flatten") == 0 && argc == 3)
        return flatten(argv);
    fprintf(stderr,
            "ufault image: \"%s\" with %d files; see ufault image "
            "--help\n",
            action, argc > 0 ? argc - 1 : 0);
    return EXIT_USAGE;
}
