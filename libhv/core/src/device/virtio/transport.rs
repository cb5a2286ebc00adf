//! A device behind its registers: features, status, queue set-up (virtio 1.0, chapters 2 to 4).
//!
//! Reads never have an effect, but for the interrupt status. Writes that break the rules of
//! section 3 put the device into DEVICE_NEEDS_RESET, where it stays until the guest resets it.

use super::chain::Indirect;
use super::queue::{Layout, Queue};
use super::registers::{feature, isr, register, status};
use super::{Identity, MAX_QUEUES, Violation, VirtioDevice};
use crate::device::{Width, Work};
use crate::memory::GuestMemory;

/// `msix_config` and `queue_msix_vector` of a device without MSI-X.
const NO_VECTOR: u32 = 0xffff;

/// A device behind its registers.
#[derive(Debug)]
pub struct Transport<M> {
    model: M,
    identity: Identity,
    queues: [Queue; MAX_QUEUES],
    status: u8,
    isr: u8,
    interrupt: bool,
    device_feature_select: u32,
    driver_feature_select: u32,
    accepted: u64,
    queue_select: u16,
    violation: Option<Violation>,
}

impl<M: VirtioDevice> Transport<M> {
    /// `model` in its reset state.
    pub fn new(mut model: M) -> Self {
        model.reset();
        Self {
            identity: model.identity(),
            model,
            queues: Default::default(),
            status: 0,
            isr: 0,
            interrupt: false,
            device_feature_select: 0,
            driver_feature_select: 0,
            accepted: 0,
            queue_select: 0,
            violation: None,
        }
    }

    /// What the device is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The device itself.
    pub fn model_mut(&mut self) -> &mut M {
        &mut self.model
    }

    /// The device itself, without its registers.
    pub fn into_model(self) -> M {
        self.model
    }

    /// Bytes of BAR0 that mean something.
    pub fn register_size(&self) -> u32 {
        register::DEVICE_CONFIG.saturating_add(self.identity.config_size)
    }

    /// Whether the device asked for its interrupt since the last call.
    pub fn take_interrupt(&mut self) -> bool {
        core::mem::take(&mut self.interrupt)
    }

    /// The first rule that the driver broke since the last call.
    pub fn take_violation(&mut self) -> Option<Violation> {
        self.violation.take()
    }

    /// Lets the model move what is waiting.
    pub fn poll(&mut self, memory: &impl GuestMemory) -> Work {
        let moved = self.model.poll(memory, &mut self.queues);
        // What the model gave back before it met a broken chain is the guest's to know.
        let signalled = self
            .queues
            .iter_mut()
            .fold(false, |any, queue| queue.take_signal() | any);
        if signalled {
            self.raise(isr::QUEUE);
        }
        self.settle(moved)
    }

    /// Reads at `offset`, with any width; what does not exist or straddles a word reads all ones.
    pub fn read(&mut self, offset: u32, width: Width) -> u32 {
        if straddles(offset, width) {
            return width.ones();
        }
        let word = match offset {
            register::ISR if width == Width::Byte => return core::mem::take(&mut self.isr).into(),
            0..register::COMMON_END => self.common_word(offset & !3),
            // Interrupt status wider than a byte: the queue interrupt must not be lost with it.
            register::COMMON_END..register::DEVICE_CONFIG => 0,
            _ => self.device_config_word(offset & !3),
        };
        word.wrapping_shr((offset & 3).wrapping_mul(8)) & width.ones()
    }

    /// Writes at `offset`.
    pub fn write(&mut self, memory: &impl GuestMemory, offset: u32, width: Width, value: u32) {
        if straddles(offset, width) {
            return;
        }
        let value = value & width.ones();
        if let Some(offset) = offset.checked_sub(register::DEVICE_CONFIG) {
            if offset < self.identity.config_size {
                self.model.write_config(offset, value);
            }
            return;
        }
        let written = self.write_register(memory, offset, width, value);
        self.settle(written.map(|()| Work::Done));
    }

    fn write_register(
        &mut self,
        memory: &impl GuestMemory,
        offset: u32,
        width: Width,
        value: u32,
    ) -> Result<(), Violation> {
        use register::*;
        let short = value as u16;
        match (offset, width) {
            (DEVICE_FEATURE_SELECT, Width::Dword) => self.device_feature_select = value,
            (DRIVER_FEATURE_SELECT, Width::Dword) => self.driver_feature_select = value,
            (DRIVER_FEATURE, Width::Dword) => self.accept_features(value)?,
            (STATUS, Width::Byte) => self.write_status(value as u8)?,
            (QUEUE_SELECT, Width::Word) => self.queue_select = short,
            (QUEUE_SIZE, Width::Word) => self.queue_in_set_up()?.set_size(short)?,
            (QUEUE_ENABLE, Width::Word) => self.enable_queue(memory, short)?,
            (QUEUE_DESC..COMMON_END, Width::Dword) => self.place_queue(offset, value)?,
            (NOTIFY, Width::Word) => self.notify(memory, short)?,
            // Read-only, or part of MSI-X, which is not there.
            (DEVICE_FEATURE..DRIVER_FEATURE_SELECT | MSIX_CONFIG..STATUS | GENERATION, _)
            | (QUEUE_MSIX_VECTOR..QUEUE_ENABLE | QUEUE_NOTIFY_OFF..QUEUE_DESC, _)
            | (ISR..DEVICE_CONFIG, _) => {}
            _ => return Err(Violation::BadRegisterWidth { offset }),
        }
        Ok(())
    }

    fn common_word(&self, offset: u32) -> u32 {
        let queue = self.selected();
        let layout = queue.map(Queue::layout).unwrap_or_default();
        let size = queue.map_or(0, Queue::size);
        let enabled = queue.is_some_and(Queue::is_enabled);
        match offset {
            register::DEVICE_FEATURE_SELECT => self.device_feature_select,
            register::DEVICE_FEATURE => feature_word(self.offered(), self.device_feature_select),
            register::DRIVER_FEATURE_SELECT => self.driver_feature_select,
            register::DRIVER_FEATURE => feature_word(self.accepted, self.driver_feature_select),
            register::MSIX_CONFIG => high_half(self.identity.queues) | NO_VECTOR,
            // With the generation, which is always 0 because no configuration changes.
            register::STATUS => high_half(self.queue_select) | u32::from(self.status),
            register::QUEUE_SIZE => NO_VECTOR << 16 | u32::from(size),
            // With the notify offset, 0 for all queues.
            register::QUEUE_ENABLE => u32::from(enabled),
            0x20 => low_word(layout.descriptors),
            0x24 => high_word(layout.descriptors),
            0x28 => low_word(layout.available),
            0x2c => high_word(layout.available),
            0x30 => low_word(layout.used),
            0x34 => high_word(layout.used),
            _ => Width::Dword.ones(),
        }
    }

    fn device_config_word(&self, at: u32) -> u32 {
        let byte = |index: u32| {
            let offset = at.wrapping_sub(register::DEVICE_CONFIG).wrapping_add(index);
            if offset < self.identity.config_size {
                self.model.read_config(offset)
            } else {
                0xff
            }
        };
        u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
    }

    fn offered(&self) -> u64 {
        self.identity.features | feature::VERSION_1
    }

    fn accept_features(&mut self, value: u32) -> Result<(), Violation> {
        if self.status & (status::DRIVER | status::FEATURES_OK) != status::DRIVER {
            return Err(Violation::FeaturesAtWrongTime);
        }
        let value = u64::from(value);
        match self.driver_feature_select {
            0 => self.accepted = self.accepted & !0xffff_ffff | value,
            1 => self.accepted = self.accepted & 0xffff_ffff | value << 32,
            word if value != 0 => return Err(Violation::UnknownFeatureWord(word)),
            _ => {}
        }
        Ok(())
    }

    fn write_status(&mut self, value: u8) -> Result<(), Violation> {
        if value == 0 {
            self.reset();
            return Ok(());
        }
        let from = self.status & status::DRIVERS;
        let to = value & status::DRIVERS;
        if from & !to != 0 {
            return Err(Violation::StatusBitsCleared { from, to });
        }
        let mut new = to & !from;
        if new & status::FEATURES_OK != 0 && !self.features_acceptable() {
            // The driver reads the bit back, and gives up (3.1.1).
            new &= !status::FEATURES_OK;
        }
        self.status |= new;
        if new & status::DRIVER_OK != 0 && self.status & status::FEATURES_OK == 0 {
            return Err(Violation::DriverReadyTooEarly);
        }
        if self.status & (status::FAILED | status::NEEDS_RESET) != 0 {
            self.stop();
        } else if new & status::DRIVER_OK != 0 {
            self.start();
        }
        Ok(())
    }

    fn features_acceptable(&self) -> bool {
        self.accepted & !self.offered() == 0 && self.accepted & feature::VERSION_1 != 0
    }

    fn selected(&self) -> Option<&Queue> {
        self.queues
            .get(..usize::from(self.identity.queues))?
            .get(usize::from(self.queue_select))
    }

    /// The selected queue, at the time when a driver may set queues up (3.1.1, step 7).
    fn queue_in_set_up(&mut self) -> Result<&mut Queue, Violation> {
        let set_up_time = self.status & (status::FEATURES_OK | status::DRIVER_OK);
        if set_up_time != status::FEATURES_OK || self.is_broken() {
            return Err(Violation::QueueSetUpAtWrongTime);
        }
        let index = self.queue_select;
        let there = index < self.identity.queues;
        let queue = self.queues.get_mut(usize::from(index)).filter(|_| there);
        queue.ok_or(Violation::NoSuchQueue(index))
    }

    fn enable_queue(&mut self, memory: &impl GuestMemory, value: u16) -> Result<(), Violation> {
        let indirect = if self.accepted & feature::INDIRECT_DESC != 0 {
            Indirect::Allowed
        } else {
            Indirect::Refused
        };
        let queue = self.queue_in_set_up()?;
        if value != 1 {
            return Err(Violation::BadQueueEnable(value));
        }
        queue.enable(memory, indirect)
    }

    /// One half of one of the selected queue's three addresses.
    fn place_queue(&mut self, offset: u32, value: u32) -> Result<(), Violation> {
        let queue = self.queue_in_set_up()?;
        let Layout {
            mut descriptors,
            mut available,
            mut used,
        } = queue.layout();
        let address = match offset & !7 {
            register::QUEUE_DESC => &mut descriptors,
            register::QUEUE_AVAIL => &mut available,
            _ => &mut used,
        };
        *address = match offset & 7 {
            0 => *address & !0xffff_ffff | u64::from(value),
            4 => *address & 0xffff_ffff | u64::from(value) << 32,
            _ => return Err(Violation::BadRegisterWidth { offset }),
        };
        queue.set_layout(Layout {
            descriptors,
            available,
            used,
        })
    }

    fn notify(&mut self, memory: &impl GuestMemory, queue: u16) -> Result<(), Violation> {
        if queue >= self.identity.queues {
            return Err(Violation::NoSuchQueue(queue));
        }
        if self.is_broken() {
            return Ok(());
        }
        if !self
            .queues
            .get(usize::from(queue))
            .is_some_and(Queue::is_enabled)
        {
            return Err(Violation::QueueNotEnabled(queue));
        }
        self.model.notify(queue);
        // What is left is moved at the next poll, which is due because a port was used.
        self.poll(memory);
        Ok(())
    }

    fn is_broken(&self) -> bool {
        self.status & (status::NEEDS_RESET | status::FAILED) != 0
    }

    fn start(&mut self) {
        self.model.driver_ready(self.accepted);
        for queue in &mut self.queues {
            queue.run();
        }
        for queue in 0..self.identity.queues {
            self.model.notify(queue);
        }
    }

    fn stop(&mut self) {
        self.queues = Default::default();
        self.model.reset();
    }

    fn reset(&mut self) {
        self.stop();
        self.status = 0;
        self.isr = 0;
        self.interrupt = false;
        self.accepted = 0;
        self.device_feature_select = 0;
        self.driver_feature_select = 0;
        self.queue_select = 0;
    }

    /// Stops the device when the driver broke a rule. A driver that is up is told so (2.1.2).
    fn settle(&mut self, outcome: Result<Work, Violation>) -> Work {
        let violation = match outcome {
            Ok(work) => return work,
            Err(violation) => violation,
        };
        self.violation.get_or_insert(violation);
        if self.status & status::NEEDS_RESET == 0 {
            self.stop();
            self.status |= status::NEEDS_RESET;
            if self.status & status::DRIVER_OK != 0 {
                self.raise(isr::CONFIG);
            }
        }
        Work::Done
    }

    /// The status is stored before the interrupt is asked for: its handler reads it.
    fn raise(&mut self, reason: u8) {
        self.isr |= reason;
        self.interrupt = true;
    }
}

/// Whether an access does not lie in one aligned 32-bit word.
fn straddles(offset: u32, width: Width) -> bool {
    (offset & 3).wrapping_add(width.bytes()) > 4
}

fn feature_word(features: u64, select: u32) -> u32 {
    match select {
        0 => low_word(features),
        1 => high_word(features),
        _ => 0,
    }
}

fn low_word(value: u64) -> u32 {
    value as u32
}

fn high_word(value: u64) -> u32 {
    (value >> 32) as u32
}

fn high_half(value: u16) -> u32 {
    u32::from(value) << 16
}
