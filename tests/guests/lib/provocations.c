/* The table of provocations; the code is in provocations.S. */

#include "provocations.h"

#define PROVOCATION(name, vector, error)                          \
	{                                                         \
		#name, provoke_##name, name##_eip, vector, error  \
	}
#define CODE(name)                           \
	extern void provoke_##name(void);    \
	extern char name##_eip[];

CODE(divide_by_zero)
CODE(divide_overflow)
CODE(single_step)
CODE(breakpoint)
CODE(into)
CODE(bound)
CODE(ud2)
CODE(fpu_with_ts)
CODE(sse_with_ts)
CODE(absent_segment)
CODE(absent_stack)
CODE(null_stack)
CODE(selector_past_table)
CODE(lidt)
CODE(read_unmapped)
CODE(write_unmapped)

const struct provocation provocations[] = {
	PROVOCATION(divide_by_zero, 0, 0),
	PROVOCATION(divide_overflow, 0, 0),
	PROVOCATION(single_step, 1, 0),
	PROVOCATION(breakpoint, 3, 0),
	PROVOCATION(into, 4, 0),
	PROVOCATION(bound, 5, 0),
	PROVOCATION(ud2, 6, 0),
	PROVOCATION(fpu_with_ts, 7, 0),
	PROVOCATION(sse_with_ts, 7, 0),
	PROVOCATION(absent_segment, 11, ABSENT_DATA * 8),
	PROVOCATION(absent_stack, 12, ABSENT_STACK * 8),
	PROVOCATION(null_stack, 13, 0),
	PROVOCATION(selector_past_table, 13, 0xfff8),
	PROVOCATION(lidt, 13, 0),
	PROVOCATION(read_unmapped, 14, 0),
	PROVOCATION(write_unmapped, 14, 2),
};
const u32 provocation_count = sizeof provocations / sizeof provocations[0];

void arm_provocations(u32 ring)
{
	load_descriptor(ABSENT_DATA, 0xfffff, DATA_DPL3 & ~0x80);
	load_descriptor(ABSENT_STACK, 0xfffff, (ring == 3 ? DATA_DPL3 : DATA_DPL1) & ~0x80);
	hypercall(LHCALL_TS, 8, 0, 0, 0);
}
