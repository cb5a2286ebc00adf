//! How long exits take: from the guest's last instruction to its next, for each kind of exit.
//!
//! On in every image that the tests boot, where the time-stamp counter counts instructions. No exit may take
//! more than a bound, whatever the guest did to cause it: a guest that could keep the host busy would keep it
//! from its devices, and from whoever kicks it.

use hv_core::exit_kind::{KINDS, Kind};
use hv_hw::clock::tsc;

/// The longest exit of each kind so far, in counts of the time-stamp counter. What it costs is a cost of every
/// exit, so it is but a table.
#[derive(Debug)]
pub(crate) struct ExitTimes {
    longest: [u64; KINDS],
    kind: Kind,
    /// When the exit began; `None` while the guest runs or the host sleeps.
    since: Option<u64>,
}

impl Default for ExitTimes {
    fn default() -> Self {
        Self {
            longest: [0; KINDS],
            kind: Kind::Wake,
            since: None,
        }
    }
}

impl ExitTimes {
    /// The guest was left.
    pub(crate) fn begin(&mut self, kind: Kind) {
        self.kind = kind;
        self.since = Some(tsc());
    }

    /// The guest is about to be entered, or the host to sleep.
    pub(crate) fn end(&mut self) {
        if let Some(since) = self.since.take() {
            let took = tsc().wrapping_sub(since);
            if let Some(longest) = self.longest.get_mut(self.kind.place()) {
                *longest = took.max(*longest);
            }
        }
    }

    /// Does something that is no part of the exit.
    pub(crate) fn apart(&mut self, action: impl FnOnce()) {
        let before = tsc();
        action();
        let took = tsc().wrapping_sub(before);
        self.since = self.since.map(|since| since.wrapping_add(took));
    }

    /// Logs the longest of each kind that there was.
    pub(crate) fn report(&self) {
        for (kind, longest) in Kind::all().zip(self.longest) {
            if longest != 0 {
                hv_hw::log_debug!(
                    "longest exit: {}, {=u64} instructions",
                    defmt::Display2Format(&kind),
                    longest,
                );
            }
        }
    }
}
