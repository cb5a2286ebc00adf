//! The serial ports: COM1 is the guest's console, COM2 carries the log.
//!
//! Registers and bits: PC16550D data sheet, section 8.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, Ordering};
use x86_64::instructions::port::Port;

const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const RECEIVED_DATA: u8 = 1 << 0;
const TRANSMITTER_READY: u8 = 1 << 1;
const FIFO_CONTROL: u16 = 2;
/// FIFOs on and empty. Interrupt from the eighth byte on, or when no more have come for the time of four:
/// one interrupt for each byte of a pasted text would take longer than the line.
const FIFO_ON: u8 = 0x87;
const LINE_CONTROL: u16 = 3;
const DIVISOR_LATCH: u8 = 1 << 7;
/// Eight bits, no parity, one stop bit.
const EIGHT_BITS: u8 = 0x03;
const MODEM_CONTROL: u16 = 4;
const LOOPBACK: u8 = 1 << 4;
/// DTR, RTS, and OUT2, which gates the interrupt line on a PC.
const MODEM_READY: u8 = 0x0b;
const LINE_STATUS: u16 = 5;
const DATA_READY: u8 = 1 << 0;
const HOLDING_EMPTY: u8 = 1 << 5;
const TRANSMITTER_EMPTY: u8 = 1 << 6;
/// Bytes that the transmitter takes once its holding register is empty.
const FIFO_SIZE: u8 = 16;
/// 115200 / divisor baud.
const DIVISOR: u16 = 1;
/// Polls for a transmitter that never empties: an absent port must not hang the host.
const POLLS: u32 = 10_000_000;

/// Whether COM1's receiver may hold bytes. Set by its interrupt, cleared when it is read empty.
static CONSOLE_INPUT: AtomicBool = AtomicBool::new(true);

/// The byte that was there before the port was set up, with [`EARLY`].
static EARLY_INPUT: AtomicU16 = AtomicU16::new(0);
const EARLY: u16 = 1 << 8;

/// What COM1 interrupts for at the moment.
///
/// Both causes share one line, whose edges are all that the interrupt controller sees. A cause that stays
/// would hide the other, so an interrupt switches both off, and whoever has to wait again switches its own
/// on: the receiver when it has been read empty, the transmitter when it is full.
static CONSOLE_INTERRUPTS: AtomicU8 = AtomicU8::new(0);

/// COM1's interrupt came.
pub fn console_interrupt() {
    CONSOLE_INTERRUPTS.store(0, Ordering::Relaxed);
    Uart::com1().write(INTERRUPT_ENABLE, 0);
    CONSOLE_INPUT.store(true, Ordering::Relaxed);
}

/// Lets COM1 interrupt for one more cause, at once if it is there already.
fn await_console(cause: u8) {
    let causes = CONSOLE_INTERRUPTS.load(Ordering::Relaxed);
    if causes & cause == 0 {
        CONSOLE_INTERRUPTS.store(causes | cause, Ordering::Relaxed);
        Uart::com1().write(INTERRUPT_ENABLE, causes | cause);
    }
}

/// What a port interrupts for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interrupts {
    /// Nothing.
    Off,
    /// A byte that arrived.
    OnReceive,
}

/// One 16550.
#[derive(Debug)]
pub struct Uart {
    base: u16,
    /// Bytes that the transmit FIFO takes without looking at the line status again.
    room: u8,
}

impl Uart {
    /// The first serial port, the guest's console.
    pub const fn com1() -> Self {
        Self {
            base: 0x3f8,
            room: 0,
        }
    }

    /// The second serial port, the log.
    pub const fn com2() -> Self {
        Self {
            base: 0x2f8,
            room: 0,
        }
    }

    /// The third serial port, for the status of a machine that ends (`debug_exit`).
    pub const fn com3() -> Self {
        Self {
            base: 0x3e8,
            room: 0,
        }
    }

    /// Sets the port up: 115200 baud, eight bits, FIFOs on.
    pub fn initialise(&self, interrupts: Interrupts) {
        let interrupts = match interrupts {
            Interrupts::Off => 0,
            Interrupts::OnReceive => RECEIVED_DATA,
        };
        self.write(INTERRUPT_ENABLE, 0);
        self.write(LINE_CONTROL, DIVISOR_LATCH);
        let [low, high] = DIVISOR.to_le_bytes();
        self.write(DATA, low);
        self.write(INTERRUPT_ENABLE, high);
        self.write(LINE_CONTROL, EIGHT_BITS);
        // Switching the FIFOs on empties the receiver, and somebody may have typed by now. In loopback
        // the receiver is cut off from the line, so that no further byte comes in between.
        self.write(MODEM_CONTROL, LOOPBACK);
        let waiting = self.read(LINE_STATUS) & DATA_READY != 0;
        let byte = if waiting { self.read(DATA) } else { 0 };
        self.write(FIFO_CONTROL, FIFO_ON);
        if interrupts != 0 {
            CONSOLE_INTERRUPTS.store(interrupts, Ordering::Relaxed);
            if waiting {
                EARLY_INPUT.store(EARLY | u16::from(byte), Ordering::Relaxed);
            }
        }
        self.write(MODEM_CONTROL, MODEM_READY);
        self.write(INTERRUPT_ENABLE, interrupts);
    }

    /// Sends a byte if the transmitter takes one now; says whether it did.
    pub fn try_send(&mut self, byte: u8) -> bool {
        if self.room == 0 {
            if self.read(LINE_STATUS) & HOLDING_EMPTY == 0 {
                return false;
            }
            self.room = FIFO_SIZE;
        }
        self.room -= 1;
        self.write(DATA, byte);
        true
    }

    /// Interrupts once the transmitter takes a byte again. Of COM1 only.
    pub fn await_room(&self) {
        await_console(TRANSMITTER_READY);
    }

    /// Sends a byte, waiting for the transmitter.
    pub fn send(&mut self, byte: u8) {
        for _ in 0..POLLS {
            if self.try_send(byte) {
                return;
            }
        }
    }

    /// Takes a received byte, if there is one. Of COM1 only; cheap while its interrupt is silent.
    pub fn receive(&mut self) -> Option<u8> {
        if !CONSOLE_INPUT.load(Ordering::Relaxed) {
            return None;
        }
        if EARLY_INPUT.load(Ordering::Relaxed) != 0 {
            return Some(EARLY_INPUT.swap(0, Ordering::Relaxed) as u8);
        }
        if self.read(LINE_STATUS) & DATA_READY == 0 {
            CONSOLE_INPUT.store(false, Ordering::Relaxed);
            await_console(RECEIVED_DATA);
            return None;
        }
        Some(self.read(DATA))
    }

    /// Waits until everything sent has left the machine.
    pub fn flush(&self) {
        for _ in 0..POLLS {
            if self.read(LINE_STATUS) & TRANSMITTER_EMPTY != 0 {
                return;
            }
        }
    }

    fn read(&self, register: u16) -> u8 {
        // SAFETY: `base` is a serial port's; its registers touch no memory.
        unsafe { Port::new(self.base + register).read() }
    }

    fn write(&self, register: u16, value: u8) {
        // SAFETY: as in `read`.
        unsafe { Port::new(self.base + register).write(value) }
    }
}

impl core::fmt::Write for Uart {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.send(b'\r');
            }
            self.send(byte);
        }
        Ok(())
    }
}
