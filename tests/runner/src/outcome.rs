//! How a machine ended, in the words that scripts rely on.

use crate::log::{LogLine, STOP};
use std::process::ExitStatus;

/// The host ends QEMU by writing `0x10 | status` to isa-debug-exit; on Bochs it sends that byte to COM3.
const HOST_STOPPED: i32 = 0x10;

/// Who ended the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The host, with its status: 0 guest powered off, 3 killed, 4 asks for restart, 5 not started.
    Host(u8),
    /// QEMU, with a status or signal of its own.
    Qemu(ExitStatus),
    /// Bochs, likewise.
    Bochs(ExitStatus),
    /// Nobody, for longer than a machine may run.
    Deadline,
    /// The developer.
    Interrupted,
}

impl End {
    /// What QEMU's exit says. isa-debug-exit turns a value v into the status (v << 1) | 1.
    pub fn of_qemu(status: ExitStatus) -> Self {
        let value = status
            .code()
            .filter(|code| code & 1 == 1)
            .map(|code| code >> 1);
        value.and_then(End::of_value).unwrap_or(End::Qemu(status))
    }

    /// What the host said when it ended; `None` for a value that is not the host's.
    pub(crate) fn of_value(value: i32) -> Option<Self> {
        (value & !0xf == HOST_STOPPED).then_some(End::Host((value & 0xf) as u8))
    }

    fn reason(self) -> String {
        match self {
            End::Host(status) => {
                format!("the machine ended without a word (host status {status})")
            }
            End::Qemu(status) => without_a_word("QEMU", status),
            End::Bochs(status) => without_a_word("Bochs", status),
            End::Deadline => "the machine ran past its deadline".into(),
            End::Interrupted => "interrupted".into(),
        }
    }
}

fn without_a_word(emulator: &str, status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("the machine ended without a word ({emulator} status {code})"),
        None => format!("the machine ended without a word ({emulator} {status})"),
    }
}

/// What a machine did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// 0 guest powered off, 3 killed, 4 asks for restart, 5 not started, 1 anything else.
    pub status: u8,
    /// Who ended it.
    pub end: End,
    /// Everything that the guest wrote to COM1.
    pub console: Vec<u8>,
    /// Everything that the host logged; the last line is always a stop line.
    pub log: Vec<LogLine>,
    /// What the emulator itself had to say.
    pub qemu: String,
}

impl Outcome {
    /// Puts together what the streams carried. Where the host gave no reason, the log gets one.
    pub(crate) fn new(end: End, console: Vec<u8>, mut log: Vec<LogLine>, qemu: String) -> Self {
        let last_word = log.iter().rposition(|line| line.stop().is_some());
        let told = last_word.is_some();
        // What the decoder had to say about the rest of the stream came after it.
        if let Some(at) = last_word {
            log[at..].rotate_left(1);
        }
        let status = match end {
            End::Host(status @ (0 | 3 | 4 | 5)) if told => status,
            _ => 1,
        };
        // A deadline or an interrupt after the host's last word still is the reason.
        let lost = matches!(end, End::Deadline | End::Interrupted);
        if !told || lost {
            log.push(LogLine::plain(format!("{STOP}{}", end.reason())));
        }
        Outcome {
            status,
            end,
            console,
            log,
            qemu,
        }
    }

    /// The reason on the stop line.
    pub fn stop(&self) -> &str {
        self.log.last().and_then(LogLine::stop).unwrap_or_default()
    }

    /// The console as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.console).replace('\r', "")
    }

    /// Console and log, for people who look for the reason of a failed test.
    pub fn report(&self) -> String {
        let log: Vec<String> = self.log.iter().map(LogLine::to_string).collect();
        format!(
            "status {}\n--- console\n{}\n--- log\n{}\n--- emulator\n{}",
            self.status,
            self.text(),
            log.join("\n"),
            self.qemu
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn exited(code: i32) -> End {
        End::of_qemu(ExitStatus::from_raw(code << 8))
    }

    fn outcome(end: End, last: Option<&str>) -> Outcome {
        let log = last.map(LogLine::plain).into_iter().collect();
        Outcome::new(end, Vec::new(), log, String::new())
    }

    #[test]
    fn host_statuses_pass_through_isa_debug_exit() {
        for status in [0, 1, 3, 4, 5] {
            assert_eq!(
                exited((0x10 | i32::from(status)) << 1 | 1),
                End::Host(status)
            );
        }
    }

    #[test]
    fn other_ends_of_qemu_are_not_the_hosts() {
        for code in [0, 1, 2, 3, 33 + 32, 34, 127, 255] {
            assert!(matches!(exited(code), End::Qemu(_)), "{code}");
        }
        assert!(matches!(
            End::of_qemu(ExitStatus::from_raw(9)),
            End::Qemu(_)
        ));
    }

    #[test]
    fn a_status_counts_only_with_its_stop_line() {
        let told = outcome(End::Host(3), Some("libhv: stop: guest killed: x"));
        assert_eq!((told.status, told.stop()), (3, "guest killed: x"));
        let mute = outcome(End::Host(0), None);
        assert_eq!(
            (mute.status, mute.stop()),
            (1, "the machine ended without a word (host status 0)")
        );
    }

    #[test]
    fn a_machine_that_dies_gets_a_stop_line() {
        let dead = outcome(exited(0), Some("last words"));
        assert_eq!(
            (dead.status, dead.stop()),
            (1, "the machine ended without a word (QEMU status 0)")
        );
    }

    #[test]
    fn the_stop_line_is_last_whatever_else_was_on_the_wire() {
        let log = ["libhv: stop: off", "log: 3 bytes could not be decoded"].map(LogLine::plain);
        let outcome = Outcome::new(End::Host(0), Vec::new(), log.into(), String::new());
        assert_eq!(
            (outcome.status, outcome.stop(), outcome.log.len()),
            (0, "off", 2)
        );
    }

    #[test]
    fn every_other_status_of_the_host_is_one() {
        for status in [1, 2, 6, 15] {
            assert_eq!(
                outcome(End::Host(status), Some("libhv: stop: panic")).status,
                1
            );
        }
    }
}
