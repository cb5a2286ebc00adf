/*
 * Measures what a process of a real Linux kernel sees. It is the first program (`rdinit=`), so that it needs nothing but a
 * kernel: each operation is done some times over, several times, and the median of what one took is printed. The unit is
 * the time-stamp counter's: instructions on a machine that counts them, nanoseconds or so on one that does not.
 */

#include "system.h"

#define ROUNDS 5
#define PAGE 4096
/* Pages that are touched in a row. */
#define PAGES 256
/* Pages that a fork has to share out: a shell has as many. */
#define RESIDENT_PAGES 512
#define PROT_READ 1
#define PROT_WRITE 2
#define MAP_SHARED 1
#define MAP_PRIVATE 2
#define MAP_ANONYMOUS 0x20
#define O_RDWR 2
#define O_CREAT 0x40
#define S_IFCHR 0x2000
#define SIGUSR1 10
#define SIGSEGV 11
#define SA_RESTORER 0x04000000
#define SA_SIGINFO 4
/* What /dev/zero is. */
#define ZERO_DEVICE (1 << 8 | 5)
/* Where EIP is in a struct ucontext, in words: flags, link and stack come first, then the registers from GS on. */
#define UCONTEXT_EIP (5 + 14)
/* Said to the program that a fork becomes. */
#define DO_NOTHING "nothing"

static int zero, file, to_child[2], from_child[2];
static char byte[PAGE] __attribute__((aligned(PAGE)));
static char *read_only;
static const char *program;
static u32 faults_left;

static char *map(u32 pages, int protection, int flags, int from)
{
	return (char *)must("mmap", system_call6(SYS_MMAP2, 0, pages * PAGE, protection, flags, from, 0));
}

static char *map_anonymous(u32 pages)
{
	return map(pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static void unmap(char *start, u32 pages)
{
	must("munmap", system_call(SYS_MUNMAP, (long)start, pages * PAGE, 0, 0, 0));
}

static void wait_for(long child)
{
	int status = -1;

	if (must("waitpid", system_call(SYS_WAITPID, child, (long)&status, 0, 0, 0)) != child || status)
		fail("a child");
}

static void getpid(u32 times)
{
	while (times--)
		system_call(SYS_GETPID, 0, 0, 0, 0, 0);
}

static void read_zero(u32 times)
{
	while (times--)
		system_call(SYS_READ, zero, (long)byte, 1, 0, 0);
}

static void yield(u32 times)
{
	while (times--)
		system_call(SYS_SCHED_YIELD, 0, 0, 0, 0, 0);
}

static void transfer(const char *what, long number, int end)
{
	if (system_call(number, end, (long)byte, 1, 0, 0) != 1)
		fail(what);
}

static void pipe_round_trip(u32 times)
{
	while (times--) {
		transfer("write", SYS_WRITE, to_child[1]);
		transfer("read", SYS_READ, from_child[0]);
	}
}

static void fork_exit(u32 times)
{
	while (times--) {
		long child = must("fork", system_call(SYS_FORK, 0, 0, 0, 0, 0));

		if (!child)
			system_call(SYS_EXIT, 0, 0, 0, 0, 0);
		wait_for(child);
	}
}

static void fork_exec(u32 times)
{
	const char *arguments[] = { program, DO_NOTHING, 0 };
	const char *environment[] = { 0 };

	while (times--) {
		long child = must("fork", system_call(SYS_FORK, 0, 0, 0, 0, 0));

		if (!child) {
			system_call(SYS_EXECVE, (long)program, (long)arguments, (long)environment, 0, 0);
			system_call(SYS_EXIT, 1, 0, 0, 0, 0);
		}
		wait_for(child);
	}
}

static void map_touch_unmap(u32 times)
{
	while (times--) {
		volatile char *page = map_anonymous(1);

		page[0] = 1;
		unmap((char *)page, 1);
	}
}

static void anonymous_fault(u32 times)
{
	for (; times >= PAGES; times -= PAGES) {
		volatile char *pages = map_anonymous(PAGES);

		for (u32 page = 0; page < PAGES; page++)
			pages[page * PAGE] = 1;
		unmap((char *)pages, PAGES);
	}
}

static void file_fault(u32 times)
{
	for (; times >= PAGES; times -= PAGES) {
		volatile char *pages = map(PAGES, PROT_READ, MAP_SHARED, file);

		for (u32 page = 0; page < PAGES; page++)
			(void)pages[page * PAGE];
		unmap((char *)pages, PAGES);
	}
}

static void mprotect_pair(u32 times)
{
	while (times--) {
		must("mprotect", system_call(SYS_MPROTECT, (long)byte, PAGE, PROT_READ, 0, 0));
		must("mprotect", system_call(SYS_MPROTECT, (long)byte, PAGE, PROT_READ | PROT_WRITE, 0, 0));
	}
}

static void signal_to_self(u32 times)
{
	long me = system_call(SYS_GETPID, 0, 0, 0, 0, 0);

	while (times--)
		system_call(SYS_KILL, me, SIGUSR1, 0, 0, 0);
}

/* The handler returns to the same store until it has been there often enough. */
static void fault_to_signal(u32 times)
{
	faults_left = times;
	/* Three bytes, as the handler knows. */
	asm volatile(".byte 0xc6, 0x00, 0x01" : : "a"(read_only) : "memory");
}

static void on_signal(int signal, void *information, u32 *context)
{
	(void)signal, (void)information, (void)context;
}

static void on_fault(int signal, void *information, u32 *context)
{
	(void)signal, (void)information;
	if (--faults_left == 0)
		context[UCONTEXT_EIP] += 3;
}

static void handle(int signal, void (*handler)(int, void *, u32 *))
{
	extern char signal_return[];
	/* As the kernel has it: handler, flags, restorer, and a mask of 64 bits. */
	u32 action[5] = { (u32)handler, SA_SIGINFO | SA_RESTORER, (u32)signal_return, 0, 0 };

	must("sigaction", system_call(SYS_RT_SIGACTION, signal, (long)action, 0, 8, 0));
}

/* rt_sigreturn, which has no arguments. */
asm(".text\n"
    ".global signal_return\n"
    "signal_return:\n"
    "	mov $173, %eax\n"
    "	int $0x80\n");

static void echo(void)
{
	for (;;) {
		transfer("read", SYS_READ, to_child[0]);
		transfer("write", SYS_WRITE, from_child[1]);
	}
}

static void set_up(void)
{
	volatile char *resident;

	must("mknod", system_call(SYS_MKNOD, (long)"/zero", S_IFCHR | 0600, ZERO_DEVICE, 0, 0));
	zero = must("open /zero", system_call(SYS_OPEN, (long)"/zero", O_RDWR, 0, 0, 0));
	file = must("open /file", system_call(SYS_OPEN, (long)"/file", O_RDWR | O_CREAT, 0600, 0, 0));
	for (u32 page = 0; page < PAGES; page++)
		if (system_call(SYS_WRITE, file, (long)byte, PAGE, 0, 0) != PAGE)
			fail("write /file");
	read_only = map(1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	handle(SIGUSR1, on_signal);
	handle(SIGSEGV, on_fault);
	must("pipe", system_call(SYS_PIPE, (long)to_child, 0, 0, 0, 0));
	must("pipe", system_call(SYS_PIPE, (long)from_child, 0, 0, 0, 0));
	/* Before there is much that it would have to share. */
	if (must("fork", system_call(SYS_FORK, 0, 0, 0, 0, 0)) == 0)
		echo();
	resident = map_anonymous(RESIDENT_PAGES);
	for (u32 page = 0; page < RESIDENT_PAGES; page++)
		resident[page * PAGE] = 1;
}

static u32 median(u32 *values)
{
	for (u32 i = 1; i < ROUNDS; i++)
		for (u32 j = i; j > 0 && values[j - 1] > values[j]; j--) {
			u32 larger = values[j - 1];

			values[j - 1] = values[j];
			values[j] = larger;
		}
	return values[ROUNDS / 2];
}

static void measure(const char *name, void (*operation)(u32 times), u32 times)
{
	u32 took[ROUNDS];

	operation(times);
	for (u32 round = 0; round < ROUNDS; round++) {
		u32 start = tsc();

		operation(times);
		took[round] = tsc() - start;
	}
	print_count(name, (median(took) + times / 2) / times);
}

/* What the kernel puts onto the stack: the number of arguments, then where each of them is. */
void start(u32 arguments, const char *first)
{
	long worker;

	program = first;
	if (arguments > 1)
		system_call(SYS_EXIT, 0, 0, 0, 0, 0);
	/* The kernel has a word to say about each fault of its first process. */
	worker = must("fork", system_call(SYS_FORK, 0, 0, 0, 0, 0));
	if (worker) {
		wait_for(worker);
		restart();
	}
	set_up();
	measure("getpid", getpid, 10000);
	measure("read_zero", read_zero, 10000);
	measure("sched_yield", yield, 4000);
	measure("pipe_round_trip", pipe_round_trip, 1000);
	measure("fork_exit_wait", fork_exit, 60);
	measure("fork_exec_wait", fork_exec, 40);
	measure("mmap_touch_munmap", map_touch_unmap, 1000);
	measure("anonymous_fault", anonymous_fault, 10 * PAGES);
	measure("file_fault", file_fault, 20 * PAGES);
	measure("mprotect_pair", mprotect_pair, 2000);
	measure("signal_to_self", signal_to_self, 2000);
	measure("fault_to_signal", fault_to_signal, 1000);
	system_call(SYS_EXIT, 0, 0, 0, 0, 0);
}

asm(".text\n"
    ".global _start\n"
    "_start:\n"
    "	mov 4(%esp), %edx\n"
    "	mov (%esp), %eax\n"
    "	push %edx\n"
    "	push %eax\n"
    "	call start\n");
