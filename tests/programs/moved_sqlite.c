/* SPDX-License-Identifier: MIT */
/*
 * A load on SQLite: a table of 30,000 rows with an index, read through
 * PRAGMA mmap_size while it grows (so that SQLite maps, remaps and unmaps the
 * file), its page cache in memory that the program mapped. Prints results.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define CACHE_PAGES 512
#define CACHE_SLOT  4360 /* a page and SQLite's header */

extern void mapped_now(void) __attribute__((weak));

static sqlite3 *db;

static int print_row(void *unused, int n, char **values, char **names)
{
    (void)unused;
    for (int i = 0; i < n; i++)
        printf("%s=%s%c", names[i], values[i] ? values[i] : "NULL",
               i + 1 < n ? ' ' : '\n');
    return 0;
}

static void run(const char *sql)
{
    char *message = NULL;

    if (sqlite3_exec(db, sql, print_row, NULL, &message) != SQLITE_OK) {
        printf("%s: %s\n", sql, message);
        exit(1);
    }
}

static void give_page_cache(void)
{
    void *cache = mmap(NULL, CACHE_PAGES * CACHE_SLOT, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (cache == MAP_FAILED ||
        sqlite3_config(SQLITE_CONFIG_PAGECACHE, cache, CACHE_SLOT,
                       CACHE_PAGES) != SQLITE_OK)
        exit(1);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    give_page_cache();
    if (sqlite3_open(argv[1], &db) != SQLITE_OK)
        return 1;
    run("PRAGMA mmap_size=268435456");
    run("CREATE TABLE t(a INTEGER PRIMARY KEY, b INTEGER, c TEXT)");
    for (int i = 0; i < 10; i++) {
        run("BEGIN");
        run("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n "
            "WHERE x<3000) INSERT INTO t(b,c) SELECT x*7919%1009, "
            "hex(x*x)||' text of a row' FROM n");
        run("COMMIT");
        run("SELECT count(*), sum(b), max(length(c)) FROM t");
    }
    run("CREATE INDEX i ON t(b)");
    run("SELECT b, count(*) FROM t WHERE b BETWEEN 500 AND 505 GROUP BY b");
    run("UPDATE t SET c=c||b WHERE a%3=0");
    run("DELETE FROM t WHERE a%5=0");
    run("SELECT count(*), sum(length(c)), sum(b*a%97) FROM t");
    if (mapped_now)
        mapped_now();
    run("VACUUM");
    run("PRAGMA integrity_check");
    return sqlite3_close(db) == SQLITE_OK ? 0 : 1;
}
