/* What every micro guest stands on: start-up, console, traps, page tables, ring 3. */
#ifndef GUEST_H
#define GUEST_H

#include "lguest.h"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

/* ---- start-up ---------------------------------------------------------------------------- */

/* Registers at the image's first instruction; filled by boot.S before anything changes them. */
struct entry_state {
	u32 eax, ebx, ecx, edx, esi, edi, ebp, esp, eflags, cs, ds, es, fs, gs, ss;
};
extern struct entry_state entry_state;

extern volatile struct lguest_data lguest_data;

/* Provided by each guest; runs in linear mode on boot_stack. Returning powers off. */
void guest_main(void);

/* Fills lguest_data and makes the first hypercall. */
void lguest_init(void);
/* A gate for every vector; segments 12 to 15. Needs lguest_init(). */
void traps_init(void);
void segments_init(void);
/* Leaves linear mode for kernel_root, and gives ring-3 traps their own stack. */
void paging_init(void);
/* All four, in this order. */
void guest_init(void);

void power_off(void) __attribute__((noreturn));
void shutdown(const char *message, u32 how) __attribute__((noreturn));

/* The word "case=..." of the command line, or "". */
const char *command_line_case(void);
u32 ram_bytes(void);

/* ---- hypercalls -------------------------------------------------------------------------- */

#if HAS_VMCALL
#define HYPERCALL ".byte 0x0f, 0x01, 0xc1"
#else
#define HYPERCALL "int $0x1f"
#endif

/* The result means something for one call of G1 only. */
#if BARE
#include "bare/bare.h"
#else
static inline u32 hypercall(u32 call, u32 a1, u32 a2, u32 a3, u32 a4)
{
#if HAS_KVM_REGISTERS
	asm volatile(HYPERCALL : "+a"(call) : "b"(a1), "c"(a2), "d"(a3), "S"(a4) : "memory");
#else
	(void)a4;
	asm volatile(HYPERCALL : "+a"(call) : "d"(a1), "b"(a2), "c"(a3) : "memory");
#endif
	return call;
}
#endif

/* Puts a call into a slot of the ring; it runs when the host drains the ring. */
void ring_write(u32 slot, u32 call, u32 a1, u32 a2, u32 a3, u32 a4);

/* ---- console ----------------------------------------------------------------------------- */

void print(const char *text);
/* Prints what was said before hypercalls worked; for lguest_init(). */
void console_ready(void);
void print_hex(u32 value);
void print_decimal(u32 value);

/* Put before <what> from now on; "" for nothing. */
void about(const char *subject);
/* "<item> pass <what>" or "<item> FAIL <what> got=0x.. want=0x..". */
void check(const char *item, const char *what, u32 got, u32 want);
/* For what would have ended the guest: being here to print it is the proof. */
void survived(const char *item, const char *what);

/* ---- traps ------------------------------------------------------------------------------- */

/* What the stubs in traps.S leave on the stack, lowest address first. */
struct frame {
	u32 gs, fs, es, ds;
	u32 edi, esi, ebp, esp_at_pusha, ebx, edx, ecx, eax;
	u32 vector, error;
	u32 eip, cs, eflags;
	u32 esp, ss; /* there only when cs is a ring-3 selector */
};

/* The last trap. */
struct trap {
	u32 vector, error, eip, cs, eflags;
	u32 esp, ss;          /* of the interrupted code, from either ring */
	u32 frame;            /* where the host put EIP */
	u32 cr2, irq_enabled; /* of lguest_data, as the handler found them */
	u32 live_eflags;      /* EFLAGS at the handler's first instruction */
	u32 handler_cs;
	u32 count;            /* traps since reset_trap() */
};
extern volatile struct trap trap;

void reset_trap(void);

/* A handler that returns to the interrupted code. Without one a trap ends the running attempt(). */
typedef void (*trap_hook)(struct frame *frame);
extern trap_hook trap_hooks[256];

/* Where the last page fault was. */
static inline u32 fault_address(void)
{
#if BARE
	u32 address;
	asm volatile("movl %%cr2, %0" : "=r"(address));
	return address;
#else
	return lguest_data.cr2;
#endif
}

/*
 * Calls function(argument). A trap on the way, in ring 1 or ring 3, is recorded in `trap` and ends
 * the call; the result is then 1, else 0.
 */
u32 attempt(void (*function)(u32), u32 argument);

enum gate {
	INTERRUPT_GATE = 0x8e00,
	TRAP_GATE = 0x8f00,
	USER_INTERRUPT_GATE = 0xee00,
	USER_TRAP_GATE = 0xef00,
};
void load_gate(u32 vector, u32 offset, u32 gate);
void unload_gate(u32 vector);
/* The stub of a vector in traps.S. */
u32 stub(u32 vector);

/* The iret that lguest_data.noirq_iret names, or the range around it. */
extern char noirq_iret[], noirq_start[], noirq_end[];

/* ---- segments ---------------------------------------------------------------------------- */

#define DESCRIPTOR_LOW(base, limit) (((base) & 0xffff) << 16 | ((limit) & 0xffff))
/* `attributes`: access byte in bits 0-7, flag nibble in bits 12-15, as Intel SDM 3A 3.4.5 draws them. */
#define DESCRIPTOR_HIGH(base, limit, attributes) \
	(((base) & 0xff000000) | ((base) >> 16 & 0xff) | ((limit) & 0xf0000) | (attributes) << 8)
#define DATA_DPL1 (BARE ? 0x4093 : 0x40b3) /* of the kernel's own ring */
#define DATA_DPL3 0x40f3

void load_descriptor_at(u32 index, u32 base, u32 limit, u32 attributes);
/* Base 0. */
void load_descriptor(u32 index, u32 limit, u32 attributes);
/* The same from a slot of the ring. Slots have to be used in the order in which they will run. */
void load_descriptor_later(u32 slot, u32 index, u32 limit, u32 attributes);

/* LSL and LAR: ~0 when the selector is not usable from here. */
u32 segment_limit(u32 selector);
u32 access_rights(u32 selector);

/* ---- page tables ------------------------------------------------------------------------- */

#define PAGE 4096
#define PTE_P 0x001
#define PTE_RW 0x002
#define PTE_US 0x004
#define PTE_A 0x020
#define PTE_D 0x040
#define PTE_PS 0x080
#define PTE_G 0x100

/*
 * The image starts 1 MiB above KERNEL_BASE, and from there on IDENTITY_BYTES of RAM are mapped where they are. Micro guests
 * lie low, and each root has tables of its own for that. Benchmarks have it as Linux has: their kernel is above all user
 * addresses, in tables that all roots share, and a flush of the user's part leaves it alone.
 */
#if HIGH_KERNEL
#define KERNEL_BASE HIGH_KERNEL
#define IDENTITY_BYTES 0x2000000
#define KERNEL_ADDRESS KERNEL_BASE
#define USER_WINDOW 0x400000
#else
#define KERNEL_BASE 0
#define IDENTITY_BYTES 0x800000
#define KERNEL_ADDRESS KERNEL_WINDOW
#define USER_WINDOW 0x40000000
#endif
/* Both windows are free for tests: nothing is mapped there. This one is the same in all roots. */
#define KERNEL_WINDOW 0xc0000000

/*
 * An entry of a table. Two levels have a page directory as root; with PAE the root is a table of four
 * entries, each for a page directory, and several roots share a page.
 */
#if PAE
typedef unsigned long long pte;
#define PTE_NX (1ull << 63)
#define PDE_SPAN 0x200000
#define TOP_SHIFT 30
#define TOP_ENTRIES 4
#else
typedef u32 pte;
#define PDE_SPAN 0x400000
#define TOP_SHIFT 22
#define TOP_ENTRIES 1024
#endif
#define PDE_FLAGS (PTE_P | PTE_RW | PTE_US)
/* Address of the frame that an entry names; those of tests have it in the low word. */
#define FRAME(entry) ((u32)(entry) & 0xfffff000)

extern volatile pte *const kernel_root;

/* A zeroed page; its address is its guest-physical one, and mapped as such in all roots. */
u32 allocate_page(void);
/* A root with the image, and the kernel window of kernel_root. */
volatile pte *new_root(void);
/* The page-directory entry and the leaf entry of gva; missing tables are made. Directories' entries get PDE_FLAGS. */
volatile pte *pde(volatile pte *root, u32 gva);
volatile pte *leaf(volatile pte *root, u32 gva);
/* Tells the host that the leaf of gva in the root at this address became `entry`. */
void announce_pte(u32 root, u32 gva, pte entry);
/* Writes the entry, and tells the host. */
void set_pte(volatile pte *root, u32 gva, pte entry);
/* Tells the host that gva's page-directory entry changed, and which statement says what comes of it. */
void announce_pde(volatile pte *root, u32 gva);
#if PAE
#define LG_PDE "LG-111"
#else
#define LG_PDE "LG-108"
#endif
void switch_root(volatile pte *root);

/* The result is 1 if the access trapped. The user forms run in ring 3. */
u32 read_traps(u32 gva);
u32 write_traps(u32 gva);
u32 user_read_traps(u32 gva);
u32 user_write_traps(u32 gva);

static inline u32 peek(u32 gva)
{
	u32 value;

	/* Assembly, so that the compiler has no opinion on address 0. */
	asm volatile("movl (%1), %0" : "=r"(value) : "r"(gva) : "memory");
	return value;
}

static inline void poke(u32 gva, u32 value)
{
	asm volatile("movl %0, (%1)" : : "r"(value), "r"(gva) : "memory");
}

/* ---- ring 3 ------------------------------------------------------------------------------ */

/* Code and data that ring 3 may touch. */
#define USER_TEXT __attribute__((section(".user.text"), noinline))
#define USER_DATA __attribute__((section(".user.data")))

/*
 * Calls a USER_TEXT function in ring 3 with EFLAGS `eflags`. Its return, or the first trap, comes
 * back here: the result is the vector, SYSCALL_VECTOR for a return.
 */
u32 run_user_flags(void (*function)(void), u32 eflags);
u32 run_user(void (*function)(void));

/* Top of the stack that ring-3 traps arrive on. */
u32 trap_stack_top(void);
void enter_user(u32 eip, u32 esp, u32 eflags) __attribute__((noreturn));

/* ---- processor --------------------------------------------------------------------------- */

#define EFLAGS_ONE 0x00000002
#define EFLAGS_TF 0x00000100
#define EFLAGS_IF 0x00000200
#define EFLAGS_DF 0x00000400
#define EFLAGS_IOPL 0x00003000
#define EFLAGS_NT 0x00004000
#define EFLAGS_VM 0x00020000
#define EFLAGS_AC 0x00040000

static inline u32 read_eflags(void)
{
	u32 value;
	asm volatile("pushfl; popl %0" : "=r"(value));
	return value;
}

/* The low word is enough for spans under a second. */
static inline u32 read_tsc(void)
{
	u32 low, high;
	asm volatile("rdtsc" : "=a"(low), "=d"(high));
	return low;
}

static inline void out8(u16 port, u8 value)
{
	asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out32(u16 port, u32 value)
{
	asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline u8 in8(u16 port)
{
	u8 value;
	asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline u32 in32(u16 port)
{
	u32 value;
	asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

#endif
