//! The exit trace: where in the guest exits come from, and what they cost, added up in a table.
//!
//! Only in images with the feature `profile`, for `make profile`. What the table takes of the time is counted apart. A
//! guest chooses the addresses that it exits at, so the table has as many rows as it was given: when few are left,
//! new addresses are no longer told apart.

use crate::address::PAGE_SIZE;
use crate::exit_kind::Kind;
use crate::personality::lguest::Counters;
use crate::registers::Registers;
use core::fmt;
use hv_abi::lguest::Hypercall;

/// Rows that hosts have.
pub const ROWS: usize = 32 * 1024;
/// One in so many rows is for exits whose address is not told apart: fewer than a thousand are needed. If the table
/// were fuller, a search would take long, too.
const FOR_OTHERS: usize = 8;
const RING: u32 = 3;

/// What one row is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    kind: Kind,
    ring: u8,
    /// Where the guest was left; `None` when it is not told apart.
    eip: Option<u32>,
    /// The page of a fault.
    page: Option<u32>,
}

impl Origin {
    /// An exit of this kind; `registers` are those that the guest was left with.
    pub fn new(kind: Kind, registers: &Registers) -> Self {
        Self {
            kind,
            ring: (registers.cs & RING) as u8,
            eip: Some(registers.eip),
            page: None,
        }
    }

    /// The same, at `cr2`.
    pub fn with_fault(self, cr2: u64) -> Self {
        // Beyond 4 GiB an access wraps.
        let address = cr2 as u32;
        Self {
            page: Some(address & !(PAGE_SIZE - 1)),
            ..self
        }
    }

    fn anywhere(self) -> Self {
        Self {
            eip: None,
            page: None,
            ..self
        }
    }

    /// A number that differs where origins do, mostly.
    fn hash(&self) -> u64 {
        // Knuth's multiplicative method, with the golden ratio.
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let words = [self.eip.unwrap_or(0), self.page.unwrap_or(0)];
        let start = self.kind.place() as u64;
        (words.iter()).fold(start, |hash, &word| {
            (hash ^ u64::from(word))
                .wrapping_mul(FACTOR)
                .rotate_left(29)
        })
    }
}

/// What the host did about an exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Handling {
    /// What there was to do for it.
    Served,
    /// It executed the guest's instruction.
    Emulated,
    /// It called the guest's own handler.
    Reflected,
}

impl fmt::Display for Handling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Handling::Served => "served",
            Handling::Emulated => "emulated",
            Handling::Reflected => "reflected",
        })
    }
}

/// Counts that say afterwards how an exit was handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    reflected: u64,
    emulated: u64,
}

impl From<&Counters> for Progress {
    fn from(counters: &Counters) -> Self {
        Self {
            reflected: counters.reflected,
            emulated: counters.emulated,
        }
    }
}

impl Progress {
    fn handling(self, then: Self) -> Handling {
        if then.reflected != self.reflected {
            Handling::Reflected
        } else if then.emulated != self.emulated {
            Handling::Emulated
        } else {
            Handling::Served
        }
    }
}

/// Exits of one origin that were handled alike.
#[derive(Clone, Debug)]
pub struct Row {
    origin: Origin,
    handling: Handling,
    /// 0 in a row that is not in use.
    exits: u64,
    /// Counts of the time-stamp counter from exit to entry.
    host: u64,
    /// Those that the guest ran before it was left.
    guest: u64,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            origin: Origin {
                kind: Kind::Wake,
                ring: 0,
                eip: None,
                page: None,
            },
            handling: Handling::Served,
            exits: 0,
            host: 0,
            guest: 0,
        }
    }
}

/// An exit that the host has not finished with.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    origin: Origin,
    since: u64,
    guest: u64,
    before: Progress,
}

/// The table, and what is no exit's.
#[derive(Debug)]
pub struct Profile {
    rows: &'static mut [Row],
    used: usize,
    under_way: Option<UnderWay>,
    /// The first entry.
    began: Option<u64>,
    /// When the last exit was found to have been handled.
    until: u64,
    /// When the host went to sleep.
    slept: Option<u64>,
    asleep: u64,
    itself: u64,
    /// The part of it that has not been added yet.
    took: u64,
}

impl Profile {
    /// One that fills these rows.
    pub fn new(rows: &'static mut [Row]) -> Self {
        Self {
            rows,
            used: 0,
            under_way: None,
            began: None,
            until: 0,
            slept: None,
            asleep: 0,
            itself: 0,
            took: 0,
        }
    }

    /// The guest was entered at one time and left at another. `now`: what has been counted by then.
    pub fn exited(&mut self, origin: Origin, entered: u64, left: u64, now: Progress) {
        self.finish(entered, now);
        self.began.get_or_insert(entered);
        self.begin(origin, left, left.wrapping_sub(entered), now);
    }

    /// The host sleeps, or the guest has ended: the last exit has been handled.
    pub fn rests(&mut self, at: u64, now: Progress) {
        self.finish(at, now);
        self.slept = Some(at);
    }

    /// The host woke.
    pub fn wakes(&mut self, origin: Origin, at: u64, now: Progress) {
        if let Some(slept) = self.slept.take() {
            let slept = at.wrapping_sub(slept).wrapping_sub(self.take_itself());
            self.asleep = self.asleep.wrapping_add(slept);
        }
        self.begin(origin, at, 0, now);
    }

    /// What the profile itself took of the time just now. On every exit's way, so it is but noted.
    #[inline(always)]
    pub fn took(&mut self, itself: u64) {
        self.took = itself;
    }

    fn take_itself(&mut self) -> u64 {
        let itself = core::mem::take(&mut self.took);
        self.itself = self.itself.wrapping_add(itself);
        itself
    }

    fn begin(&mut self, origin: Origin, since: u64, guest: u64, before: Progress) {
        self.under_way = Some(UnderWay {
            origin,
            since,
            guest,
            before,
        });
    }

    fn finish(&mut self, at: u64, now: Progress) {
        let Some(exit) = self.under_way.take() else {
            return;
        };
        self.until = at;
        let host = at.wrapping_sub(exit.since).wrapping_sub(self.take_itself());
        if let Some(row) = self.row(exit.origin, exit.before.handling(now)) {
            row.exits = row.exits.wrapping_add(1);
            row.host = row.host.wrapping_add(host);
            row.guest = row.guest.wrapping_add(exit.guest);
        }
    }

    /// The row for exits like this one. There is one, unless the table is far smaller than hosts have it.
    fn row(&mut self, mut origin: Origin, handling: Handling) -> Option<&mut Row> {
        let mut place = self.place(origin, handling);
        let is_new = !place.is_some_and(|place| self.is_used(place));
        if is_new && self.used >= self.for_addresses() {
            origin = origin.anywhere();
            place = self.place(origin, handling);
        }
        let place = place?;
        if !self.is_used(place) {
            self.used = self.used.saturating_add(1);
        }
        let row = self.rows.get_mut(place)?;
        (row.origin, row.handling) = (origin, handling);
        Some(row)
    }

    fn for_addresses(&self) -> usize {
        let rows = self.rows.len();
        rows.saturating_sub(rows / FOR_OTHERS)
    }

    fn is_used(&self, place: usize) -> bool {
        self.rows.get(place).is_some_and(|row| row.exits != 0)
    }

    /// Where the row is, or would be.
    fn place(&self, origin: Origin, handling: Handling) -> Option<usize> {
        let first = (origin.hash() as usize).checked_rem(self.rows.len())?;
        let fits = |row: &Row| row.exits == 0 || (row.origin, row.handling) == (origin, handling);
        let rows = || self.rows.iter().enumerate();
        let mut found = rows().skip(first).chain(rows().take(first));
        found.find(|(_, row)| fits(row)).map(|(place, _)| place)
    }

    /// Counts from the first entry until the last exit had been handled.
    fn total(&self) -> u64 {
        (self.began).map_or(0, |began| self.until.wrapping_sub(began))
    }

    /// Everything but the rows, as `make profile` reads it.
    pub fn totals(&self) -> impl fmt::Display {
        let (total, asleep, itself) = (self.total(), self.asleep, self.itself);
        fmt::from_fn(move |f| write!(f, "total={total} asleep={asleep} itself={itself}"))
    }

    /// The rows as `make profile` reads them. `name`: what this guest's hypercalls are.
    pub fn lines(
        &self,
        name: impl Fn(u32) -> Option<Hypercall> + Copy,
    ) -> impl Iterator<Item = impl fmt::Display> {
        let used = self.rows.iter().filter(|row| row.exits != 0);
        used.map(move |row| Line { row, name })
    }
}

/// A row as a line.
struct Line<'a, F> {
    row: &'a Row,
    name: F,
}

impl<F: Fn(u32) -> Option<Hypercall>> fmt::Display for Line<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { row, name } = self;
        let Origin {
            kind,
            ring,
            eip,
            page,
        } = row.origin;
        match kind {
            Kind::Call(number) => match name(number) {
                Some(call) => write!(f, "kind=call:{call:?}")?,
                None => write!(f, "kind=call:{number}")?,
            },
            Kind::Trap(vector) => write!(f, "kind=trap:{vector}")?,
            Kind::Software => f.write_str("kind=system_call")?,
            Kind::Interrupt => f.write_str("kind=interrupt")?,
            Kind::Wake => f.write_str("kind=wake")?,
        }
        write!(f, " handling={} ring={ring}", row.handling)?;
        for (key, address) in [("eip", eip), ("page", page)] {
            if let Some(address) = address {
                write!(f, " {key}={address:#x}")?;
            }
        }
        let Row {
            exits, host, guest, ..
        } = row;
        write!(f, " exits={exits} host={host} guest={guest}")
    }
}

#[cfg(test)]
mod tests;
