//! The guest's view, exit by exit: each test scripts what a guest does and looks at what it would see.

mod bounds;
mod calls;
mod device_memory;
mod emulation;
mod fixture;
mod frames;
mod init;
mod interrupts;
mod ring;
mod segments;
mod sequences;
mod traps;
