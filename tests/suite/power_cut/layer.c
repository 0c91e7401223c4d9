// Loaded before the C library: logs what a process writes, renames and syncs below one folder, and ends the process at one
// of these calls, as a power cut would. The test then takes away what was not synced.
//
// A line of the log is one of
//   W path              bytes were written
//   F path              a file or folder was synced
//   S                   its whole file system was synced
//   R old new backup    a file was renamed; backup is a link to the file that it replaced, or -
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t only_one = PTHREAD_MUTEX_INITIALIZER;
static long calls = 0;
static long renames = 0;

static int below(const char *path) {
    const char *root = getenv("CUT_ROOT");
    return root && strncmp(path, root, strlen(root)) == 0;
}

static int path_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

// Writes a line; at the call of the cut, the process ends instead and the call does nothing.
static void log_line(const char *line) {
    const char *at = getenv("CUT_AT");
    calls++;
    if (at && calls >= atol(at)) _exit(137);
    ssize_t (*real_write)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    int log = open(getenv("CUT_LOG"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    real_write(log, line, strlen(line));
    close(log);
}

static void log_call(char what, const char *path) {
    char line[4200];
    snprintf(line, sizeof line, "%c %s\n", what, path);
    pthread_mutex_lock(&only_one);
    log_line(line);
    pthread_mutex_unlock(&only_one);
}

ssize_t write(int fd, const void *bytes, size_t size) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    char path[4096];
    if (path_of(fd, path, sizeof path)) log_call('W', path);
    return real(fd, bytes, size);
}

static int synced(int fd, const char *name) {
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    char path[4096];
    int ours = path_of(fd, path, sizeof path);
    int result = real(fd);
    if (ours && result == 0) log_call('F', path);
    return result;
}

int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }

int syncfs(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "syncfs");
    char path[4096];
    int ours = path_of(fd, path, sizeof path);
    int result = real(fd);
    if (ours && result == 0) log_call('S', "");
    return result;
}

int rename(const char *old, const char *new) {
    int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    char from[4096], to[4096], line[13000], backup[4096];
    const char *cwd = getenv("CUT_CWD");
    snprintf(from, sizeof from, "%s%s", old[0] == '/' ? "" : cwd, old);
    snprintf(to, sizeof to, "%s%s", new[0] == '/' ? "" : cwd, new);
    if (!below(to)) return real(old, new);
    pthread_mutex_lock(&only_one);
    snprintf(backup, sizeof backup, "%s.%ld", getenv("CUT_LOG"), renames++);
    const char *kept = link(to, backup) == 0 ? backup : "-";
    snprintf(line, sizeof line, "R %s %s %s\n", from, to, kept);
    log_line(line);
    int result = real(old, new);
    pthread_mutex_unlock(&only_one);
    return result;
}
