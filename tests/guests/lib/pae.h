/* Three-level page tables, for the guests that use them: what paging.c has for two levels. */
#ifndef PAE_H
#define PAE_H

#include "guest.h"

typedef unsigned long long u64;

#define LHCALL_SET_PMD 13
#define PTE_NX (1ull << 63)

/* Four entries of a gigabyte each. Several roots share a page. */
struct pae_root {
	volatile u64 entry[4];
} __attribute__((aligned(32)));

extern struct pae_root *const pae_kernel_root;

/* As guest_init(), but ends in pae_kernel_root. */
void pae_init(void);
/* A root with the image, and the kernel window of pae_kernel_root. */
struct pae_root *pae_new_root(void);
/* The middle and the leaf entry of gva; missing tables are made. Middle entries get P, RW, US. */
volatile u64 *pae_middle(struct pae_root *root, u32 gva);
volatile u64 *pae_leaf(struct pae_root *root, u32 gva);
/* Writes the entry, and tells the host. */
void pae_set_pte(struct pae_root *root, u32 gva, u64 entry);
void pae_switch_root(struct pae_root *root);
/* Tells the host that the middle entry of gva changed. */
void pae_set_pmd(struct pae_root *root, u32 gva);

#endif
