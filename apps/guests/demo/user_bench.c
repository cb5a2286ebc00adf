/* Time: how much has passed, and how much things cost. */

#include "user.h"

#define WAIT_TICKS 10
#define SECONDS_PER_DAY 86400
#define ROUNDS 1000u
#define FORKS 100u
#define PAGES 256u

static void say_two_digits(u32 value)
{
	say(value < 10 ? ":0" : ":");
	say_number(value);
}

void show_ticks(u32 unused)
{
	u32 before = system(SYS_TICKS, 0, 0), after, seconds;

	(void)unused;
	system(SYS_SLEEP, WAIT_TICKS, 0);
	after = system(SYS_TICKS, 0, 0);
	seconds = system(SYS_TIME, 0, 0) % SECONDS_PER_DAY;
	say("ticks: ");
	say_number(after);
	say(after - before >= WAIT_TICKS ? ", slept " : ", slept TOO SHORT ");
	say_number(after - before);
	say("; the clock says ");
	say_number(seconds / 3600);
	say_two_digits(seconds / 60 % 60);
	say_two_digits(seconds % 60);
	say(" UTC\n");
}

static void report(const char *what, u32 cycles, u32 rounds)
{
	say_column(cycles / rounds, 10);
	say(" cycles  ");
	say(what);
	say("\n");
}

static void null_hypercalls(void)
{
	u32 start = read_tsc();

	system(SYS_HYPERCALLS, ROUNDS, 0);
	report("null hypercall", read_tsc() - start, ROUNDS);
}

static void system_calls(void)
{
	u32 start = read_tsc();

	for (u32 i = 0; i < ROUNDS; i++)
		system(SYS_GETPID, 0, 0);
	report("int 0x80 getpid", read_tsc() - start, ROUNDS);
}

/* In a child, whose pages go with it. */
static void demand_faults(void)
{
	volatile u8 *bytes = (u8 *)system(SYS_PAGES, PAGES, 0);
	u32 start = read_tsc();

	for (u32 page = 0; page < PAGES; page++)
		bytes[page * PAGE] = 1;
	report("demand-zero page", read_tsc() - start, PAGES);
}

static void nothing(void)
{
}

static void forks(void)
{
	u32 start = read_tsc();

	for (u32 i = 0; i < FORKS; i++)
		run_child(nothing);
	report("fork, exit, wait", read_tsc() - start, FORKS);
}

static void yield_rounds(void)
{
	for (u32 i = 0; i < ROUNDS; i++)
		system(SYS_YIELD, 0, 0);
}

/* Two processes that yield to each other: each round is two switches. */
static void switches(void)
{
	u32 pid = fork(), start;

	if (!pid) {
		yield_rounds();
		quit(0);
	}
	if (FAILED(pid)) {
		say_failure(pid);
		return;
	}
	start = read_tsc();
	yield_rounds();
	report("context switch by yield", read_tsc() - start, 2 * ROUNDS);
	wait_status();
}

void benchmark(u32 unused)
{
	u32 status;

	(void)unused;
	null_hypercalls();
	system_calls();
	status = run_child(demand_faults);
	if (FAILED(status))
		say_failure(status);
	forks();
	switches();
}
