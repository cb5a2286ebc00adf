//! Where a guest that measures runs, and a run.

use crate::built;
use crate::counts::counts;
use hv_runner::archive::Archive;
use hv_runner::{Clock, End, Machine};
use std::fmt;

/// Where a guest runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Setting {
    /// Without a host, in ring 0.
    Bare,
    /// Above one.
    Hosted(Mode, FastPaths),
}

/// What of the host is mapped while the guest runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mode {
    /// All of it.
    Shared,
    /// The switcher.
    Isolated,
}

/// Whether the switcher settles by itself what it can.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FastPaths {
    /// It does.
    On,
    /// Every exit goes through the host.
    Off,
}

/// All, as columns of the table.
pub const SETTINGS: [Setting; 5] = [
    Setting::Bare,
    Setting::Hosted(Mode::Shared, FastPaths::On),
    Setting::Hosted(Mode::Shared, FastPaths::Off),
    Setting::Hosted(Mode::Isolated, FastPaths::On),
    Setting::Hosted(Mode::Isolated, FastPaths::Off),
];

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Setting::Bare => "bare",
            Setting::Hosted(Mode::Shared, FastPaths::On) => "shared",
            Setting::Hosted(Mode::Shared, FastPaths::Off) => "shared-slow",
            Setting::Hosted(Mode::Isolated, FastPaths::On) => "isolated",
            Setting::Hosted(Mode::Isolated, FastPaths::Off) => "isolated-slow",
        })
    }
}

impl Setting {
    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        SETTINGS
            .into_iter()
            .find(|setting| setting.to_string() == name)
    }

    /// The host's words for it.
    fn words(self) -> Option<String> {
        let Setting::Hosted(mode, fast_paths) = self else {
            return None;
        };
        let mode = match mode {
            Mode::Shared => "shared",
            Mode::Isolated => "isolated",
        };
        let fast_paths = match fast_paths {
            FastPaths::On => "on",
            FastPaths::Off => "off",
        };
        Some(format!("mode={mode} fast_paths={fast_paths}"))
    }
}

/// The host of every guest but one: what users run.
const HOST: &str = "linux";
/// The one that has more than a console: a network link, and a disk in memory. Each device is one more that the host
/// asks for work, so others do without.
const WITH_DEVICES: &str = "devices";
const HOST_WITH_LINK: &str = "loopback";
/// Guest RAM in MiB: benchmarks' kernels lie between the 64th and the 96th, and have room above for nothing.
const MEMORY_MIB: u32 = 96;
/// Bytes of the disk.
const DISK: usize = 64 << 10;

/// A guest of `bench/` in a setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// The name of its source.
    pub guest: String,
    /// Where it runs.
    pub setting: Setting,
}

impl Run {
    /// Every guest in every setting that it was built for.
    pub fn all() -> Vec<Self> {
        let guests = built::bench_guests();
        let runs = guests.iter().flat_map(|guest| {
            let bare = built::bench_guest(&format!("{guest}.bare")).exists();
            SETTINGS
                .into_iter()
                .filter(move |setting| bare || *setting != Setting::Bare)
                .map(|setting| Run {
                    guest: guest.clone(),
                    setting,
                })
        });
        runs.collect()
    }

    fn machine(&self) -> Machine {
        let Some(words) = self.setting.words() else {
            let kernel = built::bench_guest(&format!("{}.bare", self.guest));
            return Machine::new(kernel).clock(Clock::Counted);
        };
        let kernel = std::fs::read(built::bench_guest(&self.guest)).expect("a guest is readable");
        let mut module = Archive::default().file("kernel", &kernel);
        let mut host = HOST;
        if self.guest == WITH_DEVICES {
            module = module.file("disk0", &[0; DISK]);
            host = HOST_WITH_LINK;
        }
        // A kernel that low is not what the host would take for one of this generation.
        built::machine(host)
            .module(module.finish())
            .command_line(format!(
                "log=error generation=g5 memory={MEMORY_MIB} {words}"
            ))
    }

    /// What it measures.
    ///
    /// # Errors
    /// When it could not run to its end, or measured nothing.
    pub fn measure(&self) -> Result<Vec<(String, u32)>, String> {
        let Run { guest, setting } = self;
        let outcome = (self.machine().run()).map_err(|error| format!("{guest}: {error}"))?;
        let powered_off = match setting {
            // No host, no last word.
            Setting::Bare => outcome.end == End::Host(0),
            Setting::Hosted(..) => outcome.status == 0,
        };
        let console = outcome.text();
        let counts: Vec<(String, u32)> = counts(&console)
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect();
        if !powered_off || counts.is_empty() {
            return Err(format!("{guest} {setting}: {}", outcome.report()));
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found_by_their_names() {
        for setting in SETTINGS {
            assert_eq!(Setting::named(&setting.to_string()), Some(setting));
        }
        assert_eq!(Setting::named("fast"), None);
    }
}
