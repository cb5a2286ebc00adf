//! The guest's registers, as the switcher leaves them on an exit and takes them on an entry.

/// Layout shared with the switcher through `offset_of!`. The last words are pushed by the processor
/// itself, as 64-bit values of which compatibility-mode code can only fill the low half.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[repr(C, align(16))]
#[expect(missing_docs, reason = "the processor's own names")]
pub struct Registers {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
    pub esi: u32,
    pub edi: u32,
    pub ebp: u32,
    pub ds: u32,
    pub es: u32,
    pub fs: u32,
    pub gs: u32,
    pub reserved: u32,
    /// A fault at the switcher's `iretq` pushes its own frame here, below the guest's. Nine words, so
    /// that the guest's frame ends on the 16-byte boundary from which the processor pushes it.
    pub entry_fault: [u64; 9],
    /// Vector of the exit.
    pub vector: u32,
    pub vector_high: u32,
    /// Error code, or 0 for vectors without one.
    pub error: u32,
    pub error_high: u32,
    pub eip: u32,
    pub eip_high: u32,
    pub cs: u32,
    pub cs_high: u32,
    pub eflags: u32,
    pub eflags_high: u32,
    pub esp: u32,
    pub esp_high: u32,
    pub ss: u32,
    pub ss_high: u32,
}

/// EFLAGS bits that the host looks at or forces (Intel SDM volume 1, 3.4.3).
pub mod eflags {
    /// Always one.
    pub const RESERVED_1: u32 = 1 << 1;
    /// Trap flag.
    pub const TF: u32 = 1 << 8;
    /// Interrupt enable flag.
    pub const IF: u32 = 1 << 9;
    /// I/O privilege level.
    pub const IOPL: u32 = 3 << 12;
    /// Nested task.
    pub const NT: u32 = 1 << 14;
    /// Resume flag.
    pub const RF: u32 = 1 << 16;
    /// Virtual-8086 mode.
    pub const VM: u32 = 1 << 17;
    /// What a guest may have of its own: CF PF AF ZF SF DF OF AC ID, and TF.
    pub const GUEST: u32 = 0x0024_0cd5 | TF;
    /// What a frame on a guest's stack has as the processor saved it. IF is the virtual one there, IOPL is the
    /// host's business.
    pub const FRAME: u32 = GUEST | RESERVED_1 | RF | NT;
    /// What a handler starts with of it.
    pub const HANDLER: u32 = GUEST & !TF;
    /// What every entry has: interrupts on.
    pub const FORCED: u32 = RESERVED_1 | IF;
}

impl Registers {
    /// Privilege level of the code that was interrupted.
    pub fn privilege_level(&self) -> u8 {
        (self.cs & 3) as u8
    }

    /// Makes EFLAGS safe to load at ring 0: whatever the guest had or a frame in its memory said,
    /// interrupts are on, IOPL is 0 and VM, NT, RF, VIF, VIP are off.
    pub fn sanitise_eflags(&mut self) {
        self.eflags = self.eflags & eflags::GUEST | eflags::FORCED;
        self.eflags_high = 0;
    }

    /// Takes back every change to what only the processor and the host may set: segments, flags and
    /// what the last exit left.
    pub fn keep_protected(&mut self, kept: &Self) {
        let Self {
            eax,
            ebx,
            ecx,
            edx,
            esi,
            edi,
            ebp,
            eip,
            esp,
            ..
        } = *self;
        *self = Self {
            eax,
            ebx,
            ecx,
            edx,
            esi,
            edi,
            ebp,
            eip,
            esp,
            ..kept.clone()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a user of the API may change is the general registers, EIP and ESP (SETREG).
    #[test]
    fn protected_registers_are_taken_back_and_general_ones_are_not() {
        let kept = Registers {
            cs: 0x61,
            ss: 0x69,
            eflags: 0x202,
            ..Registers::default()
        };
        let wanted = Registers {
            eax: 1,
            ebx: 2,
            ecx: 3,
            edx: 4,
            esi: 5,
            edi: 6,
            ebp: 7,
            eip: 8,
            esp: 9,
            ..kept.clone()
        };
        let mut changed = Registers {
            cs: 0x10,
            ss: 0x18,
            eflags: 0x3202,
            eflags_high: 1,
            ..wanted.clone()
        };
        changed.keep_protected(&kept);
        assert_eq!(changed, wanted);
    }
}
