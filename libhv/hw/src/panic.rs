//! A bug in the host: one line on both serial ports, and the end.

use crate::uart::Uart;
use crate::{debug_exit, log};
use core::fmt::{self, Write as _};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};
use heapless::String;

/// Exit status of a host that broke.
const STATUS: u8 = 1;

static PANICKING: AtomicBool = AtomicBool::new(false);

#[cfg(not(test))]
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut line = String::<200>::new();
    // A message that does not fit is cut; the place comes first.
    let _ = match info.location() {
        Some(place) => write!(
            line,
            "panic at {}:{}: {}",
            place.file(),
            place.line(),
            info.message()
        ),
        None => write!(line, "panic: {}", info.message()),
    };
    die(format_args!("{line}"))
}

/// Ends the host with this line on both ports.
pub fn die(reason: fmt::Arguments<'_>) -> ! {
    x86_64::instructions::interrupts::disable();
    if PANICKING.swap(true, Ordering::Relaxed) {
        // The panic panicked; what could be said has been.
        debug_exit::exit(STATUS);
    }
    let mut line = String::<224>::new();
    let _ = write!(line, "{reason}");
    let mut console = Uart::com1();
    let _ = writeln!(console, "\nlibhv: {line}");
    console.flush();
    log::stop(&line);
    debug_exit::exit(STATUS)
}

/// Tour 6. An exception in ring 0 that no entry explains. The switcher comes here on whatever stack
/// is left, with the host's page tables loaded.
#[unsafe(no_mangle)]
extern "C" fn host_exception(vector: u64, error: u64, rip: u64, rsp: u64) -> ! {
    let address = x86_64::registers::control::Cr2::read_raw();
    let what = match vector {
        8 if crate::host_paging::is_guard(address) => "host stack overflow",
        8 => "double fault",
        18 => "machine check",
        _ => "host exception",
    };
    die(format_args!(
        "{what}: vector {vector} error {error:#x} at {rip:#x} rsp {rsp:#x} address {address:#x}"
    ))
}

/// Unwinding is off; the prebuilt core library names this symbol all the same.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// As above.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    die(format_args!("unwinding"))
}
