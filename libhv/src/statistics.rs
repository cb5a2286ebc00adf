//! Counts of what the guest and its host did.

use hv_core::personality::lguest::Counters;
use hv_core::shadow;
use hv_hw::log_debug;

/// Counts of what the guest and its host did. They wrap.
#[derive(Clone, Debug)]
pub struct Statistics<'a> {
    /// Exits, hypercalls, traps and interrupts.
    pub guest: &'a Counters,
    /// Shadow page tables.
    pub shadow: shadow::Statistics,
    /// Interrupts of the host's own.
    pub host_interrupts: u64,
    /// System calls that the switcher delivered without an exit.
    pub direct_syscalls: u64,
    /// Non-maskable interrupts, in the guest or the host.
    pub nmis: u64,
    /// Machine checks that left what they interrupted intact, in the guest or the host.
    pub machine_checks: u64,
}

impl Statistics<'_> {
    /// Writes them to the log, for those who ask where the time went.
    pub(crate) fn log(&self) {
        let guest = self.guest;
        for (vector, &exits) in (0_u8..).zip(&guest.exits).filter(counted) {
            log_debug!("{=u64} exits by vector {=u8}", exits, vector);
        }
        for (number, &calls) in (0_u8..).zip(&guest.calls).filter(counted) {
            log_debug!("{=u64} hypercalls {=u8}", calls, number);
        }
        for (number, &calls) in (0_u8..).zip(&guest.queued_calls).filter(counted) {
            log_debug!("{=u64} queued hypercalls {=u8}", calls, number);
        }
        if self.direct_syscalls != 0 {
            log_debug!(
                "{=u64} system calls delivered without an exit",
                self.direct_syscalls
            );
        }
        log_debug!(
            "{=u64} instructions emulated, {=u64} traps reflected, {=u64} interrupts delivered",
            guest.emulated,
            guest.reflected,
            guest.interrupts,
        );
        log_debug!(
            "{=u64} faults repaired, {=u64} reflected, {=usize} of {=usize} tables in use, {=usize} roots, {=u64} evicted, {=u64} flushes",
            self.shadow.repaired,
            self.shadow.reflected,
            self.shadow.tables,
            self.shadow.capacity,
            self.shadow.roots,
            self.shadow.evicted,
            self.shadow.flushed,
        );
        log_debug!(
            "{=u64} host interrupts, {=u64} NMIs, {=u64} machine checks survived",
            self.host_interrupts,
            self.nmis,
            self.machine_checks,
        );
    }
}

fn counted((_, count): &(u8, &u64)) -> bool {
    **count != 0
}
