//! What led to a crash: the guest's registers and its last exits, on the log when a guest is killed or the
//! host breaks.
//!
//! Exits are noted in a static, because whoever panics has nothing else at hand. Noting one is part of
//! every exit, so it is a few stores; what became of an exit is told afterwards, from the next one. Of a
//! hypercall only its number is noted: it is the one exit whose instructions are counted in tens.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use hv_abi::lguest::TRAP_HYPERCALL;
use hv_core::registers::Registers;

/// Exits that are kept.
const EXITS: usize = 64;
const PAGE_FAULT: u32 = 14;
const HYPERCALL: u32 = TRAP_HYPERCALL as u32;
/// Vectors from here on are the host's own interrupts, or the guest's system calls.
const FIRST_INTERRUPT: u32 = 32;
/// The guest's system calls, Plan 9's and Linux's.
const SYSTEM_CALLS: [u32; 2] = [0x40, 0x80];

/// One exit. Atomics because the record is static; there is one processor, and an order that matters to it.
#[derive(Debug)]
#[repr(align(32))]
struct Exit {
    vector: AtomicU32,
    error: AtomicU32,
    eip: AtomicU32,
    /// CR2 for page faults, EAX for hypercalls.
    detail: AtomicU32,
    /// Traps that the guest's own handlers had been given by then. Not of a hypercall.
    reflected: AtomicU32,
}

impl Exit {
    const fn none() -> Self {
        Self {
            vector: AtomicU32::new(0),
            error: AtomicU32::new(0),
            eip: AtomicU32::new(0),
            detail: AtomicU32::new(0),
            reflected: AtomicU32::new(0),
        }
    }
}

/// A ring of exits.
#[derive(Debug)]
struct History {
    exits: [Exit; EXITS],
    /// Exits noted in all; wraps.
    noted: AtomicU32,
}

static HISTORY: History = History::new();

impl History {
    const fn new() -> Self {
        Self {
            exits: [const { Exit::none() }; EXITS],
            noted: AtomicU32::new(0),
        }
    }

    #[inline]
    fn next(&self) -> &Exit {
        let noted = self.noted.load(Relaxed);
        self.noted.store(noted.wrapping_add(1), Relaxed);
        &self.exits[noted as usize % EXITS]
    }

    #[inline]
    fn note_call(&self, number: u32) {
        let exit = self.next();
        exit.vector.store(HYPERCALL, Relaxed);
        exit.detail.store(number, Relaxed);
    }

    fn note(&self, registers: &Registers, cr2: u64, reflected: u64) {
        let exit = self.next();
        exit.vector.store(registers.vector, Relaxed);
        exit.error.store(registers.error, Relaxed);
        exit.eip.store(registers.eip, Relaxed);
        exit.detail.store(cr2 as u32, Relaxed);
        exit.reflected.store(reflected as u32, Relaxed);
    }

    /// The exits that are kept, the oldest first, each with how many exits ago it was (the last is 0) and
    /// whether the guest's own handler got it. `reflected` counts the traps that handlers have got by now.
    fn kept(&self, reflected: Option<u64>) -> impl Iterator<Item = (u32, &Exit, bool)> {
        let noted = self.noted.load(Relaxed);
        let count = noted.min(EXITS as u32);
        let exit = move |ago: u32| {
            let number = noted.wrapping_sub(1).wrapping_sub(ago);
            &self.exits[number as usize % EXITS]
        };
        let counted = move |ago: &u32| exit(*ago).vector.load(Relaxed) != HYPERCALL;
        (0..count).rev().map(move |ago| {
            let this = exit(ago);
            let before = this.reflected.load(Relaxed);
            let after = match (0..ago).rev().find(counted) {
                Some(next) => exit(next).reflected.load(Relaxed),
                None => reflected.map_or(before, |count| count as u32),
            };
            (ago, this, counted(&ago) && after != before)
        })
    }
}

/// Notes hypercall `number`, before it is made.
#[inline]
pub fn note_call(number: u32) {
    HISTORY.note_call(number);
}

/// Notes another exit of the guest's, before anything is done about it: its registers, CR2 for page faults,
/// and the count of traps that the guest's own handlers have been given so far.
#[inline]
pub fn note(registers: &Registers, cr2: u64, reflected: u64) {
    HISTORY.note(registers, cr2, reflected);
}

/// Logs the record. `reflected` as for [`note`], where it is known.
pub fn log(registers: &Registers, reflected: Option<u64>) {
    if HISTORY.noted.load(Relaxed) == 0 {
        return;
    }
    crate::log_error!(
        "crash: eax {=u32:#x} ebx {=u32:#x} ecx {=u32:#x} edx {=u32:#x} esi {=u32:#x} edi {=u32:#x} ebp {=u32:#x} esp {=u32:#x}",
        registers.eax,
        registers.ebx,
        registers.ecx,
        registers.edx,
        registers.esi,
        registers.edi,
        registers.ebp,
        registers.esp,
    );
    crate::log_error!(
        "crash: eip {=u32:#x} eflags {=u32:#x} cs {=u32:#x} ss {=u32:#x}",
        registers.eip,
        registers.eflags,
        registers.cs,
        registers.ss,
    );
    for (ago, exit, reflected) in HISTORY.kept(reflected) {
        let (vector, error) = (exit.vector.load(Relaxed), exit.error.load(Relaxed));
        let (eip, detail) = (exit.eip.load(Relaxed), exit.detail.load(Relaxed));
        let done = done(ago, vector, reflected);
        match vector {
            HYPERCALL => crate::log_error!("crash: exit -{=u32}: hypercall {=u32}", ago, detail,),
            PAGE_FAULT => crate::log_error!(
                "crash: exit -{=u32}: page fault {=u32:#x} of {=u32:#x} at {=u32:#x}: {=str}",
                ago,
                error,
                detail,
                eip,
                done,
            ),
            _ => crate::log_error!(
                "crash: exit -{=u32}: vector {=u32} error {=u32:#x} at {=u32:#x}: {=str}",
                ago,
                vector,
                error,
                eip,
                done,
            ),
        }
    }
}

/// What was done about an exit. The last one may be what ended the guest, or what the host broke at.
fn done(ago: u32, vector: u32, reflected: bool) -> &'static str {
    match vector {
        _ if reflected => "reflected",
        _ if ago == 0 => "under way",
        PAGE_FAULT => "repaired",
        vector if vector >= FIRST_INTERRUPT && !SYSTEM_CALLS.contains(&vector) => "the host's",
        _ => "served",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registers(vector: u32, eip: u32) -> Registers {
        Registers {
            vector,
            eip,
            ..Registers::default()
        }
    }

    fn told(history: &History, reflected: Option<u64>) -> Vec<(u32, u32, bool)> {
        history
            .kept(reflected)
            .map(|(ago, exit, reflected)| (ago, exit.eip.load(Relaxed), reflected))
            .collect()
    }

    #[test]
    fn the_last_exits_are_kept_the_oldest_first() {
        let history = History::new();
        assert!(told(&history, None).is_empty());
        for eip in 0..100 {
            history.note(&registers(13, eip), 0, 0);
        }
        let told = told(&history, None);
        assert_eq!(told.len(), EXITS);
        assert_eq!((told[0], told[63]), ((63, 36, false), (0, 99, false)));
    }

    #[test]
    fn an_exit_after_which_a_handler_was_called_was_reflected() {
        let history = History::new();
        for (eip, reflected) in [(1, 7), (2, 8), (3, 8)] {
            history.note(&registers(14, eip), 0, reflected);
        }
        assert_eq!(
            told(&history, Some(9)),
            [(2, 1, true), (1, 2, false), (0, 3, true)]
        );
        assert_eq!(told(&history, None)[2], (0, 3, false));
    }

    #[test]
    fn a_hypercall_between_two_exits_does_not_hide_what_was_done() {
        let history = History::new();
        history.note(&registers(13, 1), 0, 4);
        history.note_call(19);
        history.note(&registers(14, 3), 0, 5);
        history.note_call(2);
        let done: Vec<bool> = history.kept(Some(5)).map(|(.., done)| done).collect();
        assert_eq!(done, [true, false, false, false]);
    }

    #[test]
    fn what_was_done_follows_from_the_vector() {
        assert_eq!(done(0, 14, true), "reflected");
        assert_eq!(
            (done(1, 14, false), done(0, 14, false)),
            ("repaired", "under way")
        );
        assert_eq!(done(1, 0xe0, false), "the host's");
        assert_eq!(
            (done(1, 0x80, false), done(1, 13, false)),
            ("served", "served")
        );
    }
}
