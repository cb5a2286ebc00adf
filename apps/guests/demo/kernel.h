/* What the parts of the kernel know of each other. */
#ifndef KERNEL_H
#define KERNEL_H

#include "lguest.h"
#include "types.h"

#define PAGE 4096u
#define KERNEL_BASE 0xc0000000u

/* All RAM that the kernel uses is mapped from KERNEL_BASE on. */
#define PHYSICAL(address) ((u32)(address) - KERNEL_BASE)
#define VIRTUAL(physical) ((void *)((u32)(physical) + KERNEL_BASE))

#define EFLAGS_ONE 0x002
#define EFLAGS_IF 0x200

extern volatile struct lguest_data lguest_data;

/* ---- host.c: hypercalls ------------------------------------------------------------------ */

/* Queues a call. The host runs it before the next hypercall(), in order. */
void hypercall_later(u32 call, u32 a1, u32 a2, u32 a3);
void shutdown(const char *message, u32 how) __attribute__((noreturn));
void panic(const char *message) __attribute__((noreturn));
/* Lets in the interrupts that waited; they are off again afterwards. */
void interrupts_admit(void);

/* ---- memory.c: page frames --------------------------------------------------------------- */

/* Set by boot(). */
extern u32 ram_end;
void memory_init(u32 first_free);
/* A zeroed frame with one user, or 0 when there is none. */
u32 frame_allocate(void);
void frame_share(u32 frame);
/* Gives up one use; the last one frees the frame. */
void frame_release(u32 frame);
u32 frame_users(u32 frame);
u32 frames_total(void);
u32 frames_kernel(void);
u32 frames_free(void);
void copy(void *to, const void *from, u32 bytes);

/* ---- paging.c: address spaces ------------------------------------------------------------ */

#define USER_HEAP 0x10000000u
#define USER_HEAP_PAGES 4096u
#define USER_STACK_TOP 0xb0000000u
#define USER_STACK_PAGES 64u

struct process;

/* The root without user pages: the idle process's, and the pattern of all others. */
extern u32 *kernel_root;
void paging_init(void);
/* A root without user pages, or 0. */
u32 *space_create(void);
/* Shares all of `from` with `to`, copy-on-write. Not 0: memory ran out, and `to` is a part of it. */
int space_copy(u32 *to, u32 *from);
/* Releases all user pages. The root itself may still be the current one, and stays. */
void space_clear(u32 *root);
/* The program image that came with the kernel. Not 0: memory ran out. */
int space_load_image(u32 *root);
u32 space_pages(u32 *root);

enum access { ACCESS_READ, ACCESS_WRITE };
enum page_in { PAGE_READY, PAGE_READ_ONLY, PAGE_UNMAPPED, PAGE_NO_MEMORY };
/* Makes one user access by the process possible, if it is allowed. */
enum page_in page_in(struct process *process, u32 address, enum access access);

/* ---- traps.c ----------------------------------------------------------------------------- */

/* What the stubs in trap_entry.S leave on the stack, lowest address first. */
struct frame {
	u32 gs, fs, es, ds;
	u32 edi, esi, ebp, esp_at_pusha, ebx, edx, ecx, eax;
	u32 vector, error;
	u32 eip, cs, eflags;
	u32 esp, ss; /* from ring 3 only */
};

void traps_init(void);
extern char trap_return[];

/* ---- process.c --------------------------------------------------------------------------- */

#define PROCESSES 128u

enum state { FREE, READY, SLEEPING, WAITING_CHILD, WAITING_INPUT, ZOMBIE };

struct process {
	u8 fpu[512] __attribute__((aligned(16)));
	u32 fpu_used;
	u32 esp; /* of the kernel, while another process runs */
	u32 kernel_stack;
	u32 *root;
	enum state state;
	u32 pid;
	struct process *parent;
	u32 wake_tick;
	u32 status;
	u32 heap_pages;
	u32 pages_copied;
};

extern struct process processes[PROCESSES];
extern struct process *current;
extern u32 reschedule_wanted;

void process_init(void);
/* The idle process: never returns. */
void process_idle(void) __attribute__((noreturn));
void schedule(void);
/* Runs others until something makes the process READY again. */
void block(enum state state);
void wake(enum state state);
void wake_sleepers(u32 now);
u32 process_fork(struct frame *frame);
void process_exit(u32 status) __attribute__((noreturn));
/* The pid of a child that ended, or NO_CHILD. */
u32 process_wait(u32 *status);
/* Ends the current process with a message. */
void process_kill(u32 status, const char *why) __attribute__((noreturn));

/* ---- syscall.c, timer.c, fpu.c ----------------------------------------------------------- */

u32 syscall(struct frame *frame);

extern u32 ticks;
void timer_init(void);
void timer_interrupt(void);

void fpu_init(void);
/* #NM: the current process wants the FPU. */
void fpu_claim(void);
void fpu_switch_to(struct process *next);
void fpu_fork(struct process *child);
void fpu_forget(struct process *process);

/* ---- console.c, virtio.c, pci.c ---------------------------------------------------------- */

void console_init(void);
void console_interrupt(void);
void print_bytes(const char *text, u32 length);
void print(const char *text);
void print_decimal(u32 value);
/* Reads an edited line, without its end, and ends it with NUL. NO_INPUT when there is no driver. */
u32 read_line(char *line, u32 size);

/* Not 0: there is no such device, or it refuses. */
int virtio_console_init(void);
void virtio_console_acknowledge(void);
void virtio_console_write(const char *text, u32 length);
/* The next byte of input, or -1. */
int virtio_console_read(void);

/* Structures of a virtio device in its BAR 0, by virtio 1.0's cfg_type. */
enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_WINDOW };
/* Not 0: there is no virtio console. */
int pci_init(void);
u32 bar_read(u32 structure, u32 offset, u32 width);
void bar_write(u32 structure, u32 offset, u32 width, u32 value);
u32 pci_interrupt_line(void);

#endif
