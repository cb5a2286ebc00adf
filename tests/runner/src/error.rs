//! What can go wrong before or beside the machine itself.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// QEMU's PVH loader copies the command line into a buffer of 4096 bytes without a look at its length, and what
/// lies behind it is the start of all that it tells the image.
pub(crate) const COMMAND_LINE: usize = 4095;

/// Unit of a virtio disk (Virtual I/O Device specification, 5.2).
pub(crate) const SECTOR: u64 = 512;

/// Why a machine could not be started or talked to. The `Display` line is stable.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// A file that the machine needs.
    Read(PathBuf, io::Error),
    /// A file that was asked for.
    Write(PathBuf, io::Error),
    /// A file that was given as two disks: each would overwrite what the other wrote.
    Twice(PathBuf),
    /// A file that cannot be a disk, because it is not made of sectors; its size.
    Sectors(PathBuf, u64),
    /// More bytes of command line than QEMU has room for.
    CommandLine(usize),
    /// A machine for Bochs has a part that only QEMU's have.
    NotOnBochs(&'static str),
    /// The emulator itself.
    Start(PathBuf, io::Error),
    /// A pipe or a socket to the emulator.
    Connection(&'static str, io::Error),
    /// The console did not say what was waited for.
    Unexpected {
        /// What was waited for.
        wanted: String,
        /// What came since the last match.
        got: String,
    },
}

impl RunError {
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| RunError::Read(path.to_owned(), error)
    }

    pub(crate) fn connection(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| RunError::Connection(what, error)
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            RunError::Write(path, error) => write!(f, "cannot write {}: {error}", path.display()),
            RunError::Twice(path) => {
                write!(f, "{} is two disks of one machine", path.display())
            }
            RunError::Sectors(path, size) => write!(
                f,
                "{} cannot be a disk: it has {size} bytes, and a disk has one or more sectors of {SECTOR}",
                path.display()
            ),
            RunError::CommandLine(length) => write!(
                f,
                "the host's command line has {length} bytes; QEMU passes {COMMAND_LINE} on"
            ),
            RunError::NotOnBochs(what) => write!(f, "Bochs cannot be given {what}"),
            RunError::Start(path, error) => write!(f, "cannot start {}: {error}", path.display()),
            RunError::Connection(what, error) => write!(f, "{what}: {error}"),
            RunError::Unexpected { wanted, got } => {
                write!(f, "the console did not say {wanted:?}, but:\n{got}")
            }
        }
    }
}

impl std::error::Error for RunError {}
