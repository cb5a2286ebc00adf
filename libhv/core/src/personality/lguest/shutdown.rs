//! SHUTDOWN: a guest's last words.

use super::Lguest;
use crate::address::Gpa;
use crate::device::Devices;
use crate::kill::{Kill, Message};
use crate::memory::GuestMemory;
use crate::personality::{End, Mmu};
use hv_abi::lguest::{POWER_DOWN, SHUTDOWN_MESSAGE, SHUTDOWN_RESTART};

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// Ends the guest. Exactly 128 bytes are read, as history has it: a message too near the top of
    /// RAM is itself a reason to be killed. But a restart needs none, and Linux often sends none: its
    /// null pointer arrives as an address far beyond RAM.
    pub(super) fn shutdown(&self, message: Gpa, how: u32) -> End {
        let mut bytes = [0; SHUTDOWN_MESSAGE];
        let read = self.memory.read(message, &mut bytes);
        let text = one_line(&bytes);
        if how == SHUTDOWN_RESTART {
            return End::Restart(text);
        }
        if let Err(bad) = read {
            return Kill::from(bad).into();
        }
        if text.starts_with(POWER_DOWN) {
            End::PowerOff(text)
        } else {
            Kill::Crash(text).into()
        }
    }
}

/// The text up to its NUL, at most 127 bytes, with `?` for everything that is not printable ASCII:
/// neither an escape sequence nor a line break of the guest's may reach the host's log.
fn one_line(bytes: &[u8; SHUTDOWN_MESSAGE]) -> Message {
    let longest = SHUTDOWN_MESSAGE.saturating_sub(1);
    let mut text = Message::new();
    for &byte in bytes.iter().take(longest).take_while(|&&byte| byte != 0) {
        let printable = byte.is_ascii_graphic() || byte == b' ';
        let character = if printable { char::from(byte) } else { '?' };
        if text.push(character).is_err() {
            break;
        }
    }
    text
}
