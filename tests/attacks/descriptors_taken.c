/*
 * what is loaded in a segment register is taken away or changed, and the next entry would load it again. A run
 * for each line of descriptors_taken.txt.
 */

#include "cases.h"

/* An entry of the kernel's own, and the first of those that LOAD_TLS replaces. */
#define OWN 27
#define TLS 6

#define DATA 0xc0b3
#define CODE 0xc0bb

static void take_own(void) { load_descriptor(OWN, 0, 0); }
static void take_tls(void) { hypercall(LHCALL_LOAD_TLS, allocate_page(), 0, 0, 0); }
static void absent(void) { load_descriptor(OWN, 0xfffff, DATA & ~0x80); }
static void ring_3(void) { load_descriptor(OWN, 0xfffff, DATA | 0x60); }
static void ring_2(void) { load_descriptor(OWN, 0xfffff, DATA | 0x40); }
static void read_only(void) { load_descriptor(OWN, 0xfffff, DATA & ~2); }
static void to_code(void) { load_descriptor(OWN, 0xfffff, CODE); }
static void to_gate(void) { load_descriptor(OWN, 0xfffff, 0x8c); }
static void to_data(void) { load_descriptor(OWN, 0xfffff, DATA); }
static void to_long(void) { load_descriptor(OWN, 0xfffff, 0xa0bb); }

#define LOADED(segment, entry, change)                                                 \
	static void segment##_##change(void)                                           \
	{                                                                              \
		guest_init();                                                          \
		load_descriptor(entry, 0xfffff, DATA);                                 \
		asm volatile("movl %0, %%" #segment : : "r"(entry * 8 + 1));           \
		change();                                                              \
	}
#define RUNNING(entry, change)                                                         \
	static void cs_##change(void)                                                  \
	{                                                                              \
		guest_init();                                                          \
		load_descriptor(entry, 0xfffff, CODE);                                 \
		asm volatile("ljmp %0, $1f\n1:" : : "i"(entry * 8 + 1));               \
		change();                                                              \
	}

LOADED(ds, OWN, take_own) LOADED(es, OWN, take_own) LOADED(fs, OWN, take_own) LOADED(gs, OWN, take_own)
LOADED(ss, OWN, take_own) RUNNING(OWN, take_own)
LOADED(ds, TLS, take_tls) LOADED(es, TLS, take_tls) LOADED(fs, TLS, take_tls) LOADED(gs, TLS, take_tls)
LOADED(ss, TLS, take_tls) RUNNING(TLS, take_tls)
LOADED(ss, OWN, absent) LOADED(ss, OWN, ring_3) LOADED(ss, OWN, ring_2) LOADED(ss, OWN, read_only)
LOADED(ss, OWN, to_code) LOADED(ds, OWN, absent) LOADED(fs, OWN, to_gate)
RUNNING(OWN, to_data) RUNNING(OWN, ring_3) RUNNING(OWN, to_gate) RUNNING(OWN, to_long)

#define NAME(case) { #case, case }

static const struct attack attacks[] = {
	NAME(ds_take_own), NAME(es_take_own), NAME(fs_take_own), NAME(gs_take_own), NAME(ss_take_own),
	NAME(cs_take_own), NAME(ds_take_tls), NAME(es_take_tls), NAME(fs_take_tls), NAME(gs_take_tls),
	NAME(ss_take_tls), NAME(cs_take_tls), NAME(ss_absent), NAME(ss_ring_3), NAME(ss_ring_2),
	NAME(ss_read_only), NAME(ss_to_code), NAME(ds_absent), NAME(fs_to_gate), NAME(cs_to_data),
	NAME(cs_ring_3), NAME(cs_to_gate), NAME(cs_to_long),
};

void guest_main(void)
{
	run_attack(attacks, sizeof attacks / sizeof *attacks);
}
