//! A PCI bus with virtio devices, reached through configuration mechanism #1 (PCI Local Bus
//! Specification 3.0, section 3.2.2.3.2), and the few other ports that answer.
//!
//! Bus 0 has the host bridge in slot 0 and a device in each slot from 1 on. Whatever is not there
//! reads all ones and ignores writes.

mod config_space;
mod function;
#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;

use super::virtio::{Violation, VirtioDevice};
use super::{Devices, MAX_DEVICES, NoDevice, Width, Work};
use crate::address::{Gfn, Gpa};
use crate::memory::GuestMemory;
use core::fmt;
use function::Function;
use heapless::Vec;

/// Devices' memory starts this far above RAM.
const DEVICE_MEMORY_GAP: u64 = 1 << 20;

/// The address latch, four ports.
const ADDRESS: u16 = 0xcf8;
const ADDRESS_LAST: u16 = ADDRESS + 3;
/// The data window, four ports.
const DATA: u16 = 0xcfc;
const DATA_LAST: u16 = DATA + 3;
/// Status of the keyboard controller. 1, "output buffer full", ends the wait loops of a kernel
/// that looks for one.
const KEYBOARD_STATUS: u16 = 0x64;

/// Why a device cannot be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlugError {
    /// All slots are taken.
    NoSlot,
    /// No room is left below 4 GiB for its registers.
    NoAddress,
}

impl fmt::Display for PlugError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlugError::NoSlot => write!(f, "more than {MAX_DEVICES} devices"),
            PlugError::NoAddress => f.write_str("no room below 4 GiB for the device's registers"),
        }
    }
}

impl core::error::Error for PlugError {}

/// What the address latch selects.
enum Target {
    HostBridge,
    /// Index into the bus's functions.
    Function(usize),
    Absent,
}

/// The bus. `M` is the kind of device on it; an enumeration where there are several kinds.
#[derive(Debug)]
pub struct PciBus<M> {
    functions: Vec<Function<M>, MAX_DEVICES>,
    latch: u32,
    next_bar: u64,
}

impl<M: VirtioDevice> PciBus<M> {
    /// An empty bus, for a guest whose RAM ends at `ram_end`.
    pub fn new(ram_end: Gpa) -> Self {
        Self {
            functions: Vec::new(),
            latch: 0,
            next_bar: ram_end.raw().saturating_add(DEVICE_MEMORY_GAP),
        }
    }

    /// A bus with these models, as far as there is room.
    pub fn with(ram_end: Gpa, models: Vec<M, MAX_DEVICES>) -> Self {
        let mut bus = Self::new(ram_end);
        for model in models {
            // Those that came from such a bus had room there.
            let _ = bus.plug(model);
        }
        bus
    }

    /// Puts `model` into the next slot, in its reset state. The first device has slot 1 and interrupt 1.
    pub fn plug(&mut self, model: M) -> Result<(), PlugError> {
        let line = self.functions.len().saturating_add(1) as u8;
        let function = Function::new(model, self.next_bar, line).ok_or(PlugError::NoAddress)?;
        self.next_bar = function.bar_end();
        self.functions.push(function).map_err(|_| PlugError::NoSlot)
    }

    /// The devices, in the order of their slots.
    pub fn into_models(self) -> Vec<M, MAX_DEVICES> {
        self.functions
            .into_iter()
            .map(Function::into_model)
            .collect()
    }

    /// The first frame above the memory of all devices so far.
    pub fn device_limit(&self) -> Gfn {
        let last = self.next_bar.saturating_sub(1);
        Gfn::containing(Gpa::new(last)).wrapping_add(1)
    }

    /// A rule of virtio that a driver broke since the last call, and the slot of its device.
    pub fn take_violation(&mut self) -> Option<(u8, Violation)> {
        self.functions.iter_mut().find_map(Function::take_violation)
    }

    /// The console's model.
    pub fn console(&mut self) -> Option<&mut M> {
        self.functions.iter_mut().find_map(Function::as_console)
    }

    fn decode(&mut self, at: Gpa, width: Width) -> Result<(&mut Function<M>, u32), NoDevice> {
        self.functions
            .iter_mut()
            .find_map(|function| {
                let offset = function.bar_offset(at, width)?;
                Some((function, offset))
            })
            .ok_or(NoDevice)
    }

    /// Bits of the latch: 31 enable, 23-16 bus, 15-11 device, 10-8 function, 7-2 register.
    fn target(&self) -> Target {
        // Enabled, bus 0, function 0.
        if self.latch & 0x80ff_0700 != 0x8000_0000 {
            return Target::Absent;
        }
        let slot = (self.latch >> 11 & 0x1f) as usize;
        match slot.checked_sub(1) {
            None => Target::HostBridge,
            Some(index) if index < self.functions.len() => Target::Function(index),
            Some(_) => Target::Absent,
        }
    }

    fn config_register(&self) -> u8 {
        (self.latch & 0xfc) as u8
    }

    fn config_read(&mut self, lane: Lane) -> u32 {
        let register = self.config_register();
        let word = match self.target() {
            Target::HostBridge => config_space::host_bridge(register),
            Target::Function(index) => match self.functions.get_mut(index) {
                Some(function) => function.config_read(register),
                None => return lane.width.ones(),
            },
            Target::Absent => return lane.width.ones(),
        };
        lane.extract(word)
    }

    fn config_write(&mut self, memory: &impl GuestMemory, lane: Lane, value: u32) {
        let register = self.config_register();
        if let Target::Function(index) = self.target()
            && let Some(function) = self.functions.get_mut(index)
        {
            function.config_write(memory, register, lane, value);
        }
    }
}

/// Bytes of a 32-bit register that an access of its own width touches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Lane {
    shift: u32,
    width: Width,
}

impl Lane {
    /// `width` bytes from port `port` of four, or `None` when they do not lie within these.
    fn new(port: u16, width: Width) -> Option<Self> {
        let byte = u32::from(port & 3);
        let inside = byte.wrapping_add(width.bytes()) <= 4;
        inside.then_some(Self {
            shift: byte.wrapping_mul(8),
            width,
        })
    }

    fn extract(self, word: u32) -> u32 {
        word.wrapping_shr(self.shift) & self.width.ones()
    }

    /// `word` with these bytes replaced.
    fn replace(self, word: u32, value: u32) -> u32 {
        let mask = self.width.ones().wrapping_shl(self.shift);
        word & !mask | value.wrapping_shl(self.shift) & mask
    }
}

impl<M: VirtioDevice> Devices for PciBus<M> {
    fn port_read(&mut self, _memory: &impl GuestMemory, port: u16, width: Width) -> u32 {
        // Kernels scan thousands of ports at boot: what is nobody's leaves at once.
        match (port, Lane::new(port, width)) {
            (ADDRESS..=ADDRESS_LAST, Some(lane)) => lane.extract(self.latch),
            (DATA..=DATA_LAST, Some(lane)) => self.config_read(lane),
            (KEYBOARD_STATUS, _) => 1,
            _ => width.ones(),
        }
    }

    fn port_write(
        &mut self,
        memory: &impl GuestMemory,
        port: u16,
        width: Width,
        value: u32,
    ) -> Work {
        match (port, Lane::new(port, width)) {
            (ADDRESS..=ADDRESS_LAST, Some(lane)) => self.latch = lane.replace(self.latch, value),
            (DATA..=DATA_LAST, Some(lane)) => {
                self.config_write(memory, lane, value);
                return Work::More;
            }
            _ => {}
        }
        Work::Done
    }

    fn memory_read(&mut self, at: Gpa, width: Width) -> Result<u32, NoDevice> {
        let (function, offset) = self.decode(at, width)?;
        Ok(function.register_read(offset, width))
    }

    fn memory_write(
        &mut self,
        memory: &impl GuestMemory,
        at: Gpa,
        width: Width,
        value: u32,
    ) -> Result<Work, NoDevice> {
        let (function, offset) = self.decode(at, width)?;
        function.register_write(memory, offset, width, value);
        Ok(Work::More)
    }

    fn poll(&mut self, memory: &impl GuestMemory) -> Work {
        let functions = self.functions.iter_mut();
        functions.fold(Work::Done, |work, function| work.and(function.poll(memory)))
    }

    fn take_interrupts(&mut self) -> u32 {
        self.functions
            .iter_mut()
            .fold(0, |lines, function| lines | function.take_interrupt())
    }
}
