/*
 * Costs in units of the time-stamp counter: instructions when the machine counts those, and only meaningful there. A count
 * is the median of several, without the cost of reading the counter.
 */
#ifndef MEASURE_H
#define MEASURE_H

#include "guest.h"

/* Most samples that a count can be of. */
#define SAMPLES 64

/* For code in either ring. */
extern u32 samples[SAMPLES];

/* Reads the counter often enough to know what that costs. Before the first of the others. */
void measure_init(void);
/* "COUNT <name> <median of the first `count` samples>". */
void report(const char *name, u32 count);
/* "COUNT <name> <value>". */
void report_value(const char *name, u32 value);
/* What a span between two readings is without them. */
u32 without_reading(u32 span);

/* A stub for the gate of a vector up to the first interrupt's, which notes in trapped_at when it starts. */
u32 timed_stub(u32 vector);
extern volatile u32 trapped_at;

/* Reports what `statement` takes, which may use i: 0 and up in `rounds` rounds. `before` is not part of it. */
#define MEASURE_AFTER(name, rounds, before, statement)            \
	do {                                                      \
		for (u32 i = 0; i < (rounds); i++) {              \
			u32 start_;                               \
			before;                                   \
			start_ = read_tsc();                      \
			statement;                                \
			samples[i] = read_tsc() - start_;         \
		}                                                 \
		report(name, rounds);                             \
	} while (0)
#define MEASURE(name, rounds, statement) MEASURE_AFTER(name, rounds, (void)0, statement)

#endif
