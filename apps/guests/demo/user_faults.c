/* Page faults that the kernel answers with a page, and others that end a process. */

#include "user.h"

#define STACK_STEPS 40

static void touch_new_page(void)
{
	volatile u32 *words = (u32 *)system(SYS_PAGES, 1, 0);

	for (u32 i = 0; i < PAGE / 4; i++)
		if (words[i])
			quit(1);
	words[0] = 1;
	quit(words[0] != 1);
}

/* Each step's frame is a page: the stack grows by one a call. */
static u32 __attribute__((noinline)) descend(u32 steps)
{
	volatile u32 room[PAGE / 4];

	room[0] = steps;
	return steps ? descend(steps - 1) + (room[0] == steps) : 0;
}

static void grow_stack(void)
{
	quit(descend(STACK_STEPS) != STACK_STEPS);
}

static void overflow_stack(void)
{
	quit(descend(1000000));
}

static void write_own_code(void)
{
	asm volatile("movb $0, (%0)" : : "r"(write_own_code) : "memory");
}

static void follow_null(void)
{
	/* Assembly, for the compiler makes what it likes of a null pointer. */
	asm volatile("movl (%0), %%eax" : : "r"(0) : "eax", "memory");
}

static void write_kernel(void)
{
	asm volatile("movl $0, (%0)" : : "r"(0xc0100000) : "memory");
}

static void disable_interrupts(void)
{
	asm volatile("cli");
}

static const struct {
	const char *name;
	void (*program)(void);
} cases[] = {
	{ "new page is zero", touch_new_page },
	{ "stack grows", grow_stack },
	{ "write to own code", write_own_code },
	{ "null pointer", follow_null },
	{ "stack without end", overflow_stack },
	{ "write to the kernel", write_kernel },
	{ "privileged instruction", disable_interrupts },
};

void show_faults(u32 unused)
{
	(void)unused;
	for (u32 i = 0; i < sizeof cases / sizeof *cases; i++) {
		u32 status = run_child(cases[i].program);

		if (FAILED(status)) {
			say_failure(status);
			return;
		}
		say("fault: ");
		say(cases[i].name);
		say(status >= KILLED ? ": ended by the kernel\n" : status ? ": WRONG\n" : ": ok\n");
	}
}
