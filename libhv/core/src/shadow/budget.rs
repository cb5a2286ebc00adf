//! How much memory shadow tables get, when nobody says how much.

/// Fraction of guest RAM. A table for each 32 pages of RAM is several times what Linux has at rest, and lets a guest
/// that uses all of its RAM through small address spaces keep them.
const FRACTION: u64 = 32;
/// Never less than this, or the machine is too small for the guest.
const LEAST: u64 = 1 << 20;
/// Address spaces that stay in the shadow however little RAM the guest has, and the bytes of tables for each: a root, a
/// directory, and three leaf tables.
const ADDRESS_SPACES: u64 = 1024;
const BYTES_OF_EACH: u64 = 5 * 4096;
/// For them the machine gives at most this fraction of what it has left.
const FRACTION_OF_MACHINE: u64 = 4;

/// Bytes for the shadow tables of a guest with `ram` bytes, where the machine has `left` bytes in one piece.
pub fn default_budget(ram: u64, left: u64) -> u64 {
    let needed = (ram / FRACTION).max(LEAST);
    let wished = ADDRESS_SPACES.wrapping_mul(BYTES_OF_EACH);
    needed.max(wished.min(left / FRACTION_OF_MACHINE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_thousand_address_spaces_fit_wherever_the_machine_has_room() {
        for ram in [2, 32, 96, 640] {
            assert_eq!(default_budget(ram * MIB, 80 * MIB), 20 * MIB, "{ram} MiB");
        }
        assert_eq!(default_budget(3072 * MIB, 80 * MIB), 96 * MIB);
    }

    #[test]
    fn a_small_machine_gives_a_quarter_of_what_it_has_left() {
        assert_eq!(default_budget(32 * MIB, 40 * MIB), 10 * MIB);
        assert_eq!(default_budget(32 * MIB, 80 * MIB - 4), 20 * MIB - 1);
    }

    /// The machine may have less than that: then it is told so when it gives it.
    #[test]
    fn what_the_guest_needs_does_not_depend_on_the_machine() {
        for left in [0, 1, 4] {
            assert_eq!(default_budget(2 * MIB, left * MIB), MIB);
            assert_eq!(default_budget(1024 * MIB, left * MIB), 32 * MIB);
        }
    }
}
