//! Decoding the few privileged instructions that have a virtual meaning.
//!
//! Encodings: Intel SDM volume 2, chapters 2 and 3 and appendix A, for 32-bit code.

use crate::device::Width;
use crate::registers::Registers;

/// Longest instruction in bytes.
const MAX_LENGTH: usize = 15;

/// Where a port number comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Port {
    Immediate(u8),
    Dx,
}

/// Segment registers that can be named by a memory operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Segment {
    Es,
    Cs,
    Ss,
    Ds,
    Fs,
    Gs,
}

/// A general register by its number in an instruction: EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct General(pub(super) u8);

impl General {
    pub(super) fn read(self, regs: &Registers) -> u32 {
        match self.0 {
            0 => regs.eax,
            1 => regs.ecx,
            2 => regs.edx,
            3 => regs.ebx,
            4 => regs.esp,
            5 => regs.ebp,
            6 => regs.esi,
            _ => regs.edi,
        }
    }

    pub(super) fn write(self, regs: &mut Registers, value: u32) {
        let register = match self.0 {
            0 => &mut regs.eax,
            1 => &mut regs.ecx,
            2 => &mut regs.edx,
            3 => &mut regs.ebx,
            4 => &mut regs.esp,
            5 => &mut regs.ebp,
            6 => &mut regs.esi,
            _ => &mut regs.edi,
        };
        *register = value;
    }
}

/// What an instruction does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    In(Port, Width),
    Out(Port, Width),
    /// `cli`, `sti`, `invd`, `wbinvd`.
    Nothing,
    Halt,
    ClearTs,
    ReadControl(u8, General),
    WriteControl,
    ReadDebug(u8, General),
    WriteDebug(u8),
    ReadMsr,
    WriteMsr,
    /// `invlpg` of an offset in a segment.
    InvalidatePage(Segment, u32),
}

/// A decoded instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Instruction {
    pub(super) operation: Operation,
    /// Bytes, prefixes included.
    pub(super) length: u32,
}

/// Prefixes that matter.
#[derive(Clone, Copy, Default)]
struct Prefixes {
    operand_16: bool,
    address_16: bool,
    lock: bool,
    segment: Option<Segment>,
}

/// The bytes of one instruction: a copy of what the guest's memory had when it was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Code {
    bytes: [u8; MAX_LENGTH],
    length: usize,
    next: usize,
}

impl Code {
    /// Room for the bytes that are still to be fetched.
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.length..).unwrap_or_default()
    }

    /// `count` more bytes were fetched into [`Code::room`].
    pub(super) fn fetched(&mut self, count: usize) {
        self.length = self.length.saturating_add(count).min(MAX_LENGTH);
    }

    /// All that was fetched.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(..self.length)?.get(self.next).copied()?;
        self.next = self.next.wrapping_add(1);
        Some(byte)
    }

    fn dword(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes([
            self.byte()?,
            self.byte()?,
            self.byte()?,
            self.byte()?,
        ]))
    }

    /// Takes the prefixes and the first byte after them.
    fn opcode(&mut self) -> Option<(Prefixes, u8)> {
        let mut prefixes = Prefixes::default();
        loop {
            match self.byte()? {
                0x26 => prefixes.segment = Some(Segment::Es),
                0x2e => prefixes.segment = Some(Segment::Cs),
                0x36 => prefixes.segment = Some(Segment::Ss),
                0x3e => prefixes.segment = Some(Segment::Ds),
                0x64 => prefixes.segment = Some(Segment::Fs),
                0x65 => prefixes.segment = Some(Segment::Gs),
                0x66 => prefixes.operand_16 = true,
                0x67 => prefixes.address_16 = true,
                0xf0 => prefixes.lock = true,
                // Mean nothing to the instructions below.
                0xf2 | 0xf3 => {}
                opcode => return Some((prefixes, opcode)),
            }
        }
    }

    /// The vector, if this is a software interrupt: `int n`, `int3` or `into`.
    pub(super) fn software_interrupt(mut self) -> Option<u8> {
        match self.opcode()? {
            (_, 0xcd) => self.byte(),
            (_, 0xcc) => Some(3),
            (_, 0xce) => Some(4),
            _ => None,
        }
    }

    /// Decodes 32-bit code. `None`: not one of ours, so the guest hears of it. String I/O is none
    /// of ours: no hosted kernel uses it on a port that exists.
    pub(super) fn decode(mut self, regs: &Registers) -> Option<Instruction> {
        let (prefixes, opcode) = self.opcode()?;
        if prefixes.lock {
            return None;
        }
        let wide = if prefixes.operand_16 {
            Width::Word
        } else {
            Width::Dword
        };
        let operation = match opcode {
            0xe4 => Operation::In(Port::Immediate(self.byte()?), Width::Byte),
            0xe5 => Operation::In(Port::Immediate(self.byte()?), wide),
            0xe6 => Operation::Out(Port::Immediate(self.byte()?), Width::Byte),
            0xe7 => Operation::Out(Port::Immediate(self.byte()?), wide),
            0xec => Operation::In(Port::Dx, Width::Byte),
            0xed => Operation::In(Port::Dx, wide),
            0xee => Operation::Out(Port::Dx, Width::Byte),
            0xef => Operation::Out(Port::Dx, wide),
            0xf4 => Operation::Halt,
            0xfa | 0xfb => Operation::Nothing,
            0x0f => self.two_byte(prefixes, regs)?,
            _ => return None,
        };
        Some(Instruction {
            operation,
            length: self.next as u32,
        })
    }

    fn two_byte(&mut self, prefixes: Prefixes, regs: &Registers) -> Option<Operation> {
        Some(match self.byte()? {
            0x01 => {
                let modrm = ModRm(self.byte()?);
                if modrm.extension() != 7 {
                    return None;
                }
                let (segment, offset) = self.memory_operand(modrm, prefixes, regs)?;
                Operation::InvalidatePage(segment, offset)
            }
            0x06 => Operation::ClearTs,
            0x08 | 0x09 => Operation::Nothing,
            // The mode bits are ignored here: the operand is always a register.
            0x20 => {
                let modrm = ModRm(self.byte()?);
                Operation::ReadControl(control(modrm)?, modrm.register())
            }
            0x21 => {
                let modrm = ModRm(self.byte()?);
                Operation::ReadDebug(modrm.extension(), modrm.register())
            }
            0x22 => {
                control(ModRm(self.byte()?))?;
                Operation::WriteControl
            }
            0x23 => Operation::WriteDebug(ModRm(self.byte()?).extension()),
            0x30 => Operation::WriteMsr,
            0x32 => Operation::ReadMsr,
            _ => return None,
        })
    }

    /// The memory operand of `modrm` with 32-bit addressing (SDM volume 2, tables 2-2 and 2-3).
    fn memory_operand(
        &mut self,
        modrm: ModRm,
        prefixes: Prefixes,
        regs: &Registers,
    ) -> Option<(Segment, u32)> {
        const ESP: u8 = 4;
        const EBP: u8 = 5;
        if prefixes.address_16 {
            return None;
        }
        let mut offset = 0_u32;
        let mut base = Some(modrm.register());
        if modrm.register().0 == ESP {
            let sib = ModRm(self.byte()?);
            base = Some(sib.register());
            // ESP cannot be an index; its number means none.
            if sib.extension() != ESP {
                let index = General(sib.extension()).read(regs);
                offset = index.wrapping_shl(u32::from(sib.mode()));
            }
        }
        if modrm.mode() == 0 && base == Some(General(EBP)) {
            base = None;
        }
        let displacement = match modrm.mode() {
            0 if base.is_none() => self.dword()?,
            0 => 0,
            1 => i32::from(self.byte()?.cast_signed()).cast_unsigned(),
            2 => self.dword()?,
            _ => return None,
        };
        offset = offset.wrapping_add(displacement);
        let mut segment = Segment::Ds;
        if let Some(base) = base {
            offset = offset.wrapping_add(base.read(regs));
            if matches!(base.0, ESP | EBP) {
                segment = Segment::Ss;
            }
        }
        Some((prefixes.segment.unwrap_or(segment), offset))
    }
}

/// The byte after an opcode, or a SIB byte: both have fields of 2, 3 and 3 bits.
#[derive(Clone, Copy)]
struct ModRm(u8);

impl ModRm {
    fn mode(self) -> u8 {
        self.0 >> 6
    }

    fn extension(self) -> u8 {
        self.0 >> 3 & 7
    }

    fn register(self) -> General {
        General(self.0 & 7)
    }
}

/// A control register that exists for a 32-bit kernel.
fn control(modrm: ModRm) -> Option<u8> {
    let number = modrm.extension();
    matches!(number, 0 | 2 | 3 | 4).then_some(number)
}
