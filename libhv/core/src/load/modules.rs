//! What a boot module holds: a kernel alone, or an archive of a kernel and what belongs to it.

use super::archive::{Archive, ArchiveError, FileName};

/// The parts of a guest in one boot module; a part that is not there is `None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Modules<'a> {
    /// The file `kernel`, or the whole module when it is no archive.
    pub kernel: Option<&'a [u8]>,
    /// The file `initrd`.
    pub initrd: Option<&'a [u8]>,
    /// The file `cmdline`, without the line feed that editors leave at its end.
    pub command_line: Option<&'a [u8]>,
    /// The file `host-cmdline`, likewise: words that the host reads before those of its boot loader.
    pub host_command_line: Option<&'a [u8]>,
    /// The files `disk0` to `disk3`: contents of disks.
    pub disks: [Option<&'a [u8]>; DISKS],
}

/// Disks that an archive can hold.
pub const DISKS: usize = 4;

impl<'a> Modules<'a> {
    /// Takes `module` apart. A `newc` archive may hold `kernel`, `initrd`, `cmdline`, `disk0` to
    /// `disk3` and `host-cmdline`, and nothing else; whatever is not an archive is taken for a kernel.
    pub fn parse(module: &'a [u8]) -> Result<Self, ArchiveError> {
        let mut modules = Self::default();
        let Some(archive) = Archive::new(module) else {
            modules.kernel = Some(module);
            return Ok(modules);
        };
        for file in archive {
            let file = file?;
            let part = match file.name {
                b"kernel" => &mut modules.kernel,
                b"initrd" => &mut modules.initrd,
                b"cmdline" => &mut modules.command_line,
                b"host-cmdline" => &mut modules.host_command_line,
                other => disk(&mut modules.disks, other)
                    .ok_or_else(|| ArchiveError::UnknownFile(printable(other)))?,
            };
            if part.replace(file.contents).is_some() {
                return Err(ArchiveError::DuplicateFile(printable(file.name)));
            }
        }
        for line in [&mut modules.command_line, &mut modules.host_command_line] {
            *line = line.map(<[u8]>::trim_ascii_end);
        }
        Ok(modules)
    }
}

/// The disk with this name.
fn disk<'d, 'a>(
    disks: &'d mut [Option<&'a [u8]>; DISKS],
    name: &[u8],
) -> Option<&'d mut Option<&'a [u8]>> {
    let [b'd', b'i', b's', b'k', digit] = name else {
        return None;
    };
    disks.get_mut(usize::from(digit.checked_sub(b'0')?))
}

fn printable(name: &[u8]) -> FileName {
    let shown = name
        .iter()
        .map(|byte| if byte.is_ascii_graphic() { *byte } else { b'?' });
    shown
        .take(FileName::new().capacity())
        .map(char::from)
        .collect()
}
