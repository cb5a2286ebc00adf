//! The guests of `tests/attacks`, whatever processor they run on.

use super::unharmed::unharmed;
use crate::expectation::{Expectation, kill_cases, shown, verdicts};
use crate::matrix::evidence;
use crate::{block_guest, built};
use hv_runner::{Machine, Outcome};
use std::path::Path;

/// What a guest runs beside.
pub const MODES: [&str; 2] = ["shared", "isolated"];

/// One run of a guest.
#[derive(Clone, Debug)]
pub struct Attack {
    /// The guest.
    pub guest: String,
    /// The word for `case=` on its command line; empty for a guest that has one case.
    pub case: String,
    /// How it has to end.
    pub expectation: Expectation,
    /// The attacks that the end itself is about, such as `A-02`, for a guest that cannot say so any more.
    items: Vec<String>,
}

/// All of them, with their cases, in the order of their names.
///
/// # Panics
/// When a guest's source is not as it has to be.
pub fn attacks() -> Vec<Attack> {
    let directory = built::tests().join("attacks");
    let mut sources: Vec<_> = std::fs::read_dir(directory)
        .expect("the directory of attacks is readable")
        .map(|entry| entry.expect("an entry is readable").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "c"))
        .collect();
    sources.sort();
    let mut attacks = Vec::new();
    for source in sources {
        let guest = source.file_stem().unwrap_or_default().to_string_lossy();
        match std::fs::read_to_string(source.with_extension("txt")) {
            Ok(table) => attacks.extend(cases(&guest, &table)),
            Err(_) => attacks.push(whole(&guest, &source)),
        }
    }
    attacks
}

/// A guest that survives what it tries, and says what came of it.
fn whole(guest: &str, source: &Path) -> Attack {
    let text = std::fs::read_to_string(source).expect("a guest's source is readable");
    Attack {
        guest: guest.into(),
        case: String::new(),
        expectation: Expectation::parse(&text)
            .unwrap_or_else(|| panic!("{guest}: its first line does not say what to expect")),
        items: Vec::new(),
    }
}

/// A guest that each attack ends.
fn cases(guest: &str, table: &str) -> impl Iterator<Item = Attack> {
    kill_cases(table).into_iter().map(move |case| Attack {
        guest: guest.into(),
        case: case.name,
        expectation: case.expectation,
        items: case.items,
    })
}

impl Attack {
    /// The name of its run in `mode`.
    pub fn name(&self, mode: &str) -> String {
        match self.case.as_str() {
            "" => format!("{}::{mode}", self.guest),
            case => format!("{}::{case}::{mode}", self.guest),
        }
    }

    /// The machine that hosts it in `mode`.
    pub fn machine(&self, mode: &str) -> Machine {
        let command_line = match self.case.as_str() {
            "" => String::new(),
            case => format!("case={case}"),
        };
        let kernel = built::micro_guest(&format!("attacks/{}", self.guest));
        built::hosting_with_disk(&kernel, &command_line, &block_guest::disk())
            .command_line(format!("log=debug mode={mode}"))
    }

    /// Whether it came to its end and the host is as it was, for the matrix as well.
    ///
    /// # Errors
    /// What is not as it has to be.
    pub fn judge(&self, mode: &str, outcome: &Outcome) -> Result<(), String> {
        let judged = self.judged(outcome);
        let shown = shown(&self.items, &self.expectation.stop);
        let text = format!("{}{shown}", outcome.text());
        evidence::record(&self.name(mode), &judged, &text);
        judged.map_err(|reason| format!("{reason}\n{}", outcome.report()))
    }

    fn judged(&self, outcome: &Outcome) -> Result<(), String> {
        self.expectation.check(outcome)?;
        if self.items.is_empty() {
            verdicts(&outcome.text())?;
        }
        unharmed(outcome)
    }
}
