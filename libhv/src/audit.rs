//! The live audit: the shadow, checked while its guest runs. On in every image that the tests boot.

use crate::guest::HostLguest;
use hv_core::shadow::AuditReport;

/// Exits between two audits. An audit looks at every entry of every table, so one after each exit
/// would leave no time for the guest; the first exits, in which a guest builds its address space, are
/// all audited.
const PERIOD: u64 = 1024;
/// Exits that are all audited.
const EVERY_ONE_OF_THE_FIRST: u64 = 256;

/// Audits in the course of a guest's life.
#[derive(Debug, Default)]
pub(crate) struct Auditor {
    exits: u64,
    audits: u64,
    most_stale: u64,
}

impl Auditor {
    /// The guest has exited, and what had to be done about it has been. Whether it is time for an audit.
    pub(crate) fn is_due(&mut self) -> bool {
        self.exits += 1;
        self.exits <= EVERY_ONE_OF_THE_FIRST || self.exits.is_multiple_of(PERIOD)
    }

    /// The guest has ended.
    pub(crate) fn at_the_end(&mut self, guest: &HostLguest) {
        let report = self.audit(guest);
        hv_hw::log_debug!(
            "audit: {=u64} audits, {=u64} translations at the end, {=u64} stale at most",
            self.audits,
            report.translations,
            self.most_stale,
        );
    }

    /// Looks at every table.
    ///
    /// # Panics
    /// When the shadow holds what it must not: the host cannot be trusted any more.
    pub(crate) fn audit(&mut self, guest: &HostLguest) -> AuditReport {
        match guest.mmu().audit(guest.memory()) {
            Ok(report) => {
                self.audits += 1;
                self.most_stale = self.most_stale.max(report.stale);
                report
            }
            Err(failure) => panic!("audit: {failure}"),
        }
    }
}
