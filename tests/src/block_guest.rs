//! What the micro guest `block.c` finds on its disk, and leaves there.

use crate::pattern::words;

/// Bytes of its disk.
pub const BYTES: usize = 64 << 10;

/// What it expects at first.
pub fn disk() -> Vec<u8> {
    words(1).take(BYTES).collect()
}

/// What it leaves: five sectors from sector 7 on are others.
pub fn disk_afterwards() -> Vec<u8> {
    let mut disk = disk();
    let changed = 7 * 512..12 * 512;
    let bytes = words(2).take(changed.len());
    disk.splice(changed, bytes);
    disk
}
