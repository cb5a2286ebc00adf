//! The attacks of `attacks/` on Bochs. What becomes of the host is as on QEMU; what becomes of a guest is as well, but
//! for the cases that docs/processors.md explains.

use hv_tests::attack::guests::{Attack, MODES, attacks};
use hv_tests::attack::images::IMAGES;
use hv_tests::expectation::Expectation;
use libtest_mimic::{Arguments, Failed, Trial};
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

/// Bochs executes some 20 million instructions a second, and the longest of these guests takes billions.
const DEADLINE: Duration = Duration::from_secs(900);

/// Cases that end in another way on this processor (docs/processors.md): the guest, the case, its end and status.
const OTHER_ENDS: &[(&str, &str, &str, u8)] = &[
    ("ends", "iret_to_vm86", "guest powered off", 0),
    (
        "ends",
        "iret_to_vm86_at_0",
        "guest killed: CRASH: unexpected trap",
        3,
    ),
];

fn main() {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials()).exit();
}

/// None without Bochs: `make test` does not ask for it, `make test-bochs` does.
fn trials() -> Vec<Trial> {
    match std::env::var_os("HV_BOCHS_LOADER") {
        Some(loader) => with_loader(&loader),
        None => Vec::new(),
    }
}

fn with_loader(loader: &OsStr) -> Vec<Trial> {
    let mut trials = Vec::new();
    for mode in MODES {
        trials.extend(attacks().into_iter().map(|attack| {
            let (attack, loader) = (here(attack), loader.to_owned());
            Trial::test(attack.name(mode), move || {
                run(&attack, mode, Path::new(&loader))
            })
        }));
    }
    // No guest runs, so the mode is the same to them.
    for (image, mode) in IMAGES.iter().zip(MODES.into_iter().cycle()) {
        let loader = loader.to_owned();
        trials.push(Trial::test(image.trial(mode), move || {
            let outcome = image.machine(mode).on_bochs(&loader).run()?;
            Ok(image.judge(mode, &outcome)?)
        }));
    }
    trials
}

/// The attack as this processor ends it.
fn here(mut attack: Attack) -> Attack {
    let mut others = OTHER_ENDS.iter();
    let other = others.find(|(guest, case, ..)| *guest == attack.guest && *case == attack.case);
    if let Some(&(_, _, stop, status)) = other {
        attack.expectation = Expectation {
            stop: stop.into(),
            status,
        };
    }
    attack
}

fn run(attack: &Attack, mode: &str, loader: &Path) -> Result<(), Failed> {
    let machine = attack.machine(mode).deadline(Some(DEADLINE));
    let outcome = machine.on_bochs(loader).run()?;
    Ok(attack.judge(mode, &outcome)?)
}
