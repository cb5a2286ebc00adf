//! ELF kernels (System V ABI, chapters 4 and 5): segments go to their physical addresses.

use super::{LoadError, Part, Placed, boot_page, evidence, ram_size};
use crate::address::{Gpa, Gva};
use crate::memory::GuestMemory;
use elf::abi::{EI_CLASS, EI_NIDENT, ELFCLASS64, ELFMAGIC, EM_386, ET_EXEC, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::segment::{ProgramHeader, SegmentTable};

/// Program headers that are looked at; the historical launcher's limit as well.
pub(super) const MAX_PROGRAM_HEADERS: u16 = 2048;
/// Size of a 32-bit ELF file header.
const FILE_HEADER_SIZE: usize = 52;
/// Size of a 32-bit program header.
const PROGRAM_HEADER_SIZE: u16 = 32;
/// Where a 32-bit processor's physical addresses end.
const FOUR_GIB: u64 = 1 << 32;

/// Whether `image` calls itself an ELF file.
pub(super) fn is_elf(image: &[u8]) -> bool {
    image.starts_with(&ELFMAGIC)
}

/// A PT_LOAD program header that has been checked against RAM.
struct Segment {
    index: u16,
    header: ProgramHeader,
}

impl Segment {
    fn end(&self) -> u64 {
        self.header.p_paddr.saturating_add(self.header.p_memsz)
    }

    fn overlaps(&self, other: &Segment) -> bool {
        self.header.p_paddr < other.end() && other.header.p_paddr < self.end()
    }
}

/// Copies the file bytes of each loadable segment. What a segment has beyond them stays as it is:
/// guest RAM is zeroed before.
pub(super) fn place<'a>(
    memory: &impl GuestMemory,
    image: &'a [u8],
) -> Result<Placed<'a>, LoadError> {
    let header = file_header(image)?;
    let table = program_headers(image, &header)?;
    let mut end = None;
    for segment in segments(&table) {
        check(memory, &segment)?;
        // Quadratic, but over at most 2048 headers, and without memory for a sorted copy.
        let rival = segments(&table)
            .take_while(|other| other.index < segment.index)
            .find(|other| segment.overlaps(other));
        if let Some(other) = rival {
            return Err(LoadError::SegmentsOverlap {
                first: other.index,
                second: segment.index,
            });
        }
        let bytes = file_bytes(image, &segment)?;
        memory.write(Gpa::new(segment.header.p_paddr), bytes)?;
        end = end.max(Some(segment.end()));
    }
    Ok(Placed {
        entry: Gpa::new(header.e_entry),
        end: end.ok_or(LoadError::NoLoadableSegment)?,
        setup_header: &[],
    })
}

/// Physical address of the byte after a G1 kernel's entry marker; `None` without one.
pub(super) fn marked_entry(image: &[u8]) -> Option<Gva> {
    let offset = evidence::marked_entry(image)? as u64;
    let header = file_header(image).ok()?;
    let table = program_headers(image, &header).ok()?;
    let mut places = segments(&table).filter_map(|Segment { header, .. }| {
        let inside = offset.checked_sub(header.p_offset)?;
        (inside < header.p_filesz).then(|| header.p_paddr.wrapping_add(inside))
    });
    places.next().map(|place| Gva::new(place as u32))
}

/// The file header of a 32-bit executable for the 80386.
fn file_header(image: &[u8]) -> Result<FileHeader<LittleEndian>, LoadError> {
    let truncated = LoadError::Truncated {
        part: Part::ElfHeader,
        needed: FILE_HEADER_SIZE as u64,
        size: image.len() as u64,
    };
    let bytes = image.get(..FILE_HEADER_SIZE).ok_or(truncated.clone())?;
    if bytes.get(EI_CLASS) == Some(&ELFCLASS64) {
        return Err(LoadError::SixtyFourBit);
    }
    let (identification, tail) = bytes.split_at_checked(EI_NIDENT).ok_or(truncated.clone())?;
    let identification =
        parse_ident(identification).map_err(|_| LoadError::BadElfIdentification)?;
    let header = FileHeader::parse_tail(identification, tail).map_err(|_| truncated)?;
    if header.e_machine != EM_386 {
        return Err(LoadError::OtherMachine(header.e_machine));
    }
    if header.e_type != ET_EXEC {
        return Err(LoadError::NotExecutable(header.e_type));
    }
    Ok(header)
}

fn program_headers<'a>(
    image: &'a [u8],
    header: &FileHeader<LittleEndian>,
) -> Result<SegmentTable<'a, LittleEndian>, LoadError> {
    let count = header.e_phnum;
    if count == 0 || count > MAX_PROGRAM_HEADERS {
        return Err(LoadError::ProgramHeaderCount(count));
    }
    if header.e_phentsize != PROGRAM_HEADER_SIZE {
        return Err(LoadError::ProgramHeaderSize(header.e_phentsize));
    }
    let length = u64::from(count).saturating_mul(PROGRAM_HEADER_SIZE.into());
    let bytes = slice(image, header.e_phoff, length, Part::ProgramHeaders)?;
    Ok(SegmentTable::new(LittleEndian, Class::ELF32, bytes))
}

/// The loadable segments that take up memory, in file order.
fn segments(table: &SegmentTable<'_, LittleEndian>) -> impl Iterator<Item = Segment> {
    (0..)
        .zip(table.iter())
        .map(|(index, header)| Segment { index, header })
        .filter(|segment| segment.header.p_type == PT_LOAD && segment.header.p_memsz != 0)
}

fn check(memory: &impl GuestMemory, segment: &Segment) -> Result<(), LoadError> {
    let Segment { index, header } = *segment;
    let at = Gpa::new(header.p_paddr);
    if header.p_filesz > header.p_memsz {
        return Err(LoadError::SegmentLargerThanMemory {
            index,
            file: header.p_filesz,
            memory: header.p_memsz,
        });
    }
    if segment.end() > FOUR_GIB {
        return Err(LoadError::SegmentWraps {
            index,
            at,
            size: header.p_memsz,
        });
    }
    if !memory.contains(at, header.p_memsz) {
        return Err(LoadError::SegmentOutsideRam {
            index,
            end: Gpa::new(segment.end()),
            ram: ram_size(memory),
        });
    }
    if at < boot_page::END {
        return Err(LoadError::SegmentInBootPages {
            index,
            at,
            limit: boot_page::END,
        });
    }
    Ok(())
}

fn file_bytes<'a>(image: &'a [u8], segment: &Segment) -> Result<&'a [u8], LoadError> {
    let header = &segment.header;
    slice(
        image,
        header.p_offset,
        header.p_filesz,
        Part::Segment(segment.index),
    )
}

/// `length` bytes of the file from `offset`, or an error that says how long it would have to be.
fn slice(image: &[u8], offset: u64, length: u64, part: Part) -> Result<&[u8], LoadError> {
    let end = offset.saturating_add(length);
    let inside = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
    inside
        .and_then(|(offset, end)| image.get(offset..end))
        .ok_or(LoadError::Truncated {
            part,
            needed: end,
            size: image.len() as u64,
        })
}
