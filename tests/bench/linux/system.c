/* Printing, and the end. */

#include "system.h"

/* LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2 and LINUX_REBOOT_CMD_RESTART of include/uapi/linux/reboot.h. */
#define MAGIC1 0xfee1dead
#define MAGIC2 672274793
#define RESTART 0x01234567
#define STANDARD_OUTPUT 1

static void print(const char *text)
{
	u32 length = 0;

	while (text[length])
		length++;
	system_call(SYS_WRITE, STANDARD_OUTPUT, (long)text, length, 0, 0);
}

void restart(void)
{
	system_call(SYS_REBOOT, MAGIC1, MAGIC2, RESTART, 0, 0);
	for (;;)
		system_call(SYS_SCHED_YIELD, 0, 0, 0, 0, 0);
}

void fail(const char *what)
{
	print("FAILED ");
	print(what);
	print("\n");
	restart();
}

void print_count(const char *name, u32 count)
{
	char digits[12];
	char *first = digits + sizeof digits - 1;

	*first = 0;
	do {
		*--first = '0' + count % 10;
		count /= 10;
	} while (count);
	print("COUNT ");
	print(name);
	print(" ");
	print(first);
	print("\n");
}
