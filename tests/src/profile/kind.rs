//! Kinds of exits, in words.

use std::fmt;

const PAGE_FAULT: u8 = 14;

/// Why the guest was left, and what the host did about it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A hypercall, with what it found queued: its name, or its number if there is no such call.
    Call(String),
    /// A trap.
    Trap(u8, Handling),
    /// A system call that did not go the direct way.
    SystemCall(Handling),
    /// An interrupt of the host's own.
    Interrupt,
    /// Something woke the host while its guest slept.
    Wake,
}

/// What the host did about a trap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Handling {
    /// What there was to do for it.
    Served,
    /// It executed the guest's instruction.
    Emulated,
    /// It called the guest's own handler.
    Reflected,
}

impl Handling {
    fn of(word: &str) -> Option<Self> {
        match word {
            "served" => Some(Handling::Served),
            "emulated" => Some(Handling::Emulated),
            "reflected" => Some(Handling::Reflected),
            _ => None,
        }
    }
}

impl Kind {
    /// From the host's words.
    pub fn of(kind: &str, handling: &str) -> Option<Self> {
        let handling = Handling::of(handling)?;
        match kind.split_once(':') {
            Some(("call", name)) => Some(Kind::Call(name.to_owned())),
            Some(("trap", vector)) => Some(Kind::Trap(vector.parse().ok()?, handling)),
            Some(_) => None,
            None => match kind {
                "system_call" => Some(Kind::SystemCall(handling)),
                "interrupt" => Some(Kind::Interrupt),
                "wake" => Some(Kind::Wake),
                _ => None,
            },
        }
    }

    /// Why the guest was left, in few words.
    pub fn class(&self) -> String {
        match self {
            Kind::Call(_) => "hypercall".to_owned(),
            Kind::Trap(vector, _) => {
                trap(*vector).map_or_else(|| format!("trap {vector}"), str::to_owned)
            }
            Kind::SystemCall(_) => "system call".to_owned(),
            Kind::Interrupt => "interrupt".to_owned(),
            Kind::Wake => "wake".to_owned(),
        }
    }

    /// Which of its class, or what the host did about it.
    pub fn rest(&self) -> Option<String> {
        let handling = match self {
            Kind::Call(name) => return Some(upper(name)),
            // The shadow did not have what the guest's tables allow.
            Kind::Trap(PAGE_FAULT, Handling::Served) => "repaired",
            Kind::Trap(_, handling) | Kind::SystemCall(handling) => match handling {
                Handling::Served => "served",
                Handling::Emulated => "emulated",
                Handling::Reflected => "reflected",
            },
            Kind::Interrupt | Kind::Wake => return None,
        };
        Some(handling.to_owned())
    }

    /// Whether EIP is past the instruction that the guest was left by.
    pub fn is_past_its_instruction(&self) -> bool {
        matches!(self, Kind::Call(_) | Kind::SystemCall(_))
    }
}

/// A trap's name (Intel SDM volume 3, table 7-1).
fn trap(vector: u8) -> Option<&'static str> {
    Some(match vector {
        0 => "divide error",
        1 => "debug",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range",
        6 => "invalid opcode",
        7 => "device not available",
        11 => "segment not present",
        12 => "stack fault",
        13 => "general protection",
        PAGE_FAULT => "page fault",
        16 => "x87 error",
        17 => "alignment check",
        19 => "SIMD error",
        _ => return None,
    })
}

/// `SetPte` as `SET_PTE`.
fn upper(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, rest) = (self.class(), self.rest());
        f.pad(&match (self, rest) {
            (_, None) => class,
            (Kind::Call(_), Some(name)) => format!("{class} {name}"),
            (_, Some(handling)) => format!("{class}, {handling}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_in_words() {
        for (kind, handling, words) in [
            ("call:SetPte", "served", "hypercall SET_PTE"),
            ("call:99", "served", "hypercall 99"),
            ("trap:14", "served", "page fault, repaired"),
            ("trap:14", "emulated", "page fault, emulated"),
            ("trap:13", "reflected", "general protection, reflected"),
            ("trap:9", "served", "trap 9, served"),
            ("system_call", "reflected", "system call, reflected"),
            ("interrupt", "served", "interrupt"),
            ("wake", "served", "wake"),
        ] {
            let kind = Kind::of(kind, handling).map(|kind| kind.to_string());
            assert_eq!(kind.as_deref(), Some(words));
        }
        for (kind, handling) in [
            ("call", "served"),
            ("wake", "x"),
            ("trap:x", "served"),
            ("", ""),
        ] {
            assert_eq!(Kind::of(kind, handling), None, "{kind} {handling}");
        }
    }
}
