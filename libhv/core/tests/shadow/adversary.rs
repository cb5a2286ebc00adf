//! Random guests that keep no rule: they reach what their tables said once, and nothing else.

use super::G;
use hv_machine::adversary::{Guest, KERNELS, Shape, Step};
use proptest::collection::vec;
use proptest::prelude::*;

fn steps() -> impl Strategy<Value = Step> {
    let byte = any::<u8>;
    prop_oneof![
        8 => (byte(), byte(), any::<u16>()).prop_map(
            |(frame, index, entry)| Step::Write { frame, index, entry }),
        2 => (byte(), any::<u16>(), any::<u16>()).prop_map(
            |(root, address, entry)| Step::SetPte { root, address, entry }),
        1 => (byte(), byte()).prop_map(|(root, index)| Step::SetPgd { root, index }),
        1 => byte().prop_map(|frame| Step::SetPmd { frame }),
        1 => byte().prop_map(|root| Step::Load { root }),
        1 => Just(Step::FlushUser),
        1 => Just(Step::FlushAll),
        16 => (any::<u16>(), byte()).prop_map(
            |(address, access)| Step::Access { address, access }),
    ]
}

proptest! {
    #![proptest_config(crate::random_guests())]

    /// 400 runs of 1,000 steps; a guest that is killed is replaced by the next, with the same memory.
    #[test]
    fn a17_a18_a22_a39_a_guest_that_keeps_no_rule_reaches_its_own_past_and_nothing_else(
        steps in vec(steps(), 1_000),
        tables in prop_oneof![Just(8_usize), Just(11), Just(100)],
        roots in 1..5_usize,
        kernel in 0..2_usize,
        effort in prop_oneof![Just(50_u32), Just(300), Just(u32::MAX)],
        paths in crate::fast_paths(),
    ) {
        let mut guest = Guest::<G>::new(Shape {
            kernel: KERNELS[kernel],
            tables,
            roots,
            compared: 64,
            effort,
            paths,
        });
        for (count, step) in steps.into_iter().enumerate() {
            if !guest.step(step) {
                guest.replace();
            }
            if count % 50 == 0 {
                guest.audit();
            }
        }
        guest.finish();
    }
}
