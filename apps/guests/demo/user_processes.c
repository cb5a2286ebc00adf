/* Many children at once, and memory that is shared until somebody writes. */

#include "user.h"

#define TOUCHED_PAGES 4
#define SHARED_PAGES 8
#define WRITTEN_PAGES 4
#define BEFORE 0x600du
#define AFTER 0xc0deu

/* The status of each child is its number: no two have the same, so a sum finds a wrong one. */
static u32 touch_and_return(u32 number)
{
	volatile u32 *words = (u32 *)system(SYS_PAGES, TOUCHED_PAGES, 0);
	u32 sum = 0;

	for (u32 page = 0; page < TOUCHED_PAGES; page++)
		words[page * PAGE / 4] = number + page;
	/* Others run meanwhile, with other values at the same addresses. */
	system(SYS_YIELD, 0, 0);
	for (u32 page = 0; page < TOUCHED_PAGES; page++)
		sum += words[page * PAGE / 4] - page;
	return sum / TOUCHED_PAGES;
}

void fork_many(u32 count)
{
	u32 made, sum = 0, expected = 0, failure = 0;

	for (made = 0; made < count; made++) {
		u32 pid = fork();

		if (!pid)
			quit(touch_and_return(made + 1));
		if (FAILED(pid)) {
			failure = pid;
			break;
		}
		expected += made + 1;
	}
	for (u32 i = 0; i < made; i++)
		sum += wait_status();
	say("fork: ");
	say_number(made);
	say(sum == expected ? " children, sum ok\n" : " children, sum WRONG\n");
	if (failure) {
		say("fork: no more: ");
		say_failure(failure);
	}
}

static volatile u32 *shared;

static u32 pages_with(u32 value)
{
	u32 count = 0;

	for (u32 page = 0; page < SHARED_PAGES; page++)
		count += shared[page * PAGE / 4] == value;
	return count;
}

/* How many pages the kernel copied while these were written. */
static u32 write_pages(u32 count, u32 value)
{
	u32 before = system(SYS_COPIED, 0, 0);

	for (u32 page = 0; page < count; page++)
		shared[page * PAGE / 4] = value;
	return system(SYS_COPIED, 0, 0) - before;
}

static void write_some(void)
{
	u32 copied = write_pages(WRITTEN_PAGES, AFTER);

	say("cow: child wrote ");
	say_number(WRITTEN_PAGES);
	say(" of ");
	say_number(SHARED_PAGES);
	say(" pages, ");
	say_number(copied);
	say(" copied; it sees ");
	say_number(pages_with(AFTER));
	say(" new, ");
	say_number(pages_with(BEFORE));
	say(" old\n");
}

void show_copy_on_write(u32 unused)
{
	u32 status;

	(void)unused;
	if (!shared)
		shared = (u32 *)system(SYS_PAGES, SHARED_PAGES, 0);
	write_pages(SHARED_PAGES, BEFORE);
	status = run_child(write_some);
	if (FAILED(status)) {
		say_failure(status);
		return;
	}
	say("cow: parent sees ");
	say_number(pages_with(AFTER));
	say(" new, ");
	say_number(pages_with(BEFORE));
	say(" old; alone again, it wrote them with ");
	say_number(write_pages(SHARED_PAGES, AFTER));
	say(" copied\n");
}
