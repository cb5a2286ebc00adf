//! Descriptor tables in the processor's own format (Intel SDM volume 3, 3.4.5, 6.14.1, 8.7).

use bit_field::BitField;
use hv_abi::lguest::GDT_ENTRIES;

/// Selector of the host's 64-bit code segment: the first entry past the guest's.
pub const HOST_CS: u16 = (GDT_ENTRIES as u16) << 3;
/// Selector of the host's task state segment, two entries long.
pub const HOST_TSS: u16 = (GDT_ENTRIES as u16 + 1) << 3;
/// Entries of the host.
pub const HOST_ENTRIES: usize = 3;

/// 64-bit code, DPL 0, present, accessed.
const CODE64: u64 = 0x0020_9b00_0000_0000;
/// Available 64-bit TSS, present, with a limit of its size less one.
const TSS_AVAILABLE: u64 = 0x89 << 40;

/// The descriptor table in use: the guest's entries, which the guest's own selectors name, and the
/// host's behind them, with DPL 0.
#[repr(C, align(8))]
pub struct LiveGdt {
    /// The guest's.
    pub guest: [u64; GDT_ENTRIES],
    /// The code segment, and the two entries of the task state segment.
    pub host: [u64; HOST_ENTRIES],
}

/// The host's entries, for a task state segment at `tss`.
pub fn host_entries(tss: u64) -> [u64; HOST_ENTRIES] {
    let mut low = TSS_AVAILABLE | (size_of::<TaskState>() as u64 - 1);
    low.set_bits(16..40, tss.get_bits(0..24));
    low.set_bits(56..64, tss.get_bits(24..32));
    [CODE64, low, tss >> 32]
}

/// One interrupt gate of the 64-bit table.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub struct Gate {
    low: u64,
    high: u64,
}

impl Gate {
    /// An interrupt gate to `handler` in the host's code segment, on stack `ist` of the interrupt
    /// stack table (0: RSP0, or the running stack in ring 0). `privilege`: the outermost ring whose
    /// `int` instruction may use it.
    pub fn new(handler: u64, ist: u8, privilege: u8) -> Self {
        let mut low = 0x8e << 40;
        low.set_bits(0..16, handler.get_bits(0..16));
        low.set_bits(16..32, HOST_CS as u64);
        low.set_bits(32..35, ist as u64);
        low.set_bits(45..47, privilege as u64);
        low.set_bits(48..64, handler.get_bits(16..32));
        Self {
            low,
            high: handler >> 32,
        }
    }

    /// The gate with another handler.
    pub fn with_handler(mut self, handler: u64) -> Self {
        self.low.set_bits(0..16, handler.get_bits(0..16));
        self.low.set_bits(48..64, handler.get_bits(16..32));
        self.high = handler >> 32;
        self
    }

    /// The gate with another outermost ring.
    pub fn with_privilege(mut self, privilege: u8) -> Self {
        self.low.set_bits(45..47, privilege as u64);
        self
    }
}

/// The 64-bit task state segment. Its I/O bitmap offset lies past its limit: no port is open.
#[repr(C, packed(4))]
pub struct TaskState {
    reserved0: u32,
    /// Stack pointers for traps into rings 0 to 2; only ring 0 is ever entered.
    pub rsp: [u64; 3],
    reserved1: u64,
    /// Interrupt stack table, slots 1 to 7.
    pub ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    /// Offset of the I/O permission bitmap.
    pub io_bitmap: u16,
}

/// What LGDT and LIDT take.
#[repr(C, packed(2))]
pub struct TablePointer {
    /// Size less one.
    pub limit: u16,
    /// Linear address.
    pub base: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tss_has_the_size_that_its_descriptor_names() {
        assert_eq!(size_of::<TaskState>(), 104);
    }

    #[test]
    fn a_gate_keeps_its_handler_and_changes_only_its_privilege() {
        let mut gate = Gate::new(0xffff_8200_1234_5678, 3, 0);
        assert_eq!(gate.high, 0xffff_8200);
        assert_eq!(gate.low, 0x1234_8e03_0100_5678);
        gate = gate.with_privilege(3);
        assert_eq!(gate.low, 0x1234_ee03_0100_5678);
        gate = gate.with_handler(0xffff_8300_4321_8765);
        assert_eq!((gate.low, gate.high), (0x4321_ee03_0100_8765, 0xffff_8300));
    }
}
