/* expect: stop="guest powered off" status=0 */
/* Port instructions in all their forms. */

#include "guest.h"

#define UNKNOWN 0x300

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
#if HAS_PCI
	check("LG-156", "port 0x64", EAX_AFTER("inb $0x64, %%al"), 0x12345601);
#endif
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

void guest_main(void)
{
	guest_init();
	unknown_ports();
	other_rings();
	check("LG-155", "string output traps", attempt(string_out, 0), 1);
	check("LG-155", "vector", trap.vector, 13);
	check("LG-155", "error code", trap.error, 0);
	instruction_over_two_pages();
}
