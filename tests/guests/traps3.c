/* expect: stop="guest powered off" status=0 */
/* Each trap from ring 3: vector, error code, and the frame on the kernel's stack. */

#include "provocations.h"

static void frame_of(const struct provocation *p)
{
	u32 user_bit = p->vector == 14 ? 4 : 0;

	about(p->name);
	lguest_data.irq_enabled = EFLAGS_IF;
	check("LG-120", "vector", run_user(p->run), p->vector);
	check("LG-120", "EIP", trap.eip, (u32)p->eip);
	check("LG-120", "CS", trap.cs, USER_CS);
	check("LG-120", "SS", trap.ss, USER_DS);
	check("LG-120", "frame at the top of esp1", trap.frame, trap_stack_top() - 20);
	check("LG-121", "error code", trap.error, p->error | user_bit);
	check("LG-122", "IF in the frame", trap.eflags & EFLAGS_IF, EFLAGS_IF);
	check("LG-123", "irq_enabled in the handler", trap.irq_enabled, 0);
	check("LG-127", "TF, NT, VM in the handler", trap.live_eflags & (EFLAGS_TF | EFLAGS_NT | EFLAGS_VM), 0);
	if (p->vector == 14)
		check("LG-086", "cr2", trap.cr2, NOWHERE);
	about("");
}

void guest_main(void)
{
	guest_init();
	arm_provocations(3);
	for (u32 i = 0; i < provocation_count; i++)
		frame_of(&provocations[i]);
}
