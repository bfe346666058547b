/* SPDX-License-Identifier: MIT */
/*
 * A load on LMDB: 20,000 records written in transactions through its writable
 * map, a third deleted, all read back in order by a cursor, then again from
 * the closed and opened file. The values come from a buffer of the program's
 * own mmap, grown by mremap on the way. Prints what it read.
 */
#include <lmdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NRECORDS 20000u
#define BUFFER   (256u << 10)
#define MAP_LEN  ((size_t)64 << 20)

#define CHECK(rc)                                                              \
    do {                                                                       \
        int rc_ = (rc);                                                        \
                                                                               \
        if (rc_ != 0) {                                                        \
            printf("line %d: %s\n", __LINE__, mdb_strerror(rc_));              \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

extern void mapped_now(void) __attribute__((weak));

static unsigned char *buffer;

static void make_buffer(void)
{
    buffer = mmap(NULL, BUFFER / 2, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(buffer == MAP_FAILED);
    for (size_t i = 0; i < BUFFER / 2; i++)
        buffer[i] = (unsigned char)(i * 31 >> 4);
    buffer = mremap(buffer, BUFFER / 2, BUFFER, MREMAP_MAYMOVE);
    CHECK(buffer == MAP_FAILED);
    for (size_t i = BUFFER / 2; i < BUFFER; i++)
        buffer[i] = (unsigned char)(i * 7 >> 2);
}

static MDB_env *open_env(const char *path, MDB_dbi *ret_dbi)
{
    MDB_env *env;
    MDB_txn *txn;

    CHECK(mdb_env_create(&env));
    CHECK(mdb_env_set_mapsize(env, MAP_LEN));
    CHECK(mdb_env_open(env, path, MDB_WRITEMAP | MDB_NOSUBDIR, 0600));
    CHECK(mdb_txn_begin(env, NULL, 0, &txn));
    CHECK(mdb_dbi_open(txn, NULL, 0, ret_dbi));
    CHECK(mdb_txn_commit(txn));
    return env;
}

static MDB_val key_of(unsigned n, char text[16])
{
    snprintf(text, 16, "%08x", n * 2654435761u);
    return (MDB_val){8, text};
}

static void write_all(MDB_env *env, MDB_dbi dbi)
{
    MDB_txn *txn = NULL;
    char text[16];

    for (unsigned n = 0; n < NRECORDS; n++) {
        MDB_val key = key_of(n, text), value;

        if (n % 5000 == 0)
            CHECK(mdb_txn_begin(env, NULL, 0, &txn));
        value.mv_size = n % 700;
        value.mv_data = buffer + n * 13 % (BUFFER - 700);
        CHECK(mdb_put(txn, dbi, &key, &value, 0));
        if (n % 3 == 2)
            CHECK(mdb_del(txn, dbi, &key, NULL));
        if (n % 5000 == 4999)
            CHECK(mdb_txn_commit(txn));
    }
    CHECK(mdb_env_sync(env, 1));
}

static void read_all(MDB_env *env, MDB_dbi dbi)
{
    uint64_t sum = 0, count = 0;
    MDB_val key, value;
    MDB_cursor *cursor;
    MDB_txn *txn;

    CHECK(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn));
    CHECK(mdb_cursor_open(txn, dbi, &cursor));
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        const unsigned char *bytes = value.mv_data;

        for (size_t i = 0; i < value.mv_size; i++)
            sum = sum * 31 + bytes[i];
        count++;
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    printf("%llu records, sum %016llx\n", (unsigned long long)count,
           (unsigned long long)sum);
}

int main(int argc, char **argv)
{
    MDB_env *env;
    MDB_dbi dbi;

    if (argc != 2)
        return 2;
    make_buffer();
    env = open_env(argv[1], &dbi);
    write_all(env, dbi);
    read_all(env, dbi);
    if (mapped_now)
        mapped_now();
    mdb_env_close(env);
    env = open_env(argv[1], &dbi);
    read_all(env, dbi);
    mdb_env_close(env);
    return munmap(buffer, BUFFER) == 0 ? 0 : 1;
}
