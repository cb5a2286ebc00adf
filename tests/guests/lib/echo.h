/* Frames whose other end sends them back, with the addresses exchanged. */
#ifndef ECHO_H
#define ECHO_H

#include "guest.h"

#define ECHOES 96
#define ECHO_LARGEST 1514

/* Writes frame `number` and returns its length: shortest and longest ones, and those between. */
u32 echo_frame(u32 number, u8 *frame);
/* Fails a verdict unless these bytes are what comes back for it. */
void echo_check(const char *item, u32 number, const volatile u8 *frame, u32 length);
/* Says how many came back, and the sum of their contents. */
void echo_report(void);

#endif
