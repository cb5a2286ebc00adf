/* expect: stop="guest powered off" status=0 */
/*
 * The console as a virtio 1.0 device, driven through the PCI window: a queue, its interrupt, and
 * the order of two interrupts that wait together.
 */

#include "guest.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONSOLE_CONFIG(offset) (0x80000000 | 1 << 11 | (offset))
#define INTERRUPT_LINE 0x3c

/* Offsets in BAR0. */
#define DRIVER_FEATURE_SELECT 8
#define DRIVER_FEATURE 12
#define DEVICE_FEATURE_SELECT 0
#define DEVICE_FEATURE 4
#define DEVICE_STATUS 20
#define QUEUE_SELECT 22
#define QUEUE_SIZE 24
#define QUEUE_ENABLE 28
#define QUEUE_DESC 32
#define QUEUE_AVAIL 40
#define QUEUE_USED 48
#define NOTIFY 0x38
#define ISR 0x3a

#define ACKNOWLEDGE 1
#define DRIVER 2
#define DRIVER_OK 4
#define FEATURES_OK 8

#define TRANSMIT 1

struct descriptor {
	u32 address, address_high, length;
	u16 flags, next;
};

static struct descriptor *descriptors;
static volatile u16 *avail, *used;

static void window(u32 offset, u32 length)
{
	out32(CONFIG_ADDRESS, CONSOLE_CONFIG(0x88));
	out8(CONFIG_DATA, 0);
	out32(CONFIG_ADDRESS, CONSOLE_CONFIG(0x8c));
	out32(CONFIG_DATA, offset);
	out32(CONFIG_ADDRESS, CONSOLE_CONFIG(0x90));
	out32(CONFIG_DATA, length);
	out32(CONFIG_ADDRESS, CONSOLE_CONFIG(0x94));
}

static u32 bar_read(u32 offset, u32 length)
{
	window(offset, length);
	return in32(CONFIG_DATA) & (length == 4 ? ~0u : (1u << 8 * length) - 1);
}

static void bar_write(u32 offset, u32 length, u32 value)
{
	window(offset, length);
	out32(CONFIG_DATA, value);
}

static void queue(u32 index, u32 desc, u32 available, u32 use)
{
	bar_write(QUEUE_SELECT, 2, index);
	check("A33", "queue size after reset", bar_read(QUEUE_SIZE, 2), 256);
	bar_write(QUEUE_DESC, 4, desc);
	bar_write(QUEUE_DESC + 4, 4, 0);
	bar_write(QUEUE_AVAIL, 4, available);
	bar_write(QUEUE_AVAIL + 4, 4, 0);
	bar_write(QUEUE_USED, 4, use);
	bar_write(QUEUE_USED + 4, 4, 0);
	bar_write(QUEUE_ENABLE, 2, 1);
}

/* The order that the kernel's own driver has (A34). */
static void start_console(void)
{
	descriptors = (struct descriptor *)allocate_page();
	avail = (u16 *)allocate_page();
	used = (u16 *)allocate_page();

	bar_write(DEVICE_STATUS, 1, 0);
	check("A34", "status after reset", bar_read(DEVICE_STATUS, 1), 0);
	bar_write(DEVICE_STATUS, 1, ACKNOWLEDGE);
	bar_write(DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER);
	bar_write(DEVICE_FEATURE_SELECT, 4, 1);
	check("A34", "VERSION_1 is offered", bar_read(DEVICE_FEATURE, 4) & 1, 1);
	bar_write(DRIVER_FEATURE_SELECT, 4, 0);
	bar_write(DRIVER_FEATURE, 4, 0);
	bar_write(DRIVER_FEATURE_SELECT, 4, 1);
	bar_write(DRIVER_FEATURE, 4, 1);
	bar_write(DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	check("LG-159", "a written status reads back", bar_read(DEVICE_STATUS, 1), ACKNOWLEDGE | DRIVER | FEATURES_OK);
	queue(0, allocate_page(), allocate_page(), allocate_page());
	queue(TRANSMIT, (u32)descriptors, (u32)avail, (u32)used);
	bar_write(DEVICE_STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

static void transmit(const char *text)
{
	u32 length = 0;

	while (text[length])
		length++;
	descriptors[0].address = (u32)text;
	descriptors[0].length = length;
	avail[2 + avail[1] % 256] = 0;
	avail[1]++;
	bar_write(NOTIFY, 2, TRANSMIT);
}

static u32 order[4], arrivals;

static void arrive(struct frame *frame)
{
	if (arrivals < 4)
		order[arrivals] = frame->vector;
	arrivals++;
}

static void send(void)
{
	lguest_data.irq_enabled = EFLAGS_IF;
	hypercall(LHCALL_SEND_INTERRUPTS, 0, 0, 0, 0);
	hypercall(LHCALL_SEND_INTERRUPTS, 0, 0, 0, 0);
	lguest_data.irq_enabled = 0;
}

static void spin_millisecond(void)
{
	u32 ticks = lguest_data.tsc_khz ? lguest_data.tsc_khz : 4000000;

	for (u32 from = read_tsc(); read_tsc() - from < ticks;)
		asm volatile("pause" : : : "memory");
}

static void one_interrupt(void)
{
	transmit("LG-161 pass text through the queue\n");
	check("LG-161", "used index", used[1], 1);
	check("LG-137", "irq_pending", lguest_data.irq_pending, EFLAGS_IF);
	check("LG-136", "not delivered with interrupts off", arrivals, 0);
	send();
	check("LG-133", "one interrupt", arrivals, 1);
	check("LG-133", "irq 1 is vector 33", order[0], FIRST_IRQ_VECTOR + 1);
	check("LG-162", "ISR", bar_read(ISR, 1), 1);
	check("LG-162", "ISR after the read", bar_read(ISR, 1), 0);
}

/* Raised in the order 1, 0; delivered in the order 0, 1. */
static void two_interrupts(void)
{
	arrivals = 0;
	transmit("(queue)\n");
	hypercall(LHCALL_SET_CLOCKEVENT, 1000, 0, 0, 0);
	spin_millisecond();
	send();
	check("LG-134", "both delivered", arrivals, 2);
	check("LG-134", "the lower number first", order[0], FIRST_IRQ_VECTOR);
	check("LG-134", "the other one then", order[1], FIRST_IRQ_VECTOR + 1);
	bar_read(ISR, 1);

	/* Blocking 0 lets 1 past it. */
	arrivals = 0;
	lguest_data.blocked_interrupts = 1;
	hypercall(LHCALL_SET_CLOCKEVENT, 1000, 0, 0, 0);
	spin_millisecond();
	transmit("(queue)\n");
	send();
	check("LG-135", "only the one that is not blocked", arrivals, 1);
	check("LG-135", "vector", order[0], FIRST_IRQ_VECTOR + 1);
	lguest_data.blocked_interrupts = 0;
	send();
	check("LG-135", "the other one when unblocked", order[1], FIRST_IRQ_VECTOR);
	bar_read(ISR, 1);
}

void guest_main(void)
{
	guest_init();
	trap_hooks[FIRST_IRQ_VECTOR] = arrive;
	trap_hooks[FIRST_IRQ_VECTOR + 1] = arrive;
	lguest_data.blocked_interrupts = 0;

	out32(CONFIG_ADDRESS, CONSOLE_CONFIG(INTERRUPT_LINE));
	check("LG-158", "interrupt line", in32(CONFIG_DATA) & 0xff, 1);
	start_console();
	one_interrupt();
	two_interrupts();
}
