/* Two processes compute at once: were their FPU registers mixed, a result would differ. */

#include "user.h"

#define RUN_TICKS 8u
#define STEPS 20000u

/* Four values that live in registers all the while. */
static double series(double seed)
{
	double a = seed, b = 1, c = 0.5, d = 0;

	for (u32 i = 1; i < STEPS; i++) {
		a = a * 0.75 + c;
		b = b + a / i;
		c = c * 0.5 + b * 0.0625;
		d = d + a - b + c;
	}
	return a + b + c + d;
}

static u32 differences(double seed)
{
	u32 start = system(SYS_TICKS, 0, 0), wrong = 0;
	double expected = series(seed);

	while (system(SYS_TICKS, 0, 0) - start < RUN_TICKS)
		wrong += series(seed) != expected;
	return wrong != 0;
}

void show_fpu(u32 unused)
{
	u32 made = 0, wrong = 0, pid;

	(void)unused;
	for (; made < 2; made++) {
		pid = fork();
		if (!pid)
			quit(differences(made + 1.25));
		if (FAILED(pid)) {
			say_failure(pid);
			break;
		}
	}
	for (u32 i = 0; i < made; i++)
		wrong += wait_status();
	say("fpu: ");
	say_number(made);
	say(wrong ? " processes, results WRONG\n" : " processes, results ok\n");
}
