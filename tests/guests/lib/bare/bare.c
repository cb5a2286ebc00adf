/* Bringing a guest up where there is no host. */

#include "guest.h"

/* Free in the guest's own table. */
#define TASK_ENTRY 10
#define TASK_ATTRIBUTES 0x0089
#define CODE_ATTRIBUTES 0xc09a
#define DATA_ATTRIBUTES 0xc092

#define CR0_WP 0x10000
#define CR0_PG 0x80000000

#define APIC_SPURIOUS 0xf0
#define APIC_ENABLE 0x100
#define APIC_TIMER 0x320
#define APIC_DIVIDE 0x3e0
#define APIC_DIVIDE_BY_1 0xb

#define FIRST_PIC_MASK 0x21
#define SECOND_PIC_MASK 0xa1

#define DEBUG_EXIT 0xf4
#define POWERED_OFF 0x10

struct gate_words bare_gdt[32] = {
	[KERNEL_CS / 8] = { DESCRIPTOR_LOW(0, 0xfffff), DESCRIPTOR_HIGH(0, 0xfffff, CODE_ATTRIBUTES) },
	[KERNEL_DS / 8] = { DESCRIPTOR_LOW(0, 0xfffff), DESCRIPTOR_HIGH(0, 0xfffff, DATA_ATTRIBUTES) },
};
struct gate_words bare_idt[256];
volatile struct task_state bare_task;

static void load_table(const char *which, const void *table, u32 bytes)
{
	struct {
		u16 limit;
		u32 base;
	} __attribute__((packed)) pointer = { bytes - 1, (u32)table };

	if (*which == 'g')
		asm volatile("lgdt %0" : : "m"(pointer));
	else
		asm volatile("lidt %0" : : "m"(pointer));
}

void bare_start(void)
{
	load_descriptor_at(TASK_ENTRY, (u32)&bare_task, sizeof bare_task - 1, TASK_ATTRIBUTES);
	load_table("gdt", bare_gdt, sizeof bare_gdt);
	load_table("idt", bare_idt, sizeof bare_idt);
	asm volatile("ljmp %0, $1f\n1:" : : "i"(KERNEL_CS));
	asm volatile("movl %0, %%ds; movl %0, %%es; movl %0, %%ss; movl %1, %%fs; movl %1, %%gs"
		     : : "r"(KERNEL_DS), "r"(0) : "memory");
	asm volatile("ltr %w0" : : "r"(TASK_ENTRY * 8));
	out8(FIRST_PIC_MASK, 0xff);
	out8(SECOND_PIC_MASK, 0xff);
}

static volatile u32 *apic(u32 offset)
{
	return (volatile u32 *)(BARE_APIC + offset);
}

void bare_devices_map(void)
{
	*leaf(kernel_root, BARE_APIC) = BARE_APIC | PTE_P | PTE_RW;
}

void bare_paging_on(void)
{
	asm volatile("movl %%cr0, %%eax; orl %0, %%eax; movl %%eax, %%cr0" : : "i"(CR0_PG | CR0_WP) : "eax", "cc", "memory");
	*apic(APIC_SPURIOUS) = APIC_ENABLE | 0xff;
	*apic(APIC_DIVIDE) = APIC_DIVIDE_BY_1;
	*apic(APIC_TIMER) = FIRST_IRQ_VECTOR;
}

void bare_power_off(void)
{
	out32(DEBUG_EXIT, POWERED_OFF);
}
