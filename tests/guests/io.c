/* expect: stop="guest powered off" status=0 */
/* The PCI configuration space, and BAR0 through its window. */

#include "guest.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONSOLE 1

static u32 config_read(u32 device, u32 offset)
{
	out32(CONFIG_ADDRESS, 0x80000000 | device << 11 | offset);
	return in32(CONFIG_DATA);
}

static u16 in16(u16 port)
{
	u16 value;
	asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void configuration_space(void)
{
	check("LG-157", "absent device", config_read(5, 0), 0xffffffff);
	check("LG-157", "absent device, class", config_read(31, 8), 0xffffffff);
	out32(CONFIG_ADDRESS, 0x80000000 | 1 << 8 | CONSOLE << 11);
	check("LG-157", "absent function", in32(CONFIG_DATA), 0xffffffff);
	out32(CONFIG_ADDRESS, 0x80000000 | 1 << 16 | CONSOLE << 11);
	check("LG-157", "absent bus", in32(CONFIG_DATA), 0xffffffff);

	check("LG-158", "console", config_read(CONSOLE, 0), 0x10431af4);
	config_read(CONSOLE, 0);
	check("A31", "bytes of the dword", in8(CONFIG_DATA) | in8(CONFIG_DATA + 3) << 8, 0x10f4);
	config_read(CONSOLE, 0);
	check("A31", "upper word of the dword", in16(CONFIG_DATA + 2), 0x1043);
	config_read(0, 8);
	check("A30", "class of the host bridge", in16(CONFIG_DATA + 2), 0x0600);

	out8(CONFIG_ADDRESS + 3, 1);
	out32(CONFIG_ADDRESS, 0x80000000);
	check("A30", "the latch reads back", in32(CONFIG_ADDRESS), 0x80000000);

	/* A38: a driver writes these; whatever is stored, the identity stays. */
	out32(CONFIG_ADDRESS, 0x80000000 | CONSOLE << 11 | 4);
	asm volatile("outw %w0, %w1" : : "a"(7), "d"(CONFIG_DATA));
	out32(CONFIG_ADDRESS, 0x80000000 | CONSOLE << 11);
	out32(CONFIG_DATA, 0);
	check("A38", "identity is read-only", config_read(CONSOLE, 0), 0x10431af4);
}

static void window(u32 offset, u32 length)
{
	out32(CONFIG_ADDRESS, 0x80000000 | CONSOLE << 11 | 0x88);
	out8(CONFIG_DATA, 0);
	out32(CONFIG_ADDRESS, 0x80000000 | CONSOLE << 11 | 0x8c);
	out32(CONFIG_DATA, offset);
	out32(CONFIG_ADDRESS, 0x80000000 | CONSOLE << 11 | 0x90);
	out32(CONFIG_DATA, length);
	out32(CONFIG_ADDRESS, 0x80000000 | CONSOLE << 11 | 0x94);
}

static void bar_window(void)
{
	/* num_queues is at 18 of the common configuration. */
	window(18, 2);
	check("LG-159", "queues of the console", in32(CONFIG_DATA) & 0xffff, 2);
	window(20, 1);
	check("LG-159", "device status after reset", in32(CONFIG_DATA) & 0xff, 0);
	/* A32: places and lengths that no BAR has. */
	window(0xfffffff0, 4);
	out32(CONFIG_DATA, 0x41414141);
	window(0, 3);
	out32(CONFIG_DATA, 0x41414141);
	window(0, 0xffffffff);
	out32(CONFIG_DATA, 0x41414141);
	survived("A32", "windows that lie nowhere");
}

void guest_main(void)
{
	survived("LG-163", "printed before LGUEST_INIT");
	guest_init();
	configuration_space();
	bar_window();
}
