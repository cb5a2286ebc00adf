/* What the kernel and its programs agree on: int 0x80, number in EAX, arguments in EBX, ECX, EDX. */
#ifndef SYSCALLS_H
#define SYSCALLS_H

enum {
	SYS_EXIT,      /* status */
	SYS_WRITE,     /* text, length */
	SYS_READ_LINE, /* buffer, size; NO_INPUT */
	SYS_FORK,      /* 0 in the child, its pid in the parent; NO_PROCESS, NO_MEMORY */
	SYS_WAIT,      /* &status; the pid, or NO_CHILD */
	SYS_GETPID,
	SYS_YIELD,
	SYS_SLEEP, /* ticks */
	SYS_PAGES, /* how many more; the address of the first, or 0 */
	SYS_TICKS,
	SYS_COPIED, /* pages that were copied for this process */
	SYS_TIME,
	SYS_MEMORY,            /* &struct memory_report */
	SYS_PROCESS,           /* table index, &struct process_report; 0 when there is none */
	SYS_HYPERCALLS,        /* how many: makes that many that do nothing */
	SYS_SHUTDOWN,          /* status */
	SYS_RESTART,
	SYS_CRASH,
};

/* Results that are no pid. */
#define NO_CHILD 0xffffffffu
#define NO_PROCESS 0xfffffffeu
#define NO_MEMORY 0xfffffffdu
#define NO_INPUT 0xfffffffcu
#define BAD_POINTER 0xfffffffbu
#define BAD_CALL 0xfffffffau
#define FAILED(result) ((result) >= BAD_CALL)

/* Added to the vector: the status of a process that the kernel ended. */
#define KILLED 0x100u

#define PROCESS_LIMIT 126u
#define TICKS_PER_SECOND 100u

struct memory_report {
	unsigned int total, kernel, free;
};

struct process_report {
	unsigned int pid, parent, state, pages;
};

#endif
