/* System calls: what ring 3 passes is checked, and paged in, before the kernel touches it. */

#include "kernel.h"
#include "syscalls.h"

/* Makes user memory accessible from here; 0 when it is not the process's to use. */
static void *user_memory(u32 address, u32 bytes, enum access access)
{
	u32 last = address + bytes - 1;

	if (!bytes || last < address)
		return 0;
	for (u32 page = address & -PAGE;; page += PAGE) {
		if (page_in(current, page, access) != PAGE_READY)
			return 0;
		if (page == (last & -PAGE))
			return (void *)address;
	}
}

static u32 write(u32 text, u32 length)
{
	if (!length)
		return 0;
	if (!user_memory(text, length, ACCESS_READ))
		return BAD_POINTER;
	print_bytes((const char *)text, length);
	return length;
}

static u32 wait(u32 user_status)
{
	u32 *status = user_memory(user_status, sizeof *status, ACCESS_WRITE);

	return status ? process_wait(status) : BAD_POINTER;
}

static u32 more_pages(u32 count)
{
	u32 first = USER_HEAP + current->heap_pages * PAGE;

	if (count > USER_HEAP_PAGES - current->heap_pages)
		return 0;
	current->heap_pages += count;
	return first;
}

static u32 report_memory(u32 address)
{
	struct memory_report *report = user_memory(address, sizeof *report, ACCESS_WRITE);

	if (!report)
		return BAD_POINTER;
	report->total = frames_total();
	report->kernel = frames_kernel();
	report->free = frames_free();
	return 0;
}

static u32 report_process(u32 index, u32 address)
{
	struct process_report *report = user_memory(address, sizeof *report, ACCESS_WRITE);
	struct process *process;

	if (!report)
		return BAD_POINTER;
	/* 0 is the idle process: no one's business. */
	if (!index || index >= PROCESSES || processes[index].state == FREE)
		return 0;
	process = &processes[index];
	report->pid = process->pid;
	report->parent = process->parent->pid;
	report->state = process->state;
	report->pages = space_pages(process->root);
	return 1;
}

static u32 sleep(u32 count)
{
	current->wake_tick = ticks + count;
	block(SLEEPING);
	return 0;
}

static void __attribute__((noreturn)) power_off(u32 status)
{
	char text[] = "exit status 4294967295";
	char *number = text + 12, *end = number;

	if (!status)
		shutdown("Power down", SHUTDOWN_POWEROFF);
	for (u32 rest = status; rest; rest /= 10)
		end++;
	*end = 0;
	for (; end > number; status /= 10)
		*--end = '0' + status % 10;
	shutdown(text, SHUTDOWN_POWEROFF);
}

/* The result goes to the process's EAX. */
u32 syscall(struct frame *frame)
{
	u32 a1 = frame->ebx, a2 = frame->ecx;

	switch (frame->eax) {
	case SYS_EXIT:
		process_exit(a1);
	case SYS_WRITE:
		return write(a1, a2);
	case SYS_READ_LINE:
		return user_memory(a1, a2, ACCESS_WRITE) ? read_line((char *)a1, a2) : BAD_POINTER;
	case SYS_FORK:
		return process_fork(frame);
	case SYS_WAIT:
		return wait(a1);
	case SYS_GETPID:
		return current->pid;
	case SYS_YIELD:
		schedule();
		return 0;
	case SYS_SLEEP:
		return sleep(a1);
	case SYS_PAGES:
		return more_pages(a1);
	case SYS_TICKS:
		return ticks;
	case SYS_COPIED:
		return current->pages_copied;
	case SYS_TIME:
		return lguest_data.time_sec;
	case SYS_MEMORY:
		return report_memory(a1);
	case SYS_PROCESS:
		return report_process(a1, a2);
	case SYS_HYPERCALLS:
		while (a1--)
			hypercall(LHCALL_FLUSH_ASYNC, 0, 0, 0);
		return 0;
	case SYS_SHUTDOWN:
		power_off(a1);
	case SYS_RESTART:
		shutdown("Restarting", SHUTDOWN_RESTART);
	case SYS_CRASH:
		/* No host knows this one: it ends the guest. */
		hypercall(99, 0, 0, 0);
		return 0;
	default:
		return BAD_CALL;
	}
}
