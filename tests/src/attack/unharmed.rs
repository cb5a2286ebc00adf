//! What has to hold of the host after every attack, whatever became of the guest.

use hv_runner::{End, LogLine, Outcome};

/// Instructions that one exit may take, from the guest to the host and back.
pub const LONGEST_EXIT: u64 = 100_000;

/// How the line begins that names the longest exit of a kind (`libhv/src/exit_times.rs`).
const EXIT: &str = "longest exit: ";
/// How the line begins that the audit ends with (`libhv/src/audit.rs`).
const AUDIT: &str = "audit: ";
/// What the host says of a guest that was killed, or that broke its devices: how such lines begin, or end.
const ABOUT_THE_GUEST: [&str; 2] = ["crash: ", "device in slot "];
const LEFT_OUT: &str = "about broken devices left out";
/// A host that broke says so on the guest's console as well.
const BROKEN: &str = "libhv: ";

/// Looks at the host's last words. The guest has to be hosted by an image with the audit, and with
/// `log=debug`.
///
/// # Errors
/// What is not as it has to be.
pub fn unharmed(outcome: &Outcome) -> Result<(), String> {
    sound(outcome)?;
    quick(&outcome.log)
}

/// The same but for how long exits took, which only a machine says whose time counts instructions.
///
/// # Errors
/// What is not as it has to be.
pub fn sound(outcome: &Outcome) -> Result<(), String> {
    let ended_by_itself = matches!(outcome.end, End::Host(0 | 3 | 4));
    if !ended_by_itself || outcome.stop().is_empty() {
        return Err(format!(
            "the host did not come to its own end: {:?}",
            outcome.end
        ));
    }
    let console = outcome.text();
    if let Some(line) = console.lines().find(|line| line.starts_with(BROKEN)) {
        return Err(format!("on the console: {line}"));
    }
    clean(&outcome.log)?;
    audited(&outcome.log)
}

/// Whether an error or a warning is about the host.
pub fn complains(line: &LogLine) -> bool {
    let about_the_guest = ABOUT_THE_GUEST
        .iter()
        .any(|start| line.text.starts_with(start))
        || line.text.ends_with(LEFT_OUT);
    matches!(line.level, Some("error" | "warn")) && !about_the_guest
}

/// No complaint, nor anything that is no line of the host's.
fn clean(log: &[LogLine]) -> Result<(), String> {
    let odd = |line: &&LogLine| match line.level {
        Some(_) => complains(line),
        None => !line.text.starts_with(BROKEN),
    };
    match log.iter().find(odd) {
        Some(line) => Err(format!("in the log: {line}")),
        None => Ok(()),
    }
}

/// The audit has looked at the tables once more at the end, and found every frame: it would have ended
/// the host otherwise.
fn audited(log: &[LogLine]) -> Result<(), String> {
    match log.iter().any(|line| line.text.starts_with(AUDIT)) {
        true => Ok(()),
        false => Err("the audit had no last word".into()),
    }
}

/// No exit kept the host for long.
fn quick(log: &[LogLine]) -> Result<(), String> {
    let mut measured = 0;
    for (kind, instructions) in exits(log) {
        measured += 1;
        if instructions > LONGEST_EXIT {
            return Err(format!(
                "an exit for {kind} took {instructions} instructions"
            ));
        }
    }
    match measured {
        0 => Err("no exit was measured".into()),
        _ => Ok(()),
    }
}

/// The longest exit of each kind: `longest exit: trap 14, 1234 instructions`.
pub fn exits(log: &[LogLine]) -> impl Iterator<Item = (&str, u64)> {
    log.iter().filter_map(|line| {
        let (kind, rest) = line.text.strip_prefix(EXIT)?.split_once(", ")?;
        Some((kind, rest.split(' ').next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hv_runner::STOP;

    fn line(level: &'static str, text: &str) -> LogLine {
        LogLine {
            level: Some(level),
            ..LogLine::plain(text)
        }
    }

    fn outcome(end: End, lines: &[LogLine]) -> Outcome {
        let mut log = vec![
            line("debug", "longest exit: trap 14, 99999 instructions"),
            line("debug", "audit: 7 audits"),
        ];
        log.extend_from_slice(lines);
        log.push(LogLine::plain(format!("{STOP}guest powered off")));
        Outcome {
            status: 0,
            end,
            console: b"A-01 pass x\n".to_vec(),
            log,
            qemu: String::new(),
        }
    }

    fn complaint(lines: &[LogLine]) -> String {
        unharmed(&outcome(End::Host(3), lines)).unwrap_err()
    }

    #[test]
    fn a_host_that_said_all_it_should_is_unharmed() {
        assert_eq!(unharmed(&outcome(End::Host(0), &[])), Ok(()));
        let guests = [
            line("error", "crash: exit -1: hypercall 99"),
            line("warn", "device in slot 2: queue size 3"),
            line("warn", "9 lines about broken devices left out"),
        ];
        assert_eq!(unharmed(&outcome(End::Host(3), &guests)), Ok(()));
    }

    #[test]
    fn everything_else_is_harm() {
        assert!(complaint(&[line("warn", "odd")]).contains("odd"));
        assert!(complaint(&[LogLine::plain("17 bytes of noise")]).contains("noise"));
        let long = line("debug", "longest exit: call 5, 100001 instructions");
        assert!(complaint(&[long]).contains("call 5 took 100001"));
        assert!(unharmed(&outcome(End::Deadline, &[])).is_err());
        let mut silent = outcome(End::Host(0), &[]);
        silent.log.remove(1);
        assert!(unharmed(&silent).unwrap_err().contains("audit"));
        let mut broken = outcome(End::Host(0), &[]);
        broken.console = b"\nlibhv: panic\n".to_vec();
        assert!(unharmed(&broken).unwrap_err().contains("panic"));
    }
}
