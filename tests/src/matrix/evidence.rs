//! What tests have shown: the names of those that passed, and the verdicts that guests printed.

use super::series::{ALL_LETTERS, Series};
use std::fmt::Write as _;
use std::io::Write as _;

/// The variable that names the file for [`record`].
const VERDICTS: &str = "HV_VERDICTS";

/// What a test had to say about a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict<T> {
    /// The statement's number.
    pub number: u16,
    /// Where.
    pub settings: Vec<T>,
    /// Whether it held.
    pub outcome: Outcome,
    /// The test, and its words if it has any.
    pub source: String,
}

/// Whether a statement held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It did.
    Pass,
    /// It did not.
    Fail,
}

/// All that some test programs had to say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evidence<T> {
    /// About statements.
    pub verdicts: Vec<Verdict<T>>,
    /// Tests that failed, whatever they are about.
    pub failed_tests: Vec<String>,
}

impl<T> Evidence<T> {
    /// Reads the output of test programs, and what [`record`] wrote. Two kinds of lines count:
    /// `test <name> ... ok|FAILED`, with statements named in the test's own name, and
    /// `<test>: LG-nnn pass|FAIL <what>`.
    pub fn read<S: Series<Setting = T>>(output: &str) -> Self {
        let (mut verdicts, mut failed_tests) = (Vec::new(), Vec::new());
        for line in output.lines() {
            if let Some((name, outcome)) = test_result(line) {
                if outcome == Outcome::Fail {
                    failed_tests.push(name.into());
                }
                let numbers = numbers_in_name::<S>(name);
                verdicts.extend(numbers.into_iter().map(|number| Verdict {
                    number,
                    settings: S::of_test(name),
                    outcome,
                    source: name.into(),
                }));
            } else if let Some((test, number, outcome)) = recorded::<S>(line) {
                verdicts.push(Verdict {
                    number,
                    settings: S::of_test(test),
                    outcome,
                    source: line.into(),
                });
            }
        }
        Self {
            verdicts,
            failed_tests,
        }
    }
}

/// `test <name> ... ok`, as both test harnesses print it. A test that was skipped says nothing.
fn test_result(line: &str) -> Option<(&str, Outcome)> {
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let name = name.trim_end();
    let name = name.strip_suffix(" - should panic").unwrap_or(name);
    match outcome.trim_end() {
        "ok" => Some((name, Outcome::Pass)),
        "FAILED" => Some((name, Outcome::Fail)),
        _ => None,
    }
}

/// The items that a test's name begins with: `lg_080_to_082_accessed...`, `lg058_a13_indices`.
fn numbers_in_name<S: Series>(name: &str) -> Vec<u16> {
    let function = name.rsplit("::").next().unwrap_or_default();
    let ours = S::LETTERS.to_lowercase();
    let (mut numbers, mut letters, mut range_from) = (Vec::new(), String::new(), None);
    for word in function.split('_') {
        let digits = word.trim_start_matches(|c: char| c.is_ascii_lowercase());
        let before = &word[..word.len() - digits.len()];
        if before == "to" && digits.is_empty() {
            range_from = numbers.last().copied();
            continue;
        }
        if ALL_LETTERS
            .iter()
            .any(|all| before.eq_ignore_ascii_case(all))
        {
            letters = before.into();
        } else if !before.is_empty() {
            break;
        }
        match digits.parse::<u16>() {
            _ if letters != ours => {}
            Ok(number) if digits.len() == S::DIGITS => {
                let first = range_from.take().map_or(number, |from| from + 1);
                numbers.extend(first..=number);
            }
            // The letters alone, with the number behind them.
            _ if digits.is_empty() => {}
            _ => break,
        }
    }
    numbers
}

fn recorded<S: Series>(line: &str) -> Option<(&str, u16, Outcome)> {
    let (test, verdict) = line.split_once(": ")?;
    let mut words = verdict.split_whitespace();
    let number = words.next()?.strip_prefix(S::LETTERS)?.strip_prefix('-')?;
    let number = number.parse().ok()?;
    match words.next()? {
        "pass" => Some((test, number, Outcome::Pass)),
        "FAIL" => Some((test, number, Outcome::Fail)),
        _ => None,
    }
}

/// Keeps the verdict lines in `text` for the matrix, when it asked for them. Those of a test that
/// failed are not worth much: the run was not what it should have been.
pub fn record(test: &str, outcome: &Result<(), impl Sized>, text: &str) {
    let Some(path) = std::env::var_os(VERDICTS) else {
        return;
    };
    let lines = recording(test, outcome.is_ok(), text);
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path);
    // One write, so that tests that run at the same time do not tear each other's lines.
    file.and_then(|mut file| file.write_all(lines.as_bytes()))
        .unwrap_or_else(|error| panic!("{VERDICTS}: {error}"));
}

fn recording(test: &str, passed: bool, text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines().filter(|line| is_verdict(line)) {
        let line = if passed {
            line.into()
        } else {
            line.replacen(" pass ", " FAIL (in a test that failed) ", 1)
        };
        writeln!(lines, "{test}: {line}").expect("strings take everything");
    }
    lines
}

fn is_verdict(line: &str) -> bool {
    let letters = line.split_once('-').map(|(letters, _)| letters);
    letters.is_some_and(|letters| ALL_LETTERS.contains(&letters))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::Attacks;
    use crate::conformance::Checklist;

    fn numbers(name: &str) -> Vec<u16> {
        numbers_in_name::<Checklist>(name)
    }

    #[test]
    fn statements_are_named_at_the_front_of_a_test_s_name() {
        assert_eq!(numbers("a::b::lg_080_to_082_accessed_bits"), [80, 81, 82]);
        assert_eq!(numbers("lg_083_084_095_rights"), [83, 84, 95]);
        assert_eq!(numbers("tests::lg119_lg120_frames"), [119, 120]);
        assert_eq!(numbers("lg001_to_lg004_registers"), [1, 2, 3, 4]);
        assert_eq!(numbers("lg_107_the_last_100_bytes"), [107]);
        assert!(numbers("tests::lguest::lg2_is_not_a_number").is_empty());
        assert!(numbers("a31_a_storm").is_empty());
    }

    #[test]
    fn a_name_may_begin_with_numbers_of_both_lists() {
        let attacks = numbers_in_name::<Attacks>;
        assert_eq!(numbers("lg058_a13_indices_past_the_table"), [58]);
        assert_eq!(attacks("lg058_a13_indices_past_the_table"), [13]);
        assert_eq!(attacks("x::a32_to_a34_whatever_is_queued"), [32, 33, 34]);
        assert_eq!(attacks("a16_a19_flags"), [16, 19]);
        assert!(attacks("a_guest_of_31_pages").is_empty());
        assert!(attacks("lg_012_at_3_places").is_empty());
    }

    #[test]
    fn lines_of_both_harnesses_are_read() {
        let evidence = Evidence::read::<Checklist>(
            "running 3 tests\n\
             test x::lg020_a ... ok\n\
             test x::lg021_b ... FAILED\n\
             test x::lg022_c ... ignored\n\
             test frames::isolated     ... ok\n\
             test result: FAILED. 1 passed\n",
        );
        assert_eq!(evidence.failed_tests, ["x::lg021_b"]);
        let said: Vec<_> = evidence
            .verdicts
            .iter()
            .map(|v| (v.number, v.outcome))
            .collect();
        assert_eq!(said, [(20, Outcome::Pass), (21, Outcome::Fail)]);
    }

    #[test]
    fn recorded_verdicts_are_read_with_their_world() {
        let text = "noise\nLG-080 pass A after a read\nLG-081 FAIL D got=0\nA-01 pass x\n";
        let evidence = Evidence::read::<Checklist>(&recording("paging.g3::shared", true, text));
        let said: Vec<_> = evidence
            .verdicts
            .iter()
            .map(|v| (v.number, v.outcome, v.settings[0].to_string()))
            .collect();
        assert_eq!(
            said,
            [
                (80, Outcome::Pass, "G3".into()),
                (81, Outcome::Fail, "G3".into())
            ]
        );
    }

    #[test]
    fn what_a_failed_test_says_does_not_count_as_a_pass() {
        let evidence = Evidence::read::<Checklist>(&recording("x", false, "LG-080 pass A\n"));
        assert_eq!(evidence.verdicts[0].outcome, Outcome::Fail);
    }
}
