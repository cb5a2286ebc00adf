//! Which roots are remembered, and which are not.

use super::rules::{GVA, LEAF, PAGE, frame};
use super::{G, Guest, nth_root};
use hv_machine::{READ, Tables as _};

/// Address spaces here, and those that are remembered.
const SPACES: usize = 5;
const REMEMBERED: usize = 4;
/// Where the tables of the first are: a root, four page directories and a leaf table for each.
const FIRST: u64 = PAGE as u64 + 1;
const OF_A_SPACE: u64 = 6;

fn space(number: usize) -> (u64, [u64; 4], u64) {
    let first = FIRST + OF_A_SPACE * number as u64;
    let directories = [first + 1, first + 2, first + 3, first + 4];
    (nth_root(first, 0), directories, first + 5)
}

/// A machine with [`SPACES`] address spaces of one page, that remembers [`REMEMBERED`] of them.
fn many() -> Guest {
    let machine = Guest::new(64, 64, REMEMBERED);
    for number in 0..SPACES {
        let (root, directories, leaf) = space(number);
        G::build(&machine.tables(), root, directories);
        machine.tables().set_slot(root, GVA, leaf << 12 | 7);
        machine.tables().set(leaf, LEAF, u64::from(PAGE) << 12 | 7);
    }
    machine
}

/// Loads a space and reads its page. Whether it had been forgotten.
fn visit(machine: &mut Guest, number: usize) -> bool {
    machine.load(space(number).0);
    let repairs = machine.repairs;
    assert_eq!(machine.access(GVA, READ), frame(PAGE));
    machine.repairs != repairs
}

/// Whichever place in that order a root has when it is loaded again.
#[test]
fn a20_the_root_that_goes_is_the_one_whose_last_use_is_longest_ago() {
    for again in [&[0][..], &[1], &[2], &[3], &[0, 1], &[1, 0, 1], &[2, 0, 3]] {
        let mut machine = many();
        // R5: the first two make the shadow forget everything.
        for number in [0, 1, 0, 1, 2, 3] {
            visit(&mut machine, number);
        }
        let mut order = vec![0, 1, 2, 3];
        for number in again {
            assert!(!visit(&mut machine, *number), "{again:?}");
            order.retain(|other| other != number);
            order.push(*number);
        }
        assert!(visit(&mut machine, 4));
        // The newest first: what was forgotten displaces another when it is visited.
        for number in order[1..].iter().rev() {
            assert!(!visit(&mut machine, *number), "{again:?}: {number}");
        }
        assert!(visit(&mut machine, order[0]), "{again:?}");
        machine.finish();
    }
}
