/* expect: stop="guest powered off" status=0 */
/* How a call gets to the host and back: registers, stack, rings. */

#include "guest.h"

struct registers {
	u32 eax, ebx, ecx, edx, esi, edi, ebp, eflags;
};

/* Loads all registers, makes the call with ESP = `esp`, and stores all registers. */
static void call_with(struct registers *r, u32 esp)
{
	static struct registers *block;
	static u32 kernel_esp, call_esp;

	block = r;
	call_esp = esp;
	asm volatile("pushal\n\t"
		     "movl %%esp, %[kernel_esp]\n\t"
		     "movl %[block], %%esp\n\t"
		     "movl 0(%%esp), %%eax\n\t"
		     "movl 4(%%esp), %%ebx\n\t"
		     "movl 8(%%esp), %%ecx\n\t"
		     "movl 12(%%esp), %%edx\n\t"
		     "movl 16(%%esp), %%esi\n\t"
		     "movl 20(%%esp), %%edi\n\t"
		     "movl 24(%%esp), %%ebp\n\t"
		     "movl %[call_esp], %%esp\n\t"
		     "stc\n\t"
		     HYPERCALL "\n\t"
		     /* mov leaves the flags that pushfl reads further down. */
		     "movl %%esp, %[call_esp]\n\t"
		     "movl %[block], %%esp\n\t"
		     "movl %%eax, 0(%%esp)\n\t"
		     "movl %%ebx, 4(%%esp)\n\t"
		     "movl %%ecx, 8(%%esp)\n\t"
		     "movl %%edx, 12(%%esp)\n\t"
		     "movl %%esi, 16(%%esp)\n\t"
		     "movl %%edi, 20(%%esp)\n\t"
		     "movl %%ebp, 24(%%esp)\n\t"
		     "movl %[kernel_esp], %%esp\n\t"
		     "pushfl\n\t"
		     "popl %%eax\n\t"
		     "movl %[block], %%ecx\n\t"
		     "movl %%eax, 28(%%ecx)\n\t"
		     "popal"
		     : [kernel_esp] "+m"(kernel_esp), [call_esp] "+m"(call_esp)
		     : [block] "m"(block)
		     : "memory", "cc");
	check("LG-024", "ESP", call_esp, esp);
}

static void registers_survive(const char *name, u32 call, u32 a1, u32 a2, u32 a3)
{
#if HAS_KVM_REGISTERS
	struct registers r = { call, a1, a2, a3, 0x44444444, 0x55555555, 0x66666666, 0 };
#else
	struct registers r = { call, a2, a3, a1, 0x44444444, 0x55555555, 0x66666666, 0 };
#endif
	struct registers before = r;

	about(name);
	call_with(&r, 0x12345678);
	check("LG-025", "EAX", r.eax, call);
	check("LG-024", "EBX", r.ebx, before.ebx);
	check("LG-024", "ECX", r.ecx, before.ecx);
	check("LG-024", "EDX", r.edx, before.edx);
	check("LG-024", "ESI", r.esi, 0x44444444);
	check("LG-024", "EDI", r.edi, 0x55555555);
	check("LG-024", "EBP", r.ebp, 0x66666666);
	/* CF was set before the call; IF is always on in the real flags. */
	check("LG-024", "CF and IF", r.eflags & (1 | EFLAGS_IF), 1 | EFLAGS_IF);
	about("");
}

static u32 next_instruction(void)
{
	u32 value = 1;

	asm volatile(HYPERCALL "\n\tincl %0" : "+m"(value) : "a"(LHCALL_FLUSH_ASYNC) : "memory");
	return value;
}

static void USER_TEXT user_hypercall(void)
{
	asm volatile("int $0x1f" : : "a"(LHCALL_FLUSH_ASYNC));
}

#if HAS_VMCALL

/* Pages that both rings can execute; the first is called from ring 3 only. */
static void USER_TEXT user_vmcall(void)
{
	asm volatile(".globl vmcall_of_ring_3\nvmcall_of_ring_3: .byte 0x0f, 0x01, 0xc1" : : "a"(LHCALL_FLUSH_ASYNC));
}

static void __attribute__((noinline)) kernel_vmcall(void)
{
	asm volatile(".globl vmcall_of_ring_1\nvmcall_of_ring_1: .byte 0x0f, 0x01, 0xc1" : : "a"(LHCALL_FLUSH_ASYNC));
}

extern char vmcall_of_ring_3[], vmcall_of_ring_1[];

static u32 three_bytes(const char *at)
{
	return peek((u32)at) & 0xffffff;
}

static void vmcalls(void)
{
	check("LG-027", "vector of vmcall from ring 3", run_user(user_vmcall), 6);
	check("LG-027", "EIP is the instruction's", trap.eip, (u32)vmcall_of_ring_3);
	check("LG-027", "it is not rewritten", three_bytes(vmcall_of_ring_3), 0xc1010f);
	kernel_vmcall();
	check("LG-026", "from ring 1 it becomes int 0x1f; nop", three_bytes(vmcall_of_ring_1), 0x901fcd);
	kernel_vmcall();
	survived("LG-026", "and works as such");
}

#endif

void guest_main(void)
{
	guest_init();
	check("LG-020", "execution goes on behind int 0x1f", next_instruction(), 2);

	registers_survive("FLUSH_ASYNC", LHCALL_FLUSH_ASYNC, 0x11111111, 0x22222222, 0x33333333);
#if HAS_IRQ_PENDING
	registers_survive("SEND_INTERRUPTS", LHCALL_SEND_INTERRUPTS, 1, 2, 3);
#endif
#if HAS_VMCALL
	vmcalls();
#endif
	registers_survive("FLUSH_TLB", LHCALL_FLUSH_TLB, 1, 2, 3);
	registers_survive("TS", LHCALL_TS, 0, 2, 3);
	registers_survive("SET_CLOCKEVENT", LHCALL_SET_CLOCKEVENT, 0, 2, 3);
	registers_survive("NEW_PGTABLE", LHCALL_NEW_PGTABLE, (u32)kernel_root, 2, 3);
#if HAS_WHOLE_GDT
	/* SET_STACK has three arguments too; that they arrive in this order shows in traps from ring 3. */
	registers_survive("SET_STACK", LHCALL_SET_STACK, KERNEL_DS, trap_stack_top(), 1);
	load_descriptor(27, 0x123, DATA_DPL3);
	check("LG-022", "table and count arrived", segment_limit(27 * 8 + 3), 0x123);
#else
	registers_survive("LOAD_GDT_ENTRY", LHCALL_LOAD_GDT_ENTRY, 27, DESCRIPTOR_LOW(0, 0x123),
			  DESCRIPTOR_HIGH(0, 0x123, DATA_DPL3));

	/* That call had its arguments in EBX, ECX and EDX; ESI only matters with PAE. */
	check("LG-023", "index, low and high word arrived", segment_limit(27 * 8 + 3), 0x123);
#endif

	check("LG-021", "vector from ring 3", run_user(user_hypercall), 13);
	check("LG-021", "error code", trap.error, HYPERCALL_VECTOR * 8 + 2);
	check("LG-021", "EIP is the instruction's", *(u16 *)trap.eip, 0x1fcd);

	/* A host that touched the guest's stack would fault on each of these. */
	struct registers r = { LHCALL_FLUSH_ASYNC, 0, 0, 0, 0, 0, 0, 0 };
	about("call with ESP at 0");
	call_with(&r, 0);
	about("call with ESP at the top");
	call_with(&r, 0xffffffff);
	about("call with ESP unmapped");
	call_with(&r, 0x50000000);
}
