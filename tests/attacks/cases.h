/* A guest that each of its attacks ends: the word case=NAME of the command line says which one a run is about. */
#ifndef CASES_H
#define CASES_H

#include "guest.h"

struct attack {
	const char *name;
	void (*run)(void);
};

static inline u32 is_word(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* Coming back means that the host let it pass: that is not what the table of cases expects. */
static inline void run_attack(const struct attack *attacks, u32 count)
{
	const char *wanted = command_line_case();

	for (u32 i = 0; i < count; i++) {
		if (is_word(attacks[i].name, wanted)) {
			attacks[i].run();
			print("survived\n");
			return;
		}
	}
	print("no such case\n");
}

#endif
