/* expect: stop="guest powered off" status=0 */
/*
 * Frames of every length, both ways. The peer at the other end of the wire, a program, asks for each thing that
 * this guest does, and repeats the question where an answer may have been lost: a wire may lose frames of a
 * flood.
 */

#include "net.h"

/* Ethernet types: what is summed up, what a flood is made of, and the peer's questions with our answers. */
#define DATA 0x88b5
#define FLOOD 0x88b6
#define QUESTION 0x88b7

/* After the type of a question: what is asked, and a number. */
#define SEND_BATCH 1
#define SEND_FLOOD 2
#define ANSWER 3
#define END 4
#define BATCH 32

static u8 frame[PAGE];
static u32 received, received_bytes, received_sum = FNV_START, sent_sum = FNV_START;

static u32 type_of(const u8 *at)
{
	return at[12] << 8 | at[13];
}

static void address_frame(const u8 *to, u32 type)
{
	for (u32 i = 0; i < 6; i++) {
		frame[i] = to[i];
		frame[6 + i] = net_address[i];
	}
	frame[12] = type >> 8;
	frame[13] = type;
}

/* The shortest, the longest, the usual shortest, and others between. */
static u32 length_of(u32 number)
{
	switch (number % BATCH) {
	case 0: return ETHERNET;
	case 1: return LARGEST_FRAME;
	case 2: return 60;
	default: return ETHERNET + number * 7 % (LARGEST_FRAME - ETHERNET);
	}
}

/* What is no frame, or too long for one, is dropped and given back; the frames around it are not hurt. */
static void send_batch(const u8 *to, u32 batch)
{
	for (u32 number = batch * BATCH; number < (batch + 1) * BATCH; number++) {
		u32 length = length_of(number);

		fill(frame + 16, PAGE - 16, number + 1);
		address_frame(to, DATA);
		if (number % BATCH == 5) {
			net_send(frame, 0);
			net_send(frame, 1);
			net_send(frame, ETHERNET - 1);
			net_send(frame, 2000);
			net_send(frame, PAGE - NET_HEADER);
		}
		net_send(frame, length);
		sent_sum = checksum(sent_sum, frame + 12, length - 12);
	}
}

static void send_flood(const u8 *to, u32 count)
{
	while (count--) {
		address_frame(to, FLOOD);
		net_send(frame, count % 2 ? 60 : LARGEST_FRAME);
	}
}

static void say(const char *what, u32 number, const char *unit)
{
	print(what);
	print_decimal(number);
	print(unit);
}

void guest_main(void)
{
	u32 asked = 0, flood = 0;

	guest_init();
	interrupts_init();
	check("LG-157", "there is a network device", net_start(), 1);
	print("up\n");
	while (asked != END) {
		const u8 *got;
		u32 length = net_receive(&got), number;

		switch (type_of(got)) {
		case DATA:
			received++;
			received_bytes += length;
			received_sum = checksum(received_sum, got + 12, length - 12);
			break;
		case FLOOD:
			flood++;
			break;
		case QUESTION:
			asked = got[14];
			number = *(const u32 *)(got + 16);
			if (asked == SEND_BATCH)
				send_batch(got + 6, number);
			else if (asked == SEND_FLOOD)
				send_flood(got + 6, number);
			address_frame(got + 6, QUESTION);
			frame[14] = asked;
			*(u32 *)(frame + 16) = number;
			net_send(frame, 60);
		}
	}
	say("received ", received, " frames, ");
	say("", received_bytes, " bytes, sum ");
	print_hex(received_sum);
	print("\nsent sum ");
	print_hex(sent_sum);
	print(flood ? "\nA-35 pass a flood\n" : "\nA-35 FAIL no flood\n");
}
