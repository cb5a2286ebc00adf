//! What a guest did, counted.

/// Slots for hypercall numbers; the highest number is 19.
const CALLS: usize = 20;

/// Event counts since the guest started. They wrap.
#[derive(Clone, Debug)]
pub struct Counters {
    /// Exits handed to the personality, by vector.
    pub exits: [u64; 256],
    /// Hypercalls by `int`, by number.
    pub calls: [u64; CALLS],
    /// Hypercalls from the ring, by number.
    pub queued_calls: [u64; CALLS],
    /// Traps delivered to the guest's own handlers.
    pub reflected: u64,
    /// Virtual interrupts delivered.
    pub interrupts: u64,
    /// Privileged instructions emulated.
    pub emulated: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            exits: [0; 256],
            calls: [0; CALLS],
            queued_calls: [0; CALLS],
            reflected: 0,
            interrupts: 0,
            emulated: 0,
        }
    }
}

/// Counts some more of a number; one outside the table is one that ends the guest anyway.
pub(super) fn count(table: &mut [u64], number: u32, more: u64) {
    if let Some(counter) = table.get_mut(number as usize) {
        *counter = counter.wrapping_add(more);
    }
}
