//! Instructions that the host carries out for the guest: privileged ones, and those on device memory.

use crate::input::Input;
use crate::scripted::{Guest, PLACES, RAM, frame};
use hv_abi::lguest::generations;
use hv_core::address::Gpa;
use hv_core::device::Devices;
use hv_core::device::Width;
use hv_core::generation::Choice;
use hv_core::memory::GuestMemory;
use hv_core::paging::Paging;
use hv_core::personality::End;

/// Instructions of one input.
const STEPS: usize = 8;
/// Longest instruction in bytes.
const MAX_LENGTH: u32 = 15;
/// The console's registers.
const BAR: u32 = RAM + (1 << 20);
/// More places to which an operand may lead.
const DEVICE: [u32; 4] = [BAR, BAR + 0x14, BAR + 0x7c, BAR + 0x80];
const SEGMENTS: [u32; 4] = [0x69, 0x7b, 0x73, 0];

/// Any bytes as an instruction with any registers: it goes on behind the instruction, stays for the next
/// element of a string, or is delivered to the guest as a fault.
pub fn instructions(data: &[u8]) {
    let mut input = Input::new(data);
    let generation = generations::ALL[0];
    let mut guest = Guest::new(generation, Choice::Exactly(generation), Paging::TwoLevel);
    let end = run(&mut guest, &mut input).err();
    guest.finish(end);
}

fn run(guest: &mut Guest, input: &mut Input) -> Result<(), End> {
    guest.start()?;
    // A data segment that is not flat.
    guest.load_call(
        18,
        [15, u32::from(input.half()) << 16 | 0xffff, 0x00cf_f200, 0],
    );
    guest.exit(31, 0, 0)?;
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        set_registers(guest, input);
        // At the end of RAM and of the code's page, too: there it can be cut off.
        guest.regs.eip = input.choose(&[frame::CODE, frame::CODE + 0xffa, RAM - 5, frame::SCRATCH]);
        let (place, length) = (guest.regs.eip, usize::from(input.byte() % 16));
        guest.lguest.memory().put(place.into(), input.bytes(length));
        let before = guest.regs.clone();
        let reflected = guest.lguest.counters().reflected;
        match input.byte() {
            0..128 => guest.exit(13, 0, 0)?,
            128..240 => {
                let cr2 = near_device(input);
                guest.exit(14, u32::from(input.byte()) & 7, cr2.into())?;
            }
            _ => guest.exit(6, 0, 0)?,
        }
        let regs = &guest.regs;
        if guest.lguest.counters().reflected == reflected {
            assert!(regs.eip.wrapping_sub(before.eip) <= MAX_LENGTH);
            assert_eq!((regs.cs, regs.ss), (before.cs, before.ss));
            assert_eq!((regs.ds, regs.es), (before.ds, before.es));
        }
        let accesses = guest.lguest.memory().take_accesses();
        assert!(accesses < 512, "{accesses} accesses");
        guest.enter()?;
        check_device(guest, near_device(input));
    }
    Ok(())
}

fn set_registers(guest: &mut Guest, input: &mut Input) {
    let regs = &mut guest.regs;
    let mut word = || match input.byte() {
        0..160 => near_device(input),
        _ => input.near(&PLACES),
    };
    [regs.eax, regs.ebx, regs.ecx, regs.edx] = [(); 4].map(|()| word());
    [regs.esi, regs.edi, regs.ebp, regs.esp] = [(); 4].map(|()| word());
    let ring_1 = input.byte() < 224;
    regs.cs = if ring_1 { 0x61 } else { 0x73 };
    regs.ss = if ring_1 { 0x69 } else { 0x7b };
    regs.ds = input.choose(&SEGMENTS);
    regs.es = input.choose(&SEGMENTS);
    regs.eflags = u32::from(input.half());
}

fn near_device(input: &mut Input) -> u32 {
    input.choose(&DEVICE).wrapping_add(u32::from(input.byte()))
}

/// Device memory answers within the width that is asked for, or not at all.
fn check_device(guest: &mut Guest, at: u32) {
    for width in [Width::Byte, Width::Word, Width::Dword] {
        let inside = guest.lguest.memory().contains(Gpa::from(at), 1);
        let read = guest.lguest.devices_mut().memory_read(Gpa::from(at), width);
        assert!(!inside || read.is_err());
        assert!(read.is_ok_and(|value| value & !width.ones() == 0) || read.is_err());
    }
}
