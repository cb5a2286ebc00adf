/* Code that raises one trap each, for both rings. */
#ifndef PROVOCATIONS_H
#define PROVOCATIONS_H

#include "guest.h"

/* Never mapped. */
#define NOWHERE 0x7ffff000

/* Descriptors that provocations load: present bit clear, index 28 with the ring's own DPL. */
#define ABSENT_DATA 27
#define ABSENT_STACK 28

struct provocation {
	const char *name;
	void (*run)(void);
	char *eip; /* that the frame must hold */
	u32 vector;
	u32 error; /* from ring 1; a page fault from ring 3 has bit 2 as well */
};

extern const struct provocation provocations[];
extern const u32 provocation_count;

/* Sets up what the table needs and leaves TS set; ring is 1 or 3. */
void arm_provocations(u32 ring);

#endif
