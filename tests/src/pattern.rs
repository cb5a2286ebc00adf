//! What micro guests fill memory with, and how they sum it up; the same as in `guests/lib/virtio.c`.

/// Little-endian words from `seed` on, each the next of a linear congruential generator (Knuth's MMIX
/// multiplier, cut to 32 bits).
pub fn words(seed: u32) -> impl Iterator<Item = u8> {
    let words = std::iter::successors(Some(seed), |word| {
        Some(word.wrapping_mul(0x4c95_7f2d).wrapping_add(1))
    });
    words.flat_map(u32::to_le_bytes)
}

/// What [`checksum`] starts with.
pub const START: u32 = 0x811c_9dc5;

/// FNV-1a, 32 bits, going on from `sum`.
pub fn checksum(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// Bytes that repeat nowhere.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}
