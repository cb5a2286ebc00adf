//! What tests have shown: the names of those that passed, and the verdicts that guests printed.

use super::world::World;
use std::fmt::Write as _;
use std::io::Write as _;

/// The variable that names the file for [`record`].
const VERDICTS: &str = "HV_VERDICTS";

/// What a test had to say about a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The statement's number.
    pub number: u16,
    /// Where.
    pub worlds: Vec<World>,
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
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Evidence {
    /// About statements.
    pub verdicts: Vec<Verdict>,
    /// Tests that failed, whatever they are about.
    pub failed_tests: Vec<String>,
}

impl Evidence {
    /// Reads the output of test programs, and what [`record`] wrote. Two kinds of lines count:
    /// `test <name> ... ok|FAILED`, with statements named in the test's own name, and
    /// `<test>: LG-nnn pass|FAIL <what>`.
    pub fn read(output: &str) -> Self {
        let mut evidence = Self::default();
        for line in output.lines() {
            if let Some((name, outcome)) = test_result(line) {
                if outcome == Outcome::Fail {
                    evidence.failed_tests.push(name.into());
                }
                let numbers = numbers_in_name(name);
                let worlds = World::of_test(name);
                evidence.verdicts.extend(numbers.map(|number| Verdict {
                    number,
                    worlds: worlds.clone(),
                    outcome,
                    source: name.into(),
                }));
            } else if let Some((test, number, outcome)) = recorded(line) {
                evidence.verdicts.push(Verdict {
                    number,
                    worlds: World::of_test(test),
                    outcome,
                    source: line.into(),
                });
            }
        }
        evidence
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

/// The statements that a test's name begins with: `lg_080_to_082_accessed...`, `lg119_lg120_frames`.
fn numbers_in_name(name: &str) -> impl Iterator<Item = u16> + use<> {
    let function = name.rsplit("::").next().unwrap_or_default();
    let mut numbers = Vec::new();
    let mut range_from = None;
    let mut words = function.split('_');
    if !function.starts_with("lg") {
        words.by_ref().for_each(drop);
    }
    for word in words {
        match word.strip_prefix("lg").unwrap_or(word) {
            "" => {}
            "to" if !numbers.is_empty() => range_from = numbers.last().copied(),
            digits => match digits.parse::<u16>() {
                Ok(number) if digits.len() == 3 => {
                    let first = range_from.take().map_or(number, |from| from + 1);
                    numbers.extend(first..=number);
                }
                _ => break,
            },
        }
    }
    numbers.into_iter()
}

fn recorded(line: &str) -> Option<(&str, u16, Outcome)> {
    let (test, verdict) = line.split_once(": LG-")?;
    let mut words = verdict.split_whitespace();
    let number = words.next()?.parse().ok()?;
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
    for line in text.lines().filter(|line| line.starts_with("LG-")) {
        let line = if passed {
            line.into()
        } else {
            line.replacen(" pass ", " FAIL (in a test that failed) ", 1)
        };
        writeln!(lines, "{test}: {line}").expect("strings take everything");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(name: &str) -> Vec<u16> {
        numbers_in_name(name).collect()
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
    fn lines_of_both_harnesses_are_read() {
        let evidence = Evidence::read(
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
        let evidence = Evidence::read(&recording("paging.g3::shared", true, text));
        let said: Vec<_> = evidence
            .verdicts
            .iter()
            .map(|v| (v.number, v.outcome, v.worlds[0].to_string()))
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
        let evidence = Evidence::read(&recording("x", false, "LG-080 pass A\n"));
        assert_eq!(evidence.verdicts[0].outcome, Outcome::Fail);
    }
}
