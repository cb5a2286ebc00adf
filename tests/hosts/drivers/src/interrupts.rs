//! Waiting for a device. There is no timer: what a device does not interrupt for is waited for for ever.

use hv_core::fast_paths::FastPaths;
use hv_hw::apic::{LocalApic, MESSAGE_VECTORS};
use hv_hw::pic::Pic;
use hv_hw::switch::{Isolation, Switch};
use hv_hw::window::Window;
use libhv::Machine;

/// The processor's interrupts.
pub struct Interrupts {
    switch: Switch,
    apic: LocalApic,
    /// Its lines are all masked.
    _pic: Pic,
}

impl Interrupts {
    /// Takes the processor over.
    pub fn take(machine: &mut Machine) -> Self {
        let registers = machine
            .tables
            .map_device(&mut machine.frames, LocalApic::physical_base())
            .expect("a frame for a page table");
        let root = machine.tables.root();
        let window = Window::of(&machine.tables);
        Self {
            switch: Switch::take(Isolation::Shared, FastPaths::OFF, root, root, window),
            // SAFETY: `map_device` mapped that page uncached, for good.
            apic: unsafe { LocalApic::new(registers) },
            _pic: Pic::new(),
        }
    }

    /// Sleeps until a device interrupts.
    pub fn wait(&mut self) {
        loop {
            match self.switch.idle() {
                Some(vector) if MESSAGE_VECTORS.contains(&vector) => {
                    self.apic.end_of_interrupt();
                    return;
                }
                _ => {}
            }
        }
    }
}
