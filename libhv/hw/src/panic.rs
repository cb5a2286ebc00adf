//! A bug in the host: one line on both serial ports, and the end.

use crate::entry_area::entry_area;
use crate::uart::Uart;
use crate::{crash_record, debug_exit, log};
use core::fmt::{self, Write as _};
use core::sync::atomic::{AtomicU32, Ordering};
use heapless::String;

/// Exit status of a host that broke.
const STATUS: u8 = 1;
/// Bytes that are kept of a line.
const LINE: usize = 224;

/// How often the host has broken.
static BROKEN: AtomicU32 = AtomicU32::new(0);

/// One line of text, cut where it is full. Messages may span lines (those of `assert_eq!` do), but
/// scripts rely on the log's last line being the whole reason.
#[derive(Default)]
struct Line(String<LINE>);

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|letter| {
            let letter = if letter.is_control() { ' ' } else { letter };
            self.0.push(letter).map_err(|_| fmt::Error)
        })
    }
}

#[cfg(feature = "image")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let mut line = Line::default();
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
    die(format_args!("{}", line.0))
}

/// Ends the host with this line on both ports, and what led to it on the log.
pub fn die(reason: fmt::Arguments<'_>) -> ! {
    x86_64::instructions::interrupts::disable();
    let before = BROKEN.fetch_add(1, Ordering::Relaxed);
    if before > 1 {
        // Even the last line broke; what could be said has been.
        debug_exit::exit(STATUS);
    }
    let mut line = Line::default();
    let _ = write!(line, "{reason}");
    // Once more: it was the record that broke. The console has the reason, and the log still needs its
    // last line.
    if before == 0 {
        let mut console = Uart::com1();
        let _ = writeln!(console, "\nlibhv: {}", line.0);
        console.flush();
        // SAFETY: a copy of integers. Whoever has borrowed them runs no more.
        let registers = unsafe { (&raw const (*entry_area.get()).registers).read_volatile() };
        crash_record::log(&registers, None);
    }
    log::stop(&line.0);
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
#[cfg(feature = "image")]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// As above.
#[cfg(feature = "image")]
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    die(format_args!("unwinding"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_several_lines_becomes_one() {
        let mut line = Line::default();
        write!(line, "assertion failed\n  left: {}\r\n right: {}", 1, 2).unwrap();
        assert_eq!(line.0, "assertion failed   left: 1   right: 2");
    }

    #[test]
    fn a_long_message_keeps_its_beginning() {
        let mut line = Line::default();
        assert!(write!(line, "place: {:0300}", 7).is_err());
        assert_eq!(line.0.len(), LINE);
        assert!(line.0.starts_with("place: 0"));
    }
}
