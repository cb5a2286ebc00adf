//! The local APIC: the timer that gets the host back in, and end-of-interrupt.
//!
//! Register offsets and fields: Intel SDM volume 3, chapter 11.

use core::ops::Range;
use core::ptr::NonNull;
use hv_core::address::Hpa;
use raw_cpuid::CpuId;
use volatile::VolatilePtr;
use x86_64::registers::model_specific::Msr;

/// Vectors for the messages of devices: above the 8259's lines and the guest's system call, below the
/// timer.
pub const MESSAGE_VECTORS: Range<u8> = 0x90..0xe0;
/// Vector of the timer interrupt.
pub const TIMER_VECTOR: u8 = 0xe0;
/// Vector that the APIC raises when an interrupt vanished before delivery. Needs no end-of-interrupt.
pub const SPURIOUS_VECTOR: u8 = 0xff;

const IA32_APIC_BASE: u32 = 0x1b;
const APIC_BASE_ENABLE: u64 = 1 << 11;
const APIC_BASE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const TASK_PRIORITY: usize = 0x080;
const END_OF_INTERRUPT: usize = 0x0b0;
const SPURIOUS: usize = 0x0f0;
const SPURIOUS_ENABLE: u32 = 1 << 8;
const LVT_TIMER: usize = 0x320;
const LVT_LINT0: usize = 0x350;
const LVT_ERROR: usize = 0x370;
const LVT_MASKED: u32 = 1 << 16;
const LVT_EXTINT: u32 = 7 << 8;
const TIMER_INITIAL: usize = 0x380;
const TIMER_CURRENT: usize = 0x390;
const TIMER_DIVIDE: usize = 0x3e0;
const DIVIDE_BY_16: u32 = 0b0011;

/// Address that a device writes to in order to interrupt a processor (Intel SDM volume 3, 11.11.1);
/// the processor's APIC number goes to bits 12 to 19.
const MESSAGE_ADDRESS: u32 = 0xfee0_0000;

/// What a device has to write, and where, to raise an interrupt on this processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// Address on the memory bus.
    pub address: u32,
    /// Value: edge triggered, fixed delivery, the vector in bits 0 to 7.
    pub data: u32,
}

impl Message {
    /// The message for `vector` to the processor that this runs on.
    pub fn to_this_processor(vector: u8) -> Self {
        // The initial number, which messages in xAPIC mode go by: 8 bits.
        let processor = CpuId::new()
            .get_feature_info()
            .map_or(0, |features| features.initial_local_apic_id());
        Self {
            address: MESSAGE_ADDRESS | u32::from(processor) << 12,
            data: u32::from(vector),
        }
    }
}

/// The local APIC of this processor, in xAPIC mode.
pub struct LocalApic {
    registers: NonNull<u8>,
}

// SAFETY: the host runs on one processor, whose APIC this is.
unsafe impl Send for LocalApic {}

impl LocalApic {
    /// Where its registers are; also switches it on, should the firmware have left it off.
    pub fn physical_base() -> Hpa {
        let mut msr = Msr::new(IA32_APIC_BASE);
        // SAFETY: every 64-bit processor has the register; setting the enable bit is what it is for.
        let value = unsafe {
            let value = msr.read();
            msr.write(value | APIC_BASE_ENABLE);
            value
        };
        Hpa::new(value & APIC_BASE_ADDRESS)
    }

    /// Enables the APIC with its timer stopped, and lets the 8259 through (virtual wire mode).
    ///
    /// # Safety
    /// `registers` maps the page at [`LocalApic::physical_base`], uncached, for good.
    pub unsafe fn new(registers: NonNull<u8>) -> Self {
        let apic = Self { registers };
        apic.register(TASK_PRIORITY).write(0);
        apic.register(SPURIOUS)
            .write(SPURIOUS_ENABLE | SPURIOUS_VECTOR as u32);
        apic.register(LVT_ERROR).write(LVT_MASKED);
        apic.register(LVT_LINT0).write(LVT_EXTINT);
        apic.register(TIMER_DIVIDE).write(DIVIDE_BY_16);
        apic.register(LVT_TIMER).write(TIMER_VECTOR as u32);
        apic
    }

    fn register(&self, offset: usize) -> VolatilePtr<'_, u32> {
        // SAFETY: all offsets are multiples of 16 inside the mapped page (`new`).
        unsafe { VolatilePtr::new(self.registers.byte_add(offset).cast()) }
    }

    /// Starts the timer: one interrupt after `ticks`. 0 stops it.
    pub fn start_timer(&self, ticks: u32) {
        self.register(TIMER_INITIAL).write(ticks);
    }

    /// Ticks left until the timer's interrupt.
    pub fn timer_ticks(&self) -> u32 {
        self.register(TIMER_CURRENT).read()
    }

    /// Ends the interrupt in service.
    pub fn end_of_interrupt(&self) {
        self.register(END_OF_INTERRUPT).write(0);
    }
}
