/* The FPU goes to a process when it first uses it: until then TS makes every FPU instruction a #NM. */

#include "kernel.h"

#define CPUID_1_EDX_FXSR (1u << 24)

static u32 has_fxsr;
/* Whose values the registers hold. */
static struct process *owner;
static u8 fresh[512] __attribute__((aligned(16)));

static void save(u8 *area)
{
	if (has_fxsr)
		asm volatile("fxsave (%0)" : : "r"(area) : "memory");
	else
		asm volatile("fnsave (%0); frstor (%0)" : : "r"(area) : "memory");
}

static void load(const u8 *area)
{
	if (has_fxsr)
		asm volatile("fxrstor (%0)" : : "r"(area) : "memory");
	else
		asm volatile("frstor (%0)" : : "r"(area) : "memory");
}

void fpu_init(void)
{
	u32 eax = 1, ebx, ecx, edx;

	asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
	has_fxsr = edx & CPUID_1_EDX_FXSR;
	asm volatile("fninit");
	save(fresh);
	hypercall(LHCALL_TS, 1, 0, 0);
}

void fpu_claim(void)
{
	hypercall(LHCALL_TS, 0, 0, 0);
	if (owner == current)
		return;
	if (owner)
		save(owner->fpu);
	load(current->fpu_used ? current->fpu : fresh);
	current->fpu_used = 1;
	owner = current;
}

void fpu_switch_to(struct process *next)
{
	hypercall_later(LHCALL_TS, next != owner, 0, 0);
}

void fpu_fork(struct process *child)
{
	if (owner == current)
		save(current->fpu);
	child->fpu_used = current->fpu_used;
	copy(child->fpu, current->fpu, sizeof child->fpu);
}

void fpu_forget(struct process *process)
{
	if (owner == process)
		owner = 0;
}
