/* expect: stop="guest powered off" status=0 */
/* Port instructions in all their forms, and the PCI configuration space behind two of the ports. */

#include "guest.h"

#define UNKNOWN 0x300
#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONSOLE 1

/* Runs `instruction` with EAX = 0x12345678 and DX = UNKNOWN; the result is EAX. */
#define EAX_AFTER(instruction)                                             \
	({                                                                 \
		u32 eax = 0x12345678;                                      \
		asm volatile(instruction : "+a"(eax) : "d"(UNKNOWN));      \
		eax;                                                       \
	})

static void unknown_ports(void)
{
	check("LG-152", "in al, dx", EAX_AFTER("inb %%dx, %%al"), 0x123456ff);
	check("LG-152", "in ax, dx", EAX_AFTER("inw %%dx, %%ax"), 0x1234ffff);
	check("LG-152", "in eax, dx", EAX_AFTER("inl %%dx, %%eax"), 0xffffffff);
	check("LG-152", "in al, imm8", EAX_AFTER("inb $0xa1, %%al"), 0x123456ff);
	check("LG-152", "in ax, imm8", EAX_AFTER("inw $0xa1, %%ax"), 0x1234ffff);
	check("LG-152", "in eax, imm8", EAX_AFTER("inl $0xa1, %%eax"), 0xffffffff);
	/* Had EIP advanced too far or not far enough, the incl would not run exactly once. */
	check("LG-153", "out dx, al", EAX_AFTER("outb %%al, %%dx\n\tincl %%eax"), 0x12345679);
	check("LG-153", "out dx, ax", EAX_AFTER("outw %%ax, %%dx\n\tincl %%eax"), 0x12345679);
	check("LG-153", "out dx, eax", EAX_AFTER("outl %%eax, %%dx\n\tincl %%eax"), 0x12345679);
	check("LG-153", "out imm8, al", EAX_AFTER("outb %%al, $0x80\n\tincl %%eax"), 0x12345679);
	check("LG-153", "out imm8, ax", EAX_AFTER("outw %%ax, $0x80\n\tincl %%eax"), 0x12345679);
	check("LG-153", "out imm8, eax", EAX_AFTER("outl %%eax, $0x80\n\tincl %%eax"), 0x12345679);
	check("LG-156", "port 0x64", EAX_AFTER("inb $0x64, %%al"), 0x12345601);
}

static void USER_TEXT user_in(void)
{
	asm volatile("inb $0x80, %%al" : : : "eax");
}

static void USER_TEXT user_out(void)
{
	asm volatile("outb %al, $0x80");
}

static void other_rings(void)
{
	check("LG-154", "in from ring 3", run_user(user_in), 13);
	check("LG-154", "error code", trap.error, 0);
	check("LG-154", "EIP", *(u16 *)trap.eip, 0x80e4);
	check("LG-154", "out from ring 3", run_user(user_out), 13);
	check("LG-154", "error code", trap.error, 0);
}

static void string_out(u32 unused)
{
	(void)unused;
	asm volatile("outsb" : : "S"(0x1000), "d"(UNKNOWN));
}

/* The instruction's second byte is on the second page, which is no neighbour in guest-physical memory. */
static void instruction_over_two_pages(void)
{
	u32 high = allocate_page(), low = allocate_page();

	*leaf(kernel_root, USER_WINDOW) = low | PTE_P | PTE_RW;
	*leaf(kernel_root, USER_WINDOW + PAGE) = high | PTE_P | PTE_RW;
	*(u8 *)(low + PAGE - 1) = 0xe5; /* in $0x40, %eax */
	*(u8 *)high = 0x40;
	*(u8 *)(high + 1) = 0xc3; /* ret */
	u32 eax = 0;
	asm volatile("call *%1" : "+a"(eax) : "r"(USER_WINDOW + PAGE - 1) : "memory");
	check("LG-152", "in over a page boundary", eax, 0xffffffff);
}

static u32 config_read(u32 device, u32 offset)
{
	out32(CONFIG_ADDRESS, 0x80000000 | device << 11 | offset);
	return in32(CONFIG_DATA);
}

static u8 in8(u16 port)
{
	u8 value;
	asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
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
	unknown_ports();
	other_rings();
	check("LG-155", "string output traps", attempt(string_out, 0), 1);
	check("LG-155", "vector", trap.vector, 13);
	check("LG-155", "error code", trap.error, 0);
	instruction_over_two_pages();
	configuration_space();
	bar_window();
}
