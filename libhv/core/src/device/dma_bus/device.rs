//! One device on the bus. Disks and networks are used by DMA; the console's DMA is the personality's.

use super::channel::{self, Channel};
use super::{Buffer, Section, Sections};
use crate::address::{Gfn, Gpa};
use crate::device::Work;
use crate::device::virtio::chain::Direction;
use crate::device::virtio::queue::Queue;
use crate::device::virtio::{MAX_QUEUES, Violation, VirtioDevice, block, console, net};
use crate::memory::{BadAddress, GuestMemory};
use hv_abi::lguest::dma_page::{self, DESCRIPTOR_SIZE, kind};

/// Frames that a device has: the page that the guest knows of, and one for what goes between this and the model.
pub(super) const FRAMES: u64 = 2;

/// Where things are in the second frame, behind the queues.
const HEADER: u64 = MAX_QUEUES as u64 * channel::BYTES;
const ANSWER: u64 = HEADER + 0x40;
/// Bytes of a disk request's header, and of the header that goes with a frame.
const BLOCK_HEADER: u32 = 16;
const NET_HEADER: u32 = 10;
/// Value of the answer before there is one.
const NO_ANSWER: u8 = 0xff;

/// Queues of a network device.
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

/// What a device is to the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Nothing: there is no such type, or no room.
    Absent,
    Console,
    Block,
    Net,
}

/// What comes back when a chain does.
#[derive(Debug)]
struct Pending {
    buffer: Option<Buffer>,
    /// Bytes that are told if all goes well; of a network, the header is not told.
    skipped: u32,
}

/// A device.
#[derive(Debug)]
pub(super) struct Device<M> {
    model: M,
    kind: Kind,
    irq: u32,
    /// The first of its frames.
    page: Gfn,
    queues: [Queue; MAX_QUEUES],
    channels: [Option<Channel>; MAX_QUEUES],
    /// What is under way on the first queue.
    pending: Option<Pending>,
    interrupts: u32,
    violation: Option<Violation>,
}

impl<M: VirtioDevice> Device<M> {
    /// `model` with [`FRAMES`] from `page` on, and the interrupt `irq`.
    pub(super) fn new(memory: &impl GuestMemory, model: M, irq: u32, page: Gfn) -> Self {
        let room = page.wrapping_add(FRAMES) <= memory.frames();
        let kind = match model.identity().device {
            console::DEVICE => Kind::Console,
            block::DEVICE if room => Kind::Block,
            net::DEVICE if room => Kind::Net,
            _ => Kind::Absent,
        };
        let mut device = Self {
            model,
            kind,
            irq,
            page,
            queues: Default::default(),
            channels: Default::default(),
            pending: None,
            interrupts: 0,
            violation: None,
        };
        let opened = device.open(memory);
        device.settle(memory, opened.map(|()| Work::Done));
        device
    }

    /// What the guest reads of it.
    pub(super) fn descriptor(&self) -> [u8; DESCRIPTOR_SIZE] {
        let (kind, features, pages) = match self.kind {
            Kind::Absent => return [0; DESCRIPTOR_SIZE],
            Kind::Console => (kind::CONSOLE, 0, 0),
            Kind::Block => (kind::BLOCK, 0, 1),
            Kind::Net => (kind::NET, dma_page::net::GUEST as u16, 1),
        };
        let status = 0;
        let mut bytes = [0; DESCRIPTOR_SIZE];
        let halves = [kind, features, status, pages]
            .into_iter()
            .flat_map(u16::to_le_bytes);
        let page = if pages == 0 {
            0
        } else {
            self.page.raw() as u32
        };
        let fields = halves.chain(page.to_le_bytes());
        bytes
            .iter_mut()
            .zip(fields)
            .for_each(|(to, from)| *to = from);
        bytes
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

    /// Whether the guest sends to the device with this key.
    pub(super) fn takes(&self, key: u32) -> bool {
        let own = match self.kind {
            Kind::Absent | Kind::Console => return false,
            Kind::Block => 0,
            Kind::Net => dma_page::net::HOST,
        };
        self.key(own) == key
    }

    /// Whether the device would fill a buffer with this key.
    pub(super) fn wants(&self, key: u32) -> bool {
        self.kind == Kind::Net && self.pending.is_none() && self.key(dma_page::net::GUEST) == key
    }

    /// The key of slot `slot` in the device's page.
    fn key(&self, slot: u32) -> u32 {
        let page = self.page.start().raw() as u32;
        page.wrapping_add(slot.wrapping_mul(dma_page::net::KEY_STEP))
    }

    /// The guest sends; returns the bytes that were taken.
    pub(super) fn send(
        &mut self,
        memory: &impl GuestMemory,
        sections: &Sections,
        reply: Option<Buffer>,
    ) -> u32 {
        let started = match self.kind {
            Kind::Absent | Kind::Console => return 0,
            Kind::Block => self.start_request(memory, sections, reply),
            Kind::Net => self.start_frame(memory, sections),
        };
        let taken = *started.as_ref().unwrap_or(&0);
        self.settle(memory, started.map(|_| Work::Done));
        self.poll(memory);
        taken
    }

    /// A buffer for the next frame that arrives.
    pub(super) fn receive(&mut self, memory: &impl GuestMemory, buffer: Buffer) {
        let offered = self.offer(memory, buffer);
        self.settle(memory, offered.map(|()| Work::Done));
        self.poll(memory);
    }

    /// Lets the model move what is waiting, and tells the guest of what came back.
    pub(super) fn poll(&mut self, memory: &impl GuestMemory) -> Work {
        if matches!(self.kind, Kind::Absent | Kind::Console) {
            return Work::Done;
        }
        let moved = self.model.poll(memory, &mut self.queues);
        let work = self.settle(memory, moved);
        let collected = self.collect(memory);
        work.and(self.settle(memory, collected))
    }

    fn shared(&self, offset: u64) -> Gpa {
        self.page.wrapping_add(1).start().wrapping_add(offset)
    }

    /// Makes the model's queues ready, and what the page says.
    fn open(&mut self, memory: &impl GuestMemory) -> Result<(), Violation> {
        self.model.reset();
        self.queues = Default::default();
        self.channels = Default::default();
        if matches!(self.kind, Kind::Absent | Kind::Console) {
            return Ok(());
        }
        // As a driver that accepts nothing: frames with the short header, disks that are written through.
        self.model.driver_ready(0);
        let queues = usize::from(self.model.identity().queues);
        let parts = self.channels.iter_mut().zip(&mut self.queues);
        let mut at = self.page.wrapping_add(1).start();
        for (channel, queue) in parts.take(queues) {
            *channel = Some(Channel::open(memory, at, queue)?);
            at = at.wrapping_add(channel::BYTES);
        }
        let page = self.page.start();
        match self.kind {
            Kind::Net => memory.write(page, &dma_page::net::HOST_ADDRESS)?,
            _ => {
                let byte = |offset| self.model.read_config(offset);
                let sectors = [byte(0), byte(1), byte(2), byte(3)];
                memory.write(page.wrapping_add(dma_page::block::SECTORS), &sectors)?;
            }
        }
        Ok(())
    }

    /// The request that the guest has written into the disk's page.
    fn start_request(
        &mut self,
        memory: &impl GuestMemory,
        sections: &Sections,
        reply: Option<Buffer>,
    ) -> Result<u32, Violation> {
        let mut request = [0; 12];
        let page = self.page.start();
        memory.read(page.wrapping_add(dma_page::block::REQUEST), &mut request)?;
        // The copy: type, first sector, bytes.
        let [kind, sector, bytes] = words(&request);
        let write = kind == dma_page::block::WRITE;
        let (data, direction) = match &reply {
            _ if write => (sections.clone(), Direction::Readable),
            Some(buffer) => (buffer.sections.clone(), Direction::Writable),
            None => (Sections::new(), Direction::Writable),
        };
        if self.pending.is_some() || length(&data) != bytes {
            let irq = reply.map_or(self.irq, |buffer| buffer.irq);
            self.answer(memory, dma_page::block::FAILED, irq)?;
            return Ok(0);
        }
        let header = u128::from(u32::from(write)) | u128::from(sector) << 64;
        memory.write(self.shared(HEADER), &header.to_le_bytes())?;
        memory.write(self.shared(ANSWER), &[NO_ANSWER])?;
        let header = self.scratch(HEADER, BLOCK_HEADER);
        let answer = self.scratch(ANSWER, 1);
        let pieces = core::iter::once((header, Direction::Readable))
            .chain(data.into_iter().map(|section| (section, direction)))
            .chain(core::iter::once((answer, Direction::Writable)));
        self.pending = Some(Pending {
            buffer: reply,
            // The answer's byte is counted as well.
            skipped: 1,
        });
        self.start(memory, RECEIVE, pieces)?;
        Ok(if write { bytes } else { 0 })
    }

    /// A frame that the guest sends. While one waits for the link, others are dropped.
    fn start_frame(
        &mut self,
        memory: &impl GuestMemory,
        sections: &Sections,
    ) -> Result<u32, Violation> {
        let busy = (self.channels.get(TRANSMIT))
            .is_none_or(|channel| channel.as_ref().is_none_or(Channel::is_busy));
        if busy {
            return Ok(0);
        }
        memory.write(self.shared(HEADER), &[0; NET_HEADER as usize])?;
        let header = self.scratch(HEADER, NET_HEADER);
        let pieces = core::iter::once(header)
            .chain(sections.iter().copied())
            .map(|section| (section, Direction::Readable));
        self.start(memory, TRANSMIT, pieces)?;
        Ok(length(sections))
    }

    fn offer(&mut self, memory: &impl GuestMemory, buffer: Buffer) -> Result<(), Violation> {
        let header = self.scratch(ANSWER, NET_HEADER);
        let sections = buffer.sections.clone();
        let pieces = core::iter::once(header)
            .chain(sections)
            .map(|section| (section, Direction::Writable));
        self.pending = Some(Pending {
            buffer: Some(buffer),
            skipped: NET_HEADER,
        });
        self.start(memory, RECEIVE, pieces)
    }

    fn scratch(&self, offset: u64, length: u32) -> Section {
        Section {
            at: self.shared(offset),
            length,
        }
    }

    fn start(
        &mut self,
        memory: &impl GuestMemory,
        queue: usize,
        pieces: impl Iterator<Item = (Section, Direction)>,
    ) -> Result<(), Violation> {
        if let Some(Some(channel)) = self.channels.get_mut(queue) {
            channel.send(memory, pieces)?;
        }
        self.model.notify(queue as u16);
        Ok(())
    }

    /// Tells the guest of chains that the model has given back. There is more to do if there were any: for the next frame
    /// a buffer has to be found.
    fn collect(&mut self, memory: &impl GuestMemory) -> Result<Work, Violation> {
        let mut work = Work::Done;
        for index in 0..MAX_QUEUES {
            let (Some(Some(channel)), Some(queue)) =
                (self.channels.get_mut(index), self.queues.get_mut(index))
            else {
                continue;
            };
            // The guest is told by its own interrupt.
            queue.take_signal();
            let Some(written) = channel.take_returned(memory, queue)? else {
                continue;
            };
            work = Work::More;
            if index == RECEIVE
                && let Some(pending) = self.pending.take()
            {
                self.finish(memory, pending, written)?;
            }
        }
        Ok(work)
    }

    fn finish(
        &mut self,
        memory: &impl GuestMemory,
        pending: Pending,
        written: u32,
    ) -> Result<(), BadAddress> {
        let irq = pending
            .buffer
            .as_ref()
            .map_or(self.irq, |buffer| buffer.irq);
        let got = written.saturating_sub(pending.skipped);
        if let Some(buffer) = pending.buffer.filter(|_| got != 0) {
            memory.write_u32(buffer.used_len, got)?;
        }
        if self.kind == Kind::Net {
            self.interrupts |= 1_u32.wrapping_shl(irq);
            return Ok(());
        }
        let mut answer = [0];
        memory.read(self.shared(ANSWER), &mut answer)?;
        let outcome = match answer {
            [0] => dma_page::block::DONE,
            _ => dma_page::block::FAILED,
        };
        self.answer(memory, outcome, irq)
    }

    /// The outcome of a request to the disk.
    fn answer(
        &mut self,
        memory: &impl GuestMemory,
        outcome: u32,
        irq: u32,
    ) -> Result<(), BadAddress> {
        let at = self.page.start().wrapping_add(dma_page::block::RESULT);
        memory.write_u32(at, outcome)?;
        self.interrupts |= 1_u32.wrapping_shl(irq);
        Ok(())
    }

    /// A rule that was broken, by sections that are not RAM or by who wrote over the queues. Nobody could reset such a device:
    /// it starts afresh, and what was under way has failed.
    fn settle(&mut self, memory: &impl GuestMemory, outcome: Result<Work, Violation>) -> Work {
        let violation = match outcome {
            Ok(work) => return work,
            Err(violation) => violation,
        };
        self.violation.get_or_insert(violation);
        if let Some(pending) = self.pending.take()
            && self.kind == Kind::Block
        {
            let irq = pending.buffer.map_or(self.irq, |buffer| buffer.irq);
            // The page is the host's own: there is nothing that could fail.
            let _ = self.answer(memory, dma_page::block::FAILED, irq);
        }
        if self.open(memory).is_err() {
            self.kind = Kind::Absent;
        }
        Work::Done
    }
}

/// Bytes of all sections; each has less than a page.
fn length(sections: &[Section]) -> u32 {
    let lengths = sections.iter().map(|section| section.length);
    lengths.fold(0, u32::saturating_add)
}

/// Little-endian words.
fn words(bytes: &[u8; 12]) -> [u32; 3] {
    let mut words = [0; 3];
    let (chunks, _) = bytes.as_chunks();
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = u32::from_le_bytes(*chunk);
    }
    words
}
