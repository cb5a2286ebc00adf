//! Runs every guest of `guests/` in both modes, and every case of the guests that have a table. Those that
//! were built for old generations run twice as well: told which, and to be found out.

use hv_tests::conformance::evidence;
use hv_tests::expectation::{Case, Expectation, kill_cases, verdicts};
use hv_tests::golden::Numbers;
use hv_tests::{block_guest, built, golden};
use libtest_mimic::{Arguments, Failed, Trial};

const MODES: [&str; 2] = ["shared", "isolated"];
/// Counted instructions that these round trips may take, in shared mode.
const LIMITS: &[(&str, u32)] = &[
    // A nanosecond an instruction: 50 ms.
    ("power_on_to_guest", 50_000_000),
    ("flush_async", 250),
    ("demand_fault_cold", 1500),
    ("demand_fault_after_flush", 1500),
    ("demand_fault_read", 1500),
    ("demand_fault_dirty", 1500),
];

/// Runs of a guest of an old generation; what the console says has to be the same.
const TOLD: &str = "told";
const DETECTED: &str = "detected";

/// Guests that are hosted as something else: the guest, what `generation=` says, and the reason why it
/// is killed.
const MISTAKEN: &[(&str, &str, &str)] = &[
    (
        "init.g2",
        "g5",
        "bad syscall vector 0x0; this looks like a G2 guest: generation=g2",
    ),
    (
        "init.g2",
        "g3",
        "bad syscall vector 0x0; this looks like a G2 guest: generation=g2",
    ),
    ("init.g3", "g2", "unhandled trap 6 at 0x*"),
    ("init.g3", "g4", "unhandled trap 6 at 0x*"),
    (
        "init.g3",
        "2.6.30",
        "bad syscall vector 0x0; this looks like a G3 guest: generation=g3",
    ),
    (
        "init.g4",
        "g5",
        "bad syscall vector 0xc0000000; this looks like a G4 guest: generation=g4",
    ),
    (
        "init.g4",
        "2.6.34",
        "bad syscall vector 0x0; this looks like a G4 guest: generation=g4",
    ),
    (
        "init",
        "g4",
        "bad syscall vector 0x0; this looks like a G5 guest: generation=g5",
    ),
    (
        "init",
        "g2",
        "bad syscall vector 0x0; this looks like a G5 guest: generation=g5",
    ),
];

fn main() {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials()).exit();
}

fn trials() -> Vec<Trial> {
    let guests = built::tests().join("guests");
    let mut sources: Vec<_> = std::fs::read_dir(guests)
        .expect("the guests' directory is readable")
        .map(|entry| entry.expect("an entry is readable").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|kind| kind == "c" || kind == "S")
        })
        .collect();
    sources.sort();
    let mut trials = Vec::new();
    for source in sources {
        let name = source
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(&source).expect("a guest's source is readable");
        if let Ok(table) = std::fs::read_to_string(source.with_extension("txt")) {
            for case in kill_cases(&table) {
                let guest = name.clone();
                let trial = format!("{name}::{}", case.name);
                trials.push(Trial::test(trial.clone(), move || {
                    run_case(&guest, &trial, &case)
                }));
            }
            continue;
        }
        for word in built::old_generations(&name) {
            for run in [TOLD, DETECTED] {
                let (guest, expectation) = (name.clone(), Expectation::parse(&text));
                let word = word.clone();
                trials.push(Trial::test(format!("{name}.{word}::{run}"), move || {
                    let expectation =
                        expectation.ok_or("its first line does not say what to expect")?;
                    run_old_guest(&guest, &word, run, &expectation)
                }));
            }
        }
        if !built::has_newest(&name) && !built::old_generations(&name).is_empty() {
            continue;
        }
        for mode in MODES {
            let (guest, expectation) = (name.clone(), Expectation::parse(&text));
            trials.push(Trial::test(format!("{name}::{mode}"), move || {
                let expectation =
                    expectation.ok_or("its first line does not say what to expect")?;
                run_guest(&guest, mode, &expectation)
            }));
        }
    }
    for (guest, told, reason) in MISTAKEN {
        trials.push(Trial::test(format!("{guest}::as_{told}"), || {
            run_mistaken(guest, told, reason)
        }));
    }
    trials
}

fn run_old_guest(
    guest: &str,
    word: &str,
    run: &str,
    expectation: &Expectation,
) -> Result<(), Failed> {
    let name = format!("{guest}.{word}");
    let told = if run == TOLD { word } else { "auto" };
    let outcome = built::hosting(&built::micro_guest(&name), "")
        .command_line(format!("generation={told}"))
        .run()?;
    let judge = || {
        expectation.check(&outcome)?;
        verdicts(&outcome.text())?;
        golden::compare(
            &format!("guests/{name}"),
            &golden::console(&outcome, Numbers::Kept),
        )
    };
    let judged = judge();
    evidence::record(&format!("{name}::{run}"), &judged, &outcome.text());
    judged.map_err(|reason| format!("{reason}\n{}", outcome.report()).into())
}

fn run_mistaken(guest: &str, told: &str, reason: &str) -> Result<(), Failed> {
    let outcome = built::hosting(&built::micro_guest(guest), "")
        .command_line(format!("generation={told}"))
        .run()?;
    let expectation = Expectation {
        stop: format!("guest killed: {reason}"),
        status: 3,
    };
    expectation
        .check(&outcome)
        .map_err(|reason| format!("{reason}\n{}", outcome.report()).into())
}

fn run_case(guest: &str, trial: &str, case: &Case) -> Result<(), Failed> {
    let command_line = format!("case={}", case.name);
    let outcome = built::hosting(&built::micro_guest(guest), &command_line).run()?;
    let judged = case.expectation.check(&outcome);
    evidence::record(trial, &judged, &case.verdicts());
    judged.map_err(|reason| format!("{reason}\n{}", outcome.report()).into())
}

fn run_guest(guest: &str, mode: &str, expectation: &Expectation) -> Result<(), Failed> {
    let kernel = built::micro_guest(guest);
    let machine = match guest {
        "block" => built::hosting_with_disk(&kernel, "", &block_guest::disk()),
        _ => built::hosting(&kernel, ""),
    };
    let machine = machine.command_line(format!("mode={mode}"));
    let outcome = machine.run()?;
    let console = outcome.text();
    let counts = counts(&console);
    let numbers = if counts.is_empty() {
        Numbers::Kept
    } else {
        Numbers::Masked
    };
    let judge = || {
        expectation.check(&outcome)?;
        if expectation.status == 0 && counts.is_empty() {
            verdicts(&console)?;
        }
        if mode == MODES[0] {
            within_limits(&counts)?;
        }
        // Both modes have to say the same.
        golden::compare(
            &format!("guests/{guest}"),
            &golden::console(&outcome, numbers),
        )
    };
    let judged = judge();
    evidence::record(&format!("{guest}::{mode}"), &judged, &console);
    judged.map_err(|reason| format!("{reason}\n{}", outcome.report()).into())
}

/// The lines `COUNT <name> <instructions>`.
fn counts(console: &str) -> Vec<(&str, u32)> {
    let lines = console
        .lines()
        .filter_map(|line| line.strip_prefix("COUNT "));
    lines
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, n)| Some((name, n.parse().ok()?)))
        .collect()
}

fn within_limits(counts: &[(&str, u32)]) -> Result<(), String> {
    if counts.is_empty() {
        return Ok(());
    }
    for (name, limit) in LIMITS {
        match counts.iter().find(|(counted, _)| counted == name) {
            None => return Err(format!("{name} was not counted")),
            Some((_, count)) if count > limit => {
                return Err(format!(
                    "{name} took {count} instructions; the limit is {limit}"
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}
