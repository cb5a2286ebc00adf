//! The asynchronous ring: hypercalls that a guest queued to save exits.

use super::Lguest;
use super::counters::count;
use super::data::Data;
use super::hypercall::{Call, Reply};
use crate::address::Gpa;
use crate::clock::Clock;
use crate::device::Devices;
use crate::kill::Kill;
use crate::memory::{BadAddress, GuestMemory};
use crate::personality::{End, Mmu};
use hv_abi::lguest::{Hypercall, Slot, data};

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
        let generation = self.generation;
        let layout = &generation.data;
        // One snapshot decides which slots are run: a slot that fills up meanwhile waits for the
        // next call, so a guest cannot keep the host here.
        let mut ready = Ready {
            slots: generation.slot,
            calls: shared.field(layout.hcalls),
            status: [data::SLOT_EMPTY; _],
            due: self.cursor,
            done: 0,
        };
        self.memory
            .read(shared.field(layout.hcall_status), &mut ready.status)
            .map_err(Kill::from)?;
        let mut drained = Drained::Calls;
        loop {
            // Nearly all of what a guest queues is SET_PTE.
            let mut other = None;
            self.mmu.set_ptes(&self.memory, || {
                let Some(call) = ready.call(&self.memory)? else {
                    return Ok(None);
                };
                if generation.call(call.number) != Some(Hypercall::SetPte) {
                    other = Some(call);
                    return Ok(None);
                }
                count(&mut self.counters.queued_calls, call.number);
                ready.advance();
                Ok(Some(call.leaf_change()))
            })?;
            let Some(call) = other else {
                if self.mmu.is_tired() {
                    drained = Drained::Part;
                }
                break;
            };
            count(&mut self.counters.queued_calls, call.number);
            // A call that was queued has no EAX to answer into.
            let reply = self.execute(&call, clock)?;
            if reply != Reply::Unfinished {
                ready.advance();
            }
            if matches!(reply, Reply::Unfinished | Reply::Long) || self.mmu.is_tired() {
                drained = Drained::Part;
                break;
            }
        }
        self.mark_empty(shared.field(layout.hcall_status), ready.done)?;
        self.cursor = ready.due;
        Ok(drained)
    }

    /// Tells the guest that so many slots, from the one that was due on, are free again. It cannot look in
    /// between, so they are written together.
    fn mark_empty(&self, status: Gpa, slots: usize) -> Result<(), Kill> {
        const EMPTY: [u8; data::RING_SLOTS as usize] = [data::SLOT_EMPTY; _];
        let first = self.cursor.0;
        let up_to_the_end = data::RING_SLOTS.wrapping_sub(first) as usize;
        let (here, wrapped) = EMPTY
            .get(..slots)
            .unwrap_or(&EMPTY)
            .split_at(slots.min(up_to_the_end));
        self.memory
            .write(status.wrapping_add(u64::from(first)), here)?;
        Ok(self.memory.write(status, wrapped)?)
    }
}

/// What is left of the ring as it was when draining began.
struct Ready {
    slots: Slot,
    /// Where the first slot is.
    calls: Gpa,
    status: [u8; data::RING_SLOTS as usize],
    due: Cursor,
    done: usize,
}

impl Ready {
    /// The call that is due; `None` when there is none left.
    #[inline(always)]
    fn call(&self, memory: &impl GuestMemory) -> Result<Option<Call>, BadAddress> {
        const FIVE_WORDS: u32 = 5 * 4;
        let slot = self.due.0;
        let status = self.status.get(slot as usize);
        if status.is_none_or(|&status| status == data::SLOT_EMPTY) {
            return Ok(None);
        }
        let offset = slot.wrapping_mul(self.slots.size);
        let at = self.calls.wrapping_add(u64::from(offset));
        let words = match self.slots.size {
            FIVE_WORDS => memory.read_words(at)?,
            _ => {
                let [a, b, c, d] = memory.read_words(at)?;
                [a, b, c, d, 0]
            }
        };
        Ok(Some(Call::from_slot(&words, self.slots)))
    }

    /// The call that is due was made.
    #[inline(always)]
    fn advance(&mut self) {
        if let Some(status) = self.status.get_mut(self.due.0 as usize) {
            *status = data::SLOT_EMPTY;
        }
        self.due.advance();
        self.done = self.done.wrapping_add(1);
    }
}
