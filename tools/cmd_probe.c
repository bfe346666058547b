/* SPDX-License-Identifier: MIT */
/*
 * ufault probe: uf_probe() for people, and as JSON for programs.
 *
 * The JSON needs no escaping: all strings in it are static texts of the
 * library, which promises that they hold no quote, backslash or control
 * character.
 */
#include "commands.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "ufault/ufault.h"

#define NFEATURES 64

static const char usage[] =
    "usage: ufault probe [--json]\n"
    "\n"
    "Tries what ufault needs from the kernel, says for what is refused why "
    "and\n"
    "what would allow it, and lists the features of userfaultfd.\n"
    "\n"
    "  --json   one JSON object in place of the table\n"
    "  --help   this text\n"
    "\n"
    "Exit status: 0 if a space could be created, 1 if not, 2 for a wrong\n"
    "argument.\n";

/* Keys of JSON: fixed words, where the names are for people. */
static const char *const item_ids[UF_PROBE_COUNT] = {
    [UF_PROBE_SYSCALL] = "syscall",
    [UF_PROBE_DEVICE] = "device",
    [UF_PROBE_USER_MODE] = "user_mode",
    [UF_PROBE_IO_URING] = "io_uring",
    [UF_PROBE_SECCOMP_NOTIFY] = "seccomp_notify",
};

static bool has_feature(const struct uf_probe *probe, unsigned bit)
{
    return (probe->features >> bit & 1) != 0;
}

/* "  label: text" with the text folded at 80 columns under itself. */
static void print_folded(const char *label, const char *text)
{
    const int indent = 15, width = 79;
    int column = printf("       %-8s", label);

    while (*text != '\0') {
        int len = (int)strcspn(text, " ");

        if (column > indent && column + 1 + len > width) {
            printf("\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            column += printf(" ");
        }
        column += printf("%.*s", len, text);
        text += len;
        text += strspn(text, " ");
    }
    printf("\n");
}

static void print_item(const struct uf_probe_item *item)
{
    if (item->available) {
        printf("  yes  %s\n", item->name);
        return;
    }
    printf("  no   %s: %s\n", item->name, strerror(-item->error));
    print_folded("why:", item->why);
    print_folded("remedy:", item->remedy);
}

static void print_tier(enum uf_tier tier)
{
    switch (tier) {
    case UF_TIER_SYSCALL:
    case UF_TIER_DEVICE:
        printf("A space can be created, through the tier: %s.\n",
               uf_tier_name(tier));
        return;
    case UF_TIER_USER_MODE:
        printf("A space can be created, through the tier: %s.\n"
               "A system call that touches a page of it which is not resident "
               "fails with EFAULT.\n",
               uf_tier_name(tier));
        return;
    case UF_TIER_NONE:
        break;
    }
    printf("No space can be created: userfaultfd is refused in every way.\n");
}

/* Without a tier the kernel could not be asked which features it has. */
static void print_features(const struct uf_probe *probe)
{
    if (probe->tier == UF_TIER_NONE) {
        printf("\nFeatures of userfaultfd: not known, it cannot be opened\n");
        return;
    }
    printf("\nFeatures of userfaultfd in this kernel (0x%llx)\n",
           (unsigned long long)probe->features);
    for (unsigned bit = 0; bit < NFEATURES; bit++) {
        const char *name = uf_feature_name(bit);

        if (name)
            printf("  %-4s %-20s since Linux %s\n",
                   has_feature(probe, bit) ? "yes" : "no", name,
                   uf_feature_since(bit));
        else if (has_feature(probe, bit))
            printf("  yes  bit %-16u newer than this ufault\n", bit);
    }
}

static void print_table(const struct uf_probe *probe)
{
    print_tier(probe->tier);
    printf("\nFacilities for this process\n");
    for (int i = 0; i < UF_PROBE_COUNT; i++)
        print_item(&probe->items[i]);
    print_features(probe);
}

static void print_json_items(const struct uf_probe *probe)
{
    for (int i = 0; i < UF_PROBE_COUNT; i++) {
        const struct uf_probe_item *item = &probe->items[i];

        printf("%s\n    {\"id\": \"%s\", \"name\": \"%s\", "
               "\"available\": %s, \"error\": %d,\n"
               "     \"why\": \"%s\",\n     \"remedy\": \"%s\"}",
               i == 0 ? "" : ",", item_ids[i], item->name,
               item->available ? "true" : "false", item->error, item->why,
               item->remedy);
    }
}

/* Without a tier the kernel could not be asked. */
static const char *json_feature(const struct uf_probe *probe, unsigned bit)
{
    if (probe->tier == UF_TIER_NONE)
        return "null";
    return has_feature(probe, bit) ? "true" : "false";
}

static void print_json_features(const struct uf_probe *probe)
{
    const char *separator = "";

    for (unsigned bit = 0; bit < NFEATURES; bit++) {
        const char *name = uf_feature_name(bit);

        if (!name)
            continue;
        printf("%s\n    {\"bit\": %u, \"name\": \"%s\", \"since\": \"%s\", "
               "\"available\": %s}",
               separator, bit, name, uf_feature_since(bit),
               json_feature(probe, bit));
        separator = ",";
    }
}

static void print_json(const struct uf_probe *probe)
{
    printf("{\n  \"version\": \"%s\",\n  \"tier\": \"%s\",\n"
           "  \"usable\": %s,\n  \"features_mask\": %llu,\n  \"items\": [",
           uf_version(), uf_tier_name(probe->tier),
           probe->tier != UF_TIER_NONE ? "true" : "false",
           (unsigned long long)probe->features);
    print_json_items(probe);
    printf("\n  ],\n  \"features\": [");
    print_json_features(probe);
    printf("\n  ]\n}\n");
}

/* 0, EXIT_USAGE, or -1 when --help has answered. */
static int parse_arguments(int argc, char **argv, bool *ret_json)
{
    *ret_json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            *ret_json = true;
        } else if (strcmp(argv[i], "--help") == 0 ||
                   strcmp(argv[i], "-h") == 0) {
            fputs(usage, stdout);
            return -1;
        } else {
            fprintf(stderr,
                    "ufault probe: unknown argument \"%s\"; see "
                    "ufault probe --help\n",
                    argv[i]);
            return EXIT_USAGE;
        }
    }
    return 0;
}

/* A full disk or a closed pipe must not look like an answer. */
static int flush_output(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    perror("ufault probe: cannot write");
    return EXIT_NOT_DONE;
}

int cmd_probe(int argc, char **argv)
{
    struct uf_probe probe = {.size = sizeof(probe)};
    bool json;
    int err = parse_arguments(argc, argv, &json);

    if (err)
        return err > 0 ? err : flush_output(EXIT_DONE);
    err = uf_probe(&probe);
    if (err) {
        fprintf(stderr, "ufault probe: %s\n", strerror(-err));
        return EXIT_NOT_DONE;
    }
    if (json)
        print_json(&probe);
    else
        print_table(&probe);
    return flush_output(probe.tier != UF_TIER_NONE ? EXIT_DONE : EXIT_NOT_DONE);
}
