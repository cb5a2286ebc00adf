//! Who owns which of the machine's memory.

use super::{Frame, Free, Run};
use crate::address::{Hfn, Hpa, PAGE_SIZE};
use core::fmt;
use core::ops::Range;
use heapless::Vec;

/// Free ranges that the allocator can remember. Memory maps have a dozen at most, and the host takes
/// its few large runs once, when it starts.
const RANGES: usize = 64;

/// Frame numbers from `start` up to and without `end`.
type Frames = Range<u64>;

/// Hands out runs of free frames, first fit, and takes them back.
///
/// All memory it does not know is somebody else's: it starts empty, learns what is usable
/// ([`FrameAllocator::add`]) and what of that is in use already ([`FrameAllocator::reserve`]).
#[derive(Debug, Default)]
pub struct FrameAllocator {
    /// Sorted, disjoint, not adjacent, none empty.
    free: Vec<Frames, RANGES>,
    usable: u64,
    /// Fault injection: calls of [`FrameAllocator::take`] that are still served; `None` for all.
    #[cfg(feature = "fault-injection")]
    takes_left: Option<u64>,
}

/// No free run is large enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfFrames {
    /// Frames wanted.
    pub wanted: u64,
    /// Frames in the largest run that is free.
    pub largest: u64,
}

impl fmt::Display for OutOfFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no free run of {} frames; the largest has {}",
            self.wanted, self.largest
        )
    }
}

impl core::error::Error for OutOfFrames {}

/// The allocator's list of ranges is full; what it could not take is still the caller's.
#[derive(Debug, PartialEq, Eq)]
pub struct TooManyRanges<T>(pub T);

/// How much memory there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Frames that were ever added.
    pub usable: u64,
    /// Frames that are free.
    pub free: u64,
    /// Frames in the largest free run.
    pub largest: u64,
}

impl FrameAllocator {
    /// An allocator without memory.
    pub const fn new() -> Self {
        Self {
            free: Vec::new(),
            usable: 0,
            #[cfg(feature = "fault-injection")]
            takes_left: None,
        }
    }

    /// From now on serves `takes` calls of [`FrameAllocator::take`], and says to all later ones that nothing is
    /// free. For tests that every allocation may fail.
    #[cfg(feature = "fault-injection")]
    pub fn fail_after(&mut self, takes: u64) {
        self.takes_left = Some(takes);
    }

    /// Adds memory that the machine's map says is usable: the whole frames in `bytes`. Memory maps
    /// may list a range twice or let two overlap; a frame is added once.
    ///
    /// # Errors
    /// When the list of ranges is full: part of `bytes` stays unknown to the allocator.
    pub fn add(&mut self, bytes: Range<Hpa>) -> Result<(), TooManyRanges<Range<Hpa>>> {
        let start = bytes.start.raw().div_ceil(u64::from(PAGE_SIZE));
        let end = Hfn::containing(bytes.end).raw();
        let before = self.statistics().free;
        // What is known already goes first, so that what is left is disjoint from all others.
        self.remove(start..end)
            .and_then(|()| self.insert(start..end))
            .map_err(|_| TooManyRanges(bytes))?;
        self.usable = self
            .usable
            .wrapping_add(self.statistics().free.wrapping_sub(before));
        Ok(())
    }

    /// Takes every frame that `bytes` touches out of what is free, for good: the image, what the boot
    /// loader left, devices.
    ///
    /// # Errors
    /// When the list of ranges is full; nothing has changed.
    pub fn reserve(&mut self, bytes: Range<Hpa>) -> Result<(), TooManyRanges<Range<Hpa>>> {
        let end = bytes.end.raw().div_ceil(u64::from(PAGE_SIZE));
        let frames = Hfn::containing(bytes.start).raw()..end;
        self.remove(frames).map_err(|_| TooManyRanges(bytes))
    }

    /// Takes `count` consecutive frames, the first a multiple of `alignment` frames.
    ///
    /// # Errors
    /// When no free run is large enough.
    pub fn take(&mut self, count: u64, alignment: u64) -> Result<Run<Free>, OutOfFrames> {
        #[cfg(feature = "fault-injection")]
        if let Some(left) = self.takes_left {
            let none = OutOfFrames {
                wanted: count,
                largest: 0,
            };
            self.takes_left = Some(left.checked_sub(1).ok_or(none)?);
        }
        let fits = |range: &Frames| {
            let start = range.start.checked_next_multiple_of(alignment.max(1))?;
            let end = start.checked_add(count)?;
            (end <= range.end && count > 0).then_some(start..end)
        };
        let found = self.free.iter().find_map(fits);
        // A run out of the middle needs room for one more range.
        match found.and_then(|frames| self.remove(frames.clone()).ok().map(|()| frames)) {
            Some(frames) => Ok(Run::of(Hfn::new(frames.start), count)),
            None => Err(OutOfFrames {
                wanted: count,
                largest: self.statistics().largest,
            }),
        }
    }

    /// Takes one frame.
    ///
    /// # Errors
    /// When none is free.
    pub fn take_frame(&mut self) -> Result<Frame<Free>, OutOfFrames> {
        let empty = OutOfFrames {
            wanted: 1,
            largest: 0,
        };
        self.take(1, 1)?.take_first().ok_or(empty)
    }

    /// Takes a run back.
    ///
    /// # Errors
    /// When the list of ranges is full: the run is the caller's still.
    pub fn free<S>(&mut self, run: Run<S>) -> Result<(), TooManyRanges<Run<S>>> {
        let start = run.first.raw();
        self.insert(start..start.wrapping_add(run.count))
            .map_err(|_| TooManyRanges(run))
    }

    /// How much memory there is.
    pub fn statistics(&self) -> Statistics {
        let lengths = || {
            self.free
                .iter()
                .map(|range| range.end.wrapping_sub(range.start))
        };
        Statistics {
            usable: self.usable,
            free: lengths().sum(),
            largest: lengths().max().unwrap_or(0),
        }
    }

    /// Adds a range that is disjoint from all others, joined with its neighbours.
    fn insert(&mut self, frames: Frames) -> Result<(), Frames> {
        if frames.is_empty() {
            return Ok(());
        }
        let at = self
            .free
            .iter()
            .take_while(|range| range.end < frames.start)
            .count();
        let mut joined = frames.clone();
        while let Some(next) = self.free.get(at).filter(|range| range.start <= joined.end) {
            joined = joined.start.min(next.start)..joined.end.max(next.end);
            self.free.remove(at);
        }
        self.free.insert(at, joined).map_err(|_| frames)
    }

    /// Removes a span from all ranges. On error nothing has changed.
    fn remove(&mut self, frames: Frames) -> Result<(), Frames> {
        let mut left = Vec::<Frames, RANGES>::new();
        for range in &self.free {
            let below = range.start..range.end.min(frames.start);
            let above = range.start.max(frames.end)..range.end;
            for part in [below, above] {
                if !part.is_empty() {
                    left.push(part).map_err(|_| frames.clone())?;
                }
            }
        }
        self.free = left;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Host;
    use super::*;
    use proptest::prelude::*;

    fn span(frames: Range<u64>) -> Range<Hpa> {
        Hfn::new(frames.start).start()..Hfn::new(frames.end).start()
    }

    fn with(frames: Range<u64>) -> FrameAllocator {
        let mut allocator = FrameAllocator::new();
        allocator.add(span(frames)).unwrap();
        allocator
    }

    #[test]
    fn only_whole_frames_are_added() {
        let mut allocator = FrameAllocator::new();
        allocator.add(Hpa::new(0x1001)..Hpa::new(0x3fff)).unwrap();
        assert_eq!(
            allocator.statistics(),
            Statistics {
                usable: 1,
                free: 1,
                largest: 1
            }
        );
    }

    #[test]
    fn a_frame_that_the_map_lists_twice_is_there_once() {
        let mut allocator = with(0..10);
        allocator.add(span(5..20)).unwrap();
        assert_eq!(
            allocator.statistics(),
            Statistics {
                usable: 20,
                free: 20,
                largest: 20
            }
        );
    }

    #[test]
    fn every_frame_that_a_reservation_touches_is_gone() {
        let mut allocator = with(0..10);
        allocator
            .reserve(Hpa::new(0x3fff)..Hpa::new(0x5001))
            .unwrap();
        assert_eq!(allocator.statistics().free, 7);
        assert_eq!(allocator.statistics().largest, 4);
    }

    #[test]
    fn exhaustion_names_what_was_wanted_and_what_there_is() {
        let mut allocator = with(0..10);
        let error = allocator.take(11, 1).unwrap_err();
        assert_eq!(
            error,
            OutOfFrames {
                wanted: 11,
                largest: 10
            }
        );
        assert_eq!(
            error.to_string(),
            "no free run of 11 frames; the largest has 10"
        );
        assert!(allocator.take(10, 1).is_ok());
        assert_eq!(
            allocator.take_frame().unwrap_err(),
            OutOfFrames {
                wanted: 1,
                largest: 0
            }
        );
    }

    #[test]
    fn a_run_starts_where_its_alignment_says() {
        let mut allocator = with(3..2000);
        let run = allocator.take(512, 512).unwrap();
        assert_eq!(run.start(), Hfn::new(512).start());
    }

    #[test]
    fn a_full_list_gives_the_run_back() {
        let mut allocator = with(0..1000);
        let mut odd = std::vec::Vec::new();
        let mut even = std::vec::Vec::new();
        for index in 0..200 {
            let run = allocator.take(1, 1).unwrap().into_state::<Host>();
            if index % 2 == 0 {
                even.push(run)
            } else {
                odd.push(run)
            }
        }
        let mut refused = 0;
        for run in even {
            if let Err(TooManyRanges(run)) = allocator.free(run) {
                refused += run.count();
            }
        }
        assert_eq!(refused, 100 - (RANGES as u64 - 1));
    }

    proptest! {
        #[test]
        fn no_frame_is_ever_handed_out_twice_and_all_come_back(
            requests in prop::collection::vec((1u64..40, 0u32..6, any::<bool>()), 1..60)
        ) {
            let mut allocator = with(7..500);
            let mut owned: std::vec::Vec<Run<Host>> = std::vec::Vec::new();
            for (count, alignment, give) in requests {
                if give && !owned.is_empty() {
                    let index = count as usize % owned.len();
                    prop_assert!(allocator.free(owned.swap_remove(index)).is_ok());
                } else if let Ok(run) = allocator.take(count, 1 << alignment) {
                    prop_assert_eq!(run.first.raw() % (1 << alignment), 0);
                    prop_assert!(run.first.raw() >= 7 && run.first.raw() + run.count() <= 500);
                    for other in &owned {
                        let apart = run.first.raw() + run.count() <= other.first.raw()
                            || other.first.raw() + other.count() <= run.first.raw();
                        prop_assert!(apart);
                    }
                    owned.push(run.into_state());
                }
            }
            for run in owned {
                prop_assert!(allocator.free(run).is_ok());
            }
            prop_assert_eq!(allocator.statistics(), Statistics { usable: 493, free: 493, largest: 493 });
        }
    }
}
