/* Lets the flush of number FAIL_AT fail, once, and notes every flush in the file SYNC_LOG.

   SYNC_LOG has a dot for a file and a slash for a folder, x and X for those that failed.

   Preloaded into a process (LD_PRELOAD). After the failure it does what a kernel may do: it reports
   success for pages it has dropped. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int calls;

static int flush(int file, long number)
{
    const char *log = getenv("SYNC_LOG"), *fail = getenv("FAIL_AT");
    int failing = ++calls == (fail ? atoi(fail) : 0);
    struct stat about;
    int folder = fstat(file, &about) == 0 && S_ISDIR(about.st_mode);
    if (log) {
        int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (write(out, failing ? (folder ? "X" : "x") : (folder ? "/" : "."), 1) != 1)
            abort();
        close(out);
    }
    if (failing) {
        errno = EIO;
        return -1;
    }
    return syscall(number, file);
}

int fsync(int file) { return flush(file, SYS_fsync); }
int fdatasync(int file) { return flush(file, SYS_fdatasync); }
