/* Talking to the host: the shared structure, queued hypercalls, the end. */

#include "kernel.h"

volatile struct lguest_data lguest_data __attribute__((aligned(64)));

void hypercall_later(u32 call, u32 a1, u32 a2, u32 a3)
{
	static u32 next;

	/* A full ring is drained by the call that found it full, and order is kept. */
	if (lguest_data.hcall_status[next] != SLOT_EMPTY) {
		hypercall(call, a1, a2, a3);
		return;
	}
	lguest_data.hcalls[next].eax = call;
	lguest_data.hcalls[next].ebx = a1;
	lguest_data.hcalls[next].ecx = a2;
	lguest_data.hcalls[next].edx = a3;
	lguest_data.hcalls[next].esi = 0;
	/* Last: from here on the host may run it. */
	lguest_data.hcall_status[next] = SLOT_READY;
	next = (next + 1) % RING_SLOTS;
}

void interrupts_admit(void)
{
	lguest_data.irq_enabled = EFLAGS_IF;
	/* The host does not see that store: what came while they were off has to be asked for. */
	if (lguest_data.irq_pending)
		hypercall(LHCALL_SEND_INTERRUPTS, 0, 0, 0);
	lguest_data.irq_enabled = 0;
}

void shutdown(const char *message, u32 how)
{
	/* The host reads all its bytes, whatever the text's length. */
	static char text[SHUTDOWN_MESSAGE_BYTES];

	for (u32 i = 0; message[i] && i < sizeof text - 1; i++)
		text[i] = message[i];
	for (;;)
		hypercall(LHCALL_SHUTDOWN, PHYSICAL(text), how, 0);
}

void panic(const char *message)
{
	print("kernel: ");
	print(message);
	print("\n");
	shutdown(message, SHUTDOWN_POWEROFF);
}
