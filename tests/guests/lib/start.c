/* Bringing a guest up, and its end. */

#include "guest.h"

volatile struct lguest_data lguest_data __attribute__((aligned(PAGE)));

void lguest_init(void)
{
	for (u32 slot = 0; slot < RING_SLOTS; slot++)
		lguest_data.hcall_status[slot] = SLOT_EMPTY;
	lguest_data.blocked_interrupts = 1;
	lguest_data.noirq_iret = (u32)noirq_iret;
	lguest_data.kernel_address = KERNEL_WINDOW;
	lguest_data.syscall_vec = SYSCALL_VECTOR;
	hypercall(LHCALL_LGUEST_INIT, (u32)&lguest_data, 0, 0, 0);
}

void load_descriptor(u32 index, u32 limit, u32 attributes)
{
	hypercall(LHCALL_LOAD_GDT_ENTRY, index, DESCRIPTOR_LOW(0, limit),
		  DESCRIPTOR_HIGH(0, limit, attributes), 0);
}

void segments_init(void)
{
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
	lguest_data.hcalls[slot].ebx = a1;
	lguest_data.hcalls[slot].ecx = a2;
	lguest_data.hcalls[slot].edx = a3;
	lguest_data.hcalls[slot].esi = a4;
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
	if (lguest_data.syscall_vec != SYSCALL_VECTOR)
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
