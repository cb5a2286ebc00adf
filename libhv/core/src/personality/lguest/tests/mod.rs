//! The guest's view, exit by exit: each test scripts what a guest does and looks at what it would see.

mod bounds;
mod calls;
mod detection;
mod device_memory;
mod direct_syscall;
mod early_console;
mod emulation;
mod fixture;
mod frames;
mod generations;
mod init;
mod interrupts;
mod numbers;
mod ring;
mod segments;
mod sequences;
mod traps;
mod vmcall;
