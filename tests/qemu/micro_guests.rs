//! Runs every guest of `guests/`, and every case of the guests that have a table. What was built for the newest
//! generation and two-level tables runs in both modes, and without the shorter ways; everything else in one: told
//! what it is. A few have to be found out as well.

use hv_runner::Machine;
use hv_tests::attack::unharmed::unharmed;
use hv_tests::conformance::world::World;
use hv_tests::counts::counts;
use hv_tests::expectation::{Case, Expectation, kill_cases, verdicts};
use hv_tests::golden::Numbers;
use hv_tests::matrix::evidence;
use hv_tests::{block_guest, built, golden};
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeSet;

const SHARED: &str = "shared";
/// Without the shorter ways.
const SLOW: &str = "slow";
/// Runs of a guest of the newest world, and the host's words for them.
const RUNS: [(&str, &str); 3] = [
    (SHARED, "mode=shared"),
    ("isolated", "mode=isolated"),
    (SLOW, "mode=shared fast_paths=off"),
];
/// Counted instructions that these round trips may take, in shared mode. The images of the tests measure each
/// exit, which takes some 50 of them.
const LIMITS: &[(&str, u32)] = &[
    // A nanosecond an instruction: 50 ms.
    ("power_on_to_guest", 50_000_000),
    ("flush_async", 300),
    ("demand_fault_cold", 1500),
    ("demand_fault_after_flush", 1500),
    ("demand_fault_read", 1500),
    ("demand_fault_dirty", 1500),
];

/// Runs of a guest of another world; what the console says has to be the same.
const TOLD: &str = "told";
const DETECTED: &str = "detected";
/// Those that show what a host can find out: the first calls, and roots.
const TO_BE_FOUND_OUT: &[&str] = &["entry", "init", "lguest_bus", "ring", "paging"];

/// Those that find a disk.
const WITH_DISK: &[&str] = &["block", "dma_bus", "lguest_bus"];

/// Those that load more roots than are remembered, which so many are not by themselves.
const WITH_MANY_ROOTS: &[&str] = &["roots", "pae_roots"];
const FEW_REMEMBERED: &str = " roots=64";

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
    let mut trials = Vec::new();
    for source in built::micro_guest_sources() {
        let name = source
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(&source).expect("a guest's source is readable");
        let mut worlds = built::other_worlds(&name);
        if let Ok(table) = std::fs::read_to_string(source.with_extension("txt")) {
            if built::has_newest(&name) {
                worlds.push(String::new());
            }
            let cases = kill_cases(&table);
            trials.extend(
                worlds
                    .iter()
                    .flat_map(|word| case_trials(&name, word, &cases)),
            );
            continue;
        }
        for word in &worlds {
            for run in runs(&name, word) {
                let (guest, expectation) = (name.clone(), Expectation::parse(&text));
                let word = word.clone();
                trials.push(Trial::test(format!("{name}.{word}::{run}"), move || {
                    let expectation =
                        expectation.ok_or("its first line does not say what to expect")?;
                    run_in_world(&guest, &word, run, &expectation)
                }));
            }
        }
        if !built::has_newest(&name) && !worlds.is_empty() {
            continue;
        }
        for run in RUNS {
            let (guest, expectation) = (name.clone(), Expectation::parse(&text));
            trials.push(Trial::test(format!("{name}::{}", run.0), move || {
                let expectation =
                    expectation.ok_or("its first line does not say what to expect")?;
                run_guest(&guest, run, &expectation)
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

/// A host has no way to find out that a guest which starts on tables has three levels, nor which form of descriptors a guest
/// without a banner reads.
fn runs(guest: &str, word: &str) -> Vec<&'static str> {
    let hidden = word == "g3.pae" || (guest, word) == ("lguest_bus", "2.6.24");
    let found_out = TO_BE_FOUND_OUT.contains(&guest) && !hidden;
    [TOLD]
        .into_iter()
        .chain(found_out.then_some(DETECTED))
        .collect()
}

/// The host's words for a guest of this world: `g3.pae` is of generation g3 with three-level tables.
fn told(word: &str) -> String {
    let (generation, paging) = match word.strip_suffix("pae") {
        Some(generation) => (generation.trim_end_matches('.'), " paging=pae"),
        None => (word, ""),
    };
    match generation {
        "" => paging.trim_start().into(),
        generation => format!("generation={generation}{paging}"),
    }
}

fn run_in_world(
    guest: &str,
    word: &str,
    run: &str,
    expectation: &Expectation,
) -> Result<(), Failed> {
    let name = format!("{guest}.{word}");
    let words = if run == TOLD {
        told(word)
    } else {
        String::new()
    };
    let outcome = machine(guest, &built::micro_guest(&name))
        .command_line(format!("log=debug {words}{}", further_words(guest)))
        .run()?;
    let judge = || {
        expectation.check(&outcome)?;
        unharmed(&outcome)?;
        if expectation.status == 0 {
            verdicts(&outcome.text())?;
        }
        golden::compare_variant(
            &format!("guests/{name}"),
            &format!("guests/{guest}"),
            &golden::console(&outcome, Numbers::Kept),
        )
    };
    let judged = judge();
    evidence::record(&format!("{name}::{run}"), &judged, &outcome.text());
    judged.map_err(|reason| format!("{reason}\n{}", outcome.report()).into())
}

/// The cases of `guest` that it has in a world; in others than the newest, the first below each list of
/// statements that it shows.
fn case_trials(guest: &str, word: &str, cases: &[Case]) -> Vec<Trial> {
    let name = match word {
        "" => guest.to_string(),
        word => format!("{guest}.{word}"),
    };
    let world = World::of_test(&name);
    let mut shown = BTreeSet::new();
    cases
        .iter()
        .filter(|case| world.iter().all(|world| case.worlds.contains(world)))
        .filter(|case| word.is_empty() || !case.items.is_empty() && shown.insert(case.list))
        .map(|case| {
            let (name, case, words) = (name.clone(), case.clone(), told(word));
            let trial = format!("{name}::{}", case.name);
            Trial::test(trial.clone(), move || {
                run_case(&name, &trial, &words, &case)
            })
        })
        .collect()
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

fn run_case(guest: &str, trial: &str, words: &str, case: &Case) -> Result<(), Failed> {
    let command_line = format!("case={}", case.name);
    let outcome = built::hosting(&built::micro_guest(guest), &command_line)
        .command_line(words)
        .run()?;
    let judged = case.expectation.check(&outcome);
    evidence::record(trial, &judged, &case.verdicts());
    judged.map_err(|reason| format!("{reason}\n{}", outcome.report()).into())
}

/// Further words of the host's for a guest.
fn further_words(guest: &str) -> &'static str {
    if WITH_MANY_ROOTS.contains(&guest) {
        FEW_REMEMBERED
    } else {
        ""
    }
}

/// A machine that hosts `kernel`, with a disk for guests that want one.
fn machine(guest: &str, kernel: &[u8]) -> Machine {
    if WITH_DISK.contains(&guest) {
        built::hosting_with_disk(kernel, "", &block_guest::disk())
    } else {
        built::hosting(kernel, "")
    }
}

fn run_guest(
    guest: &str,
    (run, words): (&str, &str),
    expectation: &Expectation,
) -> Result<(), Failed> {
    let kernel = built::micro_guest(guest);
    let outcome = machine(guest, &kernel)
        .command_line(format!("log=debug {words}{}", further_words(guest)))
        .run()?;
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
        unharmed(&outcome)?;
        if run == SHARED {
            within_limits(&counts)?;
        }
        // All runs have to say the same.
        golden::compare(
            &format!("guests/{guest}"),
            &golden::console(&outcome, numbers),
        )
    };
    let judged = judge();
    if run != SLOW {
        evidence::record(&format!("{guest}::{run}"), &judged, &console);
    }
    judged.map_err(|reason| format!("{reason}\n{}", outcome.report()).into())
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
