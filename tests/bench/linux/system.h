/* What a program needs that is Linux's first process and has no library: system calls and a way to print. */

#ifndef SYSTEM_H
#define SYSTEM_H

typedef unsigned int u32;
typedef unsigned long long u64;

/* Numbers of arch/x86/entry/syscalls/syscall_32.tbl. */
enum {
	SYS_EXIT = 1,
	SYS_FORK = 2,
	SYS_READ = 3,
	SYS_WRITE = 4,
	SYS_OPEN = 5,
	SYS_WAITPID = 7,
	SYS_EXECVE = 11,
	SYS_MKNOD = 14,
	SYS_GETPID = 20,
	SYS_KILL = 37,
	SYS_PIPE = 42,
	SYS_REBOOT = 88,
	SYS_MUNMAP = 91,
	SYS_MPROTECT = 125,
	SYS_SCHED_YIELD = 158,
	SYS_RT_SIGRETURN = 173,
	SYS_RT_SIGACTION = 174,
	SYS_MMAP2 = 192,
};

/* A result from -4095 to -1 is an error. Six arguments go by the stack frame's own register, so it is saved. */
static inline long system_call(long number, long a, long b, long c, long d, long e)
{
	long result;

	asm volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
	return result;
}

static inline long system_call6(long number, long a, long b, long c, long d, long e, long f)
{
	long arguments[] = { number, f };
	long result;

	asm volatile("push %%ebp; mov 4(%%eax), %%ebp; mov (%%eax), %%eax; int $0x80; pop %%ebp"
		     : "=a"(result) : "a"(arguments), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
	return result;
}

static inline u32 tsc(void)
{
	u32 low;

	asm volatile("rdtsc" : "=a"(low) : : "edx", "memory");
	return low;
}

/* Ends the machine: with a message, as the tests' harness does not take that for a result. */
void fail(const char *what) __attribute__((noreturn));
void restart(void) __attribute__((noreturn));
void print_count(const char *name, u32 count);

/* For calls that must not fail. */
static inline long must(const char *what, long result)
{
	if (result < 0 && result > -4096)
		fail(what);
	return result;
}

#endif
