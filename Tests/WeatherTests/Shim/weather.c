// Bad weather for a process: calls that fail, and a clock that jumps. Preloaded (LD_PRELOAD) by the tests into the daemon.
//
// WEATHER_RULES names a file, read anew at every call, so that the weather changes while the process runs. A rule a line:
//
//   <call> <part of the path> <place> <how> <errno>
//     call   write (pwrite, pwritev, writev), sync (fdatasync, fsync), msync, truncate (ftruncate, posix_fallocate)
//     place  any, data, meta (LMDB's first two pages, through its O_DSYNC descriptor), restore (those, through the other
//            one), then (any, once another call has been struck)
//     how    fail (nothing is done), late (it is done, and an error is said), short (half of it is done, and said so)
//   clock <seconds to add to the time of day>
//
// Every call that a rule struck adds a byte to the file `<rules>.struck`.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct rule { int how; int code; };  // how: 0 none, 1 fail, 2 late, 3 short

static int read_rules(char *text, int size) {
  const char *path = getenv("WEATHER_RULES");
  if (!path) return 0;
  int file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (file < 0) return 0;
  int count = syscall(SYS_read, file, text, size - 1);
  syscall(SYS_close, file);
  text[count > 0 ? count : 0] = 0;
  return count;
}

// Adds a byte to the record of strikes, or only tells whether there is one.
static int struck(int again) {
  char path[600];
  snprintf(path, sizeof path, "%s.struck", getenv("WEATHER_RULES"));
  int file = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC | (again ? O_CREAT : 0), 0600);
  if (file < 0) return 0;
  if (again) syscall(SYS_write, file, "x", 1);
  syscall(SYS_close, file);
  return 1;
}

static struct rule find(const char *call, int file, off_t offset) {
  struct rule none = {0, 0};
  char text[2048];
  if (read_rules(text, sizeof text) <= 0) return none;
  char link[64], path[1024] = "";
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  path[length > 0 ? length : 0] = 0;
  char *line, *rest = text;
  while ((line = strsep(&rest, "\n"))) {
    char name[16], part[256], place[16], how[16];
    int code;
    if (sscanf(line, "%15s %255s %15s %15s %d", name, part, place, how, &code) != 5) continue;
    if (strcmp(name, call) || !strstr(path, part)) continue;
    int is_meta = offset >= 0 && offset < 8192;
    int is_synced = (fcntl(file, F_GETFL) & O_DSYNC) != 0;
    if (!strcmp(place, "data") && is_meta) continue;
    if (!strcmp(place, "meta") && !(is_meta && is_synced)) continue;
    if (!strcmp(place, "restore") && !(is_meta && !is_synced)) continue;
    if (!strcmp(place, "then") && !struck(0)) continue;
    struct rule rule = {!strcmp(how, "fail") ? 1 : !strcmp(how, "late") ? 2 : 3, code};
    struck(1);
    return rule;
  }
  return none;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static ssize_t wet_pwrite(int file, const void *bytes, size_t count, off_t offset) {
  struct rule rule = find("write", file, offset);
  if (rule.how == 1) { errno = rule.code; return -1; }
  ssize_t done = REAL(pwrite64)(file, bytes, rule.how == 3 ? count / 2 : count, offset);
  if (rule.how == 2) { errno = rule.code; return -1; }
  return done;
}
ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) { return wet_pwrite(file, bytes, count, offset); }
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) { return wet_pwrite(file, bytes, count, offset); }

static ssize_t wet_pwritev(int file, const struct iovec *parts, int count, off_t offset) {
  struct rule rule = find("write", file, offset);
  if (rule.how == 1) { errno = rule.code; return -1; }
  ssize_t done = REAL(pwritev64)(file, parts, rule.how == 3 ? (count + 1) / 2 : count, offset);
  if (rule.how == 3 && count == 1) return done / 2;
  if (rule.how == 2) { errno = rule.code; return -1; }
  return done;
}
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) { return wet_pwritev(file, parts, count, offset); }
ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t offset) { return wet_pwritev(file, parts, count, offset); }

ssize_t writev(int file, const struct iovec *parts, int count) {
  off_t offset = lseek(file, 0, SEEK_CUR);
  if (offset < 0) return REAL(writev)(file, parts, count);
  struct rule rule = find("write", file, offset);
  if (rule.how == 1) { errno = rule.code; return -1; }
  ssize_t done = REAL(writev)(file, parts, rule.how == 3 ? (count + 1) / 2 : count);
  if (rule.how == 2) { errno = rule.code; return -1; }
  return done;
}

#define WET(call, name, file, arguments)                      \
  struct rule rule = find(call, file, -1);                    \
  if (rule.how == 1) { errno = rule.code; return -1; }        \
  int done = REAL(name) arguments;                            \
  if (rule.how == 2) { errno = rule.code; return -1; }        \
  return done;

int fdatasync(int file) { WET("sync", fdatasync, file, (file)) }
int fsync(int file) { WET("sync", fsync, file, (file)) }
int ftruncate(int file, off_t count) { WET("truncate", ftruncate64, file, (file, count)) }
int ftruncate64(int file, off64_t count) { WET("truncate", ftruncate64, file, (file, count)) }

static int wet_fallocate(int file, off_t offset, off_t count) {
  struct rule rule = find("truncate", file, -1);
  return rule.how == 1 ? rule.code : REAL(posix_fallocate64)(file, offset, count);
}
int posix_fallocate(int file, off_t offset, off_t count) { return wet_fallocate(file, offset, count); }
int posix_fallocate64(int file, off64_t offset, off64_t count) { return wet_fallocate(file, offset, count); }

int msync(void *start, size_t count, int flags) {
  struct rule rule = find("msync", -1, -1);
  if (rule.how == 1) { errno = rule.code; return -1; }
  return REAL(msync)(start, count, flags);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int code = syscall(SYS_clock_gettime, clock, now);
  if (code || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return code;
  char text[2048];
  if (read_rules(text, sizeof text) <= 0) return code;
  char *line, *rest = text;
  while ((line = strsep(&rest, "\n"))) {
    long seconds;
    if (sscanf(line, "clock %ld", &seconds) == 1) now->tv_sec += seconds;
  }
  return code;
}
