//! Whatever a guest does between two entries, in whatever order.

use crate::input::Input;
use crate::scripted::{Guest, PLACES, RAM, frame};
use hv_abi::lguest::{Family, generations};
use hv_core::generation::Choice;
use hv_core::paging::Paging;
use hv_core::personality::End;
use hv_core::registers::eflags;

/// Things that a guest does in one input.
const STEPS: usize = 48;
const CODE_SELECTORS: [u32; 4] = [0x61, 0x73, 0x61, 0x1b];
const STACK_SELECTORS: [u32; 4] = [0x69, 0x7b, 0x69, 0];

/// Calls, by `int` and from the ring, traps and interrupts, while its memory and registers change under them.
/// Every entry is safe, every exit is bounded, and in the end the shadow is sound and every frame is back.
pub fn hypercalls(data: &[u8]) {
    let mut input = Input::new(data);
    let generation = input.choose(&generations::ALL);
    let choice = match input.byte() {
        0..192 => Choice::Exactly(generation),
        192..224 => Choice::Detect,
        _ => Choice::Family(input.choose(&[
            Family::G1,
            Family::G2,
            Family::G3,
            Family::G4,
            Family::G5,
        ])),
    };
    let paging = input.choose(&[Paging::Auto, Paging::TwoLevel, Paging::Pae]);
    let mut guest = Guest::new(generation, choice, paging);
    let end = live(&mut guest, &mut input).err();
    guest.finish(end);
}

fn live(guest: &mut Guest, input: &mut Input) -> Result<(), End> {
    if input.byte() < 224 {
        guest.start()?;
    }
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        step(guest, input)?;
        guest.enter()?;
    }
    Ok(())
}

fn step(guest: &mut Guest, input: &mut Input) -> Result<(), End> {
    match input.byte() {
        0..80 => {
            let (number, arguments) = call(input);
            guest.load_call(number, arguments);
            guest.exit(31, 0, 0)
        }
        80..104 => {
            queue(guest, input);
            Ok(())
        }
        104..144 => {
            let at = input.near(&PLACES);
            let value = input.near(&PLACES);
            guest.lguest.memory().put_word(at.into(), value);
            Ok(())
        }
        144..176 => {
            let cr2 = u64::from(input.near(&PLACES)) | u64::from(input.byte() & 1) << 32;
            // P, W, U and I, as the processor would say them.
            let error = u32::from(input.byte()) & 0x17;
            guest.exit(14, error, cr2)
        }
        176..192 => {
            let code = input.bytes(15);
            let at = guest.regs.eip % RAM;
            guest.lguest.memory().put(at.into(), code);
            guest.exit(13, 0, 0)
        }
        192..208 => {
            let vector = input.byte();
            let error = input.near(&PLACES);
            guest.exit(vector, error, 0)
        }
        208..228 => {
            let regs = &mut guest.regs;
            regs.cs = input.choose(&CODE_SELECTORS);
            regs.ss = input.choose(&STACK_SELECTORS);
            regs.eip = input.near(&PLACES);
            regs.esp = input.near(&PLACES);
            regs.eflags = input.word() & !eflags::VM;
            Ok(())
        }
        228..240 => {
            let irq = u32::from(input.byte() % 40);
            assert_eq!(guest.lguest.raise(irq).is_ok(), irq < 32);
            Ok(())
        }
        240..248 => {
            guest.clock.0 = guest.clock.0.saturating_add(input.word().into());
            Ok(())
        }
        _ => {
            let mut far = guest.far.0.borrow_mut();
            far.typed = input.byte().into();
            far.room = input.byte().into();
            far.completions = input.byte().into();
            Ok(())
        }
    }
}

/// A call that the guest may survive, mostly.
fn call(input: &mut Input) -> (u32, [u32; 4]) {
    let number = match input.byte() {
        number @ 0..240 => u32::from(number) % 20,
        _ => input.word(),
    };
    let first = match (number, input.byte()) {
        // Vectors and descriptors.
        (6 | 18, by) => u32::from(by),
        (7, 0..224) => 0x69,
        _ => input.near(&PLACES),
    };
    let third = match (number, input.byte()) {
        // A gate's type and DPL.
        (6, by) => 0x8e00 | u32::from(by & 3) << 13 | u32::from(by >> 7) << 8,
        _ => input.near(&PLACES),
    };
    (number, [first, input.near(&PLACES), third, input.word()])
}

/// Puts a call into a slot of the ring, where the guest's generation has it.
fn queue(guest: &Guest, input: &mut Input) {
    let slot = u32::from(input.byte() % 64);
    let (number, arguments) = call(input);
    let generation = guest.lguest.generation();
    let start = frame::DATA + generation.data.hcalls + slot * generation.slot.size();
    let memory = guest.lguest.memory();
    for (at, word) in (start..)
        .step_by(4)
        .zip(generation.slot.words(number, arguments))
    {
        memory.put_word(at.into(), word);
    }
    let status = frame::DATA + generation.data.hcall_status + slot;
    memory.put(status.into(), &[0]);
}
