/* expect: a run for each line of pae_kills.txt, which names the case and the text */
/* Ways to be killed with three-level page tables. The word case=NAME of the command line says which. */

#include "guest.h"

#define BAD_FRAME 0xfffff000ull

static void touch_with_top(pte entry)
{
	kernel_root[USER_WINDOW >> TOP_SHIFT] = entry;
	peek(USER_WINDOW);
}

static void touch_with_middle(pte entry)
{
	*pde(kernel_root, USER_WINDOW) = entry;
	peek(USER_WINDOW);
}

static void touch_with_leaf(pte entry)
{
	*leaf(kernel_root, USER_WINDOW) = entry;
	peek(USER_WINDOW);
}

static void top_writable(void) { touch_with_top(0x400000 | PTE_P | PTE_RW); }
static void top_accessed(void) { touch_with_top(0x400000 | PTE_P | PTE_A); }
static void top_no_execute(void) { touch_with_top(0x400000 | PTE_P | PTE_NX); }
static void top_frame(void) { touch_with_top(BAD_FRAME | PTE_P); }
static void top_high(void) { touch_with_top(0x400000 | PTE_P | 1ull << 36); }
static void middle_large(void) { touch_with_middle(0x400000 | PTE_P | PTE_RW | PTE_PS); }
static void middle_cache_bits(void) { touch_with_middle(0x400000 | PTE_P | PTE_RW | 0x18); }
static void middle_no_execute(void) { touch_with_middle(0x400000 | PTE_P | PTE_RW | PTE_NX); }
static void middle_frame(void) { touch_with_middle(BAD_FRAME | PTE_P | PTE_RW); }
static void middle_high(void) { touch_with_middle(0x400000 | PTE_P | PTE_RW | 1ull << 62); }
static void leaf_large(void) { touch_with_leaf(0x400000 | PTE_P | PTE_RW | PTE_PS); }
static void leaf_frame(void) { touch_with_leaf(BAD_FRAME | PTE_P | PTE_RW); }
static void leaf_high(void) { touch_with_leaf(0x400000 | PTE_P | PTE_RW | PTE_NX | 1ull << 32); }

static void set_pte_high(void)
{
	hypercall(LHCALL_SET_PTE, (u32)kernel_root, USER_WINDOW, 0x400000 | PTE_P | PTE_A, 1);
}

static void set_pgd(void) { hypercall(LHCALL_SET_PGD, (u32)kernel_root, 4, 0, 0); }

static void set_pmd_stack(void)
{
	*leaf(kernel_root, USER_WINDOW) = allocate_page() | PTE_P | PTE_RW;
	hypercall(LHCALL_SET_STACK, KERNEL_DS, USER_WINDOW + PAGE, 1, 0);
	*pde(kernel_root, USER_WINDOW) = 0;
	announce_pde(kernel_root, USER_WINDOW);
}

static void root_outside(void) { hypercall(LHCALL_NEW_PGTABLE, 0xffffffe0, 0, 0, 0); }

#define CASE(name) { #name, name }

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	CASE(top_writable), CASE(top_accessed), CASE(top_no_execute), CASE(top_frame), CASE(top_high),
	CASE(middle_large), CASE(middle_cache_bits), CASE(middle_no_execute), CASE(middle_frame),
	CASE(middle_high), CASE(leaf_large), CASE(leaf_frame), CASE(leaf_high), CASE(set_pte_high),
	CASE(set_pgd), CASE(set_pmd_stack), CASE(root_outside),
};

static u32 is(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

void guest_main(void)
{
	guest_init();
	for (u32 i = 0; i < sizeof cases / sizeof *cases; i++)
		if (is(cases[i].name, command_line_case()))
			cases[i].run();
	print("still alive\n");
}
