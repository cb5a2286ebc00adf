//! DMA of generation G1 (9.4): a guest names buffers by keys, and the device with the same key moves bytes.
//!
//! The console has key 0. Other keys are addresses of pages that [`devices`](crate::device::dma_bus) share with the guest.

use super::Lguest;
use crate::address::{Gpa, PAGE_SIZE};
use crate::device::dma_bus::{Buffer, Section, Sections};
use crate::device::{Devices, Work};
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::personality::Mmu;
use heapless::Vec;
use hv_abi::lguest::{IRQS, dma};

/// Bytes that the console takes of one call, so that no exit takes long. `used_len` says how many it were.
const LONGEST_TEXT: usize = 1024;
/// Bytes copied at a time.
const CHUNK: usize = 64;

/// An array of `lguest_dma` that a guest offers for input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Binding {
    key: u32,
    array: Gpa,
    count: u32,
    /// Raised when one of them was filled; never 0, which is the timer's.
    irq: u32,
}

impl Binding {
    /// Its `lguest_dma`s. The array can be as long as the guest says, but the host looks no further than at this
    /// many.
    fn descriptors<M: GuestMemory>(
        self,
        memory: &M,
    ) -> impl Iterator<Item = Result<Descriptor, Kill>> + use<'_, M> {
        (0..self.count.min(dma::MAX_BINDINGS as u32)).map(move |index| {
            let offset = u64::from(index).wrapping_mul(dma::SIZE as u64);
            Descriptor::read(memory, self.array.wrapping_add(offset))
        })
    }
}

/// Everything that a guest has bound.
#[derive(Clone, Debug, Default)]
pub(super) struct Bindings(Vec<Binding, { dma::MAX_BINDINGS }>);

impl Bindings {
    /// What the guest bound to `key` first.
    pub(super) fn find(&self, key: u32) -> Option<Binding> {
        self.0.iter().find(|binding| binding.key == key).copied()
    }
}

/// A `lguest_dma`: a copy of what the guest's memory had when it was looked at.
struct Descriptor {
    at: Gpa,
    bytes: [u8; dma::SIZE],
}

impl Descriptor {
    fn read(memory: &impl GuestMemory, at: Gpa) -> Result<Self, Kill> {
        let mut bytes = [0; dma::SIZE];
        memory.read(at, &mut bytes)?;
        Ok(Self { at, bytes })
    }

    fn is_free(&self) -> bool {
        self.bytes.first_chunk() == Some(&[0; 4])
    }

    /// All of its sections.
    fn sections(&self) -> Result<Sections, Kill> {
        let mut sections = Sections::new();
        while let Some(section) = self.section(sections.len() as u32)? {
            // There is room for as many as can be.
            let _ = sections.push(section);
        }
        Ok(sections)
    }

    /// Section `index`; `None` behind the last one.
    fn section(&self, index: u32) -> Result<Option<Section>, Kill> {
        let field = |start: u32, size: u32| {
            let at = start.wrapping_add(index.wrapping_mul(size));
            self.bytes.get(at as usize..).unwrap_or_default()
        };
        if index >= dma::SECTIONS {
            return Ok(None);
        }
        let (Some(at), Some(length)) = (
            field(dma::ADDRESSES, 4).first_chunk(),
            field(dma::LENGTHS, 2).first_chunk(),
        ) else {
            return Ok(None);
        };
        let at = Gpa::from(u32::from_le_bytes(*at));
        let length = u32::from(u16::from_le_bytes(*length));
        if at.page_offset().saturating_add(length) > PAGE_SIZE {
            return Err(Kill::BadDmaSection(at, length));
        }
        Ok((length != 0).then_some(Section { at, length }))
    }

    fn set_used(&self, memory: &impl GuestMemory, bytes: u32) -> Result<(), Kill> {
        let at = self.at.wrapping_add(dma::USED_LEN.into());
        Ok(memory.write_u32(at, bytes)?)
    }
}

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// BIND_DMA: what goes into EAX, 1 if the buffers were bound and 0 if not (LG-171). Interrupt 0 takes
    /// them back.
    #[inline(never)]
    pub(super) fn bind_dma(&mut self, key: u32, array: u32, rest: u32) -> Result<u32, Kill> {
        let (count, irq) = (rest >> 8, rest & 0xff);
        if irq >= IRQS {
            return Ok(0);
        }
        self.check_key(key)?;
        let array = Gpa::from(array);
        let bindings = &mut self.dma.0;
        if irq == 0 {
            let bound = bindings.len();
            bindings.retain(|binding| (binding.key, binding.array) != (key, array));
            return Ok(u32::from(bindings.len() < bound));
        }
        let binding = Binding {
            key,
            array,
            count,
            irq,
        };
        Ok(u32::from(bindings.push(binding).is_ok()))
    }

    /// SEND_DMA: hands the sections of the `lguest_dma` at `at` to the device with this key. A key that
    /// no device has changes nothing.
    #[inline(never)]
    pub(super) fn send_dma(&mut self, key: u32, at: Gpa) -> Result<(), Kill> {
        self.check_key(key)?;
        let descriptor = Descriptor::read(&self.memory, at)?;
        // Checked whole before anything is moved (LG-172).
        let sections = descriptor.sections()?;
        let used = if key == dma::CONSOLE_KEY {
            self.print_sections(&sections)?
        } else {
            let reply = self.free_buffer(key)?;
            self.interrupts.note_work(Work::More);
            (self.devices).dma_send(&self.memory, key, &sections, reply)
        };
        if used != 0 || key == dma::CONSOLE_KEY {
            descriptor.set_used(&self.memory, used)?;
        }
        Ok(())
    }

    /// Offers devices the buffers that are bound to their keys.
    #[inline(never)]
    pub(super) fn feed_devices(&mut self) -> Result<(), Kill> {
        self.feed_console()?;
        for index in 0..dma::MAX_BINDINGS {
            let Some(binding) = self.dma.0.get(index) else {
                break;
            };
            let key = binding.key;
            if self.devices.dma_wants(key)
                && let Some(buffer) = self.free_buffer(key)?
            {
                self.devices.dma_receive(&self.memory, key, buffer);
            }
        }
        Ok(())
    }

    /// The first free buffer that is bound to `key`.
    fn free_buffer(&self, key: u32) -> Result<Option<Buffer>, Kill> {
        let Some(binding) = self.dma.find(key) else {
            return Ok(None);
        };
        for descriptor in binding.descriptors(&self.memory) {
            let descriptor = descriptor?;
            if descriptor.is_free() {
                return Ok(Some(Buffer {
                    used_len: descriptor.at.wrapping_add(dma::USED_LEN.into()),
                    irq: binding.irq,
                    sections: descriptor.sections()?,
                }));
            }
        }
        Ok(None)
    }

    /// Writes sections to the console, and says how many bytes it took.
    fn print_sections(&mut self, sections: &[Section]) -> Result<u32, Kill> {
        let mut room = LONGEST_TEXT;
        for section in sections {
            let length = (section.length as usize).min(room);
            self.print(section.at, length)?;
            room = room.saturating_sub(length);
        }
        Ok(LONGEST_TEXT.saturating_sub(room) as u32)
    }

    /// Writes `length` bytes at `at` to the console.
    fn print(&mut self, at: Gpa, length: usize) -> Result<(), Kill> {
        let mut place = at;
        let mut rest = length;
        while rest != 0 {
            let mut chunk = [0; CHUNK];
            let count = rest.min(CHUNK);
            let chunk = chunk.get_mut(..count).unwrap_or_default();
            self.memory.read(place, chunk)?;
            self.devices.console_write(chunk);
            // A slow far end takes the rest later.
            self.interrupts.note_work(Work::More);
            place = place.wrapping_add(count as u64);
            rest = rest.saturating_sub(count);
        }
        Ok(())
    }

    /// Fills one free buffer of the console's with what was typed.
    fn feed_console(&mut self) -> Result<(), Kill> {
        let Some(binding) = self.dma.find(dma::CONSOLE_KEY) else {
            return Ok(());
        };
        for descriptor in binding.descriptors(&self.memory) {
            let descriptor = descriptor?;
            let sections = descriptor.sections()?;
            let (true, Some(section)) = (descriptor.is_free(), sections.first()) else {
                continue;
            };
            let (at, length) = (section.at, section.length as usize);
            let mut used = 0_u32;
            while (used as usize) < length
                && let Some(byte) = self.devices.console_read()
            {
                self.memory.write(at.wrapping_add(used.into()), &[byte])?;
                used = used.wrapping_add(1);
            }
            if used != 0 {
                descriptor.set_used(&self.memory, used)?;
                self.interrupts.raise(binding.irq);
            }
            return Ok(());
        }
        Ok(())
    }

    /// Keys are addresses of words in memory that could be shared (3.2).
    fn check_key(&self, key: u32) -> Result<(), Kill> {
        if key & 3 != 0 || !self.memory.contains(Gpa::from(key), 4) {
            return Err(Kill::BadDmaKey(key));
        }
        Ok(())
    }
}
