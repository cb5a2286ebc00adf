/* Processes: a table, round robin, and the switch from one to another. */

#include "kernel.h"
#include "syscalls.h"

extern char idle_stack_top[];
void switch_stack(u32 *save_esp, u32 esp);
void user_main(void);

/* The first is the idle process, which is never in ring 3; the second is the shell. */
struct process processes[PROCESSES];
struct process *current = &processes[0];
u32 reschedule_wanted;

#define IDLE (&processes[0])
#define FIRST (&processes[1])

static u32 next_pid = 1;

/* A process that will come out of switch_stack() into ring 3, with this frame. */
static u32 create(const struct frame *frame, struct process **created)
{
	struct process *process = FIRST;
	struct frame *copied;
	u32 stack, *words;

	while (process < processes + PROCESSES && process->state != FREE)
		process++;
	if (process == processes + PROCESSES)
		return NO_PROCESS;
	stack = frame_allocate();
	if (!stack)
		return NO_MEMORY;
	process->root = space_create();
	if (!process->root) {
		frame_release(stack);
		return NO_MEMORY;
	}
	process->kernel_stack = (u32)VIRTUAL(stack);
	copied = (struct frame *)(process->kernel_stack + PAGE) - 1;
	*copied = *frame;
	/* What switch_stack() pops: four registers, and where it returns to. */
	words = (u32 *)copied - 5;
	words[4] = (u32)trap_return;
	process->esp = (u32)words;
	process->pid = next_pid++;
	process->parent = current;
	process->heap_pages = process->pages_copied = process->fpu_used = 0;
	*created = process;
	return process->pid;
}

static void destroy(struct process *process)
{
	frame_release(PHYSICAL(process->root));
	frame_release(PHYSICAL(process->kernel_stack));
	process->state = FREE;
}

void process_init(void)
{
	struct frame frame = {
		.ds = USER_DS, .es = USER_DS, .ss = USER_DS, .cs = USER_CS,
		.eip = (u32)user_main, .esp = USER_STACK_TOP, .eflags = EFLAGS_ONE | EFLAGS_IF,
	};
	struct process *shell;

	IDLE->root = kernel_root;
	IDLE->kernel_stack = (u32)idle_stack_top - PAGE;
	IDLE->state = READY;
	if (FAILED(create(&frame, &shell)) || space_load_image(shell->root))
		panic("no memory for the first process");
	shell->state = READY;
}

static struct process *choose(void)
{
	u32 from = current - processes;

	for (u32 i = 1; i <= PROCESSES; i++) {
		struct process *process = &processes[(from + i) % PROCESSES];

		if (process->state == READY && process != IDLE)
			return process;
	}
	return IDLE;
}

void schedule(void)
{
	struct process *last = current, *next = choose();

	reschedule_wanted = 0;
	if (next == last)
		return;
	hypercall_later(LHCALL_NEW_PGTABLE, PHYSICAL(next->root), 0, 0);
	hypercall_later(LHCALL_SET_STACK, KERNEL_DS, next->kernel_stack + PAGE, 1);
	fpu_switch_to(next);
	/* Before anyone can free the root that was left. */
	hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0);
	current = next;
	switch_stack(&last->esp, next->esp);
}

void process_idle(void)
{
	for (;;) {
		schedule();
		/* Sleeps until an interrupt is there, and turns them on for it. */
		hypercall(LHCALL_HALT, 0, 0, 0);
		lguest_data.irq_enabled = 0;
	}
}

void block(enum state state)
{
	current->state = state;
	schedule();
}

void wake(enum state state)
{
	for (struct process *process = FIRST; process < processes + PROCESSES; process++)
		if (process->state == state)
			process->state = READY;
}

void wake_sleepers(u32 now)
{
	for (struct process *process = FIRST; process < processes + PROCESSES; process++)
		if (process->state == SLEEPING && (int)(now - process->wake_tick) >= 0)
			process->state = READY;
}

u32 process_fork(struct frame *frame)
{
	struct frame child_frame = *frame;
	struct process *child;
	u32 pid;

	child_frame.eax = 0;
	pid = create(&child_frame, &child);
	if (FAILED(pid))
		return pid;
	if (space_copy(child->root, current->root)) {
		space_clear(child->root);
		destroy(child);
		return NO_MEMORY;
	}
	child->heap_pages = current->heap_pages;
	fpu_fork(child);
	child->state = READY;
	return pid;
}

void process_exit(u32 status)
{
	if (current == FIRST)
		panic("the shell ended");
	space_clear(current->root);
	fpu_forget(current);
	for (struct process *child = FIRST; child < processes + PROCESSES; child++)
		if (child->state != FREE && child->parent == current)
			child->parent = FIRST;
	current->status = status;
	if (current->parent->state == WAITING_CHILD)
		current->parent->state = READY;
	/* This stack and this root are in use until the switch: the parent releases them. */
	block(ZOMBIE);
	panic("a process came back from its end");
}

u32 process_wait(u32 *status)
{
	for (;;) {
		u32 children = 0;

		for (struct process *child = FIRST; child < processes + PROCESSES; child++) {
			if (child->state == FREE || child->parent != current)
				continue;
			children++;
			if (child->state != ZOMBIE)
				continue;
			*status = child->status;
			destroy(child);
			return child->pid;
		}
		if (!children)
			return NO_CHILD;
		block(WAITING_CHILD);
	}
}

void process_kill(u32 status, const char *why)
{
	print("process ");
	print_decimal(current->pid);
	print(" ended: ");
	print(why);
	print("\n");
	process_exit(status);
}
