// Loaded before libc (LD_PRELOAD), this makes the disk of a program slow: whoever asks that written data reach the
// disk waits SLOWDISK_US microseconds longer for it. ZooKeeper asks for it before it acknowledges a transaction
// (FileTxnLog.commit, by FileChannel.force, which is fdatasync or fsync).
//
// It calls the kernel by itself, so that it needs nothing of libc that an older image would not have.
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int slowly(long call, int fd) {
	const char *text = getenv("SLOWDISK_US");
	long us = text == NULL ? 0 : atol(text);
	struct timespec pause = {us / 1000000, us % 1000000 * 1000};
	nanosleep(&pause, NULL);
	return (int)syscall(call, fd);
}

int fdatasync(int fd) { return slowly(SYS_fdatasync, fd); }
int fsync(int fd) { return slowly(SYS_fsync, fd); }
