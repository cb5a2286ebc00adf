//! One device on the bus: its model, its queues, and how far its driver has come.

use super::record::{self, Record};
use super::{Free, Ring};
use crate::address::{Gpa, PAGE_SIZE};
use crate::device::Work;
use crate::device::virtio::chain::Indirect;
use crate::device::virtio::queue::Queue;
use crate::device::virtio::registers::{feature, status};
use crate::device::virtio::{MAX_QUEUES, Violation, VirtioDevice};
use crate::memory::{BadAddress, GuestMemory};
use heapless::Vec;
use hv_abi::lguest::Records;

/// What the bus tells apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Console,
    Other,
}

/// How far a driver has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The guest has not been told of the device.
    Absent,
    /// Nothing is moved.
    Reset,
    /// The queues are in use.
    Running,
    /// The driver broke a rule, or gave up: nothing is moved until it resets the device.
    Stopped,
}

/// A device.
#[derive(Debug)]
pub(super) struct Device<M> {
    model: M,
    state: State,
    record: Record,
    /// As the guest was told; the model works on `queues`.
    told: Vec<record::Queue, MAX_QUEUES>,
    queues: [Queue; MAX_QUEUES],
    interrupts: u32,
    violation: Option<Violation>,
}

impl<M: VirtioDevice> Device<M> {
    /// `model` in its reset state, on no bus yet.
    pub(super) fn new(mut model: M) -> Self {
        model.reset();
        Self {
            model,
            state: State::Absent,
            record: Record::default(),
            told: Vec::new(),
            queues: Default::default(),
            interrupts: 0,
            violation: None,
        }
    }

    /// Gives the device what is free, and tells the guest. Without room it stays where the guest sees nothing of it.
    pub(super) fn place(&mut self, memory: &impl GuestMemory, records: Records, free: &mut Free) {
        let size = records.queue_size;
        for _queue in 0..self.model.identity().queues {
            let queue = record::Queue {
                size,
                irq: free.irq,
                frame: free.frame,
            };
            if self.told.push(queue).is_err() {
                return;
            }
            free.irq = free.irq.wrapping_add(1);
            free.frame = free.frame.wrapping_add(Ring::new(size).frames());
        }
        let room = memory.frames() >= free.frame;
        if let (true, Ok(record)) = (
            room,
            Record::write(memory, records, &self.model, &self.told, free),
        ) {
            self.record = record;
            self.state = State::Reset;
        }
    }

    pub(super) fn kind(&self) -> Kind {
        if self.model.identity().is_console() {
            Kind::Console
        } else {
            Kind::Other
        }
    }

    pub(super) fn model_mut(&mut self) -> &mut M {
        &mut self.model
    }

    pub(super) fn into_model(self) -> M {
        self.model
    }

    pub(super) fn take_interrupts(&mut self) -> u32 {
        core::mem::take(&mut self.interrupts)
    }

    pub(super) fn take_violation(&mut self) -> Option<Violation> {
        self.violation.take()
    }

    /// NOTIFY with an address: if it is that of the descriptor, the driver's status has changed; if it is that of a
    /// queue, there is something in it (LG-165).
    pub(super) fn notify(&mut self, memory: &impl GuestMemory, at: Gpa) -> Option<Work> {
        if self.state == State::Absent {
            return None;
        }
        let queue = self.told.iter().position(|queue| queue.frame.start() == at);
        let outcome = match queue {
            Some(queue) => self.kick(memory, queue as u16),
            None if self.record.start == at => self.read_status(memory),
            None => return None,
        };
        Some(self.settle(memory, outcome))
    }

    /// Lets the model move what is waiting.
    pub(super) fn poll(&mut self, memory: &impl GuestMemory) -> Work {
        let moved = self.model.poll(memory, &mut self.queues);
        for (queue, told) in self.queues.iter_mut().zip(&self.told) {
            if queue.take_signal() {
                self.interrupts |= 1_u32.wrapping_shl(told.irq);
            }
        }
        self.settle(memory, moved)
    }

    /// Some drivers use queues while they look at their device, before they say that they are ready (A40), and
    /// some never say it.
    fn kick(&mut self, memory: &impl GuestMemory, queue: u16) -> Result<Work, Violation> {
        if self.state == State::Reset {
            self.start(memory)?;
        }
        if self.state == State::Running {
            self.model.notify(queue);
        }
        Ok(self.poll(memory))
    }

    fn read_status(&mut self, memory: &impl GuestMemory) -> Result<Work, Violation> {
        let mut byte = [0];
        memory.read(self.record.status, &mut byte)?;
        let [now] = byte;
        if now == 0 {
            self.reset(memory)?;
        } else if now & status::FAILED != 0 {
            self.stop();
        } else if self.state == State::Running {
            // The oldest drivers accept features after they have begun.
            self.tell_features(memory)?;
        } else if now & status::DRIVER_OK != 0 && self.state == State::Reset {
            self.start(memory)?;
        }
        Ok(Work::More)
    }

    fn tell_features(&mut self, memory: &impl GuestMemory) -> Result<(), Violation> {
        let accepted = self.record.accepted(memory)? & self.model.identity().legacy.features;
        self.model.driver_ready(accepted.into());
        Ok(())
    }

    fn start(&mut self, memory: &impl GuestMemory) -> Result<(), Violation> {
        let offered = u64::from(self.model.identity().legacy.features);
        // As drivers may begin before they accept, what is offered counts.
        let indirect = match offered & feature::INDIRECT_DESC {
            0 => Indirect::Refused,
            _ => Indirect::Allowed,
        };
        self.tell_features(memory)?;
        for (queue, told) in self.queues.iter_mut().zip(&self.told) {
            queue.set_size(told.size)?;
            queue.set_layout(Ring::new(told.size).layout(told.frame.start()))?;
            queue.enable(memory, indirect)?;
            queue.run();
        }
        self.state = State::Running;
        for queue in 0..self.model.identity().queues {
            self.model.notify(queue);
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.queues = Default::default();
        self.model.reset();
        self.state = State::Stopped;
    }

    /// The device is as it was at first (LG-166).
    fn reset(&mut self, memory: &impl GuestMemory) -> Result<(), BadAddress> {
        self.stop();
        self.interrupts = 0;
        self.record.clear_accepted(memory)?;
        for told in &self.told {
            for index in 0..Ring::new(told.size).frames() {
                let frame = told.frame.wrapping_add(index);
                memory.write(frame.start(), &[0; PAGE_SIZE as usize])?;
            }
        }
        self.state = State::Reset;
        Ok(())
    }

    /// Stops the device when the driver broke a rule. The status says so, for drivers that look.
    fn settle(&mut self, memory: &impl GuestMemory, outcome: Result<Work, Violation>) -> Work {
        let violation = match outcome {
            Ok(work) => return work,
            Err(violation) => violation,
        };
        self.violation.get_or_insert(violation);
        self.stop();
        let mut byte = [0];
        let at = self.record.status;
        // The page is the host's own: there is nothing that could fail.
        if memory.read(at, &mut byte).is_ok() {
            let [now] = byte;
            let _ = memory.write(at, &[now | status::NEEDS_RESET]);
        }
        Work::Done
    }
}
