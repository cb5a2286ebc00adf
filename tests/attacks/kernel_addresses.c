/*
 * where the guest says that its kernel begins decides what its roots share. Wherever that is, it is the guest's own
 * loss. A run for each line of kernel_addresses.txt.
 */

#include "cases.h"

static void init(u32 kernel_address)
{
	for (u32 slot = 0; slot < RING_SLOTS; slot++)
		lguest_data.hcall_status[slot] = SLOT_EMPTY;
	lguest_data.blocked_interrupts = 1;
	lguest_data.kernel_address = kernel_address;
	lguest_data.syscall_vec = SYSCALL_VECTOR;
	hypercall(LHCALL_LGUEST_INIT, (u32)&lguest_data, 0, 0, 0);
}

static void USER_TEXT user(void)
{
}

/* Roots that differ where the guest said that they do not; announcements about either side; flushes of both parts. */
static void live_with(u32 kernel_address)
{
	volatile pte *other;
	u32 a, b, foreign = 0;

	init(kernel_address);
	traps_init();
	segments_init();
	paging_init();
	a = allocate_page();
	b = allocate_page();
	poke(a, 0xa);
	poke(b, 0xb);
	other = new_root();
	for (u32 round = 0; round < 100; round++) {
		u32 gva = USER_WINDOW + (round % 5) * 0x10000000 + (kernel_address & 0x3ff000), value;

		*leaf(kernel_root, gva) = a | PTE_P | PTE_RW;
		*leaf(other, gva) = b | PTE_P | PTE_RW;
		switch_root(round & 1 ? other : kernel_root);
		announce_pte((u32)other, gva, b | PTE_P | PTE_RW | PTE_A);
		announce_pde(kernel_root, gva);
		value = peek(gva);
		foreign += value != 0xa && value != 0xb;
		hypercall(LHCALL_FLUSH_TLB, round % 7 == 0, 0, 0, 0);
		foreign += run_user(user) != SYSCALL_VECTOR;
	}
	switch_root(kernel_root);
	shutdown(foreign ? "it saw what is not its own" : "it went on", SHUTDOWN_POWEROFF);
}

#define AT(address) static void at_##address(void) { live_with(address); }
#define NAME(address) { "at_" #address, at_##address }

AT(0x00000000) AT(0x3fffffff) AT(0x40000000) AT(0x40200001) AT(0xffbfffff)

static const struct attack attacks[] = {
	NAME(0x00000000), NAME(0x3fffffff), NAME(0x40000000), NAME(0x40200001), NAME(0xffbfffff),
};

void guest_main(void)
{
	run_attack(attacks, sizeof attacks / sizeof *attacks);
}
