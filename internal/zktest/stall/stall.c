// Loaded before libc (LD_PRELOAD), this makes one thread of a program stand still for a while: when the program receives
// the signal SIGRTMIN+5, its thread QuorumPeer sleeps for STALL_US microseconds. In the server that leads an ensemble,
// this is the thread that pings the learners, and does nothing else (Leader.lead).
//
// The thread sleeps wherever it is. That may be between two waits, but hardly ever is, as it waits for half a tick between
// two pings. It holds no lock of Java's while it waits.
//
// Handlers of signals may not use what may be locked, such as opendir: hence the calls of the kernel.
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// The beginning of a directory's entry, as getdents64 returns it.
struct entry {
	uint64_t inode;
	int64_t next;
	unsigned short size;
	unsigned char type;
	char name[];
};

static struct timespec length;

static void stall(int signal) {
	(void)signal;
	struct timespec left = length;
	while (nanosleep(&left, &left) != 0) {
	}
}

// is_pinger tells whether the thread's name is that of a QuorumPeer: "QuorumPeer[myid=1]…", of which the kernel keeps 15
// bytes.
static int is_pinger(int threads, const char *thread) {
	static const char want[] = "QuorumPeer[";
	char path[64] = {0}, name[sizeof want] = {0};
	strncpy(path, thread, 32);
	strcat(path, "/comm");
	int file = openat(threads, path, O_RDONLY);
	if (file < 0) {
		return 0;
	}
	ssize_t n = read(file, name, sizeof want - 1);
	close(file);
	return n == sizeof want - 1 && memcmp(name, want, n) == 0;
}

static void choose(int signal) {
	_Alignas(struct entry) char all[4096];
	long n;
	int threads = open("/proc/self/task", O_RDONLY | O_DIRECTORY);
	while ((n = syscall(SYS_getdents64, threads, all, sizeof all)) > 0) {
		for (long at = 0; at < n;) {
			struct entry *e = (struct entry *)(all + at);
			if (e->name[0] != '.' && is_pinger(threads, e->name)) {
				syscall(SYS_tgkill, getpid(), atoi(e->name), signal + 1);
			}
			at += e->size;
		}
	}
	close(threads);
}

__attribute__((constructor)) static void begin(void) {
	const char *text = getenv("STALL_US");
	long us = text == NULL ? 0 : atol(text);
	length = (struct timespec){us / 1000000, us % 1000000 * 1000};
	struct sigaction act = {.sa_handler = choose, .sa_flags = SA_RESTART};
	sigaction(SIGRTMIN + 5, &act, NULL);
	act.sa_handler = stall;
	sigaction(SIGRTMIN + 6, &act, NULL);
}
