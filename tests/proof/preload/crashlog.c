// Preloaded into a process: writes down in order what one file is told and when it is flushed, and breaks its disk.
//
//   CRASHLOG_FILE    absolute path of the file that is watched; no other file is touched
//   CRASHLOG         log to append to: a header for each call that succeeded, then what was written. May be missing
//   CRASHLOG_FAULTS  what goes wrong: parts CALL:WHICH:WHAT[:WHILE], separated by ';'
//   CRASHLOG_SEED    a number that the lengths of delays follow from
//
//   CALL   pwrite | grow (a pwrite behind the end of the file) | metawrite (one with O_DSYNC) | fdatasync | ftruncate
//   WHICH  7: the seventh such call; 7+: that one and all that follow
//   WHAT   eio | enospc | short (half is written) | kill (before the call) | killed (after it) | 50-500 (ms longer)
//   WHILE  a file: calls count, and go wrong, only while it is there
//
// A record is written after its call has returned, so one that overlaps a flush of another thread may seem durable a
// little early. A process with one writing thread, as the broker is, is recorded exactly.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { BEGINNING = 1, WRITE = 2, DWRITE = 3, SYNC = 4, TRUNCATE = 5, FAULT = 6 };  // 7 is MARK, by whoever watches
struct header { uint32_t magic, op; int64_t offset, length; };

enum { FD_MAX = 65536, FAULTS_MAX = 8, PIECES_MAX = 1024 };
enum { NOT = 0, WATCHED = 1, DURABLE = 2 };
static uint8_t descriptors[FD_MAX];

struct fault { char call[16], what[16], condition[PATH_MAX]; long nth, count; int onwards; };
static struct fault faults[FAULTS_MAX];
static int fault_count, log_fd = -1;
static char watched[PATH_MAX];
static uint64_t dice;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void parse_faults(char *text) {
  char *rest = NULL, which[16];
  for (char *part = strtok_r(text, ";", &rest); part && fault_count < FAULTS_MAX; part = strtok_r(NULL, ";", &rest)) {
    struct fault *f = &faults[fault_count];
    if (sscanf(part, "%15[^:]:%15[^:]:%15[^:]:%4095s", f->call, which, f->what, f->condition) < 3) {
      fprintf(stderr, "crashlog: cannot read the fault '%s'\n", part);
      abort();  // a test that injects nothing would pass for the wrong reason
    }
    f->nth = atol(which);
    f->onwards = strchr(which, '+') != NULL;
    fault_count++;
  }
}

static void init(void) {
  const char *file = getenv("CRASHLOG_FILE"), *log = getenv("CRASHLOG"), *text = getenv("CRASHLOG_FAULTS");
  const char *seed = getenv("CRASHLOG_SEED");
  if (file) snprintf(watched, sizeof watched, "%s", file);
  if (log) log_fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  dice = (seed ? strtoull(seed, NULL, 10) : 1) * 2862933555777941757ULL + 3037000493ULL;
  char *copy = text ? strdup(text) : NULL;
  if (copy) parse_faults(copy);
  free(copy);
}

// -- the log: one writev with O_APPEND for each record, so that all writers share one order ----------------------------

static void record(uint32_t op, int64_t offset, int64_t length, const struct iovec *pieces, int count) {
  if (log_fd < 0) return;
  struct header head = {0x43524c47, op, offset, length};
  struct iovec out[PIECES_MAX + 1] = {{&head, sizeof head}};
  int used = 1;
  for (int64_t left = length; used <= count && left > 0; used++) {  // of a short write only what was written
    out[used] = pieces[used - 1];
    if ((int64_t)out[used].iov_len > left) out[used].iov_len = left;
    left -= out[used].iov_len;
  }
  if (syscall(SYS_writev, log_fd, out, used) < 0) abort();
}

static void record_text(uint32_t op, int64_t number, const char *text) {
  struct iovec piece = {(void *)text, strlen(text)};
  record(op, number, piece.iov_len, &piece, 1);
}

// -- faults --------------------------------------------------------------------------------------------------------------

static void take_longer(const char *range) {
  long least = atol(range), most = strchr(range, '-') ? atol(strchr(range, '-') + 1) : least;
  pthread_mutex_lock(&mutex);
  dice ^= dice << 13; dice ^= dice >> 7; dice ^= dice << 17;
  long ms = least + (long)(dice % (uint64_t)(most - least + 1));
  pthread_mutex_unlock(&mutex);
  struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&pause, NULL);
}

static int is_turn(struct fault *f, const char *call) {
  if (strcmp(call, f->call) || (f->condition[0] && access(f->condition, F_OK))) return 0;
  long count = __sync_add_and_fetch(&f->count, 1);
  return count == f->nth || (f->onwards && count > f->nth);
}

enum { FINE, FAILS, SHORT, LAST };  // LAST: the process ends when the call has been made

static int misfortune(const char *call) {
  int outcome = FINE;
  for (struct fault *f = faults; f < faults + fault_count; f++) {
    if (!is_turn(f, call)) continue;
    record_text(FAULT, f->count, f->what);
    if (!strcmp(f->what, "eio") || !strcmp(f->what, "enospc")) {
      errno = f->what[1] == 'i' ? EIO : ENOSPC;
      return FAILS;
    }
    if (!strcmp(f->what, "kill")) raise(SIGKILL);
    else if (!strcmp(f->what, "killed")) outcome = LAST;
    else if (!strcmp(f->what, "short")) outcome = SHORT;
    else take_longer(f->what);
  }
  return outcome;
}

static int before_write(int fd, int64_t end) {
  struct stat now;
  int outcome = misfortune(descriptors[fd] == DURABLE ? "metawrite" : "pwrite");
  if (outcome == FINE && !fstat(fd, &now) && end > now.st_size) outcome = misfortune("grow");
  return outcome;
}

// -- the calls -----------------------------------------------------------------------------------------------------------

#define REAL(type, name, ...) \
  static type (*real)(__VA_ARGS__); \
  if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name); \
  pthread_once(&once, init)

static int is_watched(int fd) { return fd >= 0 && fd < FD_MAX && descriptors[fd]; }

// What is in the file when it is opened for the first time counts as flushed.
static void record_beginning(int fd) {
  static int begun;
  struct stat now;
  if (__sync_fetch_and_add(&begun, 1) || log_fd < 0 || fstat(fd, &now) || !now.st_size) return;
  struct iovec piece = {malloc(now.st_size), now.st_size};
  if (!piece.iov_base || pread(fd, piece.iov_base, piece.iov_len, 0) != now.st_size) abort();
  record(BEGINNING, 0, now.st_size, &piece, 1);
  free(piece.iov_base);
}

static int opened(int fd, int flags) {
  if (fd < 0 || fd >= FD_MAX) return fd;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = watched[0] && (flags & O_ACCMODE) != O_RDONLY ? readlink(link, path, sizeof path - 1) : -1;
  path[length < 0 ? 0 : length] = 0;
  descriptors[fd] = length <= 0 || strcmp(path, watched) ? NOT : flags & (O_DSYNC | O_SYNC) ? DURABLE : WATCHED;
  if (descriptors[fd]) record_beginning(fd);
  return fd;
}

#define MODE(flags) \
  mode_t mode = 0; \
  if ((flags) & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, int); va_end(more); }
#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    MODE(flags) REAL(int, #name, const char *, int, ...); return opened(real(path, flags, mode), flags); }
#define OPENAT(name) \
  int name(int at, const char *path, int flags, ...) { \
    MODE(flags) REAL(int, #name, int, const char *, int, ...); return opened(real(at, path, flags, mode), flags); }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)

int close(int fd) {
  REAL(int, "close", int);
  if (fd >= 0 && fd < FD_MAX) descriptors[fd] = NOT;
  return real(fd);
}

static ssize_t wrote(int fd, ssize_t result, int64_t offset, const struct iovec *pieces, int count, int outcome) {
  int error = errno;
  if (result > 0) record(descriptors[fd] == DURABLE ? DWRITE : WRITE, offset, result, pieces, count);
  if (outcome == LAST) raise(SIGKILL);
  errno = error;
  return result;
}

static int64_t sum(const struct iovec *pieces, int count) {
  int64_t total = 0;
  for (int i = 0; i < count; i++) total += pieces[i].iov_len;
  return total;
}

#define PWRITE(name, offset_type) \
  ssize_t name(int fd, const void *data, size_t length, offset_type offset) { \
    REAL(ssize_t, #name, int, const void *, size_t, offset_type); \
    if (!is_watched(fd)) return real(fd, data, length, offset); \
    int outcome = before_write(fd, offset + (int64_t)length); \
    if (outcome == FAILS) return -1; \
    struct iovec piece = {(void *)data, outcome == SHORT ? length / 2 : length}; \
    return wrote(fd, real(fd, data, piece.iov_len, offset), offset, &piece, 1, outcome); }
PWRITE(pwrite, off_t) PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t length) {
  REAL(ssize_t, "write", int, const void *, size_t);
  if (!is_watched(fd)) return real(fd, data, length);
  int64_t offset = lseek(fd, 0, SEEK_CUR);
  int outcome = before_write(fd, offset + (int64_t)length);
  if (outcome == FAILS) return -1;
  struct iovec piece = {(void *)data, outcome == SHORT ? length / 2 : length};
  return wrote(fd, real(fd, data, piece.iov_len), offset, &piece, 1, outcome);
}

// A short one writes the first piece only: on a full disk it ends somewhere inside.
ssize_t writev(int fd, const struct iovec *pieces, int count) {
  REAL(ssize_t, "writev", int, const struct iovec *, int);
  if (!is_watched(fd)) return real(fd, pieces, count);
  int64_t offset = lseek(fd, 0, SEEK_CUR);
  int outcome = before_write(fd, offset + sum(pieces, count));
  if (outcome == FAILS) return -1;
  return wrote(fd, real(fd, pieces, outcome == SHORT ? 1 : count), offset, pieces, count, outcome);
}

static int done(int result, uint32_t op, int64_t size, int outcome) {
  int error = errno;
  if (!result) record(op, size, 0, NULL, 0);
  if (outcome == LAST) raise(SIGKILL);
  errno = error;
  return result;
}

#define FLUSH(name) \
  int name(int fd) { \
    REAL(int, #name, int); \
    if (!is_watched(fd)) return real(fd); \
    int outcome = misfortune("fdatasync"); \
    return outcome == FAILS ? -1 : done(real(fd), SYNC, 0, outcome); }
FLUSH(fsync) FLUSH(fdatasync)

#define RESIZE(name, size_type) \
  int name(int fd, size_type size) { \
    REAL(int, #name, int, size_type); \
    if (!is_watched(fd)) return real(fd, size); \
    int outcome = misfortune("ftruncate"); \
    return outcome == FAILS ? -1 : done(real(fd, size), TRUNCATE, size, outcome); }
RESIZE(ftruncate, off_t) RESIZE(ftruncate64, off64_t)
