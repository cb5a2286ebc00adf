//! The asynchronous ring: hypercalls that a guest queued to save exits.

use super::Lguest;
use super::counters::count;
use super::data::Data;
use super::hypercall::{Call, Reply};
use crate::clock::Clock;
use crate::device::Devices;
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::personality::{End, Mmu};
use hv_abi::lguest::data;

/// Index of the slot that is due next. The host keeps it; the guest's counter is its own affair.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Cursor(u32);

impl Cursor {
    fn advance(&mut self) {
        self.0 = self.0.wrapping_add(1) % data::RING_SLOTS;
    }
}

/// Whether draining the ring did anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Drained {
    /// It was empty.
    Nothing,
    /// Calls were made.
    Calls,
    /// Calls were made, and took as long as one exit should: there may be more.
    Part,
}

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// Executes what is queued, in ring order, up to the first empty slot and never more than one
    /// round (3.3). A slot that ends the guest ends it here, for the same reason as a direct call
    /// would (LG-054). Calls that take long end the round early: see [`Drained::Part`].
    #[inline]
    pub(super) fn drain_ring(&mut self, clock: &impl Clock) -> Result<Drained, End> {
        let Some(shared) = self.data else {
            return Ok(Drained::Nothing);
        };
        // Most calls find the ring empty: one byte says so.
        let mut due = [data::SLOT_EMPTY];
        let status = self.generation.data.hcall_status;
        let first = shared.field(status.wrapping_add(self.cursor.0));
        self.memory.read(first, &mut due).map_err(Kill::from)?;
        if due == [data::SLOT_EMPTY] {
            return Ok(Drained::Nothing);
        }
        self.drain_ready_slots(shared, clock)
    }

    #[inline(never)]
    fn drain_ready_slots(&mut self, shared: Data, clock: &impl Clock) -> Result<Drained, End> {
        let slots = self.generation.slot;
        let layout = &self.generation.data;
        // One snapshot decides which slots are run: a slot that fills up meanwhile waits for the
        // next call, so a guest cannot keep the host here.
        let mut status = [data::SLOT_EMPTY; data::RING_SLOTS as usize];
        self.memory
            .read(shared.field(layout.hcall_status), &mut status)
            .map_err(Kill::from)?;
        for _ in 0..data::RING_SLOTS {
            let slot = self.cursor.0;
            if status
                .get(slot as usize)
                .is_none_or(|&status| status == data::SLOT_EMPTY)
            {
                break;
            }
            let at = layout.hcalls.wrapping_add(slot.wrapping_mul(slots.size));
            let mut bytes = [0; data::MAX_SLOT_SIZE];
            let words = bytes.get_mut(..slots.size as usize).unwrap_or_default();
            self.memory
                .read(shared.field(at), words)
                .map_err(Kill::from)?;
            let call = Call::from_slot(&bytes, slots);
            count(&mut self.counters.queued_calls, call.number);
            // A call that was queued has no EAX to answer into.
            let reply = self.execute(&call, clock)?;
            if reply == Reply::Unfinished {
                return Ok(Drained::Part);
            }
            self.cursor.advance();
            let done = shared.field(layout.hcall_status.wrapping_add(slot));
            self.memory
                .write(done, &[data::SLOT_EMPTY])
                .map_err(Kill::from)?;
            if reply == Reply::Long || self.mmu.is_tired() {
                return Ok(Drained::Part);
            }
        }
        Ok(Drained::Calls)
    }
}
