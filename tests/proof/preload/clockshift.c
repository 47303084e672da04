/* Shifts the wall clock of one process, while it runs: for tests, by LD_PRELOAD.
 *
 * CLOCKSHIFT names a file of 8 bytes: a signed number of milliseconds in the byte order of the machine. It is mapped, so
 * that whoever writes it moves the clock at that moment. Everything that sleeps goes on as ever, and so does
 * CLOCK_MONOTONIC, but in a process that calls `live_longer` itself: there it is ahead from then on.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { PER_SECOND = 1000, NANOS = 1000000, NANOS_PER_SECOND = 1000000000 };

static const volatile int64_t *shift_ms;
static int64_t lived_ms;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void map_shift(void)
{
    const char *path = getenv("CLOCKSHIFT");
    real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof *shift_ms, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED)
        shift_ms = mapped;
    close(fd);
}

void live_longer(int64_t ms)
{
    lived_ms += ms;
}

static void move(struct timespec *at, int64_t ms)
{
    int64_t seconds = ms / PER_SECOND;
    at->tv_sec += seconds;
    at->tv_nsec += (ms - seconds * PER_SECOND) * NANOS;
    if (at->tv_nsec >= NANOS_PER_SECOND) {
        at->tv_nsec -= NANOS_PER_SECOND;
        at->tv_sec++;
    } else if (at->tv_nsec < 0) {
        at->tv_nsec += NANOS_PER_SECOND;
        at->tv_sec--;
    }
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    if (!real_clock_gettime) /* asked by another library's constructor, before ours has run */
        real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real_clock_gettime(clock, at);
    if (!failed && shift_ms && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        move(at, *shift_ms);
    if (!failed && clock == CLOCK_MONOTONIC)
        move(at, lived_ms);
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    (void)zone;
    if (!failed) { /* `at` is never NULL: its declaration says so */
        at->tv_sec = now.tv_sec;
        at->tv_usec = now.tv_nsec / 1000;
    }
    return failed;
}

time_t time(time_t *at)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now))
        return (time_t)-1;
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *at, int base)
{
    if (base != TIME_UTC || clock_gettime(CLOCK_REALTIME, at))
        return 0;
    return base;
}
