//! What instructions compute, and the flags they leave (Intel SDM volume 2, under each instruction).

use crate::device::Width;

/// Status flags (Intel SDM volume 1, 3.4.3.1).
mod flag {
    pub const CARRY: u32 = 1 << 0;
    pub const PARITY: u32 = 1 << 2;
    pub const ADJUST: u32 = 1 << 4;
    pub const ZERO: u32 = 1 << 6;
    pub const SIGN: u32 = 1 << 7;
    pub const OVERFLOW: u32 = 1 << 11;
}

/// Flags that addition and subtraction set.
const ARITHMETIC: u32 = flag::CARRY | OF_RESULT | flag::ADJUST | flag::OVERFLOW;
/// Flags that follow from a result alone.
const OF_RESULT: u32 = flag::PARITY | flag::ZERO | flag::SIGN;

/// How a value comes of two operands. `Subtract` and the like take the second from the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Compute {
    /// The second operand.
    Move,
    /// The second operand, sign-extended from its own width.
    MoveSigned(Width),
    Add,
    AddWithCarry,
    Subtract,
    SubtractWithBorrow,
    And,
    Or,
    Xor,
    /// One more than the first operand; the carry flag stays.
    Increment,
    /// One less, likewise.
    Decrement,
    Negate,
    Not,
}

impl Compute {
    /// The value, and EFLAGS after it.
    pub(super) fn apply(self, first: u32, second: u32, width: Width, eflags: u32) -> (u32, u32) {
        let carry = eflags & flag::CARRY;
        match self {
            Compute::Move => (second, eflags),
            Compute::MoveSigned(from) => (sign_extend(second, from) & width.ones(), eflags),
            Compute::Add => add(first, second, 0, width, eflags, ARITHMETIC),
            Compute::AddWithCarry => add(first, second, carry, width, eflags, ARITHMETIC),
            Compute::Subtract => subtract(first, second, 0, width, eflags, ARITHMETIC),
            Compute::SubtractWithBorrow => {
                subtract(first, second, carry, width, eflags, ARITHMETIC)
            }
            Compute::And => logic(first & second, width, eflags),
            Compute::Or => logic(first | second, width, eflags),
            Compute::Xor => logic(first ^ second, width, eflags),
            Compute::Increment => add(first, 1, 0, width, eflags, ARITHMETIC & !flag::CARRY),
            Compute::Decrement => subtract(first, 1, 0, width, eflags, ARITHMETIC & !flag::CARRY),
            Compute::Negate => subtract(0, first, 0, width, eflags, ARITHMETIC),
            Compute::Not => (!first & width.ones(), eflags),
        }
    }

    /// Whether the first operand matters.
    pub(super) fn needs_first(self) -> bool {
        !matches!(self, Compute::Move | Compute::MoveSigned(_))
    }
}

fn sign_extend(value: u32, from: Width) -> u32 {
    match from {
        Width::Byte => i32::from((value as u8).cast_signed()).cast_unsigned(),
        Width::Word => i32::from((value as u16).cast_signed()).cast_unsigned(),
        Width::Dword => value,
    }
}

fn sign_bit(width: Width) -> u32 {
    width.ones() ^ width.ones() >> 1
}

fn add(a: u32, b: u32, carry: u32, width: Width, eflags: u32, changed: u32) -> (u32, u32) {
    let wide = u64::from(a)
        .wrapping_add(b.into())
        .wrapping_add(carry.into());
    let value = wide as u32 & width.ones();
    let carried = wide > u64::from(width.ones());
    let overflowed = (a ^ value) & (b ^ value) & sign_bit(width) != 0;
    let new = flags(a, b, value, width, carried, overflowed);
    (value, eflags & !changed | new & changed)
}

fn subtract(a: u32, b: u32, borrow: u32, width: Width, eflags: u32, changed: u32) -> (u32, u32) {
    let value = a.wrapping_sub(b).wrapping_sub(borrow) & width.ones();
    let borrowed = u64::from(a) < u64::from(b).wrapping_add(borrow.into());
    let overflowed = (a ^ b) & (a ^ value) & sign_bit(width) != 0;
    let new = flags(a, b, value, width, borrowed, overflowed);
    (value, eflags & !changed | new & changed)
}

/// Carry and overflow are cleared; the adjust flag, which is undefined, as well.
fn logic(value: u32, width: Width, eflags: u32) -> (u32, u32) {
    let new = of_result(value, width);
    (value, eflags & !ARITHMETIC | new)
}

fn flags(a: u32, b: u32, value: u32, width: Width, carried: bool, overflowed: bool) -> u32 {
    let when = |condition, flag| if condition { flag } else { 0 };
    of_result(value, width)
        | when(carried, flag::CARRY)
        | when(overflowed, flag::OVERFLOW)
        | when((a ^ b ^ value) & 0x10 != 0, flag::ADJUST)
}

fn of_result(value: u32, width: Width) -> u32 {
    let when = |condition, flag| if condition { flag } else { 0 };
    // Parity is that of the lowest byte, whatever the width.
    when((value as u8).count_ones().is_multiple_of(2), flag::PARITY)
        | when(value == 0, flag::ZERO)
        | when(value & sign_bit(width) != 0, flag::SIGN)
}
