//! What can go wrong before or beside the machine itself.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

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
