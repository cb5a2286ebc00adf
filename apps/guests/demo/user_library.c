/* Text, and children. */

#include "user.h"

static u32 text_length(const char *text)
{
	u32 length = 0;

	while (text[length])
		length++;
	return length;
}

void say(const char *text)
{
	system(SYS_WRITE, (u32)text, text_length(text));
}

void say_column(u32 value, u32 width)
{
	char text[20];
	u32 at = sizeof text;

	do {
		text[--at] = '0' + value % 10;
		value /= 10;
	} while (value);
	while (sizeof text - at < width && at)
		text[--at] = ' ';
	system(SYS_WRITE, (u32)(text + at), sizeof text - at);
}

void say_number(u32 value)
{
	say_column(value, 0);
}

int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

u32 wait_status(void)
{
	u32 status = 0;

	return FAILED(system(SYS_WAIT, (u32)&status, 0)) ? NO_CHILD : status;
}

u32 run_child(void (*program)(void))
{
	u32 pid = fork();

	if (!pid) {
		program();
		quit(0);
	}
	return FAILED(pid) ? pid : wait_status();
}

void say_failure(u32 result)
{
	if (result == NO_PROCESS) {
		say("the process table is full: ");
		say_number(PROCESS_LIMIT);
		say(" beside the shell\n");
	} else {
		say("out of memory\n");
	}
}
