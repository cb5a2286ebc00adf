/* expect: stop="guest powered off" status=0 */
/*
 * The console's two queues, full: bytes of all values, printed and typed at the same time.
 *
 * The command line says print=<bytes> to print, input=<bytes> to wait for, slow=<nanoseconds> that this guest
 * takes over each few bytes of input, while more of them come in, and first of all lines=<lines> to print by the
 * emergency register.
 */

#include "virtio.h"

#define RECEIVE 0
#define TRANSMIT 1
#define BUFFERS 16
/* Linux's console driver has a page for its input too. */
#define INPUT_BYTES PAGE
#define SLOW_INPUT_BYTES 64
#define OUTPUT_BYTES 2048
#define OUTPUT_SEED 5

static struct queue receive, transmit;
static u8 *input[BUFFERS], *output[BUFFERS];
static u32 idle[BUFFERS], idle_count;

static void offer(u32 buffer, u32 bytes)
{
	put(&receive, buffer, input[buffer], bytes, F_WRITE);
	make_available(&receive, buffer);
}

static void start(u32 input_bytes)
{
	u32 slot = find_device(CONSOLE, 0);

	device_start(slot, 0);
	queue_start(&receive, slot, RECEIVE);
	queue_start(&transmit, slot, TRANSMIT);
	for (u32 i = 0; i < BUFFERS; i++) {
		input[i] = (u8 *)allocate_page();
		output[i] = (u8 *)allocate_page();
		offer(i, input_bytes);
		idle[i] = i;
	}
	idle_count = BUFFERS;
	device_ready(slot);
	notify(&receive);
}

/* Words that go on from the last call's. A buffer that is not full ends the stream. */
static void print_buffer(u32 bytes)
{
	static u32 word = OUTPUT_SEED;
	u32 buffer = idle[--idle_count];

	fill(output[buffer], OUTPUT_BYTES, word);
	word = next_word(((u32 *)output[buffer])[OUTPUT_BYTES / 4 - 1]);
	put(&transmit, buffer, output[buffer], bytes, 0);
	submit(&transmit, buffer);
}

void guest_main(void)
{
	u32 to_print = command_line_number("print"), to_come = command_line_number("input");
	u32 slow = command_line_number("slow"), input_bytes = slow ? SLOW_INPUT_BYTES : INPUT_BYTES;
	u32 came = 0, sum = FNV_START, empty = 0;

	guest_init();
	interrupts_init();
	start(input_bytes);
	for (u32 line = 0; line < command_line_number("lines"); line++) {
		print_hex(line);
		print("\n");
	}
	print("ready\n");
	while (to_print || idle_count < BUFFERS || came < to_come) {
		u32 moved = 0;

		while (idle_count && to_print) {
			u32 bytes = to_print < OUTPUT_BYTES ? to_print : OUTPUT_BYTES;

			print_buffer(bytes);
			to_print -= bytes;
			moved = 1;
		}
		while (has_used(&transmit)) {
			idle[idle_count++] = take_used(&transmit).head;
			moved = 1;
		}
		if (has_used(&receive)) {
			struct used used = take_used(&receive);

			sum = checksum(sum, input[used.head], used.length);
			came += used.length;
			empty += used.length == 0;
			if (slow)
				sleep(slow);
			offer(used.head, input_bytes);
			notify(&receive);
			moved = 1;
		}
		if (!moved)
			wait_for_interrupt();
	}
	print("\nreceived ");
	print_decimal(came);
	print(" bytes, sum ");
	print_hex(sum);
	print("\n");
	check("LG-161", "buffers that came back without input", empty, 0);
	check("LG-161", "devices' rules kept", needs_reset(receive.slot), 0);
}
