#include "echo.h"
#include "virtio.h"

#define HEADER 14
#define ADDRESS 6

/* QEMU's first address, and that of the other end. */
static const u8 ours[ADDRESS] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
static const u8 theirs[ADDRESS] = { 2, 0, 0, 0, 0, 1 };
static u32 echoes, sum = FNV_START;

static u32 length_of(u32 number)
{
	switch (number % 8) {
	case 0:
		return HEADER + 46;
	case 1:
		return ECHO_LARGEST;
	default:
		return 60 + number * 37 % (ECHO_LARGEST - 60);
	}
}

u32 echo_frame(u32 number, u8 *frame)
{
	u32 length = length_of(number), word = number + 1;

	for (u32 i = 0; i < ADDRESS; i++) {
		frame[i] = theirs[i];
		frame[ADDRESS + i] = ours[i];
	}
	frame[12] = 0x88;
	frame[13] = 0xb5;
	for (u32 i = HEADER; i < length; i++) {
		frame[i] = word >> 24;
		word = next_word(word);
	}
	return length;
}

void echo_check(const char *item, u32 number, const volatile u8 *frame, u32 length)
{
	static u8 expected[ECHO_LARGEST];
	u32 wrong = 0;

	if (length != echo_frame(number, expected)) {
		check(item, "length of a frame that came back", length, length_of(number));
		return;
	}
	for (u32 i = 0; i < ADDRESS; i++)
		wrong += frame[i] != ours[i] || frame[ADDRESS + i] != theirs[i];
	for (u32 i = 12; i < length; i++)
		wrong += frame[i] != expected[i];
	if (wrong)
		check(item, "bytes that changed on the way", wrong, 0);
	sum = checksum(sum, (const u8 *)frame + HEADER, length - HEADER);
	echoes++;
}

void echo_report(void)
{
	print("echoes ");
	print_decimal(echoes);
	print(", sum ");
	print_hex(sum);
	print("\n");
}
