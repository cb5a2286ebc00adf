/* expect: stop="guest powered off" status=0 */
/* TS, register contents across exits, and the traps of floating point. */

#include "guest.h"

static void x87(u32 unused)
{
	(void)unused;
	asm volatile("fnop");
}

static void sse(u32 unused)
{
	(void)unused;
	asm volatile("xorps %xmm0, %xmm0");
}

static void task_switched(void)
{
	hypercall(LHCALL_TS, 8, 0, 0, 0);
	reset_trap();
	check("LG-076", "x87 traps", attempt(x87, 0), 1);
	check("LG-076", "vector", trap.vector, 7);
	reset_trap();
	check("LG-076", "SSE traps", attempt(sse, 0), 1);
	check("LG-076", "vector", trap.vector, 7);
	hypercall(LHCALL_TS, 0, 0, 0, 0);
	check("LG-077", "x87 traps", attempt(x87, 0), 0);
	check("LG-077", "SSE traps", attempt(sse, 0), 0);
}

/* 512 bytes, 16-aligned, as FXSAVE wants (Intel SDM 1, 10.5.1). */
struct fx {
	u16 fcw, fsw;
	u32 other[5];
	u32 mxcsr, mask;
	u32 st[8][4];
	u32 xmm[8][4];
	u32 reserved[56];
} __attribute__((aligned(16)));

static struct fx loaded, stored;

static void exits(void)
{
	for (u32 i = 0; i < 50; i++) {
		hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0, 0);
		set_pte(kernel_root, USER_WINDOW, 0);
		read_traps(USER_WINDOW);
		*leaf(kernel_root, USER_WINDOW) = 0x1000 | PTE_P;
		read_traps(USER_WINDOW);
	}
	print("(console output between load and store)\n");
	hypercall(LHCALL_SET_CLOCKEVENT, 100000, 0, 0, 0);
	hypercall(LHCALL_HALT, 0, 0, 0, 0);
}

static void tick(struct frame *frame)
{
	(void)frame;
}

static void survive(void)
{
	u32 wrong = 0;

	asm volatile("fninit; fxsave %0" : "=m"(loaded));
	loaded.fcw = 0x0c7f;
	loaded.mxcsr = 0x7fa5;
	for (u32 i = 0; i < 8; i++) {
		loaded.st[i][0] = 0x01010101 * (i + 1);
		loaded.st[i][1] = 0x80000000 | i;
		loaded.st[i][2] = 0x3fff + i;
		for (u32 j = 0; j < 4; j++)
			loaded.xmm[i][j] = 0x10203040 * (i + 1) + j;
	}
	/* The tag byte: all eight registers hold something. */
	loaded.other[0] = 0xff;
	asm volatile("fxrstor %0" : : "m"(loaded));
	exits();
	asm volatile("fxsave %0" : "=m"(stored));
	check("LG-078", "x87 control word", stored.fcw, 0x0c7f);
	check("LG-078", "MXCSR", stored.mxcsr, 0x7fa5);
	for (u32 i = 0; i < 8; i++) {
		wrong += stored.st[i][0] != loaded.st[i][0] || stored.st[i][1] != loaded.st[i][1] ||
			 (stored.st[i][2] & 0xffff) != loaded.st[i][2];
		for (u32 j = 0; j < 4; j++)
			wrong += stored.xmm[i][j] != loaded.xmm[i][j];
	}
	check("LG-078", "registers that changed over 250 exits", wrong, 0);
}

static void divide_and_wait(u32 unused)
{
	static const u16 zero_divide_unmasked = 0x037b;

	(void)unused;
	/* The exit comes while the exception is pending: the host must not take it. */
	asm volatile("fninit; fldcw %0; fld1; fldz; fdivrp; int $0x1f; fwait"
		     : : "m"(zero_divide_unmasked), "a"(LHCALL_FLUSH_ASYNC));
}

static const u32 sse_divide_unmasked USER_DATA = 0x1d80;
static const u32 one USER_DATA = 0x3f800000;

static void USER_TEXT user_sse_divide(void)
{
	asm volatile("ldmxcsr %0; movss %1, %%xmm0; xorps %%xmm1, %%xmm1; divss %%xmm1, %%xmm0"
		     : : "m"(sse_divide_unmasked), "m"(one));
}

static void USER_TEXT user_x87_divide(void)
{
	asm volatile("pushl $0x37b; fninit; fldcw (%esp); popl %eax; fld1; fldz; fdivrp; fwait");
}

static void exceptions(void)
{
	reset_trap();
	check("A-07", "x87 exception pending over an exit", attempt(divide_and_wait, 0), 1);
	check("LG-119", "x87: vector", trap.vector, 16);
	check("LG-121", "x87: error code", trap.error, 0);
	check("LG-119", "x87: EIP is the fwait", *(u8 *)trap.eip, 0x9b);
	asm volatile("fninit");
	check("LG-120", "x87 from ring 3: vector", run_user(user_x87_divide), 16);
	check("LG-120", "x87 from ring 3: frame", trap.frame, trap_stack_top() - 20);
	asm volatile("fninit");

	/* Emulated processors may not raise SSE exceptions: then the function just returns. */
	u32 vector = run_user(user_sse_divide);
	check("LG-120", "SSE from ring 3: vector", vector == 19 || vector == SYSCALL_VECTOR, 1);
	check("LG-121", "SSE from ring 3: error code", trap.error, 0);
	static const u32 defaults = 0x1f80;
	asm volatile("ldmxcsr %0" : : "m"(defaults));
}

void guest_main(void)
{
	guest_init();
	lguest_data.blocked_interrupts = 0;
	trap_hooks[FIRST_IRQ_VECTOR] = tick;
	task_switched();
	survive();
	exceptions();
}
