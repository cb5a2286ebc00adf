//! Runs every guest of `attacks/`, and every case of those that have a table, in both modes. Whatever became of
//! the guest, the host has to be as it was. What is broken before it could run is refused.

use hv_tests::attack::guests::{MODES, attacks};
use hv_tests::attack::images::IMAGES;
use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials()).exit();
}

fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for mode in MODES {
        trials.extend(attacks().into_iter().map(|attack| {
            Trial::test(attack.name(mode), move || {
                let outcome = attack.machine(mode).run()?;
                Ok(attack.judge(mode, &outcome)?)
            })
        }));
        trials.extend(IMAGES.iter().map(|image| {
            Trial::test(image.trial(mode), move || {
                let outcome = image.machine(mode).run()?;
                Ok(image.judge(mode, &outcome)?)
            })
        }));
    }
    trials
}
