//! The shadow, against the tables that it is derived from.

use crate::input::Input;
use hv_core::fast_paths::FastPaths;
use hv_core::paging::{Pae, TwoLevel};
use hv_machine::Tables;
use hv_machine::adversary::{Guest, KERNELS, Shape, Step};

/// Steps of one input; the cost of one grows with what came before.
const STEPS: usize = 64;

/// A guest with two-level tables that keeps no rule.
pub fn shadow_two_level(data: &[u8]) {
    keeps_no_rule::<TwoLevel>(data);
}

/// A guest with three-level tables that keeps no rule.
pub fn shadow_pae(data: &[u8]) {
    keeps_no_rule::<Pae>(data);
}

/// It reaches what its tables said once and nothing else; after a flush, what they say now. A guest that is
/// killed is replaced by the next, with the same memory.
fn keeps_no_rule<G: Tables>(data: &[u8]) {
    let mut input = Input::new(data);
    let kernel = input.choose(&KERNELS);
    let (tables, effort) = input.choose(&[(8, 50), (11, 300), (24, u32::MAX)]);
    let mut guest = Guest::<G>::new(Shape {
        kernel,
        tables,
        effort,
        roots: input.choose(&[1, 2, 4]),
        compared: 4,
        paths: FastPaths::ON,
    });
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        if !guest.step(step(&mut input)) {
            guest.replace();
        }
    }
    guest.audit();
    guest.finish();
}

fn step(input: &mut Input) -> Step {
    match input.byte() {
        0..64 => Step::Write {
            frame: input.byte(),
            index: input.byte(),
            entry: input.half(),
        },
        64..80 => Step::SetPte {
            root: input.byte(),
            address: input.half(),
            entry: input.half(),
        },
        80..88 => Step::SetPgd {
            root: input.byte(),
            index: input.byte(),
        },
        88..96 => Step::SetPmd {
            frame: input.byte(),
        },
        96..112 => Step::Load { root: input.byte() },
        112..116 => Step::FlushUser,
        116..120 => Step::FlushAll,
        _ => Step::Access {
            address: input.half(),
            access: input.byte(),
        },
    }
}
