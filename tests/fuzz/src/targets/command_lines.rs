//! The host's command line.

use hv_core::command_line::{MEMORY_MIB, Options, ROOTS};
use hv_core::load::boot_tables::is_page_offset;

/// What the user says: what is accepted lies within its limits, means the same again if it is said twice,
/// and leaves the guest's own words as they are.
pub fn command_lines(line: &[u8]) {
    let options = match Options::parse([line]) {
        Ok(options) => options,
        Err(error) => return super::is_one_clean_line(&error),
    };
    assert!(
        options
            .memory_mib
            .is_none_or(|mib| MEMORY_MIB.contains(&mib))
    );
    assert!(options.roots.is_none_or(|roots| ROOTS.contains(&roots)));
    assert!(options.page_offset.is_none_or(is_page_offset));
    let host = match options.guest {
        Some(guest) => {
            assert!(line.ends_with(guest));
            &line[..line.len() - guest.len()]
        }
        None => line,
    };
    let host = host.trim_ascii_end();
    let host = host.strip_suffix(b"--").unwrap_or(host);
    // The later word holds, so each of the second half does.
    let twice = [host, b" ", line].concat();
    assert_eq!(Options::parse([&twice[..]]).as_ref(), Ok(&options));
}
