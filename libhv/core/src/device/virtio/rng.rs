//! The entropy device (virtio 1.0, section 5.4): one queue of buffers to fill.

use super::chain::Direction;
use super::queue::Queue;
use super::{Identity, Legacy, Violation, VirtioDevice};
use crate::device::Work;
use crate::device::backend::Entropy;
use crate::memory::GuestMemory;

/// Bytes that one chain gets at most; a driver asks again.
const BYTES_A_CHAIN: usize = 64;
/// Chains of one poll.
const CHAINS_A_POLL: u32 = 4;

/// The entropy device's model.
#[derive(Debug)]
pub struct Rng<E> {
    source: E,
    /// Whether the queue may hold chains that nobody has looked at.
    stocked: bool,
}

impl<E: Entropy> Rng<E> {
    /// A device that hands out what `source` gives.
    pub fn new(source: E) -> Self {
        Self {
            source,
            stocked: false,
        }
    }
}

impl<E: Entropy> VirtioDevice for Rng<E> {
    fn identity(&self) -> Identity {
        Identity {
            device: 4,
            class: 0xff00,
            features: 0,
            queues: 1,
            config_size: 0,
            legacy: Legacy::default(),
        }
    }

    fn read_config(&self, _offset: u32) -> u8 {
        0
    }

    fn write_config(&mut self, _offset: u32, _value: u32) {}

    fn driver_ready(&mut self, _features: u64) {}

    fn reset(&mut self) {
        self.stocked = false;
    }

    fn notify(&mut self, _queue: u16) {
        self.stocked = true;
    }

    fn poll(&mut self, memory: &impl GuestMemory, queues: &mut [Queue]) -> Result<Work, Violation> {
        let Some(queue) = queues.first_mut() else {
            return Ok(Work::Done);
        };
        for _chain in 0..CHAINS_A_POLL {
            if !self.stocked {
                return Ok(Work::Done);
            }
            // Bytes first: a chain that has been taken has to be given back, and not empty.
            let mut random = [0; BYTES_A_CHAIN];
            let length = self.source.fill(&mut random);
            let Some(mut random) = random.get(..length).filter(|random| !random.is_empty()) else {
                return Ok(Work::More);
            };
            let Some(mut chain) = queue.pop(memory)? else {
                self.stocked = false;
                return Ok(Work::Done);
            };
            let mut written = 0_u32;
            // Every turn takes a buffer of the chain, of which there are no more than descriptors.
            while let Some(buffer) = chain.next_buffer(memory)? {
                if buffer.direction != Direction::Writable {
                    return Err(Violation::WrongDirection);
                }
                let length = random.len().min(buffer.length as usize);
                let (now, later) = random.split_at_checked(length).unwrap_or((random, &[]));
                memory.write(buffer.at, now)?;
                written = written.saturating_add(now.len() as u32);
                random = later;
            }
            queue.push(memory, chain, written)?;
        }
        Ok(Work::More)
    }

    fn console_read(&mut self) -> Option<u8> {
        None
    }
}
