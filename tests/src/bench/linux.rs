//! Real kernels: what a process sees, on a bare machine and hosted.

use crate::built;
use crate::counts::counts;
use hv_runner::archive::Archive;
use hv_runner::{Clock, End, Machine};
use std::path::Path;

/// The program that measures, in the root of the initial file system.
const PROGRAM: &str = "libhv-bench";
/// RAM of the kernel, in MiB; and of a machine that hosts it.
const MEMORY_MIB: u32 = 128;
const HOSTED_MIB: u32 = 256;
/// What a host says of a guest that asked for a restart, as the program does when it has finished.
const RESTART: u8 = 4;

/// Where a kernel runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// On the machine itself.
    Bare,
    /// Hosted, with the host mapped beside it.
    Shared,
    /// Hosted, with the switcher mapped beside it.
    Isolated,
}

/// All, in the order in which a table has them.
pub const PLACES: [Place; 3] = [Place::Bare, Place::Shared, Place::Isolated];

/// What a kernel is booted with.
#[derive(Debug)]
pub struct Linux {
    kernel: Vec<u8>,
    initrd: Vec<u8>,
}

impl Linux {
    /// `kernel`: a bzImage, which is what boots on a bare machine too. `program` is added to `initrd`, if there is one:
    /// kernels unpack one archive after the other.
    pub fn new(kernel: Vec<u8>, initrd: Option<Vec<u8>>, program: &[u8]) -> Self {
        let mut initrd = initrd.unwrap_or_default();
        initrd.resize(initrd.len().next_multiple_of(4), 0);
        initrd.extend(Archive::default().program(PROGRAM, program).finish());
        Self { kernel, initrd }
    }

    /// What each operation took, in ticks of the time-stamp counter; `path` is where the kernel came from.
    ///
    /// # Errors
    /// When it did not come to its end.
    pub fn measure(
        &self,
        path: &Path,
        place: Place,
        clock: Clock,
    ) -> Result<Vec<(String, u32)>, String> {
        let mode = match place {
            Place::Bare => None,
            Place::Shared => Some("shared"),
            Place::Isolated => Some("isolated"),
        };
        let words = |console| format!("console={console} quiet rdinit=/{PROGRAM}");
        let machine = match mode {
            None => Machine::new(path)
                .memory_mib(MEMORY_MIB)
                .module(self.initrd.clone())
                .command_line(words("ttyS0")),
            Some(mode) => built::machine("linux")
                .memory_mib(HOSTED_MIB)
                .module(
                    Archive::default()
                        .file("kernel", &self.kernel)
                        .file("initrd", &self.initrd)
                        .file("cmdline", words("hvc0").as_bytes())
                        .finish(),
                )
                .command_line(format!("log=error mode={mode} memory={MEMORY_MIB}")),
        };
        let outcome = machine
            .clock(clock)
            .run()
            .map_err(|error| error.to_string())?;
        let finished = match place {
            // A machine without a host that may not restart ends QEMU.
            Place::Bare => matches!(outcome.end, End::Qemu(status) if status.success()),
            Place::Shared | Place::Isolated => outcome.status == RESTART,
        };
        let console = outcome.text();
        let found: Vec<(String, u32)> = counts(&console)
            .into_iter()
            .map(|(row, ticks)| (row.to_owned(), ticks))
            .collect();
        if !finished || found.is_empty() || console.contains("FAILED ") {
            return Err(format!("{place:?}: {}", outcome.report()));
        }
        Ok(found)
    }
}

/// The middle one of several; the smaller of two.
pub fn median(mut values: Vec<u32>) -> Option<u32> {
    values.sort_unstable();
    let middle = values.len().checked_sub(1)? / 2;
    values.get(middle).copied()
}

/// The mean of ratios: the one whose product with itself, as many times as there are ratios, is theirs.
pub fn geometric_mean(ratios: &[f64]) -> f64 {
    let logarithms: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (logarithms / ratios.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_one_of_the_values() {
        assert_eq!(median(vec![5, 1, 9]), Some(5));
        assert_eq!(median(vec![4, 2]), Some(2));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn twice_and_half_are_as_much_as_once() {
        assert!((geometric_mean(&[2.0, 0.5]) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_program_follows_the_users_own_files_at_a_multiple_of_four() {
        let linux = Linux::new(vec![], Some(vec![7; 5]), b"program");
        assert_eq!(linux.initrd[..8], [7, 7, 7, 7, 7, 0, 0, 0]);
        assert_eq!(&linux.initrd[8..14], b"070701");
    }
}
