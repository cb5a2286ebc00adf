/* Segments, gates, and where each trap goes. */

#include "kernel.h"
#include "page_table.h"
#include "syscalls.h"

#define DOUBLE_FAULT 8
#define DEVICE_NOT_AVAILABLE 7
#define PAGE_FAULT 14
#define EXCEPTIONS 32

/* IDT descriptor's upper word: present, DPL, type. A trap gate leaves the virtual IF as it is. */
#define INTERRUPT_GATE 0x8e00
#define USER_TRAP_GATE 0xef00

/* Flat 4 GiB segments; access byte and flags as in Intel SDM 3A 3.4.5. */
#define FLAT_LOW 0x0000ffff
#define FLAT_HIGH(access) (0x00cf0000 | (access) << 8)

#define IRQ_TIMER 0

extern char trap_stubs[], syscall_stub[];

static void load_gate(u32 vector, u32 handler, u32 kind)
{
	hypercall_later(LHCALL_LOAD_IDT_ENTRY, vector, KERNEL_CS << 16 | (handler & 0xffff),
			(handler & 0xffff0000) | kind);
}

void traps_init(void)
{
	static const u32 access[] = { 0xbb, 0xb3, 0xfb, 0xf3 };

	for (u32 i = 0; i < 4; i++)
		hypercall_later(LHCALL_LOAD_GDT_ENTRY, (KERNEL_CS >> 3) + i, FLAT_LOW, FLAT_HIGH(access[i]));
	for (u32 vector = 0; vector < IRQ_VECTOR(32); vector++)
		load_gate(vector, (u32)trap_stubs + 16 * vector, INTERRUPT_GATE);
	load_gate(SYSCALL_VECTOR, (u32)syscall_stub, USER_TRAP_GATE);
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0);
}

static void page_fault(u32 error, u32 address)
{
	enum access access = error & FAULT_WRITE ? ACCESS_WRITE : ACCESS_READ;

	switch (page_in(current, address, access)) {
	case PAGE_READY:
		break;
	case PAGE_READ_ONLY:
		process_kill(KILLED + PAGE_FAULT, "write to a read-only page");
	case PAGE_UNMAPPED:
		process_kill(KILLED + PAGE_FAULT,
			     access == ACCESS_WRITE ? "write to no page" : "read of no page");
	case PAGE_NO_MEMORY:
		process_kill(KILLED + PAGE_FAULT, "out of memory");
	}
}

static void user_exception(struct frame *frame)
{
	switch (frame->vector) {
	case DEVICE_NOT_AVAILABLE:
		fpu_claim();
		break;
	case PAGE_FAULT:
		/* The next page fault overwrites it, but none comes before this one is dealt with. */
		page_fault(frame->error, lguest_data.cr2);
		break;
	case SYSCALL_VECTOR:
		frame->eax = syscall(frame);
		break;
	default:
		process_kill(KILLED + frame->vector, frame->vector == 13 ? "privileged instruction" : "exception");
	}
}

void trap(struct frame *frame)
{
	u32 from_user = (frame->cs & 3) == 3;

	/* The system call's gate leaves them on; the kernel is not to be interrupted. */
	lguest_data.irq_enabled = 0;
	if (frame->vector == IRQ_VECTOR(IRQ_TIMER))
		timer_interrupt();
	else if (frame->vector >= EXCEPTIONS && frame->vector < IRQ_VECTOR(32))
		console_interrupt();
	else if (from_user)
		user_exception(frame);
	else
		panic("exception in the kernel");

	if (!from_user)
		return;
	/* The iret turns them on without a word to the host: what waits is let in now. */
	if (lguest_data.irq_pending)
		interrupts_admit();
	if (reschedule_wanted)
		schedule();
}
