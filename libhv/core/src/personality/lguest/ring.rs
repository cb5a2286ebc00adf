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

    /// Slots from here to the last one, both counted.
    fn up_to_the_end(self) -> usize {
        data::RING_SLOTS.wrapping_sub(self.index) as usize
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
        while let Some(&[number, arguments @ ..]) = self.ring.rest().first() {
            let mut long = false;
            let made = if generation.call(number) == Some(Hypercall::SetPte) {
                // Nearly all of what a guest queues.
                self.make_leaf_changes(number)?
            } else {
                let call = Call::queued(number, arguments);
                count(&mut self.counters.queued_calls, number, 1);
                // A call that was queued has no EAX to answer into.
                let reply = self.execute_queued(&call, clock)?;
                long = matches!(reply, Reply::Unfinished | Reply::Long);
                usize::from(reply != Reply::Unfinished)
            };
            self.ring.done = self.ring.done.wrapping_add(made);
            self.cursor.advance(made);
            if long || self.mmu.is_tired() {
                drained = Drained::Part;
                break;
            }
        }
        self.mark_empty(first, self.ring.done)?;
        Ok(drained)
    }

    /// Executes the SET_PTEs that are next, at least one of them, which have this `number`. Returns how many.
    fn make_leaf_changes(&mut self, number: u32) -> Result<usize, Kill> {
        let mut changes = LeafChanges {
            calls: self.ring.rest().iter(),
            number,
        };
        self.mmu.set_ptes(&self.memory, &mut changes)?;
        let left = changes.calls.len();
        let made = self.ring.rest().len().wrapping_sub(left);
        count(&mut self.counters.queued_calls, number, made as u64);
        Ok(made)
    }

    /// Tells the guest that so many slots, from `first` on, are free again. It cannot look in
    /// between, so they are written together.
    fn mark_empty(&self, first: Cursor, slots: usize) -> Result<(), Kill> {
        const EMPTY: [u8; data::RING_SLOTS as usize] = [data::SLOT_EMPTY; _];
        let all = EMPTY.get(..slots).unwrap_or(&EMPTY);
        match all.split_at_checked(first.up_to_the_end()) {
            None => self.memory.write(first.due, all)?,
            Some((here, wrapped)) => {
                self.memory.write(first.due, here)?;
                self.memory.write(first.status, wrapped)?;
            }
        }
        Ok(())
    }
}

/// A call from the ring: its number, then its arguments.
type Queued = [u32; 5];

/// What was queued when draining began. A slot that fills up meanwhile waits for the next call, so a guest cannot
/// keep the host here.
#[derive(Debug)]
pub(super) struct Ring {
    /// The calls that were ready, in their order.
    calls: [Queued; data::RING_SLOTS as usize],
    ready: usize,
    /// So many of them were executed.
    done: usize,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            calls: [[0; _]; _],
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
        let slot = generation.slot;
        let first = generation.data.hcalls;
        let here = shared.field(first.wrapping_add(due.index.wrapping_mul(slot.size())));
        self.done = 0;
        if let Some(few) = a_few_ready(memory, due)? {
            self.ready = few;
            let calls = self.calls.get_mut(..few).unwrap_or_default();
            return read_slots(memory, slot, here, calls);
        }
        let (ready_here, ready_wrapped) = ready(memory, due)?;
        self.ready = ready_here.wrapping_add(ready_wrapped);
        let all = self.calls.get_mut(..self.ready).unwrap_or_default();
        let (calls, wrapped) = all.split_at_mut_checked(ready_here).unwrap_or_default();
        read_slots(memory, slot, here, calls)?;
        read_slots(memory, slot, shared.field(first), wrapped)
    }

    /// The calls that are still to be executed.
    #[inline(always)]
    fn rest(&self) -> &[Queued] {
        self.calls.get(self.done..self.ready).unwrap_or_default()
    }
}

/// How many slots are ready from the one that is due on, if it takes a short look to see.
fn a_few_ready(memory: &impl GuestMemory, due: Cursor) -> Result<Option<usize>, BadAddress> {
    const FEW: usize = size_of::<u64>();
    if due.up_to_the_end() < FEW {
        return Ok(None);
    }
    let status = memory.read_u64(due.due)?.to_le_bytes();
    let is_empty = |status: &u8| *status == data::SLOT_EMPTY;
    Ok(status.iter().position(is_empty))
}

/// How many slots are ready from the one that is due on, up to the end of the ring and from its beginning.
#[inline(never)]
fn ready(memory: &impl GuestMemory, due: Cursor) -> Result<(usize, usize), BadAddress> {
    let mut status = [data::SLOT_EMPTY; data::RING_SLOTS as usize];
    memory.read(due.status, &mut status)?;
    let (wrapped, here) = status
        .split_at_checked(due.index as usize)
        .unwrap_or_default();
    let ready_here = ready_slots(here);
    let ready_wrapped = match ready_here == here.len() {
        true => ready_slots(wrapped),
        false => 0,
    };
    Ok((ready_here, ready_wrapped))
}

/// How many slots at the beginning are ready.
fn ready_slots(status: &[u8]) -> usize {
    /// What guests write; anything else but EMPTY does as well.
    const READY: [u8; 8] = [0; _];
    let (eights, _) = status.as_chunks();
    let eight = eights.iter().take_while(|eight| **eight == READY).count();
    let known = eight.wrapping_mul(READY.len());
    let rest = status.get(known..).unwrap_or_default();
    let is_ready = |status: &&u8| **status != data::SLOT_EMPTY;
    known.wrapping_add(rest.iter().take_while(is_ready).count())
}

/// Reads neighbouring slots, of whatever layout.
#[inline(always)]
fn read_slots(
    memory: &impl GuestMemory,
    slot: Slot,
    at: Gpa,
    calls: &mut [Queued],
) -> Result<(), BadAddress> {
    match slot {
        Slot::FourArguments => memory.read_words(at, calls.as_flattened_mut()),
        _ => read_short_slots(memory, slot, at, calls),
    }
}

/// The same where slots have three arguments.
#[inline(never)]
fn read_short_slots(
    memory: &impl GuestMemory,
    slot: Slot,
    at: Gpa,
    calls: &mut [Queued],
) -> Result<(), BadAddress> {
    let mut words = [[0; 4]; data::RING_SLOTS as usize];
    let words = words.get_mut(..calls.len()).unwrap_or_default();
    memory.read_words(at, words.as_flattened_mut())?;
    for (call, &[number, a, b, c]) in calls.iter_mut().zip(&*words) {
        *call = match slot {
            Slot::FirstArgumentLast => [number, c, a, b, 0],
            _ => [number, a, b, c, 0],
        };
    }
    Ok(())
}

/// What SET_PTEs say that are next in the ring.
struct LeafChanges<'a> {
    calls: core::slice::Iter<'a, Queued>,
    /// The number that SET_PTE has.
    number: u32,
}

impl Iterator for LeafChanges<'_> {
    type Item = LeafChange;

    #[inline(always)]
    fn next(&mut self) -> Option<LeafChange> {
        let &[number, arguments @ ..] = self.calls.as_slice().first()?;
        if number != self.number {
            return None;
        }
        self.calls.next();
        Some(Call::queued(number, arguments).leaf_change())
    }
}
