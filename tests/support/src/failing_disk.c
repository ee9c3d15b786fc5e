/* Stands between a program and its disk: while the file named in FAILING_DISK_RULES is there, calls
 * that it names fail. A line is `<call> <errno> <end of the path>`. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int ends_with(const char *path, const char *end) {
    size_t length = strlen(path), tail = strlen(end);
    return length >= tail && strcmp(path + length - tail, end) == 0;
}

/* The error of this call on this file; 0 where it is to be let through. */
static int fault(const char *call, int fd) {
    const char *file = getenv("FAILING_DISK_RULES");
    if (!file) return 0;
    int rules = syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC);
    if (rules < 0) return 0;
    char text[4096];
    long length = syscall(SYS_read, rules, text, sizeof text - 1);
    syscall(SYS_close, rules);
    if (length <= 0) return 0;
    text[length] = 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long named = readlink(link, path, sizeof path - 1);
    if (named <= 0) return 0;
    path[named] = 0;
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n"))) {
        char name[32], end[4000];
        int error;
        if (sscanf(line, "%31s %d %3999[^\n]", name, &error, end) == 3
            && strcmp(name, call) == 0 && ends_with(path, end)) return error;
    }
    return 0;
}

/* errno is the caller's where nothing fails. */
#define FAIL(call, fd) \
    do { int kept = errno, error = fault(call, fd); errno = error ? error : kept; \
         if (error) return -1; } while (0)

int fsync(int fd) { FAIL("fsync", fd); return syscall(SYS_fsync, fd); }
int fdatasync(int fd) { FAIL("fsync", fd); return syscall(SYS_fdatasync, fd); }
int ftruncate(int fd, off_t size) { FAIL("ftruncate", fd); return syscall(SYS_ftruncate, fd, size); }
int ftruncate64(int fd, off64_t size) { FAIL("ftruncate", fd); return syscall(SYS_ftruncate, fd, size); }
ssize_t read(int fd, void *to, size_t size) { FAIL("read", fd); return syscall(SYS_read, fd, to, size); }
ssize_t write(int fd, const void *from, size_t size) { FAIL("write", fd); return syscall(SYS_write, fd, from, size); }
ssize_t pread(int fd, void *to, size_t size, off_t at) { FAIL("read", fd); return syscall(SYS_pread64, fd, to, size, at); }
ssize_t pread64(int fd, void *to, size_t size, off64_t at) { FAIL("read", fd); return syscall(SYS_pread64, fd, to, size, at); }
ssize_t pwrite(int fd, const void *from, size_t size, off_t at) { FAIL("write", fd); return syscall(SYS_pwrite64, fd, from, size, at); }
ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) { FAIL("write", fd); return syscall(SYS_pwrite64, fd, from, size, at); }
