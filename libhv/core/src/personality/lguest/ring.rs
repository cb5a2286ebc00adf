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
use crate::personality::{End, LeafChange, Mmu};
use hv_abi::lguest::{Generation, Hypercall, Slot, data};

/// The slot that is due next. The host keeps it; the guest's counter is its own affair.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Cursor {
    index: u32,
    /// Where the slots' status bytes are.
    status: Gpa,
    /// Where its own is: every hypercall asks.
    due: Gpa,
}

impl Cursor {
    /// At the first slot of a ring with status bytes at `status`.
    pub(super) fn new(status: Gpa) -> Self {
        Self {
            index: 0,
            status,
            due: status,
        }
    }

    fn advance(&mut self, slots: usize) {
        self.index = self.index.wrapping_add(slots as u32) % data::RING_SLOTS;
        self.due = self.status.wrapping_add(self.index.into());
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
        if self.is_ring_empty()? {
            return Ok(Drained::Nothing);
        }
        self.drain_ready_slots(shared, clock)
    }

    /// Whether nothing is queued in the ring that there is: one byte says so.
    #[inline(always)]
    pub(super) fn is_ring_empty(&self) -> Result<bool, Kill> {
        Ok(self.memory.read_u8(self.cursor.due)? == data::SLOT_EMPTY)
    }

    #[inline(never)]
    fn drain_ready_slots(&mut self, shared: Data, clock: &impl Clock) -> Result<Drained, End> {
        let generation = self.generation;
        self.ring
            .copy(&self.memory, shared, generation, self.cursor)
            .map_err(Kill::from)?;
        let first = self.cursor;
        let mut drained = Drained::Calls;
        loop {
            // Nearly all of what a guest queues is SET_PTE.
            let before = self.ring.done;
            let mut changes = LeafChanges {
                ring: &mut self.ring,
                generation,
                counters: &mut self.counters.queued_calls,
            };
            self.mmu.set_ptes(&self.memory, &mut changes)?;
            let made = self.ring.done.wrapping_sub(before);
            self.cursor.advance(made);
            if made != 0 && self.mmu.is_tired() {
                drained = Drained::Part;
                break;
            }
            let Some(call) = self.ring.call(generation.slot) else {
                break;
            };
            count(&mut self.counters.queued_calls, call.number);
            // A call that was queued has no EAX to answer into.
            let reply = self.execute_queued(&call, clock)?;
            if reply != Reply::Unfinished {
                self.ring.done = self.ring.done.wrapping_add(1);
                self.cursor.advance(1);
            }
            if matches!(reply, Reply::Unfinished | Reply::Long) || self.mmu.is_tired() {
                drained = Drained::Part;
                break;
            }
        }
        self.mark_empty(first, self.ring.done)?;
        Ok(drained)
    }

    /// Tells the guest that so many slots, from `first` on, are free again. It cannot look in
    /// between, so they are written together.
    fn mark_empty(&self, first: Cursor, slots: usize) -> Result<(), Kill> {
        const EMPTY: [u8; data::RING_SLOTS as usize] = [data::SLOT_EMPTY; _];
        let up_to_the_end = data::RING_SLOTS.wrapping_sub(first.index) as usize;
        let (here, wrapped) = EMPTY
            .get(..slots)
            .unwrap_or(&EMPTY)
            .split_at(slots.min(up_to_the_end));
        self.memory.write(first.due, here)?;
        if !wrapped.is_empty() {
            self.memory.write(first.status, wrapped)?;
        }
        Ok(())
    }
}

/// What was queued when draining began. A slot that fills up meanwhile waits for the next call, so a guest cannot
/// keep the host here.
#[derive(Debug)]
pub(super) struct Ring {
    /// The slots that were ready, in their order.
    slots: [u8; data::MAX_RING_SIZE],
    ready: usize,
    /// So many of them were executed.
    done: usize,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            slots: [0; _],
            ready: 0,
            done: 0,
        }
    }
}

impl Ring {
    /// Copies the slots that are ready, from the one that is due on.
    fn copy(
        &mut self,
        memory: &impl GuestMemory,
        shared: Data,
        generation: &Generation,
        due: Cursor,
    ) -> Result<(), BadAddress> {
        let layout = &generation.data;
        let mut status = [data::SLOT_EMPTY; data::RING_SLOTS as usize];
        memory.read(due.status, &mut status)?;
        let is_ready = |status: &&u8| **status != data::SLOT_EMPTY;
        let (wrapped, here) = status
            .split_at_checked(due.index as usize)
            .unwrap_or_default();
        let ready_here = here.iter().take_while(is_ready).count();
        let ready_wrapped = match ready_here == here.len() {
            true => wrapped.iter().take_while(is_ready).count(),
            false => 0,
        };
        self.done = 0;
        self.ready = ready_here.wrapping_add(ready_wrapped);
        let size = generation.slot.size();
        let bytes = |slots: usize| slots.wrapping_mul(size as usize);
        let all = self.slots.get_mut(..bytes(self.ready)).unwrap_or_default();
        let (here, wrapped) = all
            .split_at_mut_checked(bytes(ready_here))
            .unwrap_or_default();
        memory.read(
            shared.field(layout.hcalls.wrapping_add(due.index.wrapping_mul(size))),
            here,
        )?;
        if !wrapped.is_empty() {
            memory.read(shared.field(layout.hcalls), wrapped)?;
        }
        Ok(())
    }

    /// The call that is due; `None` when all were executed.
    #[inline(always)]
    fn call(&self, slot: Slot) -> Option<Call> {
        if self.done >= self.ready {
            return None;
        }
        Some(match slot {
            Slot::ThreeArguments => {
                let [number, first, second, third] = self.words()?;
                Call::queued(number, [first, second, third, 0])
            }
            Slot::FirstArgumentLast => {
                let [number, second, third, first] = self.words()?;
                Call::queued(number, [first, second, third, 0])
            }
            Slot::FourArguments => {
                let [number, first, second, third, fourth] = self.words()?;
                Call::queued(number, [first, second, third, fourth])
            }
        })
    }

    /// The words of the slot that is due, of which each has `N`.
    #[inline(always)]
    fn words<const N: usize>(&self) -> Option<[u32; N]> {
        let words = self.slots.as_chunks::<4>().0.as_chunks::<N>().0;
        Some(words.get(self.done)?.map(u32::from_le_bytes))
    }
}

/// What SET_PTEs say that are next in the ring.
struct LeafChanges<'a> {
    ring: &'a mut Ring,
    generation: &'static Generation,
    counters: &'a mut [u64],
}

impl Iterator for LeafChanges<'_> {
    type Item = LeafChange;

    #[inline(always)]
    fn next(&mut self) -> Option<LeafChange> {
        let call = self.ring.call(self.generation.slot)?;
        if self.generation.call(call.number) != Some(Hypercall::SetPte) {
            return None;
        }
        count(self.counters, call.number);
        self.ring.done = self.ring.done.wrapping_add(1);
        Some(call.leaf_change())
    }
}
