/* The first process: reads a line, does what it says. */

#include "user.h"

static void help(u32 argument);

static void list_processes(u32 argument)
{
	static const char *const states[] = { "", "running", "asleep", "waiting", "reading", "ended" };
	struct process_report report;

	(void)argument;
	say("  pid parent  pages state\n");
	for (u32 i = 0; i < PROCESS_LIMIT + 2; i++) {
		if (system(SYS_PROCESS, i, (u32)&report) != 1)
			continue;
		say_column(report.pid, 5);
		say_column(report.parent, 7);
		say_column(report.pages, 7);
		say(" ");
		say(states[report.state]);
		say("\n");
	}
}

static void memory(u32 argument)
{
	struct memory_report report;

	(void)argument;
	system(SYS_MEMORY, (u32)&report, 0);
	say("pages: ");
	say_number(report.total);
	say(" in all, ");
	say_number(report.kernel);
	say(" kernel, ");
	say_number(report.total - report.kernel - report.free);
	say(" in use, ");
	say_number(report.free);
	say(" free\n");
}

static void leave(u32 status)
{
	system(SYS_SHUTDOWN, status, 0);
}

static void crash(u32 argument)
{
	(void)argument;
	system(SYS_CRASH, 0, 0);
}

static void restart(u32 argument)
{
	(void)argument;
	system(SYS_RESTART, 0, 0);
}

static const struct command {
	const char *name, *what;
	void (*run)(u32 argument);
} commands[] = {
	{ "help", "this list", help },
	{ "ps", "the processes", list_processes },
	{ "mem", "pages of memory", memory },
	{ "fork", "N: that many children, all at once", fork_many },
	{ "cow", "pages shared by parent and child until one writes", show_copy_on_write },
	{ "fault", "page faults, good and bad", show_faults },
	{ "fpu", "two processes compute at once", show_fpu },
	{ "ticks", "the timer and the clock", show_ticks },
	{ "bench", "what things cost", benchmark },
	{ "exit", "N: powers off; N other than 0 is a failure", leave },
	{ "crash", "makes a hypercall that does not exist", crash },
	{ "reboot", "asks for a restart", restart },
};

#define COMMANDS (sizeof commands / sizeof *commands)

static void help(u32 argument)
{
	(void)argument;
	for (u32 i = 0; i < COMMANDS; i++) {
		say(commands[i].name);
		say("\t");
		say(commands[i].what);
		say("\n");
	}
}

/* Cuts the line in two at its first space; the result is the second part. */
static const char *split(char *line)
{
	while (*line && *line != ' ')
		line++;
	while (*line == ' ')
		*line++ = 0;
	return line;
}

void user_main(void)
{
	char line[128], *name;
	u32 i;

	for (;;) {
		say("demo> ");
		if (FAILED(system(SYS_READ_LINE, (u32)line, sizeof line)))
			leave(1);
		name = line;
		const char *rest = split(name);
		u32 argument = 0;
		while (*rest >= '0' && *rest <= '9')
			argument = argument * 10 + *rest++ - '0';
		if (!*name)
			continue;
		for (i = 0; i < COMMANDS && !same(name, commands[i].name); i++)
			;
		if (i < COMMANDS) {
			commands[i].run(argument);
		} else {
			say("unknown command ");
			say(name);
			say("; try help\n");
		}
	}
}
