//! The end of the machine.

use crate::uart::Uart;
use core::sync::atomic::{AtomicBool, Ordering};
use x86_64::instructions::port::Port;

/// QEMU's `isa-debug-exit` device; the emulator ends with status `(value << 1) | 1`.
const DEBUG_EXIT: u16 = 0xf4;
/// Set in every value we write, so that no status of ours is one of the emulator's own.
const OURS: u8 = 0x10;
/// Where Bochs takes its word to end, a letter at a time (Bochs user manual, "Shutdown" port).
const BOCHS_SHUTDOWN: u16 = 0x8900;
const BOCHS_WORD: &[u8] = b"Shutdown";
/// The maker of Bochs's firmware, as ACPI's root pointer has it (ACPI specification, 5.2.5.3). QEMU's
/// firmware says the same, and nobody else's does.
const BOCHS_MAKER: &str = "BOCHS ";

static EMULATED: AtomicBool = AtomicBool::new(false);

/// Tells who made the firmware: the six letters of the root pointer's OEM identification.
///
/// Behind the port that ends Bochs a real machine may have any device, so it is written to only where
/// the firmware is an emulator's.
pub fn firmware_made_by(maker: &str) {
    EMULATED.store(maker == BOCHS_MAKER, Ordering::Relaxed);
}

/// Ends the emulator with a status of ours; on a machine that is none, stops the processor.
pub fn exit(status: u8) -> ! {
    let status = OURS | status;
    // SAFETY: on other machines nothing answers at this port.
    unsafe { Port::new(DEBUG_EXIT).write(u32::from(status)) };
    if EMULATED.load(Ordering::Relaxed) {
        // QEMU has ended. Bochs has no status of its own to give, so its third serial port carries ours.
        let mut port = Uart::com3();
        port.send(status);
        port.flush();
        for letter in BOCHS_WORD {
            // SAFETY: an emulator's port, or nobody's.
            unsafe { Port::new(BOCHS_SHUTDOWN).write(*letter) };
        }
    }
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}
