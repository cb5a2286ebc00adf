/*
 * When a paravirtual Linux calls its host, as far as benchmarks imitate it. On a bare machine (BARE) the same functions are
 * what Linux does there.
 */
#ifndef PARAVIRT_H
#define PARAVIRT_H

#include "measure.h"

#define USER_PAGE (PTE_P | PTE_RW | PTE_US)
#define USED_PAGE (USER_PAGE | PTE_A | PTE_D)

/* The table of page-directory entry `i` of the user's part. */
#define USER_TABLE(i) (USER_WINDOW + (i) * PDE_SPAN)
/* How many there are below the kernel. */
#define USER_TABLES ((KERNEL_BASE - USER_WINDOW) / PDE_SPAN)

/* A call that can wait: into the ring, or at once when that is full. */
static inline __attribute__((always_inline)) void call_lazily(u32 call, u32 a1, u32 a2, u32 a3, u32 a4)
{
#if BARE
	hypercall(call, a1, a2, a3, a4);
#else
	static u32 slot;

	if (lguest_data.hcall_status[slot] != SLOT_EMPTY) {
		hypercall(call, a1, a2, a3, a4);
		return;
	}
	ring_write(slot, call, a1, a2, a3, a4);
	slot = (slot + 1) % RING_SLOTS;
#endif
}

/* The end of a lazy section. */
static inline void leave_lazy(void)
{
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
}

static inline void announce_pte_lazily(volatile pte *root, u32 gva, pte entry)
{
	call_lazily(LHCALL_SET_PTE, (u32)root, gva, entry, 0);
}

/* Forgets what the processor knows of one page of the current root. */
static inline void flush_page(volatile pte *root, u32 gva)
{
#if BARE
	(void)root;
	asm volatile("invlpg (%0)" : : "r"(gva) : "memory");
#else
	hypercall(LHCALL_SET_PTE, (u32)root, gva, 0, 0);
#endif
}

static inline void flush_user(void)
{
	hypercall(LHCALL_FLUSH_TLB, 0, 0, 0, 0);
}

static inline void flush_all(void)
{
	hypercall(LHCALL_FLUSH_TLB, 1, 0, 0, 0);
}

#if BARE
static inline void interrupts_on(void) { asm volatile("sti" : : : "memory"); }
static inline void interrupts_off(void) { asm volatile("cli" : : : "memory"); }
static inline void end_of_interrupt(void) { *(volatile u32 *)(BARE_APIC + APIC_END_OF_INTERRUPT) = 0; }
#else
static inline void interrupts_on(void)
{
	lguest_data.irq_enabled = EFLAGS_IF;
	if (lguest_data.irq_pending)
		hypercall(LHCALL_SEND_INTERRUPTS, 0, 0, 0, 0);
}
static inline void interrupts_off(void) { lguest_data.irq_enabled = 0; }
static inline void end_of_interrupt(void) {}
#endif

#endif
