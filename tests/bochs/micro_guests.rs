//! The micro guests on Bochs: what they say has to be what they say on QEMU, word for word.
//!
//! Guests of the newest generation with two-level tables run in both modes, and so does each kill of theirs, in
//! turn. The other generations' ABI is no matter of the processor, so a sample of them is enough.

use hv_tests::conformance::world::World;
use hv_tests::expectation::{Case, Expectation, kill_cases, verdicts};
use hv_tests::golden::{self, Numbers};
use hv_tests::matrix::evidence;
use hv_tests::{block_guest, built};
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::Path;

const MODES: [&str; 2] = ["shared", "isolated"];

/// Guests that need another machine around them (docs/processors.md): this one expects its console to take what
/// it prints at once, as QEMU's serial port does.
const NOT_HERE: &[&str] = &["devices"];

/// Kills that come about in another way on this processor (docs/processors.md): the case, and the reason why
/// the guest is killed here.
const OTHER_KILLS: &[(&str, &str)] = &[("virtual_8086", "CRASH: unexpected trap")];

/// Guests of other worlds, and what the host is told that they are.
const SAMPLE: &[(&str, &str)] = &[
    ("entry.g1", "generation=g1"),
    ("delivery.g1", "generation=g1"),
    ("ring.g2", "generation=g2"),
    ("segments.g2", "generation=g2"),
    ("paging.g3", "generation=g3"),
    ("traps1.g4", "generation=g4"),
    ("paging.g3.pae", "generation=g3 paging=pae"),
    ("roots.g4.pae", "generation=g4 paging=pae"),
    ("traps3.pae", "paging=pae"),
    ("edges.pae", "paging=pae"),
];

fn main() {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials()).exit();
}

/// None without Bochs: `make test` does not ask for it, `make test-bochs` does.
fn trials() -> Vec<Trial> {
    let Some(loader) = std::env::var_os("HV_BOCHS_LOADER") else {
        return Vec::new();
    };
    let loader = Path::new(&loader);
    let mut trials = Vec::new();
    for source in built::micro_guest_sources() {
        let name = source.file_stem().unwrap_or_default().to_string_lossy();
        if !built::has_newest(&name) || NOT_HERE.contains(&name.as_ref()) {
            continue;
        }
        if let Ok(table) = std::fs::read_to_string(source.with_extension("txt")) {
            let worlds = World::of_test(&name);
            let cases = kill_cases(&table).into_iter();
            let cases = cases.filter(|case| worlds.iter().all(|world| case.worlds.contains(world)));
            for (case, mode) in cases.zip(MODES.iter().cycle()) {
                let (loader, guest) = (loader.to_owned(), name.clone().into_owned());
                let trial = format!("{name}::{}", case.name);
                trials.push(Trial::test(trial, move || {
                    run_case(&loader, &guest, &case, mode)
                }));
            }
            continue;
        }
        for mode in MODES {
            let (loader, guest) = (loader.to_owned(), name.clone().into_owned());
            let trial = format!("{name}::{mode}");
            trials.push(Trial::test(trial.clone(), move || {
                run_guest(&loader, &guest, &guest, &trial, &format!("mode={mode}"))
            }));
        }
    }
    for (name, words) in SAMPLE {
        let loader = loader.to_owned();
        let trial = format!("{name}::told");
        trials.push(Trial::test(trial.clone(), move || {
            let guest = name.split('.').next().unwrap_or_default();
            run_guest(&loader, guest, name, &trial, words)
        }));
    }
    trials
}

fn run_guest(
    loader: &Path,
    guest: &str,
    name: &str,
    trial: &str,
    words: &str,
) -> Result<(), Failed> {
    let source = built::tests()
        .join("guests")
        .join(guest)
        .with_extension("c");
    let text = std::fs::read_to_string(source)?;
    let expectation =
        Expectation::parse(&text).ok_or("its first line does not say what to expect")?;
    let kernel = built::micro_guest(name);
    let machine = match guest {
        "block" => built::hosting_with_disk(&kernel, "", &block_guest::disk()),
        _ => built::hosting(&kernel, ""),
    };
    let outcome = machine.command_line(words).on_bochs(loader).run()?;
    let console = outcome.text();
    // Counts are the processor's, and their limits QEMU's.
    let counts = console.lines().any(|line| line.starts_with("COUNT "));
    let numbers = if counts {
        Numbers::Masked
    } else {
        Numbers::Kept
    };
    let judge = || {
        expectation.check(&outcome)?;
        if expectation.status == 0 && !counts {
            verdicts(&console)?;
        }
        golden::compare_elsewhere(
            "bochs",
            &[format!("guests/{name}"), format!("guests/{guest}")],
            &golden::console(&outcome, numbers),
        )
    };
    let judged: Result<(), String> = judge();
    evidence::record(trial, &judged, &console);
    judged.map_err(|reason| format!("{reason}\n{}", outcome.report()).into())
}

fn run_case(loader: &Path, guest: &str, case: &Case, mode: &str) -> Result<(), Failed> {
    let command_line = format!("case={}", case.name);
    let outcome = built::hosting(&built::micro_guest(guest), &command_line)
        .command_line(format!("mode={mode}"))
        .on_bochs(loader)
        .run()?;
    let other = OTHER_KILLS.iter().find(|(name, _)| *name == case.name);
    let expectation = match other {
        Some((_, reason)) => Expectation {
            stop: format!("guest killed: {reason}"),
            status: 3,
        },
        None => case.expectation.clone(),
    };
    let judged = expectation.check(&outcome);
    judged.map_err(|reason| format!("{reason}\n{}", outcome.report()).into())
}
