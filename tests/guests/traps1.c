/* expect: stop="guest powered off" status=0 */
/* Each trap from ring 1: vector, error code, and the frame that its handler finds. */

#include "provocations.h"

static void run(u32 index)
{
	provocations[index].run();
}

static void frame_of(const struct provocation *p, u32 index)
{
	about(p->name);
	lguest_data.irq_enabled = EFLAGS_IF;
	reset_trap();
	check("LG-119", "traps", attempt(run, index), 1);
	check("LG-119", "vector", trap.vector, p->vector);
	check("LG-119", "EIP", trap.eip, (u32)p->eip);
	check("LG-119", "CS", trap.cs, KERNEL_CS);
	check("LG-121", "error code", trap.error, p->error);
	check("LG-122", "IF in the frame", trap.eflags & EFLAGS_IF, EFLAGS_IF);
	check("LG-123", "irq_enabled in the handler", trap.irq_enabled, 0);
	check("LG-127", "TF, NT, VM in the handler", trap.live_eflags & (EFLAGS_TF | EFLAGS_NT | EFLAGS_VM), 0);
	check("LG-128", "real IF and IOPL in the handler", trap.live_eflags & (EFLAGS_IF | EFLAGS_IOPL), EFLAGS_IF);
	if (p->vector == 14)
		check("LG-086", "cr2", trap.cr2, NOWHERE);
	about("");
}

void guest_main(void)
{
	guest_init();
	arm_provocations(1);
	for (u32 i = 0; i < provocation_count; i++)
		frame_of(&provocations[i], i);
}
