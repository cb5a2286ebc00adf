//! Runs every guest of `attacks/`, and every case of those that have a table, in both modes. Whatever became of
//! the guest, the host has to be as it was.

use hv_runner::Outcome;
use hv_tests::attack::unharmed::unharmed;
use hv_tests::expectation::{Expectation, kill_cases, verdicts};
use hv_tests::matrix::evidence;
use hv_tests::{block_guest, built};
use libtest_mimic::{Arguments, Failed, Trial};

const MODES: [&str; 2] = ["shared", "isolated"];

fn main() {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials()).exit();
}

/// One run of a guest.
#[derive(Clone)]
struct Attack {
    guest: String,
    /// The word for `case=` on its command line; empty for a guest that has one case.
    case: String,
    expectation: Expectation,
    /// What the end itself shows, for a guest that cannot say so any more.
    shown: String,
}

fn trials() -> Vec<Trial> {
    let directory = built::tests().join("attacks");
    let mut sources: Vec<_> = std::fs::read_dir(directory)
        .expect("the directory of attacks is readable")
        .map(|entry| entry.expect("an entry is readable").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "c"))
        .collect();
    sources.sort();
    let mut trials = Vec::new();
    for source in sources {
        let guest = source.file_stem().unwrap_or_default().to_string_lossy();
        let attacks = match std::fs::read_to_string(source.with_extension("txt")) {
            Ok(table) => cases(&guest, &table),
            Err(_) => vec![whole(&guest, &source)],
        };
        for attack in attacks {
            trials.extend(MODES.map(|mode| attack.clone().trial(mode)));
        }
    }
    trials
}

/// A guest that survives what it tries, and says what came of it.
fn whole(guest: &str, source: &std::path::Path) -> Attack {
    let text = std::fs::read_to_string(source).expect("a guest's source is readable");
    Attack {
        guest: guest.into(),
        case: String::new(),
        expectation: Expectation::parse(&text)
            .unwrap_or_else(|| panic!("{guest}: its first line does not say what to expect")),
        shown: String::new(),
    }
}

/// A guest that each attack ends.
fn cases(guest: &str, table: &str) -> Vec<Attack> {
    let cases = kill_cases(table).into_iter();
    let attacks = cases.map(|case| Attack {
        guest: guest.into(),
        shown: case.verdicts(),
        case: case.name,
        expectation: case.expectation,
    });
    attacks.collect()
}

impl Attack {
    fn trial(self, mode: &'static str) -> Trial {
        let name = match self.case.as_str() {
            "" => format!("{}::{mode}", self.guest),
            case => format!("{}::{case}::{mode}", self.guest),
        };
        Trial::test(name.clone(), move || self.run(&name, mode))
    }

    fn run(&self, name: &str, mode: &str) -> Result<(), Failed> {
        let command_line = match self.case.as_str() {
            "" => String::new(),
            case => format!("case={case}"),
        };
        let kernel = built::micro_guest(&format!("attacks/{}", self.guest));
        let machine = built::hosting_with_disk(&kernel, &command_line, &block_guest::disk());
        let outcome = machine
            .command_line(format!("log=debug mode={mode}"))
            .run()?;
        let judged = self.judge(&outcome);
        evidence::record(name, &judged, &format!("{}{}", outcome.text(), self.shown));
        judged.map_err(|reason| format!("{reason}\n{}", outcome.report()).into())
    }

    fn judge(&self, outcome: &Outcome) -> Result<(), String> {
        self.expectation.check(outcome)?;
        if self.shown.is_empty() {
            verdicts(&outcome.text())?;
        }
        unharmed(outcome)
    }
}
