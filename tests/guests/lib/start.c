/* Bringing a guest up, and its end. */

#include "guest.h"

volatile struct lguest_data lguest_data __attribute__((aligned(PAGE), section(".bss.shared_page")));

static u32 initialised;

void lguest_init(void)
{
	for (u32 slot = 0; slot < RING_SLOTS; slot++)
		lguest_data.hcall_status[slot] = SLOT_EMPTY;
	lguest_data.blocked_interrupts = 1;
#if HAS_NOIRQ_IRET
	lguest_data.noirq_iret = (u32)noirq_iret;
#else
	lguest_data.noirq_start = (u32)noirq_start;
	lguest_data.noirq_end = (u32)noirq_end;
#endif
#if HAS_KERNEL_FIELDS
	lguest_data.kernel_address = KERNEL_ADDRESS;
	lguest_data.syscall_vec = SYSCALL_VECTOR;
#endif
	initialised = 1;
	hypercall(LHCALL_LGUEST_INIT, (u32)&lguest_data, 0, 0, 0);
	console_ready();
}

#if HAS_WHOLE_GDT

struct descriptor {
	u32 low, high;
};
/* What the table is to be, and a copy of it for each slot of the ring and for direct calls. */
static struct descriptor gdt[32], copies[RING_SLOTS + 1][32];

static u32 copy_table(u32 copy, u32 index, u32 base, u32 limit, u32 attributes)
{
	gdt[index].low = DESCRIPTOR_LOW(base, limit);
	gdt[index].high = DESCRIPTOR_HIGH(base, limit, attributes);
	for (u32 i = 0; i < 32; i++)
		copies[copy][i] = gdt[i];
	return (u32)copies[copy];
}

void load_descriptor_at(u32 index, u32 base, u32 limit, u32 attributes)
{
	hypercall(LHCALL_LOAD_GDT, copy_table(RING_SLOTS, index, base, limit, attributes), 32, 0, 0);
}

void load_descriptor_later(u32 slot, u32 index, u32 limit, u32 attributes)
{
	ring_write(slot, LHCALL_LOAD_GDT, copy_table(slot, index, 0, limit, attributes), 32, 0, 0);
}

/* The host's own first segments, so that a table without them is never loaded. */
static void gdt_init(void)
{
	gdt[12].low = gdt[13].low = 0xffff;
	gdt[12].high = 0xcf9a00;
	gdt[13].high = 0xcf9200;
}

#else

void load_descriptor_at(u32 index, u32 base, u32 limit, u32 attributes)
{
	hypercall(LHCALL_LOAD_GDT_ENTRY, index, DESCRIPTOR_LOW(base, limit),
		  DESCRIPTOR_HIGH(base, limit, attributes), 0);
}

void load_descriptor_later(u32 slot, u32 index, u32 limit, u32 attributes)
{
	ring_write(slot, LHCALL_LOAD_GDT_ENTRY, index, DESCRIPTOR_LOW(0, limit),
		   DESCRIPTOR_HIGH(0, limit, attributes), 0);
}

static void gdt_init(void)
{
}

#endif

void load_descriptor(u32 index, u32 limit, u32 attributes)
{
	load_descriptor_at(index, 0, limit, attributes);
}

void segments_init(void)
{
	gdt_init();
	load_descriptor(12, 0xfffff, 0xc09a);
	load_descriptor(13, 0xfffff, 0xc092);
	load_descriptor(14, 0xfffff, 0xc0fa);
	load_descriptor(15, 0xfffff, 0xc0f2);
}

u32 segment_limit(u32 selector)
{
	u32 limit;

	asm volatile("lsl %1, %0; jz 1f; movl $-1, %0; 1:" : "=&r"(limit) : "r"(selector) : "cc");
	return limit;
}

u32 access_rights(u32 selector)
{
	u32 rights;

	asm volatile("lar %1, %0; jz 1f; movl $-1, %0; 1:" : "=&r"(rights) : "r"(selector) : "cc");
	return rights;
}

void guest_init(void)
{
	lguest_init();
	traps_init();
	segments_init();
	paging_init();
}

void ring_write(u32 slot, u32 call, u32 a1, u32 a2, u32 a3, u32 a4)
{
	lguest_data.hcalls[slot].eax = call;
#if HAS_KVM_REGISTERS
	lguest_data.hcalls[slot].ebx = a1;
	lguest_data.hcalls[slot].ecx = a2;
	lguest_data.hcalls[slot].edx = a3;
#else
	lguest_data.hcalls[slot].edx = a1;
	lguest_data.hcalls[slot].ebx = a2;
	lguest_data.hcalls[slot].ecx = a3;
#endif
#if KERNEL >= 20631
	lguest_data.hcalls[slot].esi = a4;
#else
	(void)a4;
#endif
	lguest_data.hcall_status[slot] = SLOT_READY;
}

/* SHUTDOWN reads 128 bytes whatever the text's length: copy it to where those bytes are ours. */
void shutdown(const char *message, u32 how)
{
	static char text[128];
	u32 i;

	for (i = 0; message[i] && i < sizeof text - 1; i++)
		text[i] = message[i];
	text[i] = 0;
	for (;;)
		hypercall(LHCALL_SHUTDOWN, (u32)text, how, 0, 0);
}

/* A guest that never needed LGUEST_INIT makes it now, for SHUTDOWN to be accepted. */
void power_off(void)
{
	if (!initialised)
		lguest_init();
	shutdown("Power down", SHUTDOWN_POWEROFF);
}

const char *command_line_case(void)
{
	static char word[64];
	const char *at = (const char *)BOOT_COMMAND_LINE;
	const char key[] = "case=";
	u32 length = 0;

	for (; *at; at++) {
		u32 i = 0;

		while (key[i] && at[i] == key[i])
			i++;
		if (!key[i]) {
			for (at += i; at[length] && at[length] != ' ' && length < sizeof word - 1; length++)
				word[length] = at[length];
			break;
		}
	}
	word[length] = 0;
	return word;
}

u32 ram_bytes(void)
{
	return peek(BOOT_E820_MAP + 8);
}
