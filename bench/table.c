/* SPDX-License-Identifier: MIT */
/* See table.h. */
#include "table.h"

#include <string.h>

#define BUCKETS     ((uint32_t)1 << 17)
#define VALUE_BYTES 1000u

struct record {
    uint64_t key;
    uint32_t next; /* 1 + its number; 0: none */
    uint32_t len_bytes;
    char value[VALUE_BYTES];
};

struct table {
    uint64_t nrecords;
    uint32_t buckets[BUCKETS]; /* 1 + number of a record; 0: none */
    struct record records[];
};

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15u;
    return x ^ (x >> 29);
}

/* Of a record: words from a small vocabulary, then what does not compress. */
static void fill_value(struct record *r, uint64_t seed)
{
    static const char words[8][9] = {"request ", "answered", " in time",
                                     " and the", " session", " goes on",
                                     " without", " a pause"};
    size_t i = 0;

    for (; i < VALUE_BYTES / 2; i += 8) {
        seed = mix(seed + 1);
        memcpy(r->value + i, words[seed >> 61], 8);
    }
    for (; i + 8 <= VALUE_BYTES; i += 8) {
        seed = mix(seed + 1);
        memcpy(r->value + i, &seed, 8);
    }
}

void table_make(char *at, size_t len_bytes)
{
    struct table *t = (struct table *)at;
    uint64_t n = (len_bytes - sizeof(*t)) / sizeof(struct record);

    t->nrecords = n;
    for (uint64_t i = 0; i < n; i++) {
        struct record *r = &t->records[i];
        uint32_t *bucket;

        r->key = mix(i + 1);
        bucket = &t->buckets[r->key % BUCKETS];
        r->next = *bucket;
        r->len_bytes = VALUE_BYTES;
        fill_value(r, r->key);
        *bucket = (uint32_t)i + 1;
    }
}

static const struct record *look_up(const struct table *t, uint64_t key)
{
    uint32_t i = t->buckets[key % BUCKETS];

    while (i && t->records[i - 1].key != key)
        i = t->records[i - 1].next;
    return i ? &t->records[i - 1] : NULL;
}

/* Byte by byte, as a parser reads. */
static uint64_t digest(const struct record *r)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (uint32_t i = 0; i < r->len_bytes; i++)
        hash = (hash ^ (unsigned char)r->value[i]) * 0x100000001b3u;
    return hash;
}

uint64_t table_ask(const char *at, uint64_t seed, size_t n)
{
    const struct table *t = (const struct table *)at;
    uint64_t answer = seed;

    for (size_t i = 0; i < n; i++) {
        const struct record *r = look_up(t, mix(1 + mix(answer) % t->nrecords));

        answer = answer * 31 + (r ? digest(r) : 1);
    }
    return answer;
}
