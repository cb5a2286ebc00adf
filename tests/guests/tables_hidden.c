/* expect: stop="guest powered off" status=0 */
/*
 * sgdt, sidt, sldt, str and smsw trap in no ring. With case=umip the processor lets the host hide
 * what they say; otherwise that is the processor's own business.
 */

#include "guest.h"

struct stored {
	struct {
		u16 limit;
		u32 base;
	} __attribute__((packed)) gdt, idt;
	u16 ldt, task, status;
	u32 wide_status;
};

static struct stored stored USER_DATA;

static void USER_TEXT store(u32 unused)
{
	(void)unused;
	asm volatile("sgdt %0" : "=m"(stored.gdt));
	asm volatile("sidt %0" : "=m"(stored.idt));
	asm volatile("sldt %0" : "=m"(stored.ldt));
	asm volatile("str %0" : "=m"(stored.task));
	asm volatile("smsw %0" : "=m"(stored.status));
	asm volatile("smsw %0" : "=r"(stored.wide_status));
}

static void USER_TEXT user_store(void)
{
	store(0);
}

static void judge(u32 hidden, u32 trapped)
{
	check("A-15", "no trap", trapped, 0);
	check("A-15", "gdt base", hidden ? stored.gdt.base : 0, 0);
	check("A-15", "gdt limit", hidden ? stored.gdt.limit : 0xffff, 0xffff);
	check("A-15", "idt base", hidden ? stored.idt.base : 0, 0);
	check("A-15", "idt limit", hidden ? stored.idt.limit : 0xffff, 0xffff);
	check("A-15", "ldt", hidden ? stored.ldt : 0, 0);
	check("A-15", "task", hidden ? stored.task : 0, 0);
	check("A-15", "PE and the low word of CR0", stored.status, (stored.wide_status & 0xffff) | 1);
}

void guest_main(void)
{
	u32 hidden = command_line_case()[0] == 'u';

	guest_init();
	about("ring 1");
	judge(hidden, attempt(store, 0));
	stored = (struct stored){ .status = 0 };
	about("ring 3");
	judge(hidden, run_user(user_store) != SYSCALL_VECTOR);
}
