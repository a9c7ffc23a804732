// Records what a process does to the files below a directory, in order: every write with its bytes, every sync, every name.
// Preloaded (LD_PRELOAD) into a daemon by the power cut harness, which makes of the record what a disk could hold at any
// moment (PowerDisk.swift).
//
//   POWER_ROOT    the directory, without a slash at its end
//   POWER_TRACE   the file that the record is appended to; the harness adds its own marks to it
//   POWER_DELAY   microseconds that a sync takes longer, at most: slow disks have more that is not there yet
//   POWER_SKIP    "data", "meta" or "names", a colon, and a part of a path: such syncs are not done and not recorded. data:
//                 fsync and fdatasync of files; meta: what O_DSYNC promises; names: fsync of directories. To see whether
//                 the harness finds a missing sync.
//
// A record, big-endian:
//   u32 byte count of the record, u8 kind, u8 flags, u16 byte count of the path, u64 inode, u64 a, u64 b, path, bytes
//
// Invariants:
// - What changes a file or a name is done and recorded under one lock, so the record has the order of the page cache.
// - A sync is recorded twice: when it begins and when it is done. It holds for what was recorded before its beginning.
// - A call that fails, or does less than it was asked for, is recorded as a fault: the harness refuses such a record.
// - What cannot be followed (links, copies within the kernel) is a fault too.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
  WRITE = 1,    // a: offset, b: number if flags has 1 (O_DSYNC); bytes
  RESIZE = 2,   // a: the size
  BEGIN = 3,    // a: number
  END = 4,      // a: number of the BEGIN, or of the WRITE if flags has 1
  CREATE = 5,   // path
  MKDIR = 6,    // path
  RENAME = 7,   // path; bytes: the new path
  UNLINK = 8,   // path; also of directories
  MAPPED = 9,   // the file is written through memory: what is in it is unknown from now on
  FAULT = 10    // bytes: what happened
};

struct __attribute__((packed)) head {
  uint32_t count;
  uint8_t kind, flags;
  uint16_t path_count;
  uint64_t inode, a, b;
};

static const char *root, *skip;
static size_t root_length;
static long delay;
static int trace = -1;
static dev_t device;
static uint64_t next_number = 1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("POWER_TRACE");
  root = getenv("POWER_ROOT");
  skip = getenv("POWER_SKIP");
  if (!path || !root) return;
  const char *text = getenv("POWER_DELAY");
  delay = text ? atol(text) : 0;
  root_length = strlen(root);
  struct stat status;
  if (stat(root, &status)) abort();
  device = status.st_dev;
  trace = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (trace < 0) abort();
}

// With `lock` held. A record is whole, or the process ends.
static void record(int kind, int flags, uint64_t inode, uint64_t a, uint64_t b, const char *path, const void *bytes, size_t count) {
  size_t path_count = path ? strlen(path) : 0;
  struct head head = {htobe32(sizeof head + path_count + count), kind, flags, htobe16(path_count), htobe64(inode), htobe64(a), htobe64(b)};
  struct iovec parts[3] = {{&head, sizeof head}, {(void *)path, path_count}, {(void *)bytes, count}};
  int code = errno;
  if (syscall(SYS_writev, trace, parts, 3) != (long)(sizeof head + path_count + count)) abort();
  errno = code;
}

static void fault(const char *call, const char *path) {
  char text[PATH_MAX + 100];
  int count = snprintf(text, sizeof text, "%s: errno %d: %s", call, errno, path);
  record(FAULT, 0, 0, 0, 0, NULL, text, count);
}

static int is_below(const char *path) {
  return trace >= 0 && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

// The absolute path of what `path` names for a call that is given `directory`; NULL if it is not below the root.
static const char *resolve(int directory, const char *path, char *buffer) {
  if (trace < 0 || !path) return NULL;
  if (path[0] == '/') return is_below(path) ? path : NULL;
  char link[64] = "/proc/self/cwd", base[PATH_MAX];
  if (directory != AT_FDCWD) snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
  ssize_t count = readlink(link, base, sizeof base - 1);
  if (count < 0) return NULL;
  base[count] = 0;
  if (snprintf(buffer, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return NULL;
  return is_below(buffer) ? buffer : NULL;
}

// True if a descriptor is a file (or directory) below the root; tells its inode, its path and its flags.
static int is_ours(int file, struct stat *status, char *path) {
  if (trace < 0 || file == trace || fstat(file, status)) return 0;
  if (status->st_dev != device || !(S_ISREG(status->st_mode) || S_ISDIR(status->st_mode))) return 0;
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t count = readlink(link, path, PATH_MAX - 1);
  if (count < 0) return 0;
  path[count] = 0;
  return is_below(path);
}

static int is_skipped(const char *kind, const char *path) {
  size_t count = strlen(kind);
  return skip && !strncmp(skip, kind, count) && skip[count] == ':' && strstr(path, skip + count + 1);
}

static void wait_for_disk(void) {
  if (delay <= 0) return;
  static __thread uint64_t state;
  if (!state) state = (uint64_t)syscall(SYS_gettid) * 0x9e3779b97f4a7c15u;
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  usleep(state % delay);
}

// Writing ---------------------------------------------------------------------------------------------------------------

static int open_plainly(int file) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  return syscall(SYS_openat, AT_FDCWD, link, O_WRONLY | O_CLOEXEC, 0);
}

static ssize_t write_parts(int file, const struct iovec *parts, int count, off_t offset, int is_positioned) {
  struct stat status;
  char path[PATH_MAX];
  int code = errno;
  int ours = is_ours(file, &status, path);
  errno = code;
  if (!ours) return is_positioned ? REAL(pwritev64)(file, parts, count, offset) : REAL(writev)(file, parts, count);
  size_t total = 0;
  for (int part = 0; part < count; part++) total += parts[part].iov_len;
  char *bytes = malloc(total ? total : 1);
  if (!bytes) abort();
  for (size_t part = 0, at = 0; part < (size_t)count; at += parts[part++].iov_len) memcpy(bytes + at, parts[part].iov_base, parts[part].iov_len);
  int flags = fcntl(file, F_GETFL);
  int is_through = (flags & O_DSYNC) != 0 && !is_skipped("meta", path);
  pthread_mutex_lock(&lock);
  if (!is_positioned) {
    offset = lseek(file, 0, SEEK_CUR);
    if (flags & O_APPEND) offset = status.st_size;
  }
  uint64_t number = next_number++;
  // What O_DSYNC promises takes its time apart from the write, through a descriptor without it: the bytes are there for
  // everybody, and for whoever starts after a kill, before they are on the disk.
  int plain = is_through ? open_plainly(file) : file;
  ssize_t done = plain < 0        ? -1
                 : is_through     ? REAL(pwritev64)(plain, parts, count, offset)
                 : is_positioned ? REAL(pwritev64)(file, parts, count, offset)
                                  : REAL(writev)(file, parts, count);
  if (done == (ssize_t)total) record(WRITE, is_through, status.st_ino, offset, number, NULL, bytes, total);
  else fault("write", path);
  if (is_through && !is_positioned && done > 0) lseek(file, done, SEEK_CUR);
  pthread_mutex_unlock(&lock);
  if (is_through && done == (ssize_t)total) {
    wait_for_disk();
    int failed = REAL(fdatasync)(plain);
    pthread_mutex_lock(&lock);
    if (failed) fault("sync", path), done = -1;
    else record(END, 1, status.st_ino, number, 0, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
  }
  if (is_through && plain >= 0) syscall(SYS_close, plain);
  free(bytes);
  return done;
}

static ssize_t write_one(int file, const void *bytes, size_t count, off_t offset, int is_positioned) {
  struct iovec part = {(void *)bytes, count};
  struct stat status;
  char path[PATH_MAX];
  int code = errno;
  int ours = is_ours(file, &status, path);
  errno = code;
  if (!ours) return is_positioned ? REAL(pwrite64)(file, bytes, count, offset) : REAL(write)(file, bytes, count);
  return write_parts(file, &part, 1, offset, is_positioned);
}

ssize_t write(int file, const void *bytes, size_t count) { return write_one(file, bytes, count, 0, 0); }
ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) { return write_one(file, bytes, count, offset, 1); }
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) { return write_one(file, bytes, count, offset, 1); }
ssize_t writev(int file, const struct iovec *parts, int count) { return write_parts(file, parts, count, 0, 0); }
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) { return write_parts(file, parts, count, offset, 1); }
ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t offset) { return write_parts(file, parts, count, offset, 1); }

// Sizes -----------------------------------------------------------------------------------------------------------------

// Does a call that answers 0 or fails, and records the size that the file has then.
#define RESIZING(name, call)                                               \
  struct stat status;                                                      \
  char path[PATH_MAX];                                                     \
  if (!is_ours(file, &status, path)) return call;                          \
  pthread_mutex_lock(&lock);                                               \
  int code = call;                                                         \
  if (code || fstat(file, &status)) fault(name, path);                     \
  else record(RESIZE, 0, status.st_ino, status.st_size, 0, NULL, NULL, 0); \
  pthread_mutex_unlock(&lock);                                             \
  return code;

int ftruncate(int file, off_t size) { RESIZING("ftruncate", REAL(ftruncate64)(file, size)) }
int ftruncate64(int file, off64_t size) { RESIZING("ftruncate", REAL(ftruncate64)(file, size)) }
int posix_fallocate(int file, off_t offset, off_t count) { RESIZING("posix_fallocate", REAL(posix_fallocate64)(file, offset, count)) }
int posix_fallocate64(int file, off64_t offset, off64_t count) { RESIZING("posix_fallocate", REAL(posix_fallocate64)(file, offset, count)) }

static int allocate(int file, int mode, off64_t offset, off64_t count) {
  if (mode & ~FALLOC_FL_KEEP_SIZE) {
    struct stat status;
    char path[PATH_MAX];
    if (is_ours(file, &status, path)) {
      pthread_mutex_lock(&lock);
      fault("fallocate that changes bytes", path);
      pthread_mutex_unlock(&lock);
    }
  }
  RESIZING("fallocate", REAL(fallocate64)(file, mode, offset, count))
}
int fallocate(int file, int mode, off_t offset, off_t count) { return allocate(file, mode, offset, count); }
int fallocate64(int file, int mode, off64_t offset, off64_t count) { return allocate(file, mode, offset, count); }

// Syncs -----------------------------------------------------------------------------------------------------------------

static int sync_file(int file, int (*call)(int)) {
  struct stat status;
  char path[PATH_MAX];
  if (!is_ours(file, &status, path)) return call(file);
  if (is_skipped(S_ISDIR(status.st_mode) ? "names" : "data", path)) return 0;
  pthread_mutex_lock(&lock);
  uint64_t number = next_number++;
  record(BEGIN, 0, status.st_ino, number, 0, NULL, NULL, 0);
  pthread_mutex_unlock(&lock);
  wait_for_disk();
  int code = call(file);
  pthread_mutex_lock(&lock);
  if (code) fault("sync", path);
  else record(END, 0, status.st_ino, number, 0, NULL, NULL, 0);
  pthread_mutex_unlock(&lock);
  return code;
}

int fsync(int file) { return sync_file(file, REAL(fsync)); }
int fdatasync(int file) { return sync_file(file, REAL(fdatasync)); }

// Names -----------------------------------------------------------------------------------------------------------------

static int open_file(int directory, const char *path, int flags, mode_t mode) {
  char buffer[PATH_MAX];
  const char *full = flags & (O_CREAT | O_TRUNC) ? resolve(directory, path, buffer) : NULL;
  if (!full) return REAL(openat64)(directory, path, flags, mode);
  pthread_mutex_lock(&lock);
  struct stat before, status;
  int was_there = !lstat(full, &before);
  int file = REAL(openat64)(directory, path, flags, mode);
  if (file >= 0) {
    if (fstat(file, &status)) abort();
    if (!was_there) record(CREATE, 0, status.st_ino, 0, 0, full, NULL, 0);
    else if (flags & O_TRUNC && before.st_size > 0) record(RESIZE, 0, status.st_ino, 0, 0, NULL, NULL, 0);
  }
  pthread_mutex_unlock(&lock);
  return file;
}

#define WITH_MODE                                         \
  mode_t mode = 0;                                        \
  if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) { \
    va_list rest;                                         \
    va_start(rest, flags);                                \
    mode = va_arg(rest, mode_t);                          \
    va_end(rest);                                         \
  }

int open(const char *path, int flags, ...) { WITH_MODE return open_file(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { WITH_MODE return open_file(AT_FDCWD, path, flags, mode); }
int openat(int directory, const char *path, int flags, ...) { WITH_MODE return open_file(directory, path, flags, mode); }
int openat64(int directory, const char *path, int flags, ...) { WITH_MODE return open_file(directory, path, flags, mode); }
int creat(const char *path, mode_t mode) { return open_file(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open_file(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode); }

static int make_directory(int directory, const char *path, mode_t mode) {
  char buffer[PATH_MAX];
  const char *full = resolve(directory, path, buffer);
  if (!full) return REAL(mkdirat)(directory, path, mode);
  pthread_mutex_lock(&lock);
  int code = REAL(mkdirat)(directory, path, mode);
  struct stat status;
  if (!code) {
    if (lstat(full, &status)) abort();
    record(MKDIR, 0, status.st_ino, 0, 0, full, NULL, 0);
  }
  pthread_mutex_unlock(&lock);
  return code;
}
int mkdir(const char *path, mode_t mode) { return make_directory(AT_FDCWD, path, mode); }
int mkdirat(int directory, const char *path, mode_t mode) { return make_directory(directory, path, mode); }

static int rename_file(int from, const char *path, int to, const char *other, unsigned flags) {
  char buffer[PATH_MAX], other_buffer[PATH_MAX];
  const char *full = resolve(from, path, buffer), *other_full = resolve(to, other, other_buffer);
  if (!full && !other_full) return REAL(renameat2)(from, path, to, other, flags);
  pthread_mutex_lock(&lock);
  int code = REAL(renameat2)(from, path, to, other, flags);
  if (!code && full && other_full && !(flags & RENAME_EXCHANGE)) record(RENAME, 0, 0, 0, 0, full, other_full, strlen(other_full));
  else if (!code) fault("rename that cannot be followed", path);
  pthread_mutex_unlock(&lock);
  return code;
}
int rename(const char *path, const char *other) { return rename_file(AT_FDCWD, path, AT_FDCWD, other, 0); }
int renameat(int from, const char *path, int to, const char *other) { return rename_file(from, path, to, other, 0); }
int renameat2(int from, const char *path, int to, const char *other, unsigned flags) { return rename_file(from, path, to, other, flags); }

static int unlink_file(int directory, const char *path, int flags) {
  char buffer[PATH_MAX];
  const char *full = resolve(directory, path, buffer);
  if (!full) return REAL(unlinkat)(directory, path, flags);
  pthread_mutex_lock(&lock);
  int code = REAL(unlinkat)(directory, path, flags);
  if (!code) record(UNLINK, 0, 0, 0, 0, full, NULL, 0);
  pthread_mutex_unlock(&lock);
  return code;
}
int unlink(const char *path) { return unlink_file(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlink_file(AT_FDCWD, path, AT_REMOVEDIR); }
int unlinkat(int directory, const char *path, int flags) { return unlink_file(directory, path, flags); }

int link(const char *path, const char *other) {
  char buffer[PATH_MAX];
  int code = REAL(link)(path, other);
  if (!code && resolve(AT_FDCWD, other, buffer)) {
    pthread_mutex_lock(&lock);
    fault("link", other);
    pthread_mutex_unlock(&lock);
  }
  return code;
}
int symlink(const char *path, const char *other) {
  char buffer[PATH_MAX];
  int code = REAL(symlink)(path, other);
  if (!code && resolve(AT_FDCWD, other, buffer)) {
    pthread_mutex_lock(&lock);
    fault("symlink", other);
    pthread_mutex_unlock(&lock);
  }
  return code;
}

// What goes around `write` ----------------------------------------------------------------------------------------------

static void note_mapping(void *start, int protection, int flags, int file) {
  struct stat status;
  char path[PATH_MAX];
  int code = errno;
  if (start != MAP_FAILED && file >= 0 && (flags & MAP_TYPE) != MAP_PRIVATE && protection & PROT_WRITE && is_ours(file, &status, path)) {
    pthread_mutex_lock(&lock);
    record(MAPPED, 0, status.st_ino, 0, 0, NULL, NULL, 0);
    pthread_mutex_unlock(&lock);
  }
  errno = code;
}
void *mmap(void *at, size_t count, int protection, int flags, int file, off_t offset) {
  void *start = (void *)syscall(SYS_mmap, at, count, protection, flags, file, offset);
  note_mapping(start, protection, flags, file);
  return start;
}
void *mmap64(void *at, size_t count, int protection, int flags, int file, off64_t offset) {
  void *start = (void *)syscall(SYS_mmap, at, count, protection, flags, file, offset);
  note_mapping(start, protection, flags, file);
  return start;
}

static void note_copy(const char *call, int file) {
  struct stat status;
  char path[PATH_MAX];
  int code = errno;
  if (is_ours(file, &status, path)) {
    pthread_mutex_lock(&lock);
    fault(call, path);
    pthread_mutex_unlock(&lock);
  }
  errno = code;
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t count, unsigned flags) {
  ssize_t done = REAL(copy_file_range)(in, from, out, to, count, flags);
  if (done > 0) note_copy("copy_file_range", out);
  return done;
}
