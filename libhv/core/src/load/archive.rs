//! A reader of cpio archives in the `newc` format (Linux Documentation, "initramfs buffer format").
//!
//! A boot protocol that carries one module carries a whole guest this way.

use core::fmt;

const MAGIC: &[u8] = b"070701";
/// Magic number and thirteen fields of eight hexadecimal digits.
const HEADER_SIZE: usize = 110;
/// Name of the entry that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";
/// Headers and contents start at multiples of this.
const ALIGNMENT: usize = 4;
/// The file type bits of `mode`, and the value that means a directory.
const TYPE_MASK: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;

/// Offsets of the header fields that matter here.
mod field {
    pub const MODE: usize = 14;
    pub const FILE_SIZE: usize = 54;
    pub const NAME_SIZE: usize = 94;
}

/// A file of an archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct File<'a> {
    /// Its name, without a leading `./` and without the NUL.
    pub name: &'a [u8],
    /// Its bytes.
    pub contents: &'a [u8],
}

/// Why an archive cannot be read. Offsets count from the start of the module.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ArchiveError {
    /// No entry starts where one should.
    BadMagic(usize),
    /// A number of the header at this offset is not hexadecimal.
    BadNumber(usize),
    /// The name of the entry at this offset does not end with a NUL.
    BadName(usize),
    /// The entry at `at` reaches past the end.
    Truncated {
        /// Offset of the entry.
        at: usize,
        /// Bytes of the archive.
        size: usize,
    },
    /// A file that no part of a guest goes by.
    UnknownFile(FileName),
    /// A file that is there twice.
    DuplicateFile(FileName),
}

/// The first bytes of a name, made printable.
pub type FileName = heapless::String<32>;

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArchiveError::BadMagic(at) => write!(f, "no cpio entry at byte {at}"),
            ArchiveError::BadNumber(at) => write!(f, "damaged cpio header at byte {at}"),
            ArchiveError::BadName(at) => write!(f, "damaged cpio file name at byte {at}"),
            ArchiveError::Truncated { at, size } => write!(
                f,
                "truncated: the cpio entry at byte {at} reaches past the end at {size}"
            ),
            ArchiveError::UnknownFile(name) => {
                write!(
                    f,
                    "unknown file `{name}`; known: kernel, initrd, cmdline, disk0 to disk3, host-cmdline"
                )
            }
            ArchiveError::DuplicateFile(name) => write!(f, "file `{name}` is there twice"),
        }
    }
}

impl core::error::Error for ArchiveError {}

/// The files of an archive, directories left out. After an error or the trailer there are no more.
#[derive(Clone, Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What one header says.
struct Entry<'a> {
    mode: u32,
    file: File<'a>,
    next: usize,
}

impl<'a> Archive<'a> {
    /// The archive in `bytes`, or `None` when they do not start like one.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.starts_with(MAGIC).then_some(Self { bytes, at: 0 })
    }

    fn entry(&self) -> Result<Entry<'a>, ArchiveError> {
        let at = self.at;
        let truncated = ArchiveError::Truncated {
            at,
            size: self.bytes.len(),
        };
        let rest = self.bytes.get(at..).unwrap_or_default();
        let header = rest.get(..HEADER_SIZE).ok_or(truncated.clone())?;
        if !header.starts_with(MAGIC) {
            return Err(ArchiveError::BadMagic(at));
        }
        let number = |field| hexadecimal(header, field).ok_or(ArchiveError::BadNumber(at));
        let name_end = HEADER_SIZE.saturating_add(number(field::NAME_SIZE)? as usize);
        let contents_start = name_end.checked_next_multiple_of(ALIGNMENT);
        let contents_end = contents_start
            .and_then(|start| start.checked_add(hexadecimal(header, field::FILE_SIZE)? as usize));
        let (Some(start), Some(end)) = (contents_start, contents_end) else {
            return Err(ArchiveError::BadNumber(at));
        };
        let name = rest.get(HEADER_SIZE..name_end).ok_or(truncated.clone())?;
        let contents = rest.get(start..end).ok_or(truncated)?;
        let name = name.strip_suffix(&[0]).ok_or(ArchiveError::BadName(at))?;
        let name = name.strip_prefix(b"./").unwrap_or(name);
        let next = at.saturating_add(end.checked_next_multiple_of(ALIGNMENT).unwrap_or(end));
        Ok(Entry {
            mode: number(field::MODE)?,
            file: File { name, contents },
            next,
        })
    }
}

impl<'a> Iterator for Archive<'a> {
    type Item = Result<File<'a>, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        // Each turn moves on by a header at least, so the length of the archive bounds this.
        while self.at != usize::MAX {
            match self.entry() {
                Ok(entry) if entry.file.name == TRAILER => self.at = usize::MAX,
                Ok(entry) => {
                    self.at = entry.next;
                    if entry.mode & TYPE_MASK != DIRECTORY {
                        return Some(Ok(entry.file));
                    }
                }
                Err(error) => {
                    self.at = usize::MAX;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// The eight hexadecimal digits at `offset`.
fn hexadecimal(header: &[u8], offset: usize) -> Option<u32> {
    let digits = header.get(offset..)?.first_chunk::<8>()?;
    digits.iter().try_fold(0_u32, |number, digit| {
        Some(number << 4 | char::from(*digit).to_digit(16)?)
    })
}
