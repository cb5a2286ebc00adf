//! Decoding an instruction that reached device memory: what it computes, from what, into what.
//!
//! `iced-x86` knows every encoding; this module knows which instructions have a meaning here. The
//! others, such as locked exchanges and shifts, no driver uses on a register: the guest gets the page
//! fault.

use super::arithmetic::Compute;
use super::decode::{General, Segment};
use crate::device::Width;
use crate::registers::Registers;
use iced_x86::{Code, Decoder, DecoderOptions, Mnemonic, OpKind, Register};

/// Where a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operand {
    Register(Part),
    Immediate(u32),
    /// An offset in a segment.
    Memory(Segment, u32),
}

/// A register, or the part of it that an operand names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    register: General,
    /// 8 for AH, CH, DH and BH, else 0.
    shift: u32,
    width: Width,
}

impl Part {
    pub(super) fn read(self, regs: &Registers) -> u32 {
        self.register.read(regs).wrapping_shr(self.shift) & self.width.ones()
    }

    pub(super) fn write(self, regs: &mut Registers, value: u32) {
        let mask = self.width.ones().wrapping_shl(self.shift);
        let new = self.register.read(regs) & !mask | value.wrapping_shl(self.shift) & mask;
        self.register.write(regs, new);
    }
}

/// What becomes of the computed value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// It replaces the first operand.
    Store,
    /// It only sets flags.
    Compare,
    /// It replaces the first operand, whose old value replaces the second.
    Exchange,
}

/// Index registers that a string instruction moves on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Strides {
    pub(super) source: bool,
    pub(super) destination: bool,
    /// A REP prefix: ECX counts the elements.
    pub(super) repeated: bool,
}

/// An instruction with a memory operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct MemoryInstruction {
    pub(super) compute: Compute,
    pub(super) effect: Effect,
    /// What is computed into, and how wide it is.
    pub(super) first: (Operand, Width),
    pub(super) second: (Operand, Width),
    pub(super) strides: Strides,
    /// Bytes, prefixes included.
    pub(super) length: u32,
}

/// Instructions with a meaning here. Those with one operand ignore the second.
const INSTRUCTIONS: [(Mnemonic, Compute, Effect); 24] = {
    use Compute::*;
    use Effect::*;
    [
        (Mnemonic::Mov, Move, Store),
        (Mnemonic::Movzx, Move, Store),
        // From a byte or a word: `MemoryInstruction::decode` looks which.
        (Mnemonic::Movsx, MoveSigned(Width::Byte), Store),
        (Mnemonic::Movnti, Move, Store),
        (Mnemonic::Movsb, Move, Store),
        (Mnemonic::Movsw, Move, Store),
        (Mnemonic::Movsd, Move, Store),
        (Mnemonic::Stosb, Move, Store),
        (Mnemonic::Stosw, Move, Store),
        (Mnemonic::Stosd, Move, Store),
        (Mnemonic::Lodsb, Move, Store),
        (Mnemonic::Lodsw, Move, Store),
        (Mnemonic::Lodsd, Move, Store),
        (Mnemonic::Add, Add, Store),
        (Mnemonic::Adc, AddWithCarry, Store),
        (Mnemonic::Sub, Subtract, Store),
        (Mnemonic::Sbb, SubtractWithBorrow, Store),
        (Mnemonic::And, And, Store),
        (Mnemonic::Or, Or, Store),
        (Mnemonic::Xor, Xor, Store),
        (Mnemonic::Cmp, Subtract, Compare),
        (Mnemonic::Test, And, Compare),
        (Mnemonic::Xchg, Move, Exchange),
        (Mnemonic::Inc, Increment, Store),
    ]
};

/// Instructions with one operand besides [`Mnemonic::Inc`].
const UNARY: [(Mnemonic, Compute); 3] = [
    (Mnemonic::Dec, Compute::Decrement),
    (Mnemonic::Neg, Compute::Negate),
    (Mnemonic::Not, Compute::Not),
];

/// Builds the decoder's tables, which are made when it is first used; due before a guest runs.
pub fn prepare_decoder() {
    const NOP: u8 = 0x90;
    let code = Decoder::new(32, &[NOP], DecoderOptions::NONE)
        .decode()
        .code();
    debug_assert_eq!(code, Code::Nopd);
}

impl MemoryInstruction {
    /// Decodes 32-bit code. `None`: no instruction that has a meaning here.
    pub(super) fn decode(bytes: &[u8], regs: &Registers) -> Option<Self> {
        let decoded = Decoder::new(32, bytes, DecoderOptions::NONE).decode();
        if decoded.is_invalid() {
            return None;
        }
        let mnemonic = decoded.mnemonic();
        let unary = UNARY.map(|(mnemonic, compute)| (mnemonic, compute, Effect::Store));
        let (_, mut compute, effect) = INSTRUCTIONS
            .into_iter()
            .chain(unary)
            .find(|(known, ..)| *known == mnemonic)?;
        let operand = |index| operand(&decoded, index, regs);
        let first = operand(0)?;
        let second = match decoded.op_count() {
            1 => (Operand::Immediate(0), first.1),
            2 => operand(1)?,
            _ => return None,
        };
        if mnemonic == Mnemonic::Movsx {
            compute = Compute::MoveSigned(second.1);
        }
        Some(Self {
            compute,
            effect,
            first,
            second,
            strides: strides(&decoded),
            length: decoded.len() as u32,
        })
    }
}

fn strides(decoded: &iced_x86::Instruction) -> Strides {
    let kinds = [decoded.op0_kind(), decoded.op1_kind()];
    let source = kinds.contains(&OpKind::MemorySegESI);
    let destination = kinds.contains(&OpKind::MemoryESEDI);
    let repeated = decoded.has_rep_prefix() || decoded.has_repne_prefix();
    Strides {
        source,
        destination,
        repeated: repeated && (source || destination),
    }
}

/// An operand and its width.
fn operand(
    decoded: &iced_x86::Instruction,
    index: u32,
    regs: &Registers,
) -> Option<(Operand, Width)> {
    let memory_width = || width(decoded.memory_size().size());
    Some(match decoded.try_op_kind(index).ok()? {
        OpKind::Register => {
            let part = part(decoded.try_op_register(index).ok()?)?;
            (Operand::Register(part), part.width)
        }
        OpKind::Memory => {
            let segment = segment(decoded.memory_segment())?;
            (
                Operand::Memory(segment, offset(decoded, regs)?),
                memory_width()?,
            )
        }
        OpKind::MemorySegESI => {
            let segment = segment(decoded.memory_segment())?;
            (Operand::Memory(segment, regs.esi), memory_width()?)
        }
        OpKind::MemoryESEDI => (Operand::Memory(Segment::Es, regs.edi), memory_width()?),
        OpKind::Immediate8
        | OpKind::Immediate16
        | OpKind::Immediate32
        | OpKind::Immediate8to16
        | OpKind::Immediate8to32 => {
            // Sign-extended; the first operand's width counts.
            let value = decoded.try_immediate(index).ok()? as u32;
            let width = operand(decoded, 0, regs).map(|(_, width)| width)?;
            (Operand::Immediate(value & width.ones()), width)
        }
        // String instructions with 16-bit addresses, and operands of other instructions.
        _ => return None,
    })
}

/// Base, scaled index and displacement.
fn offset(decoded: &iced_x86::Instruction, regs: &Registers) -> Option<u32> {
    let value = |register| match register {
        Register::None => Some(0),
        register => Some(part(register)?.read(regs)),
    };
    let index = value(decoded.memory_index())?.wrapping_mul(decoded.memory_index_scale());
    let sum = value(decoded.memory_base())?
        .wrapping_add(index)
        .wrapping_add(decoded.memory_displacement32());
    let is_word = |register: Register| register.size() == 2;
    // 16-bit addressing wraps at 64 KiB.
    if is_word(decoded.memory_base()) || is_word(decoded.memory_index()) {
        return Some(sum & 0xffff);
    }
    Some(sum)
}

fn part(register: Register) -> Option<Part> {
    if !register.is_gpr() {
        return None;
    }
    let width = width(register.size())?;
    let number = u8::try_from(register.number()).ok()?;
    // Byte registers 4 to 7 are the second bytes of 0 to 3.
    let (number, shift) = match (width, number) {
        (Width::Byte, 4..=7) => (number & 3, 8),
        _ => (number, 0),
    };
    Some(Part {
        register: General(number),
        shift,
        width,
    })
}

fn width(bytes: usize) -> Option<Width> {
    match bytes {
        1 => Some(Width::Byte),
        2 => Some(Width::Word),
        4 => Some(Width::Dword),
        _ => None,
    }
}

fn segment(register: Register) -> Option<Segment> {
    Some(match register {
        Register::ES => Segment::Es,
        Register::CS => Segment::Cs,
        Register::SS => Segment::Ss,
        Register::DS => Segment::Ds,
        Register::FS => Segment::Fs,
        Register::GS => Segment::Gs,
        _ => return None,
    })
}
