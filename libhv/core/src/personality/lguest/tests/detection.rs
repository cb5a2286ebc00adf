//! Finding out what a guest speaks.

use super::fixture::{DATA, Machine, killed};
use super::generations::{all, since};
use super::numbers::hypercall;
use crate::generation::Choice;
use hv_abi::lguest::{DeviceBus, generations};

/// The user said nothing, the image said nothing: the first call settles it.
#[test]
fn the_first_call_tells_what_can_be_told_apart() {
    for spoken in all().filter(since(2, 6, 24)) {
        let newest = &generations::LINUX_4_0;
        let mut machine = Machine::taken_for(newest, Choice::Detect);
        machine.prepare_data(spoken);
        if let Some(fields) = spoken.data.kernel {
            machine.put_word(DATA + fields.address, 0xc000_0000);
        }
        // C1: the register that does not count is a plausible address as well.
        [machine.regs.ebx, machine.regs.edx, machine.regs.ecx] = [0x6000; 3];
        machine.load_call(spoken, hypercall::LGUEST_INIT, [DATA, 0x6000, 0x6000]);
        machine.trap(31, 0).unwrap();
        let found = machine.guest.generation();
        assert_eq!(found.data, spoken.data, "{spoken}");
        assert_eq!(found.arguments, spoken.arguments, "{spoken}");
        assert_eq!(found.slot, spoken.slot, "{spoken}");
        // The form of descriptors shows in nothing that the call says.
        let bus = std::mem::discriminant(&spoken.devices);
        assert_eq!(std::mem::discriminant(&found.devices), bus, "{spoken}");
        let buses = &machine.guest.devices_mut().buses;
        assert_eq!(buses.first(), Some(&DeviceBus::Pci));
        assert_eq!(buses.last(), Some(&found.devices), "{spoken}");
    }
}

/// What an image says is not taken back by a call that leaves it open.
#[test]
fn what_fits_is_kept() {
    for spoken in all() {
        let mut machine = Machine::taken_for(spoken, Choice::Detect);
        machine.prepare_data(spoken);
        machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0]).unwrap();
        assert_eq!(machine.guest.generation(), spoken);
    }
}

/// A user who names the wrong generation hears of the right one.
#[test]
fn the_wrong_generation_is_named_in_the_reason() {
    for (told, spoken, reason) in [
        (
            &generations::LINUX_4_0,
            &generations::LINUX_2_6_29,
            "; this looks like a G2 guest: generation=g2",
        ),
        (
            &generations::LINUX_3_1,
            &generations::LINUX_4_0,
            "; this looks like a G5 guest: generation=g5",
        ),
        (
            &generations::LINUX_2_6_29,
            &generations::LINUX_2_6_30,
            "; this looks like a G3 guest: generation=g3",
        ),
        (
            &generations::LINUX_2_6_30,
            &generations::LINUX_2_6_31,
            "; this looks like a G3 guest: generation=g3",
        ),
    ] {
        let mut machine = Machine::taken_for(told, Choice::Exactly(told));
        machine.prepare_data(spoken);
        machine.load_call(spoken, hypercall::LGUEST_INIT, [DATA, 0, 0]);
        let line = killed(machine.trap(31, 0));
        assert!(line.ends_with(reason), "{line}");
        assert!(line.starts_with("bad "), "{line}");
    }
    // A guest that is wrong in every generation is only wrong.
    let mut machine = Machine::new();
    let line = killed(machine.call(hypercall::LGUEST_INIT, [u32::MAX, 0, 0]));
    assert_eq!(line, "bad guest page 0xffffffff");
}
