/* The console that works before any driver. */

#include "guest.h"

#if BARE

#define COM1 0x3f8
#define LINE_STATUS 5
#define HOLDING_EMPTY 0x20

void print(const char *text)
{
	for (; *text; text++) {
		while (!(in8(COM1 + LINE_STATUS) & HOLDING_EMPTY))
			;
		out8(COM1, *text);
	}
}

void console_ready(void)
{
}

#elif HAS_PCI

/*
 * The emergency write register of the virtio console at PCI 00:01.0, reached through the
 * configuration-space window of its PCI capability.
 */
#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONSOLE_CONFIG(offset) (0x80000000 | 1 << 11 | (offset))

/* The capability of type 5 starts at 0x84. */
#define WINDOW_BAR 0x88
#define WINDOW_OFFSET 0x8c
#define WINDOW_LENGTH 0x90
#define WINDOW_DATA 0x94

/* Device configuration starts at 0x3c of BAR0; the register is its third word. */
#define EMERGENCY_WRITE (0x3c + 8)

/* Set anew for each text, so that a guest may use the ports in between. */
static void open_window(void)
{
	out32(CONFIG_ADDRESS, CONSOLE_CONFIG(WINDOW_BAR));
	out8(CONFIG_DATA, 0);
	out32(CONFIG_ADDRESS, CONSOLE_CONFIG(WINDOW_LENGTH));
	out32(CONFIG_DATA, 4);
	out32(CONFIG_ADDRESS, CONSOLE_CONFIG(WINDOW_OFFSET));
	out32(CONFIG_DATA, EMERGENCY_WRITE);
	out32(CONFIG_ADDRESS, CONSOLE_CONFIG(WINDOW_DATA));
}

void print(const char *text)
{
	open_window();
	while (*text)
		out32(CONFIG_DATA, (u8)*text++);
}

void console_ready(void)
{
}

#else

/* Both calls want LGUEST_INIT before them. */
static char early[4096];
static u32 early_length, ready;

#if HAS_DMA
static void say(const char *text, u32 length)
{
	static struct {
		u32 used_len, address[16];
		u16 length[16];
	} dma;

	dma.used_len = 0;
	dma.address[0] = (u32)text;
	dma.length[0] = length;
	hypercall(LHCALL_SEND_DMA, 0, (u32)&dma, 0, 0);
}
#else
static void say(const char *text, u32 length)
{
	(void)length;
	hypercall(LHCALL_NOTIFY, (u32)text, 0, 0, 0);
}
#endif

/* As Linux does it: 16 bytes with the NUL a call. Nor do they cross a page. */
static void say_in_parts(const char *text)
{
	static char part[16] __attribute__((aligned(16)));

	while (*text) {
		u32 length = 0;

		while (*text && length < sizeof part - 1)
			part[length++] = *text++;
		part[length] = 0;
		say(part, length);
	}
}

void print(const char *text)
{
	if (ready) {
		say_in_parts(text);
		return;
	}
	while (*text && early_length < sizeof early - 1)
		early[early_length++] = *text++;
}

void console_ready(void)
{
	ready = 1;
	say_in_parts(early);
}

#endif

void print_hex(u32 value)
{
	char text[] = "0x00000000";

	for (u32 i = 0; i < 8; i++)
		text[9 - i] = "0123456789abcdef"[value >> 4 * i & 15];
	print(text);
}

void print_decimal(u32 value)
{
	char text[11];
	u32 at = sizeof text - 1;

	text[at] = 0;
	do {
		text[--at] = '0' + value % 10;
		value /= 10;
	} while (value);
	print(text + at);
}

static const char *subject = "";

void about(const char *text)
{
	subject = text;
}

static void verdict(const char *item, const char *outcome, const char *what)
{
	print(item);
	print(outcome);
	print(subject);
	print(*subject ? ": " : "");
	print(what);
}

void check(const char *item, const char *what, u32 got, u32 want)
{
	verdict(item, got == want ? " pass " : " FAIL ", what);
	if (got != want) {
		print(" got=");
		print_hex(got);
		print(" want=");
		print_hex(want);
	}
	print("\n");
}

void survived(const char *item, const char *what)
{
	verdict(item, " pass ", what);
	print("\n");
}
