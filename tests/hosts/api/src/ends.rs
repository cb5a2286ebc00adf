//! The end of a guest: said once and for all.

use crate::conversation::Conversation;
use libhv::prelude::*;
use libhv::{Kill, NoHandler};

/// Steps that say how the guest is going to end.
const KILL: u32 = 0xe1;
const CRASH: u32 = 0xe2;
const POWER_OFF: u32 = 0xe3;
const RESTART: u32 = 0xe4;

/// Bytes of a message that are shown.
const MESSAGE: usize = 127;

/// Lets the guest end, and sees to it that it stays ended.
pub fn end(mut talk: Conversation) -> Result<Stop, Stop> {
    let step = talk.step()?;
    let exit = talk.guest.run();
    match (step, &exit) {
        (KILL, Exit::Killed(kill)) => {
            let expected = &Kill::BadHypercall(99);
            talk.check("LG-175", "the reason", kill, expected);
        }
        (CRASH, Exit::Killed(Kill::Crash(text))) => {
            let expected = [b'x'; MESSAGE];
            talk.check("LG-177", "127 bytes are kept", text.as_bytes(), &expected);
        }
        (POWER_OFF, Exit::PowerOff(text)) => {
            talk.check("LG-175", "last words", text.as_str(), "Power down");
        }
        (RESTART, Exit::Restart(text)) => {
            talk.check(
                "LG-178",
                "restart, not power-off or crash",
                text.as_str(),
                "again",
            );
        }
        _ => return Err(talk.out_of_step(step)),
    }
    stays_ended(&mut talk, &exit);
    Ok(talk.stop(exit))
}

/// Nothing that an application does makes the guest run again, or end for another reason.
fn stays_ended(talk: &mut Conversation, end: &Exit) {
    let registers = talk.guest.registers().clone();
    let exits = talk.guest.statistics().guest.exits.iter().sum::<u64>();
    again(talk, end, "run again");

    // A stack where no frame could be pushed would be another reason.
    talk.guest
        .set_registers(|registers| registers.esp = 0x5000_0000);
    let refused = talk.guest.inject_trap(6);
    talk.check(
        "LG-181",
        "an ended guest has no handlers",
        refused,
        Err(NoHandler(6)),
    );
    again(talk, end, "after a trap");

    talk.guest
        .set_registers(|changed| changed.esp = registers.esp);
    let raised = talk.guest.raise(5);
    talk.check("LG-175", "raise is harmless", raised, Ok(()));
    again(talk, end, "after an interrupt");

    talk.guest.kicker().kick();
    again(talk, end, "after a kick");
    let same = *talk.guest.registers() == registers;
    talk.check("LG-175", "registers stay", same, true);
    let now = talk.guest.statistics().guest.exits.iter().sum::<u64>();
    talk.check("LG-175", "it was not entered", now, exits);
}

fn again(talk: &mut Conversation, end: &Exit, when: &str) {
    let same = match (talk.guest.run(), end) {
        (Exit::Killed(now), Exit::Killed(first)) => now == *first,
        (Exit::PowerOff(now), Exit::PowerOff(first)) => now == *first,
        (Exit::Restart(now), Exit::Restart(first)) => now == *first,
        _ => false,
    };
    talk.check("LG-175", when, same, true);
    talk.check("LG-176", when, same, true);
}
