//! What the host does for its guest costs the same however much RAM the guest has. That it costs the same however
//! many address spaces there are is seen by `make bench`.

use hv_tests::built;
use hv_tests::counts::counts;

/// The least RAM and the most, in MiB.
const MEMORY: [u32; 2] = [32, 3072];
/// What the machine has beside it. A guest's RAM is in one piece, and the first 2 GiB of a large machine of QEMU's lie apart
/// from the others.
const HOST: u32 = 2048 + 256;
/// Percent by which the dearer may exceed the cheaper.
const TOLERANCE: u32 = 10;

fn costs(memory: u32) -> Vec<(String, u32)> {
    let outcome = built::hosting(&built::micro_guest("hosted/growth"), "")
        .memory_mib(memory + HOST)
        .command_line(format!("log=error memory={memory}"))
        .run()
        .expect("QEMU starts");
    assert_eq!(outcome.status, 0, "{}", outcome.report());
    let console = outcome.text();
    let costs = counts(&console).into_iter();
    costs.map(|(name, cost)| (name.to_owned(), cost)).collect()
}

#[test]
fn costs_are_the_same_with_little_ram_and_with_much() {
    let [little, much] = MEMORY.map(costs);
    assert_eq!(little.len(), 4, "{little:?}");
    for ((name, with_little), (_, with_much)) in little.into_iter().zip(much) {
        println!("{name}: {with_little} and {with_much} instructions");
        let (less, more) = (with_little.min(with_much), with_little.max(with_much));
        let flat = more * 100 <= less * (100 + TOLERANCE);
        assert!(
            flat,
            "{name}: {with_little} with {} MiB, {with_much} with {}",
            MEMORY[0], MEMORY[1]
        );
    }
}
