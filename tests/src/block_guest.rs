//! What the micro guest `block.c` finds on its disk, and leaves there.

/// Bytes of its disk.
pub const BYTES: usize = 64 << 10;

/// Little-endian words from `seed` on, each the next of a linear congruential generator (Knuth's MMIX
/// multiplier, cut to 32 bits).
fn words(seed: u32) -> impl Iterator<Item = u8> {
    let words = std::iter::successors(Some(seed), |word| {
        Some(word.wrapping_mul(0x4c95_7f2d).wrapping_add(1))
    });
    words.flat_map(u32::to_le_bytes)
}

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
