//! The asynchronous ring: hypercalls that a guest queued to save exits.

use super::Lguest;
use super::counters::count;
use super::data::Data;
use super::hypercall::Call;
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
}

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// Executes what is queued, in ring order, up to the first empty slot and never more than one
    /// round (3.3). A slot that ends the guest ends it here, for the same reason as a direct call
    /// would (LG-054).
    #[inline]
    pub(super) fn drain_ring(&mut self, clock: &impl Clock) -> Result<Drained, End> {
        let Some(shared) = self.data else {
            return Ok(Drained::Nothing);
        };
        // Most calls find the ring empty: one byte says so.
        let mut due = [data::SLOT_EMPTY];
        let first = shared.field(data::HCALL_STATUS.wrapping_add(self.cursor.0));
        self.memory.read(first, &mut due).map_err(Kill::from)?;
        if due == [data::SLOT_EMPTY] {
            return Ok(Drained::Nothing);
        }
        self.drain_ready_slots(shared, clock)
    }

    #[inline(never)]
    fn drain_ready_slots(&mut self, shared: Data, clock: &impl Clock) -> Result<Drained, End> {
        // One snapshot decides which slots are run: a slot that fills up meanwhile waits for the
        // next call, so a guest cannot keep the host here.
        let mut status = [data::SLOT_EMPTY; data::RING_SLOTS as usize];
        self.memory
            .read(shared.field(data::HCALL_STATUS), &mut status)
            .map_err(Kill::from)?;
        for _ in 0..data::RING_SLOTS {
            let slot = self.cursor.0;
            if status
                .get(slot as usize)
                .is_none_or(|&status| status == data::SLOT_EMPTY)
            {
                break;
            }
            self.cursor.advance();
            let at = data::HCALLS.wrapping_add(slot.wrapping_mul(data::SLOT_SIZE));
            let mut bytes = [0; data::SLOT_SIZE as usize];
            self.memory
                .read(shared.field(at), &mut bytes)
                .map_err(Kill::from)?;
            let call = Call::from_slot(&bytes);
            count(&mut self.counters.queued_calls, call.number);
            self.execute(&call, clock)?;
            let done = shared.field(data::HCALL_STATUS.wrapping_add(slot));
            self.memory
                .write(done, &[data::SLOT_EMPTY])
                .map_err(Kill::from)?;
        }
        Ok(Drained::Calls)
    }
}
