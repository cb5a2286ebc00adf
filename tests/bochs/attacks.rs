//! The guests that attack their host, on Bochs. What becomes of the host is as on QEMU; what becomes of a guest is
//! as well, but for the cases that docs/processors.md explains.

use hv_tests::attack::guests::{Attack, MODES, attacks};
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::Path;
use std::time::Duration;

/// Bochs executes some 20 million instructions a second, and the longest of these guests takes billions.
const DEADLINE: Duration = Duration::from_secs(900);

fn main() {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials()).exit();
}

/// None without Bochs: `make test` does not ask for it, `make test-bochs` does.
fn trials() -> Vec<Trial> {
    let Some(loader) = std::env::var_os("HV_BOCHS_LOADER") else {
        return Vec::new();
    };
    let runs = attacks()
        .into_iter()
        .flat_map(|attack| MODES.map(|mode| (attack.clone(), mode)));
    runs.map(|(attack, mode)| {
        let loader = loader.clone();
        Trial::test(attack.name(mode), move || {
            run(&attack, mode, Path::new(&loader))
        })
    })
    .collect()
}

fn run(attack: &Attack, mode: &str, loader: &Path) -> Result<(), Failed> {
    let machine = attack.machine(mode).deadline(Some(DEADLINE));
    let outcome = machine.on_bochs(loader).run()?;
    Ok(attack.judge(mode, &outcome)?)
}
