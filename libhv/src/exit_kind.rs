//! What the hardware says about an exit, in the words of tables of exits.

use hv_core::exit_kind::Kind;
use hv_hw::switch::HwExit;

/// `eax`: the guest's, which is the number of a hypercall.
pub(crate) fn kind(exit: &HwExit, eax: u32) -> Kind {
    match *exit {
        HwExit::Hypercall => Kind::Call(eax),
        HwExit::Trap { vector, .. } => Kind::of_trap(vector),
        HwExit::Interrupt(_) | HwExit::Refused => Kind::Interrupt,
    }
}
