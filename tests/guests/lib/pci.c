#include "pci.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define BAR0 0x10
#define WINDOW 0x84

/* BARs are mapped here, a page for each slot. */
#define BARS (KERNEL_WINDOW + 0x10000000)

static void select(u32 slot, u32 offset)
{
	out32(CONFIG_ADDRESS, 0x80000000 | slot << 11 | offset);
}

u32 config_read(u32 slot, u32 offset)
{
	select(slot, offset);
	return in32(CONFIG_DATA);
}

static void open_window(u32 slot, u32 offset, u32 width)
{
	select(slot, WINDOW + 4);
	out8(CONFIG_DATA, 0);
	select(slot, WINDOW + 8);
	out32(CONFIG_DATA, offset);
	select(slot, WINDOW + 12);
	out32(CONFIG_DATA, width);
	select(slot, WINDOW + 16);
}

static u32 window_read(u32 slot, u32 offset, u32 width)
{
	open_window(slot, offset, width);
	return in32(CONFIG_DATA) & (width == 4 ? ~0u : (1u << 8 * width) - 1);
}

static void window_write(u32 slot, u32 offset, u32 width, u32 value)
{
	open_window(slot, offset, width);
	out32(CONFIG_DATA, value);
}

u32 bar_memory(u32 slot)
{
	u32 bar = config_read(slot, BAR0), gva = BARS + slot * PAGE;

	if (*leaf(kernel_root, gva) == 0)
		set_pte(kernel_root, gva, (bar & -PAGE) | PTE_P | PTE_RW | PTE_A | PTE_D);
	return gva + bar % PAGE;
}

static u32 memory_read(u32 slot, u32 offset, u32 width)
{
	u32 at = bar_memory(slot) + offset;

	switch (width) {
	case 1: return *(volatile u8 *)at;
	case 2: return *(volatile u16 *)at;
	default: return *(volatile u32 *)at;
	}
}

static void memory_write(u32 slot, u32 offset, u32 width, u32 value)
{
	u32 at = bar_memory(slot) + offset;

	switch (width) {
	case 1: *(volatile u8 *)at = value; break;
	case 2: *(volatile u16 *)at = value; break;
	default: *(volatile u32 *)at = value; break;
	}
}

const struct access window_access = { "window", window_read, window_write };
const struct access memory_access = { "memory", memory_read, memory_write };
