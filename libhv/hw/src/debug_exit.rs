//! The end of the machine.

use x86_64::instructions::port::Port;

/// QEMU's `isa-debug-exit` device; the emulator ends with status `(value << 1) | 1`.
const DEBUG_EXIT: u16 = 0xf4;
/// Set in every value we write, so that no status of ours is one of the emulator's own.
const OURS: u32 = 0x10;

/// Ends the emulator with a status of ours; on a machine without the device, stops the processor.
pub fn exit(status: u8) -> ! {
    // SAFETY: on other machines nothing answers at this port.
    unsafe { Port::new(DEBUG_EXIT).write(OURS | u32::from(status)) };
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}
