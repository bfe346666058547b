/* SPDX-License-Identifier: MIT */
/* See run_program.h. */
#include "run_program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "commands.h"

#define SCRIPT_DEPTH_MAX 5 /* as the kernel's */
#define HEAD_BYTES       256

/* ---------------------------------------------------------------- finding --
 */

static bool is_startable(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return false;
    if (!S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EACCES;
        return false;
    }
    return access(path, X_OK) == 0;
}

static int not_startable(const char *name, int err)
{
    bool missing = err == ENOENT || err == ENOTDIR;

    fprintf(stderr, "ufault run: %s: %s\n", name, strerror(err));
    return missing ? EXIT_RUN_NOT_FOUND : EXIT_RUN_NOT_STARTED;
}

/* The next directory of a PATH, "." for an empty one; NULL after the last. */
static const char *next_directory(const char *path, char *ret, size_t size)
{
    size_t len = strcspn(path, ":");

    snprintf(ret, size, "%.*s", len > 0 ? (int)len : 1, len > 0 ? path : ".");
    return path[len] == ':' ? path + len + 1 : NULL;
}

static int find_on_path(const char *name, char ret_path[PATH_MAX])
{
    const char *path = getenv("PATH");
    char directory[PATH_MAX];
    int err = ENOENT;

    if (!path)
        path = "/bin:/usr/bin";
    while (path) {
        path = next_directory(path, directory, sizeof(directory));
        if (snprintf(ret_path, PATH_MAX, "%s/%s", directory, name) >= PATH_MAX)
            continue;
        if (is_startable(ret_path))
            return 0;
        if (errno != ENOENT && errno != ENOTDIR)
            err = errno;
    }
    return not_startable(name, err);
}

int run_program_find(const char *name, char ret_path[PATH_MAX])
{
    if (!strchr(name, '/') && name[0] != '\0')
        return find_on_path(name, ret_path);
    if (snprintf(ret_path, PATH_MAX, "%s", name) >= PATH_MAX)
        return not_startable(name, ENAMETOOLONG);
    return is_startable(name) ? 0 : not_startable(name, errno);
}

/* --------------------------------------------------------------- checking --
 */

static int refuse(const char *path, const char *why)
{
    fprintf(stderr, "ufault run: %s %s\n", path, why);
    return EXIT_RUN_FAILED;
}

static bool read_at(int fd, void *buffer, size_t len, off_t at)
{
    return pread(fd, buffer, len, at) == (ssize_t)len;
}

/* The program's loader, "" if it has none. False: not readable as ELF. */
static bool read_loader(int fd, const ElfW(Ehdr) * header, char *ret,
                        size_t size)
{
    ret[0] = '\0';
    for (unsigned i = 0; i < header->e_phnum; i++) {
        off_t at = (off_t)(header->e_phoff + (uint64_t)i * header->e_phentsize);
        ElfW(Phdr) segment;

        if (!read_at(fd, &segment, sizeof(segment), at))
            return false;
        if (segment.p_type != PT_INTERP)
            continue;
        if (segment.p_filesz == 0 || segment.p_filesz >= size ||
            !read_at(fd, ret, segment.p_filesz, (off_t)segment.p_offset))
            return false;
        ret[segment.p_filesz] = '\0';
        return true;
    }
    return true;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* The name of the loader that loaded this command. */
static bool own_header(ElfW(Ehdr) * ret, char *ret_loader, size_t size)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && read_at(fd, ret, sizeof(*ret), 0) &&
              read_loader(fd, ret, ret_loader, size);

    if (fd >= 0)
        close(fd);
    return ok && ret_loader[0] != '\0';
}

static int check_loader(const char *path, int fd, const ElfW(Ehdr) * header)
{
    char loader[PATH_MAX], own_loader[PATH_MAX];
    ElfW(Ehdr) own;
    bool known = own_header(&own, own_loader, sizeof(own_loader));

    if (header->e_ident[EI_CLASS] != ELFCLASS64 ||
        (known && header->e_machine != own.e_machine))
        return refuse(path, "is not a program of this machine's 64-bit kind; "
                            "ufault cannot be loaded into it");
    if (!read_loader(fd, header, loader, sizeof(loader)))
        return refuse(path, "is no sound ELF program");
    if (loader[0] == '\0')
        return refuse(path, "is statically linked; ufault is loaded by the "
                            "dynamic loader and cannot serve it");
    if (known && strcmp(base_name(loader), base_name(own_loader)) != 0) {
        fprintf(stderr,
                "ufault run: %s is loaded by %s; ufault can be loaded by %s "
                "alone\n",
                path, loader, own_loader);
        return EXIT_RUN_FAILED;
    }
    return 0;
}

static int check_privileges(const char *path, int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return 0;
    if (st.st_mode & S_ISUID)
        return refuse(path, "is set-uid; the dynamic loader takes no library "
                            "from the environment of such programs");
    if ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
        return refuse(path, "is set-gid; the dynamic loader takes no library "
                            "from the environment of such programs");
    if (fgetxattr(fd, "security.capability", NULL, 0) > 0)
        return refuse(path, "has file capabilities; the dynamic loader takes "
                            "no library from the environment of such "
                            "programs");
    return 0;
}

/* The interpreter of a script's first line, or NULL. Changes the text. */
static char *script_interpreter(char *head)
{
    char *at;

    if (strncmp(head, "#!", 2) != 0)
        return NULL;
    at = head + 2 + strspn(head + 2, " \t");
    at[strcspn(at, " \t\n")] = '\0';
    return at[0] != '\0' ? at : NULL;
}

static int check(const char *path, int depth);

static int check_open(const char *path, int fd, int depth)
{
    union {
        char text[HEAD_BYTES + 1];
        ElfW(Ehdr) elf;
    } head = {.text = ""};
    ssize_t got = pread(fd, head.text, HEAD_BYTES, 0);
    char *interpreter;
    int status;

    if (got >= (ssize_t)sizeof(head.elf) &&
        memcmp(head.text, ELFMAG, SELFMAG) == 0) {
        status = check_privileges(path, fd);
        return status ? status : check_loader(path, fd, &head.elf);
    }
    interpreter = script_interpreter(head.text);
    if (depth >= SCRIPT_DEPTH_MAX)
        return 0; /* the kernel's to refuse */
    /* A file of no known kind is run by the shell, as execvp(3) does. */
    return check(interpreter ? interpreter : "/bin/sh", depth + 1);
}

static int check(const char *path, int depth)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int status;

    if (fd < 0)
        return 0; /* not readable: exec knows more */
    status = check_open(path, fd, depth);
    close(fd);
    return status;
}

int run_program_check(const char *path)
{
    return check(path, 0);
}
