/* Runs in a container: does what the lines of standard input say, one change each, and then prints the tree below the
   directories named as arguments, in the words of listing.rs.

   A change that fails is none: the same lines fail in the same way wherever they run. Bytes of names other than printable
   ones are written \xHH, as are blanks and backslashes. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Later than any time that a change sets: what has such a time was written now. */
#define NOW 1500000000

static unsigned hex(const char *text) {
    unsigned byte = 0;
    sscanf(text, "%2x", &byte);
    return byte;
}

static char *unescaped(char *text) {
    char *from = text, *to = text;
    while (*from) {
        if (from[0] == '\\' && from[1] == 'x') {
            *to++ = (char)hex(from + 2);
            from += 4;
        } else {
            *to++ = *from++;
        }
    }
    *to = 0;
    return text;
}

static void print_escaped(const char *text, size_t length) {
    for (size_t at = 0; at < length; at++) {
        unsigned char byte = (unsigned char)text[at];
        if (byte > ' ' && byte < 0x7f && byte != '\\') putchar(byte);
        else printf("\\x%02x", byte);
    }
}

/* Bytes that differ with `seed`; those of a hole are zero. */
static void fill(int fd, long size, unsigned seed) {
    for (long at = 0; at < size; at++) {
        char byte = (char)('a' + (at / 7 + seed) % 26);
        if (write(fd, &byte, 1) != 1) break;
    }
}

static void make_file(const char *path, int flags, long size, unsigned seed) {
    int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | flags, 0644);
    if (fd < 0) return;
    struct stat stat;
    if (!fstat(fd, &stat) && S_ISREG(stat.st_mode)) fill(fd, size, seed);
    close(fd);
}

static void make_sparse(const char *path, long size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0) return;
    if (!ftruncate(fd, size) && lseek(fd, size / 2, SEEK_SET) > 0) fill(fd, 5, 0);
    close(fd);
}

static void remove_all(const char *path) {
    DIR *dir = opendir(path);
    struct stat stat;
    if (dir && !lstat(path, &stat) && S_ISDIR(stat.st_mode)) {
        struct dirent *entry;
        while ((entry = readdir(dir))) {
            if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
            char child[PATH_MAX];
            snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
            remove_all(child);
        }
    }
    if (dir) closedir(dir);
    remove(path);
}

static void set_time(const char *path, long seconds) {
    struct timespec times[2] = {{seconds, 0}, {seconds, 0}};
    utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
}

static void set_attribute(const char *path, const char *name, const char *value) {
    char bytes[256];
    size_t length = strlen(value) / 2;
    for (size_t at = 0; at < length; at++) bytes[at] = (char)hex(value + 2 * at);
    lsetxattr(path, name, bytes, length, 0);
}

static void change(char *line) {
    char *w[6] = {0};
    int words = 0;
    for (char *word = strtok(line, " \n"); word && words < 6; word = strtok(NULL, " \n")) w[words++] = unescaped(word);
    if (words < 2) return;
    const char *verb = w[0], *path = w[1];
    long a = w[2] ? strtol(w[2], NULL, 10) : 0, b = w[3] ? strtol(w[3], NULL, 10) : 0;
    mode_t mode = w[2] ? (mode_t)strtol(w[2], NULL, 8) : 0;
    if (!strcmp(verb, "dir")) mkdir(path, mode) || chmod(path, mode);
    else if (!strcmp(verb, "file")) make_file(path, O_TRUNC, a, (unsigned)b);
    else if (!strcmp(verb, "append")) make_file(path, O_APPEND, a, (unsigned)b);
    else if (!strcmp(verb, "sparse")) make_sparse(path, a);
    else if (!strcmp(verb, "symlink")) symlink(w[2], path);
    else if (!strcmp(verb, "link")) link(w[2], path);
    else if (!strcmp(verb, "fifo")) mkfifo(path, mode);
    else if (!strcmp(verb, "socket")) mknod(path, S_IFSOCK | 0644, 0);
    else if (!strcmp(verb, "char")) mknod(path, S_IFCHR | 0640, makedev(a, b));
    else if (!strcmp(verb, "block")) mknod(path, S_IFBLK | 0640, makedev(a, b));
    else if (!strcmp(verb, "remove")) remove_all(path);
    else if (!strcmp(verb, "rename")) rename(path, w[2]);
    else if (!strcmp(verb, "swap")) syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, w[2], 2 /* RENAME_EXCHANGE */);
    else if (!strcmp(verb, "mode")) fchmodat(AT_FDCWD, path, mode, 0);
    else if (!strcmp(verb, "owner")) lchown(path, (uid_t)a, (gid_t)b);
    else if (!strcmp(verb, "time")) set_time(path, a);
    else if (!strcmp(verb, "attribute")) set_attribute(path, w[2], w[3] ? w[3] : "");
    else if (!strcmp(verb, "unattribute")) lremovexattr(path, w[2]);
    else fprintf(stderr, "change: no change is called %s\n", verb), exit(1);
}

struct found {
    char *path;
    struct stat stat;
};

static struct found *all;
static size_t count;

static void find(const char *path) {
    struct stat stat;
    if (lstat(path, &stat)) return;
    all = realloc(all, (count + 1) * sizeof *all);
    all[count].path = strdup(path);
    all[count++].stat = stat;
    if (!S_ISDIR(stat.st_mode)) return;
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        char child[PATH_MAX];
        snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
        find(child);
    }
    if (dir) closedir(dir);
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const struct found *)a)->path, ((const struct found *)b)->path);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* FNV-1a. */
static uint64_t hash(const char *path) {
    uint64_t hash = 0xcbf29ce484222325;
    int fd = open(path, O_RDONLY | O_NOFOLLOW);
    unsigned char buffer[4096];
    ssize_t length;
    while ((length = read(fd, buffer, sizeof buffer)) > 0)
        for (ssize_t at = 0; at < length; at++) hash = (hash ^ buffer[at]) * 0x100000001b3;
    close(fd);
    return hash;
}

static void print_attributes(const char *path) {
    char names[4096], *sorted[64];
    ssize_t length = llistxattr(path, names, sizeof names);
    size_t found = 0;
    for (char *name = names; length > 0 && name < names + length && found < 64; name += strlen(name) + 1)
        if (!strncmp(name, "user.", 5) || !strcmp(name, "security.capability")) sorted[found++] = name;
    qsort(sorted, found, sizeof *sorted, by_name);
    for (size_t at = 0; at < found; at++) {
        char value[256];
        ssize_t bytes = lgetxattr(path, sorted[at], value, sizeof value);
        printf(" %s=", sorted[at]);
        for (ssize_t byte = 0; byte < bytes; byte++) printf("%02x", (unsigned char)value[byte]);
    }
}

static void print(size_t at) {
    const struct found *it = &all[at];
    mode_t kind = it->stat.st_mode & S_IFMT;
    const char *first = NULL;
    for (size_t other = 0; other < at && !S_ISDIR(kind); other++)
        if (all[other].stat.st_ino == it->stat.st_ino && all[other].stat.st_dev == it->stat.st_dev) {
            first = all[other].path;
            break;
        }
    char letter = S_ISREG(kind) ? 'f' : S_ISDIR(kind) ? 'd' : S_ISLNK(kind) ? 'l' : S_ISFIFO(kind) ? 'p'
                : S_ISCHR(kind) ? 'c' : S_ISBLK(kind) ? 'b' : 's';
    if (letter == 's') return;
    printf("%c ", letter);
    print_escaped(it->path, strlen(it->path));
    if (letter != 'l') printf(" %04o", it->stat.st_mode & 07777);
    printf(" %u:%u", it->stat.st_uid, it->stat.st_gid);
    if (letter == 'f') printf(" %ld %016lx", (long)it->stat.st_size, hash(it->path));
    if (letter == 'c' || letter == 'b') printf(" %u,%u", major(it->stat.st_rdev), minor(it->stat.st_rdev));
    if (letter == 'l') {
        char target[PATH_MAX];
        ssize_t length = readlink(it->path, target, sizeof target);
        printf(" >");
        print_escaped(target, length < 0 ? 0 : (size_t)length);
    }
    if (first) {
        printf(" =");
        print_escaped(first, strlen(first));
    }
    if (it->stat.st_mtime < NOW) printf(" @%ld", (long)it->stat.st_mtime);
    print_attributes(it->path);
    putchar('\n');
}

int main(int argc, char **argv) {
    char line[8192];
    umask(022);
    while (fgets(line, sizeof line, stdin)) change(line);
    for (int at = 1; at < argc; at++) find(argv[at]);
    if (count) qsort(all, count, sizeof *all, by_path);
    for (size_t at = 0; at < count; at++) print(at);
    return 0;
}
