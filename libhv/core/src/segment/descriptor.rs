//! One 8-byte segment descriptor, and the allow-list that guards the live table.
//!
//! Bit positions: Intel SDM volume 3, 3.4.5 "Segment Descriptors".

/// A descriptor as it lies in a descriptor table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct Descriptor(u64);

/// Why a descriptor may not become usable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// S = 0: call gates, task gates, task state and LDT descriptors. In long mode a call gate is
    /// sixteen bytes and leads wherever its author likes.
    System,
    /// L = 1: 64-bit code at ring 1 is supervisor code that can name every address of the host.
    Long,
    /// DPL 2: a ring that this ABI does not have, and that paging would treat as supervisor.
    Ring2,
    /// Conforming code below DPL 3: its privilege is whatever RPL an `iret` names, ring 2 included.
    Conforming,
}

impl Descriptor {
    const ACCESSED: u64 = 1 << 40;
    const WRITABLE: u64 = 1 << 41;
    /// Bit 42 of code segments.
    const CONFORMING: u64 = 1 << 42;
    const CODE: u64 = 1 << 43;
    /// S: code or data when set, a system descriptor when clear.
    const CODE_OR_DATA: u64 = 1 << 44;
    const DPL_1: u64 = 1 << 45;
    const PRESENT: u64 = 1 << 47;
    const LONG: u64 = 1 << 53;
    /// D or B: 32-bit operands and stack pointer.
    const DEFAULT_32: u64 = 1 << 54;

    /// Nothing: what the null selector and refused entries have.
    pub const ABSENT: Descriptor = Descriptor(0);
    /// Flat 32-bit ring-1 code, the guest's entry 12 at start (lguest-abi 6.1).
    pub const FLAT_CODE: Descriptor = Descriptor(0x00cf_bb00_0000_ffff);
    /// Flat 32-bit ring-1 data, the guest's entry 13 at start.
    pub const FLAT_DATA: Descriptor = Descriptor(0x00cf_b300_0000_ffff);

    /// From the number in the table.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// From the two words that hypercalls pass.
    pub const fn from_words(low: u32, high: u32) -> Self {
        Self(low as u64 | (high as u64) << 32)
    }

    /// The number in the table.
    pub const fn raw(self) -> u64 {
        self.0
    }

    const fn has(self, bits: u64) -> bool {
        self.0 & bits == bits
    }

    /// Descriptor privilege level.
    pub const fn privilege_level(self) -> u8 {
        ((self.0 >> 45) & 3) as u8
    }

    /// Linear address of the segment's offset 0.
    pub const fn base(self) -> u32 {
        ((self.0 >> 16) & 0x00ff_ffff | (self.0 >> 32) & 0xff00_0000) as u32
    }

    /// Whether it is a present data or code segment: something a segment register can hold.
    pub const fn is_present(self) -> bool {
        self.has(Self::PRESENT) && self.has(Self::CODE_OR_DATA)
    }

    /// Whether it is present code with 32-bit defaults.
    pub const fn is_code_32(self) -> bool {
        self.is_present() && self.has(Self::CODE) && self.has(Self::DEFAULT_32)
    }

    /// Whether ring 1 can have it in SS, with a 32-bit stack pointer.
    pub const fn is_kernel_stack(self) -> bool {
        self.is_present()
            && !self.has(Self::CODE)
            && self.has(Self::WRITABLE)
            && self.has(Self::DEFAULT_32)
            && self.privilege_level() == 1
    }

    /// What the live table gets when a guest loads this descriptor, or why it gets nothing.
    ///
    /// Fixed up as lguest-abi 6.2 says: DPL 0 becomes 1, since ring 0 is the host's, and the
    /// accessed bit is set, since the processor could not set it in the guest's stead. Base, limit
    /// and the present bit are the guest's own: the host is not protected by limits but by lying
    /// above 4 GiB. What is left usable runs at exactly ring 1 or ring 3.
    ///
    /// Data segments stay whatever they are, 16-bit stacks included. An entry through one of those
    /// leaves bits 16 to 31 of the switcher's stack pointer in the guest's ESP; the layout of the
    /// host is no secret, so nothing is lost by it.
    pub const fn for_guest(self) -> Result<Descriptor, Refused> {
        if !self.has(Self::CODE_OR_DATA) {
            return Err(Refused::System);
        }
        // Data segments have no L bit; one rule for both is easier to be sure of.
        if self.has(Self::LONG) {
            return Err(Refused::Long);
        }
        let privilege = self.privilege_level();
        if privilege == 2 {
            return Err(Refused::Ring2);
        }
        if self.has(Self::CODE) && self.has(Self::CONFORMING) && privilege != 3 {
            return Err(Refused::Conforming);
        }
        let lifted = if privilege == 0 { Self::DPL_1 } else { 0 };
        Ok(Descriptor(self.0 | lifted | Self::ACCESSED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A-12, LG-055, LG-056, LG-063: all type bytes and flag nibbles, with bases and limits at
    /// their extremes. The oracle is written from the manual's fields, not from the masks above.
    #[test]
    fn a12_only_ring_1_and_ring_3_code_and_data_become_usable() {
        let mut admitted = 0;
        for type_byte in 0..=0xff_u64 {
            for flags in 0..=0xf_u64 {
                for rest in [0, 0xff00_0000_0000_0000, 0x000f_00ff_ffff_ffff] {
                    let raw = type_byte << 40 | flags << 52 | rest;
                    let kind = type_byte & 0xf;
                    let system = type_byte & 0x10 == 0;
                    let dpl = type_byte >> 5 & 3;
                    let long = flags & 2 != 0;
                    let conforming = kind & 0xc == 0xc;
                    let refused = system || long || dpl == 2 || conforming && dpl != 3;
                    match Descriptor::new(raw).for_guest() {
                        Err(_) => assert!(refused, "{raw:#x} refused"),
                        Ok(live) => {
                            assert!(!refused, "{raw:#x} admitted");
                            admitted += 1;
                            let expected_dpl = if dpl == 0 { 1 } else { dpl };
                            assert_eq!(u64::from(live.privilege_level()), expected_dpl);
                            assert_ne!(live.raw() & 1 << 40, 0, "accessed");
                            let fixed = 1 << 40 | 3 << 45;
                            assert_eq!(live.raw() & !fixed, raw & !fixed, "only DPL and A change");
                        }
                    }
                }
            }
        }
        // Not system: 128 type bytes; DPL 0, 1 (12 types each: no conforming) and 3 (16 types),
        // present or not, times 8 flag nibbles without L, times the three rests.
        assert_eq!(admitted, (12 + 12 + 16) * 2 * 8 * 3);
    }

    /// A23 of the ABI page: what Linux loads must stay what it is.
    #[test]
    fn sixteen_bit_byte_limited_and_expand_down_segments_stay_usable() {
        for (low, high) in [
            (0x0000_ffff, 0x0000_f200), // 16-bit ring-3 data, byte limit
            (0x0000_0fff, 0x00c0_f600), // expand-down ring-3 data
            (0x0000_ffff, 0x008f_9200), // per-CPU data, D/B = 0
            (0x0000_0018, 0x0040_9000), // stack canary: read-only data
            (0x0000_ffff, 0x0000_fa00), // 16-bit ring-3 code
            (0x0000_ffff, 0x00cf_fe00), // conforming ring-3 code
        ] {
            let live = Descriptor::from_words(low, high).for_guest().unwrap();
            assert!(live.is_present());
        }
    }

    #[test]
    fn a_descriptor_that_is_not_present_is_kept_so_that_loading_it_faults_as_not_present() {
        let live = Descriptor::from_words(0xffff, 0x00cf_7200)
            .for_guest()
            .unwrap();
        assert!(!live.is_present());
        assert_ne!(live, Descriptor::ABSENT);
    }

    #[test]
    fn base_is_put_together_from_its_three_parts() {
        assert_eq!(
            Descriptor::from_words(0x5678_0000, 0x1200_9234).base(),
            0x1234_5678
        );
    }

    #[test]
    fn the_initial_segments_are_their_own_fix_up() {
        for flat in [Descriptor::FLAT_CODE, Descriptor::FLAT_DATA] {
            assert_eq!(flat.for_guest(), Ok(flat));
            assert_eq!(flat.privilege_level(), 1);
        }
        assert!(Descriptor::FLAT_CODE.is_code_32());
        assert!(Descriptor::FLAT_DATA.is_kernel_stack());
        assert!(!Descriptor::FLAT_CODE.is_kernel_stack());
    }

    /// SS of the kernel is present, writable, 32-bit data of ring 1, and each of these counts.
    #[test]
    fn a_kernel_stack_is_present_writable_32_bit_data_of_ring_1() {
        let stack = Descriptor::FLAT_DATA.raw();
        for (changed, why) in [
            (stack & !(1 << 47), "not present"),
            (stack & !(1 << 44), "a system descriptor"),
            (stack & !(1 << 41), "read-only"),
            (stack | 1 << 43, "code"),
            (stack & !(1 << 54), "a 16-bit stack pointer"),
            (stack & !(1 << 45), "ring 0"),
            (stack ^ 3 << 45, "ring 2"),
            (stack | 1 << 46, "ring 3"),
        ] {
            assert!(!Descriptor::new(changed).is_kernel_stack(), "{why}");
        }
        for (changed, why) in [
            (stack & !(1 << 40), "not accessed yet"),
            (stack | 1 << 42, "expand-down"),
            (stack & !(1 << 55), "a limit in bytes"),
            (stack | 0xff00_00ff_ffff_0000, "another base"),
        ] {
            assert!(Descriptor::new(changed).is_kernel_stack(), "{why}");
        }
    }

    #[test]
    fn code_is_present_code_with_32_bit_defaults() {
        let code = Descriptor::FLAT_CODE.raw();
        for (changed, why) in [
            (code & !(1 << 47), "not present"),
            (code & !(1 << 44), "a system descriptor"),
            (code & !(1 << 43), "data"),
            (code & !(1 << 54), "16-bit"),
        ] {
            assert!(!Descriptor::new(changed).is_code_32(), "{why}");
        }
        for (changed, why) in [
            (code & !(1 << 41), "not readable"),
            (code | 3 << 45, "ring 3"),
        ] {
            assert!(Descriptor::new(changed).is_code_32(), "{why}");
        }
    }
}
