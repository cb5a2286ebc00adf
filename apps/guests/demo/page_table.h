/* Two-level page tables (Intel SDM 3A 4.3). */
#ifndef PAGE_TABLE_H
#define PAGE_TABLE_H

#define PTE_P 0x001u
#define PTE_RW 0x002u
#define PTE_US 0x004u
#define PTE_A 0x020u
#define PTE_D 0x040u
/* For the kernel's own use: read-only just because the page is shared. */
#define PTE_COW 0x200u

#define TOP_INDEX(address) ((address) >> 22)
#define LEAF_INDEX(address) ((address) >> 12 & 0x3ff)
#define FRAME(entry) ((entry) & 0xfffff000u)
#define FLAGS(entry) ((entry) & 0xfffu)

/* Page fault error code. */
#define FAULT_WRITE 2

#endif
