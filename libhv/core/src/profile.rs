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
mod tests {
    use super::*;

    fn profile(rows: usize) -> Profile {
        Profile::new(vec![Row::default(); rows].leak())
    }

    fn registers(eip: u32, cs: u32) -> Registers {
        Registers {
            eip,
            cs,
            ..Registers::default()
        }
    }

    fn call(number: u32, eip: u32) -> Origin {
        Origin::new(Kind::Call(number), &registers(eip, 0x61))
    }

    fn fault(eip: u32, cr2: u64) -> Origin {
        Origin::new(Kind::Trap(14), &registers(eip, 0x7b)).with_fault(cr2)
    }

    fn progress(reflected: u64, emulated: u64) -> Progress {
        Progress {
            reflected,
            emulated,
        }
    }

    const NOTHING: Progress = Progress {
        reflected: 0,
        emulated: 0,
    };

    /// The lines of the log, sorted: their order is that of a hash.
    fn lines(profile: &Profile) -> Vec<String> {
        let name = |number| (number == 14).then_some(Hypercall::SetPte);
        let mut lines: Vec<_> = profile.lines(name).map(|line| line.to_string()).collect();
        lines.sort();
        lines
    }

    fn sum(profile: &Profile, of: fn(&Row) -> u64) -> u64 {
        profile.rows.iter().map(of).sum()
    }

    #[test]
    fn exits_of_one_origin_are_added_up() {
        let mut profile = profile(64);
        profile.exited(call(14, 0x1000), 100, 110, NOTHING);
        profile.exited(call(14, 0x1000), 150, 170, NOTHING);
        profile.exited(call(99, 0x2000), 200, 201, NOTHING);
        profile.rests(300, NOTHING);
        let expected = [
            "kind=call:99 handling=served ring=1 eip=0x2000 exits=1 host=99 guest=1",
            "kind=call:SetPte handling=served ring=1 eip=0x1000 exits=2 host=70 guest=30",
        ];
        assert_eq!(lines(&profile), expected);
    }

    #[test]
    fn what_was_done_is_known_by_the_next_entry() {
        let mut profile = profile(64);
        profile.exited(fault(0x10, 0x1_2345), 0, 0, NOTHING);
        profile.exited(fault(0x10, 0x1_2fff), 0, 0, progress(1, 0));
        profile.exited(fault(0x10, 0x1_2000), 0, 0, progress(1, 1));
        profile.rests(0, progress(1, 1));
        let rest = "ring=3 eip=0x10 page=0x12000 exits=1 host=0 guest=0";
        let expected = ["emulated", "reflected", "served"];
        let expected = expected.map(|done| format!("kind=trap:14 handling={done} {rest}"));
        assert_eq!(lines(&profile), expected);
    }

    #[test]
    fn every_count_from_the_first_entry_on_is_somewhere() {
        let mut profile = profile(64);
        profile.exited(call(14, 1), 1000, 1010, NOTHING);
        profile.took(7);
        profile.exited(call(5, 2), 1100, 1130, NOTHING);
        profile.took(5);
        profile.rests(1200, NOTHING);
        profile.took(9);
        profile.wakes(
            Origin::new(Kind::Wake, &Registers::default()),
            9200,
            NOTHING,
        );
        profile.took(3);
        profile.rests(9300, NOTHING);
        let (host, guest) = (
            sum(&profile, |row| row.host),
            sum(&profile, |row| row.guest),
        );
        assert_eq!((guest, profile.asleep, profile.itself), (40, 7991, 24));
        let everything = host + guest + profile.asleep + profile.itself;
        assert_eq!((everything, profile.total()), (8300, 8300));
    }

    #[test]
    fn a_guest_that_exits_everywhere_fills_the_table_but_loses_no_exit() {
        let mut profile = profile(64);
        for eip in 0..10_000 {
            profile.exited(call(eip % 8, eip), 0, 3, NOTHING);
        }
        profile.rests(3, NOTHING);
        assert_eq!(sum(&profile, |row| row.exits), 10_000);
        assert_eq!(sum(&profile, |row| row.guest), 30_000);
        // A place of its own for the first 56, and one for each kind.
        let anywhere = |row: &&Row| row.exits != 0 && row.origin.eip.is_none();
        assert_eq!(profile.rows.iter().filter(anywhere).count(), 8);
        assert_eq!(profile.used, 64);
    }
}
