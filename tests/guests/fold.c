/* expect: stop="guest powered off" status=0 */
/*
 * An interrupt at the guest's final iret. The frame lies on a page that the host has not seen yet:
 * the iret faults on it, and the timer is pending when that fault has been repaired.
 */

#include "guest.h"

#define TIMER FIRST_IRQ_VECTOR

void enable_and_iret(u32 esp) __attribute__((noreturn));

static u32 next_gva = USER_WINDOW;
static u32 frame_page, frame_gva;

/* Where the iret goes; comes back as a trap. */
static void landed(void)
{
	asm volatile("ud2");
}

static u32 folded_frame, folded_esp, folded_eip, folded_eflags, handler_eflags, folds;

static void tick(struct frame *frame)
{
	folds++;
	folded_frame = (u32)&frame->eip;
	folded_esp = (u32)&frame->esp;
	folded_eip = frame->eip;
	folded_eflags = frame->eflags;
	handler_eflags = trap.live_eflags;
	/* The host read the word at ESP + 8 for the flags of the handler; go on with clean ones. */
	frame->eflags = EFLAGS_ONE | EFLAGS_IF;
}

static void iret_from_unseen_page(u32 eflags)
{
	u32 *words = (u32 *)(frame_page + 0x800);

	words[0] = (u32)landed;
	words[1] = KERNEL_CS;
	words[2] = eflags;
	enable_and_iret(frame_gva + 0x800);
}

static void fold(const char *name, u32 eflags)
{
	about(name);
	frame_page = allocate_page();
	frame_gva = next_gva;
	next_gva += PAGE;
	*leaf(kernel_root, frame_gva) = frame_page | PTE_P | PTE_RW;

	lguest_data.irq_enabled = 0;
	folds = 0;
	hypercall(LHCALL_SET_CLOCKEVENT, 1000, 0, 0, 0);
	while (!(lguest_data.irq_pending & EFLAGS_IF))
		asm volatile("" : : : "memory");
	reset_trap();
	attempt(iret_from_unseen_page, eflags);

	check("LG-140", "one interrupt", folds, 1);
	/* The address that counts is the one that LGUEST_INIT saw; now it is another. */
	check("LG-039", "folded at the first noirq_iret", folded_frame, frame_gva + 0x800);
	check("LG-140", "no second frame", folded_frame, frame_gva + 0x800);
	check("LG-140", "EIP of the old frame", folded_eip, (u32)landed);
	check("LG-140", "EFLAGS of the old frame", folded_eflags, eflags);
	check("LG-128", "real IF and IOPL in the handler", handler_eflags & (EFLAGS_IF | EFLAGS_IOPL), EFLAGS_IF);
	check("LG-127", "TF, VM, NT in the handler", handler_eflags & (EFLAGS_TF | EFLAGS_VM | EFLAGS_NT), 0);
	check("LG-140", "the iret is taken afterwards", trap.vector == 6 && trap.eip == (u32)landed, 1);
	about("");
}

void guest_main(void)
{
	guest_init();
	trap_hooks[TIMER] = tick;
	lguest_data.blocked_interrupts = 0;
	lguest_data.noirq_iret = (u32)landed;
	fold("plain flags", EFLAGS_ONE | EFLAGS_IF);
	fold("IF 0, IOPL 3", EFLAGS_ONE | EFLAGS_IOPL);
	fold("TF, NT, VM", EFLAGS_ONE | EFLAGS_IF | EFLAGS_TF | EFLAGS_NT | EFLAGS_VM);
	fold("VIF, VIP, RF, AC", EFLAGS_ONE | EFLAGS_IF | 1 << 20 | 1 << 19 | 1 << 16 | EFLAGS_AC);
}
