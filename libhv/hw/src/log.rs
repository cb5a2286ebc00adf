//! The host's log: defmt frames on COM2.
//!
//! What is compiled in is chosen at build time (`DEFMT_LOG`); of that, [`set_level`] chooses what is
//! sent. Log through this crate's `log_*!` macros: defmt itself knows no level at run time.

use crate::uart::{Interrupts, Uart};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use hv_core::command_line::LogLevel;

static LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Info as u8);

/// Sends only messages of `level` and above from now on. The stop line is always sent.
pub fn set_level(level: LogLevel) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Whether messages of `level` are sent.
pub fn enabled(level: LogLevel) -> bool {
    level as u8 <= LEVEL.load(Ordering::Relaxed)
}

/// Logs an error.
#[macro_export]
macro_rules! log_error {
    ($($arguments:tt)*) => {
        if $crate::log::enabled($crate::log::Level::Error) { $crate::defmt::error!($($arguments)*) }
    };
}

/// Logs a warning.
#[macro_export]
macro_rules! log_warn {
    ($($arguments:tt)*) => {
        if $crate::log::enabled($crate::log::Level::Warn) { $crate::defmt::warn!($($arguments)*) }
    };
}

/// Logs what a user may want to know.
#[macro_export]
macro_rules! log_info {
    ($($arguments:tt)*) => {
        if $crate::log::enabled($crate::log::Level::Info) { $crate::defmt::info!($($arguments)*) }
    };
}

/// Logs what a developer may want to know.
#[macro_export]
macro_rules! log_debug {
    ($($arguments:tt)*) => {
        if $crate::log::enabled($crate::log::Level::Debug) { $crate::defmt::debug!($($arguments)*) }
    };
}

pub use hv_core::command_line::LogLevel as Level;

/// Sends the first line of the log, whatever the level: the serial ports are set up, and whoever
/// feeds the console may begin.
pub fn start() {
    defmt::println!("libhv: version {=str}", env!("CARGO_PKG_VERSION"));
}

/// Sends the last line of the log: why the host stops.
pub fn stop(reason: &str) {
    defmt::println!("libhv: stop: {=str}", reason);
    // SAFETY: nothing else logs any more.
    unsafe { &*COM2.uart.get() }.flush();
}

defmt::timestamp!("{=u64:us}", crate::clock::microseconds());

/// What defmt writes with.
struct Com2 {
    uart: UnsafeCell<Uart>,
    encoder: UnsafeCell<defmt::Encoder>,
    /// A frame was started and has not ended.
    open: AtomicBool,
}

// SAFETY: the host runs on one processor, and no interrupt or exception of its own logs, but for the
// panic that ends it. That one may come in the middle of a frame, but never returns to it.
unsafe impl Sync for Com2 {}

static COM2: Com2 = Com2 {
    uart: UnsafeCell::new(Uart::com2()),
    encoder: UnsafeCell::new(defmt::Encoder::new()),
    open: AtomicBool::new(false),
};

/// Sets the port up; before that, the log goes to whatever the firmware left there.
pub fn initialise() {
    // SAFETY: as for `Com2`; the caller is the boot, before anything logs.
    unsafe { &*COM2.uart.get() }.initialise(Interrupts::Off);
}

#[defmt::global_logger]
struct Logger;

// SAFETY: `acquire` ends a frame that a panic left open, so frames do not nest; `write` keeps the
// order of bytes.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        // SAFETY: as for `Com2`.
        let encoder = unsafe { &mut *COM2.encoder.get() };
        if COM2.open.swap(true, Ordering::Relaxed) {
            // A panic cut a frame short. Without an end, what follows would be read as the rest of it.
            encoder.end_frame(send);
        }
        encoder.start_frame(send);
    }

    unsafe fn flush() {
        // SAFETY: as for `Com2`.
        unsafe { &*COM2.uart.get() }.flush();
    }

    unsafe fn release() {
        // SAFETY: as for `Com2`.
        unsafe { &mut *COM2.encoder.get() }.end_frame(send);
        COM2.open.store(false, Ordering::Relaxed);
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: as for `Com2`.
        unsafe { &mut *COM2.encoder.get() }.write(bytes, send);
    }
}

fn send(bytes: &[u8]) {
    // SAFETY: as for `Com2`.
    let uart = unsafe { &mut *COM2.uart.get() };
    bytes.iter().for_each(|byte| uart.send(*byte));
}
