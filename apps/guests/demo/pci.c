/* The virtio console at PCI 00:01.0: its capabilities, and its BAR through the access window. */

#include "kernel.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONSOLE(offset) (0x80000000u | 1 << 11 | (offset))

#define VIRTIO_CONSOLE 0x10431af4u
#define INTERRUPT_LINE 0x3c
#define CAPABILITIES 0x34
#define VENDOR_SPECIFIC 9

/* struct virtio_pci_cap, virtio 1.0 section 4.1.4: offsets from the capability's start. */
#define CAP_NEXT_AND_TYPE 0
#define CAP_BAR 4
#define CAP_OFFSET 8
#define CAP_LENGTH 12
#define CAP_DATA 16

/* Offset in the BAR of each structure, by cfg_type; of the window, the capability's own offset. */
static u32 structures[CAP_WINDOW + 1];

static void out8(u16 port, u8 value)
{
	asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static void out32(u16 port, u32 value)
{
	asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static u32 in32(u16 port)
{
	u32 value;

	asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static u32 config_read(u32 offset)
{
	out32(CONFIG_ADDRESS, CONSOLE(offset));
	return in32(CONFIG_DATA);
}

static void config_write(u32 offset, u32 value)
{
	out32(CONFIG_ADDRESS, CONSOLE(offset));
	out32(CONFIG_DATA, value);
}

int pci_init(void)
{
	u32 at;

	if (config_read(0) != VIRTIO_CONSOLE)
		return -1;
	at = config_read(CAPABILITIES) & 0xfc;
	/* A list in 256 bytes has fewer members than this, unless it is a circle. */
	for (u32 i = 0; at && i < 16; i++) {
		u32 header = config_read(at + CAP_NEXT_AND_TYPE), type = header >> 24;

		if ((header & 0xff) == VENDOR_SPECIFIC && type <= CAP_WINDOW)
			structures[type] = type == CAP_WINDOW ? at : config_read(at + CAP_OFFSET);
		at = header >> 8 & 0xfc;
	}
	return structures[CAP_WINDOW] ? 0 : -1;
}

u32 pci_interrupt_line(void)
{
	return config_read(INTERRUPT_LINE) & 0xff;
}

/* The next access to the window's data is one of that width at that place. */
static void aim(u32 structure, u32 offset, u32 width)
{
	u32 window = structures[CAP_WINDOW];

	out32(CONFIG_ADDRESS, CONSOLE(window + CAP_BAR));
	out8(CONFIG_DATA, 0);
	config_write(window + CAP_OFFSET, structures[structure] + offset);
	config_write(window + CAP_LENGTH, width);
	out32(CONFIG_ADDRESS, CONSOLE(window + CAP_DATA));
}

u32 bar_read(u32 structure, u32 offset, u32 width)
{
	aim(structure, offset, width);
	return in32(CONFIG_DATA) & (width == 4 ? ~0u : (1u << 8 * width) - 1);
}

void bar_write(u32 structure, u32 offset, u32 width, u32 value)
{
	aim(structure, offset, width);
	out32(CONFIG_DATA, value);
}
