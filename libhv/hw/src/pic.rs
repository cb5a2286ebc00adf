//! The two 8259 interrupt controllers: they carry the serial port's interrupt.
//!
//! Command words: Intel 8259A data sheet, "Programming the 8259A".

use x86_64::instructions::port::Port;

/// Vector of line 0; the 16 lines follow each other.
pub const FIRST_VECTOR: u8 = 0x20;
/// Line of the first serial port.
pub const COM1_LINE: u8 = 4;
/// Line through which the second controller reaches the first.
const CASCADE_LINE: u8 = 2;
/// Lines in all.
const LINES: u8 = 16;

const FIRST_COMMAND: u16 = 0x20;
const FIRST_DATA: u16 = 0x21;
const SECOND_COMMAND: u16 = 0xa0;
const SECOND_DATA: u16 = 0xa1;
/// ICW1: edge triggered, cascaded, ICW4 follows.
const INITIALISE: u8 = 0x11;
/// ICW4: 8086 mode.
const MODE_8086: u8 = 0x01;
/// OCW2: non-specific end of interrupt.
const END_OF_INTERRUPT: u8 = 0x20;

/// The pair of controllers.
pub struct Pic {
    _private: (),
}

impl Pic {
    /// Moves the lines to [`FIRST_VECTOR`] and masks all of them.
    pub fn new() -> Self {
        write(FIRST_COMMAND, INITIALISE);
        write(SECOND_COMMAND, INITIALISE);
        write(FIRST_DATA, FIRST_VECTOR);
        write(SECOND_DATA, FIRST_VECTOR + 8);
        write(FIRST_DATA, 1 << CASCADE_LINE);
        write(SECOND_DATA, CASCADE_LINE);
        write(FIRST_DATA, MODE_8086);
        write(SECOND_DATA, MODE_8086);
        write(FIRST_DATA, 0xff);
        write(SECOND_DATA, 0xff);
        Self { _private: () }
    }

    /// Lets one of the first controller's lines through.
    pub fn unmask(&mut self, line: u8) {
        let mut data = Port::<u8>::new(FIRST_DATA);
        // SAFETY: changes the mask register only.
        unsafe {
            let mask = data.read();
            data.write(mask & !(1 << line));
        }
    }

    /// The line that `vector` stands for, if it is one of ours.
    pub fn line(vector: u8) -> Option<u8> {
        vector
            .checked_sub(FIRST_VECTOR)
            .filter(|line| *line < LINES)
    }

    /// Ends the interrupt of `line`.
    pub fn end_of_interrupt(&mut self, line: u8) {
        if line >= 8 {
            write(SECOND_COMMAND, END_OF_INTERRUPT);
        }
        write(FIRST_COMMAND, END_OF_INTERRUPT);
    }
}

impl Default for Pic {
    fn default() -> Self {
        Self::new()
    }
}

fn write(port: u16, value: u8) {
    // SAFETY: the 8259 has no side effect on memory; `Pic` is its only user.
    unsafe { Port::new(port).write(value) }
}
