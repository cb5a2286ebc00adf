/* What programs in ring 3 stand on. */
#ifndef USER_H
#define USER_H

#include "syscalls.h"
#include "types.h"

#define PAGE 4096u

static inline u32 system(u32 call, u32 a1, u32 a2)
{
	u32 result;

	asm volatile("int $0x80" : "=a"(result) : "a"(call), "b"(a1), "c"(a2), "d"(0) : "memory");
	return result;
}

static inline void quit(u32 status)
{
	system(SYS_EXIT, status, 0);
	__builtin_unreachable();
}

static inline u32 fork(void)
{
	return system(SYS_FORK, 0, 0);
}

static inline u32 read_tsc(void)
{
	u32 low, high;

	asm volatile("rdtsc" : "=a"(low), "=d"(high));
	return low;
}

/* ---- user_library.c ---------------------------------------------------------------------- */

void say(const char *text);
void say_number(u32 value);
/* Right-aligned in a column that wide. */
void say_column(u32 value, u32 width);
int same(const char *a, const char *b);
/* The status of the next child that ends. */
u32 wait_status(void);
/* Runs it in a child; the child's status, or the failure of fork. */
u32 run_child(void (*program)(void));
void say_failure(u32 result);

/* ---- programs: what the shell's commands do ------------------------------------------ */

void fork_many(u32 count);
void show_copy_on_write(u32 unused);
void show_faults(u32 unused);
void show_fpu(u32 unused);
void show_ticks(u32 unused);
void benchmark(u32 unused);

#endif
