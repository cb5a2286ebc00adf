#include "measure.h"

u32 samples[SAMPLES] USER_DATA;

static u32 reading;

/* Sorts, which the next measurement does not mind. */
static u32 median(u32 count)
{
	for (u32 i = 1; i < count; i++) {
		u32 sample = samples[i], at = i;

		for (; at > 0 && samples[at - 1] > sample; at--)
			samples[at] = samples[at - 1];
		samples[at] = sample;
	}
	return samples[count / 2];
}

void measure_init(void)
{
	for (u32 i = 0; i < SAMPLES; i++) {
		u32 start = read_tsc();

		samples[i] = read_tsc() - start;
	}
	reading = median(SAMPLES);
}

u32 without_reading(u32 span)
{
	return span - reading;
}

u32 timed_stub(u32 vector)
{
	extern char timed_stubs[];

	return (u32)timed_stubs + 32 * vector;
}

void report_value(const char *name, u32 value)
{
	print("COUNT ");
	print(name);
	print(" ");
	print_decimal(value);
	print("\n");
}

void report(const char *name, u32 count)
{
	report_value(name, without_reading(median(count)));
}
