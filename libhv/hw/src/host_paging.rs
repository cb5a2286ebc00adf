//! The host's own page tables.
//!
//! No page is both writable and executable, under any of its addresses; below every stack lies a page
//! that is not mapped; nothing is mapped outside PML4 slots 256 to 271.

use crate::direct_map;
use crate::entry_area::ExceptionStack;
use core::fmt;
use core::ops::Range;
use core::ptr::NonNull;
use hv_core::address::{Hpa, PAGE_SIZE};
use hv_core::frames::{Frame, FrameAllocator, Host, OutOfFrames};

/// Linear address of the image's physical address 0; the link script has it too.
pub const IMAGE_BASE: u64 = 0xffff_8200_0000_0000;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const WRITE_THROUGH: u64 = 1 << 3;
const CACHE_DISABLE: u64 = 1 << 4;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;
pub(crate) const FRAME: u64 = 0x000f_ffff_ffff_f000;

const SMALL_PAGE: u64 = PAGE_SIZE as u64;
const LARGE_PAGE: u64 = 2 << 20;

unsafe extern "C" {
    static image_start: u8;
    static text_start: u8;
    static switcher_start: u8;
    static switcher_end: u8;
    static rodata_start: u8;
    static data_start: u8;
    static entry_start: u8;
    static entry_end: u8;
    static stack_guard: u8;
    static image_end: u8;
}

/// What may be done with a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rights {
    Read,
    ReadWrite,
    ReadExecute,
    Device,
}

impl Rights {
    fn bits(self) -> u64 {
        match self {
            Rights::Read => NO_EXECUTE,
            Rights::ReadWrite => WRITABLE | NO_EXECUTE,
            Rights::ReadExecute => 0,
            Rights::Device => WRITABLE | NO_EXECUTE | CACHE_DISABLE | WRITE_THROUGH,
        }
    }
}

/// Whether translations of the host outlive a CR3 load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lifetime {
    /// They do: shared mode never unmaps the host.
    Global,
    /// They do not: isolated mode loads CR3 so that they are gone.
    UntilCr3Load,
}

/// Device memory could not be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// It does not lie wholly where the direct map has a place for it.
    OutOfReach(Hpa),
    /// There are no frames for the tables.
    OutOfFrames(OutOfFrames),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::OutOfReach(at) => write!(
                f,
                "device memory at {at} lies beyond the {} GiB that the host can map",
                direct_map::SIZE >> 30
            ),
            MapError::OutOfFrames(error) => write!(f, "page tables for a device: {error}"),
        }
    }
}

impl core::error::Error for MapError {}

impl From<OutOfFrames> for MapError {
    fn from(error: OutOfFrames) -> Self {
        MapError::OutOfFrames(error)
    }
}

/// A part of the image, in linear addresses, with its rights.
type Section = (Range<u64>, Rights);

/// The parts of the image above its boot code, in the order of the link script.
fn sections() -> [Section; 5] {
    let between = |first: *const u8, end: *const u8| first.addr() as u64..end.addr() as u64;
    [
        (
            between(&raw const text_start, &raw const rodata_start),
            Rights::ReadExecute,
        ),
        (
            between(&raw const rodata_start, &raw const data_start),
            Rights::Read,
        ),
        (
            between(&raw const data_start, &raw const entry_start),
            Rights::ReadWrite,
        ),
        (
            between(&raw const entry_start, &raw const entry_end),
            Rights::ReadWrite,
        ),
        (
            between(&raw const stack_guard, &raw const image_end),
            Rights::ReadWrite,
        ),
    ]
}

/// The parts that isolated mode leaves mapped beside the guest.
fn entry_sections() -> [Section; 2] {
    let between = |first: *const u8, end: *const u8| first.addr() as u64..end.addr() as u64;
    [
        (
            between(&raw const switcher_start, &raw const switcher_end),
            Rights::ReadExecute,
        ),
        (
            between(&raw const entry_start, &raw const entry_end),
            Rights::ReadWrite,
        ),
    ]
}

/// Physical addresses that the image occupies, from its boot code to the end of its stack.
pub fn image() -> Range<Hpa> {
    let (start, end) = (&raw const image_start, &raw const image_end);
    Hpa::new(start.addr() as u64)..Hpa::new(end.addr() as u64 - IMAGE_BASE)
}

/// Frames that the image occupies.
pub fn image_frames() -> u64 {
    let image = image();
    (image.end.raw() - image.start.raw()) / SMALL_PAGE
}

/// The pages below the stacks that are never mapped.
fn guards() -> [u64; 5] {
    let mut guards = [(&raw const stack_guard).addr() as u64; 5];
    for (guard, stack) in guards.iter_mut().zip(ExceptionStack::ALL) {
        *guard = stack.guard();
    }
    guards
}

/// Whether `address` lies in the page below one of the stacks.
pub fn is_guard(address: u64) -> bool {
    guards().contains(&(address & !(SMALL_PAGE - 1)))
}

/// A tree of page tables under construction or in use.
#[derive(Debug)]
pub struct PageTables {
    pml4: Frame<Host>,
    lifetime: Lifetime,
    /// Frames of the tree, for the account of what the host takes.
    frames: u64,
}

impl PageTables {
    fn empty(frames: &mut FrameAllocator, lifetime: Lifetime) -> Result<Self, OutOfFrames> {
        Ok(Self {
            pml4: cleared(frames)?,
            lifetime,
            frames: 1,
        })
    }

    /// The host's tables: all RAM of the memory map at the direct map, and the image. Read-only parts
    /// of the image are read-only in the direct map too.
    ///
    /// # Errors
    /// When there are no frames for the tables.
    pub fn host(
        frames: &mut FrameAllocator,
        ram: &[Range<Hpa>],
        lifetime: Lifetime,
    ) -> Result<Self, OutOfFrames> {
        let mut tables = Self::empty(frames, lifetime)?;
        for range in ram {
            tables.map_ram(frames, range)?;
        }
        for (linear, rights) in sections() {
            tables.map_image(frames, linear, rights)?;
        }
        Ok(tables)
    }

    /// Tables that map the switcher and the entry area only, with the window in it.
    ///
    /// # Errors
    /// When there are no frames for the tables.
    pub fn switcher_only(frames: &mut FrameAllocator) -> Result<Self, OutOfFrames> {
        let mut tables = Self::empty(frames, Lifetime::UntilCr3Load)?;
        for (linear, rights) in entry_sections() {
            tables.map_image(frames, linear, rights)?;
        }
        Ok(tables)
    }

    /// Host-physical address of the PML4.
    pub fn root(&self) -> Hpa {
        self.pml4.address()
    }

    /// Frames in the tree.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Maps a device's page uncached, at its place in the direct map, for good.
    ///
    /// # Errors
    /// When there are no frames for the tables.
    pub fn map_device(
        &mut self,
        frames: &mut FrameAllocator,
        page: Hpa,
    ) -> Result<NonNull<u8>, OutOfFrames> {
        let pointer = direct_map::pointer(page);
        self.map(
            frames,
            pointer.addr().get() as u64,
            page,
            Rights::Device,
            SMALL_PAGE,
        )?;
        Ok(pointer)
    }

    /// Maps the pages that `bytes` bytes of device memory at `start` touch, as [`Self::map_device`]
    /// does, and returns where the first byte is.
    ///
    /// # Errors
    /// When part of it is out of the direct map's reach or there are no frames for the tables.
    pub fn map_device_range(
        &mut self,
        frames: &mut FrameAllocator,
        start: Hpa,
        bytes: u64,
    ) -> Result<NonNull<u8>, MapError> {
        let end = start
            .checked_add(bytes)
            .filter(|end| end.raw() <= direct_map::SIZE)
            .ok_or(MapError::OutOfReach(start))?;
        let mut page = start.page_start();
        while page < end {
            self.map_device(frames, page)?;
            page = page.wrapping_add(SMALL_PAGE);
        }
        Ok(direct_map::pointer(start))
    }

    /// The entry that maps the page at `linear`, if it is mapped by itself and not as part of a larger one.
    pub(crate) fn small_page(&self, linear: u64) -> Option<NonNull<u64>> {
        let mut table = self.pml4.address();
        for shift in [39, 30, 21] {
            // SAFETY: `table` is one of our tables.
            let next = unsafe { entry(table, linear >> shift).read() };
            if next & (PRESENT | LARGE) != PRESENT {
                return None;
            }
            table = Hpa::new(next & FRAME);
        }
        Some(entry(table, linear >> 12))
    }

    /// Makes these the tables in use.
    ///
    /// # Safety
    /// They map the running code, its stack and everything that is still needed, at the addresses in
    /// use; the tables before them are nobody's.
    pub unsafe fn load(&self) {
        let frame = x86_64::structures::paging::PhysFrame::containing_address(
            x86_64::PhysAddr::new(self.root().raw()),
        );
        // SAFETY: the caller's promise.
        unsafe {
            x86_64::registers::control::Cr3::write(
                frame,
                x86_64::registers::control::Cr3Flags::empty(),
            );
        }
    }

    fn map_image(
        &mut self,
        frames: &mut FrameAllocator,
        linear: Range<u64>,
        rights: Rights,
    ) -> Result<(), OutOfFrames> {
        let guards = guards();
        for page in linear.step_by(SMALL_PAGE as usize) {
            if !guards.contains(&page) {
                self.map(
                    frames,
                    page,
                    Hpa::new(page - IMAGE_BASE),
                    rights,
                    SMALL_PAGE,
                )?;
            }
        }
        Ok(())
    }

    fn map_ram(
        &mut self,
        frames: &mut FrameAllocator,
        ram: &Range<Hpa>,
    ) -> Result<(), OutOfFrames> {
        let image = image();
        let mut at = ram.start.raw().next_multiple_of(SMALL_PAGE);
        let end = ram.end.raw().min(direct_map::SIZE) & !(SMALL_PAGE - 1);
        while at < end {
            let large = at..at + LARGE_PAGE;
            let whole = at.is_multiple_of(LARGE_PAGE) && large.end <= end;
            let apart = large.end <= image.start.raw() || image.end.raw() <= large.start;
            let size = if whole && apart {
                LARGE_PAGE
            } else {
                SMALL_PAGE
            };
            let rights = image_rights(at).unwrap_or(Rights::ReadWrite);
            self.map(frames, direct_map::BASE + at, Hpa::new(at), rights, size)?;
            at += size;
        }
        Ok(())
    }

    /// Maps one page of `size` bytes. A page that is mapped already keeps its first mapping.
    fn map(
        &mut self,
        frames: &mut FrameAllocator,
        linear: u64,
        physical: Hpa,
        rights: Rights,
        size: u64,
    ) -> Result<(), OutOfFrames> {
        let mut table = self.pml4.address();
        let mut shift = 39;
        let last = if size == LARGE_PAGE { 21 } else { 12 };
        while shift > last {
            let slot = entry(table, linear >> shift);
            // SAFETY: `table` is one of our tables, not in use by anybody else.
            let next = unsafe { slot.read() };
            table = if next & (PRESENT | LARGE) == PRESENT | LARGE {
                return Ok(());
            } else if next & PRESENT != 0 {
                Hpa::new(next & FRAME)
            } else {
                let child = cleared(frames)?.address();
                self.frames += 1;
                // SAFETY: as above.
                unsafe { slot.write(child.raw() | PRESENT | WRITABLE) };
                child
            };
            shift -= 9;
        }
        let slot = entry(table, linear >> last);
        let large = if size == LARGE_PAGE { LARGE } else { 0 };
        let global = if self.lifetime == Lifetime::Global {
            GLOBAL
        } else {
            0
        };
        // SAFETY: as above.
        let was = unsafe { slot.read() };
        if was & PRESENT == 0 {
            // SAFETY: as above.
            unsafe { slot.write(physical.raw() | rights.bits() | large | global | PRESENT) };
        } else if was & LARGE < large {
            // An overlapping range of the memory map has begun this one in small pages.
            for offset in (0..LARGE_PAGE).step_by(SMALL_PAGE as usize) {
                let physical = physical.wrapping_add(offset);
                self.map(frames, linear + offset, physical, rights, SMALL_PAGE)?;
            }
        }
        Ok(())
    }
}

/// The rights of the image's part at a physical address, if the image is there.
fn image_rights(physical: u64) -> Option<Rights> {
    let linear = physical + IMAGE_BASE;
    sections()
        .into_iter()
        .find(|(part, _)| part.contains(&linear))
        .map(|(_, rights)| {
            // The direct map never executes; what it may write is what the image may write.
            if rights == Rights::ReadExecute {
                Rights::Read
            } else {
                rights
            }
        })
}

/// Entry `index` modulo 512 of a table. The boot's tables have the first 4 GiB at the direct map too,
/// and frames are handed out from the lowest on, so this holds while the first tables are built.
fn entry(table: Hpa, index: u64) -> NonNull<u64> {
    // SAFETY: stays inside the table's page.
    unsafe {
        direct_map::pointer(table)
            .cast::<u64>()
            .add(index as usize & 511)
    }
}

fn cleared(frames: &mut FrameAllocator) -> Result<Frame<Host>, OutOfFrames> {
    let mut run = frames.take(1, 1)?.into_state::<Host>();
    let frame = run.take_first().ok_or(OutOfFrames {
        wanted: 1,
        largest: 0,
    })?;
    // SAFETY: the frame is ours and mapped writable (`entry`).
    unsafe { direct_map::pointer(frame.address()).write_bytes(0, SMALL_PAGE as usize) };
    Ok(frame)
}
