//! Runs every guest of `attacks/`, and every case of those that have a table, in both modes. Whatever became of
//! the guest, the host has to be as it was.

use hv_tests::attack::guests::{MODES, attacks};
use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials()).exit();
}

fn trials() -> Vec<Trial> {
    let runs = attacks()
        .into_iter()
        .flat_map(|attack| MODES.map(|mode| (attack.clone(), mode)));
    runs.map(|(attack, mode)| {
        Trial::test(attack.name(mode), move || {
            let outcome = attack.machine(mode).run()?;
            Ok(attack.judge(mode, &outcome)?)
        })
    })
    .collect()
}
