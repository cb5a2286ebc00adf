//! Descriptors of devices, as the guest reads them.

use super::Free;
use crate::address::{Gfn, Gpa};
use crate::device::virtio::{Identity, VirtioDevice};
use crate::memory::{BadAddress, GuestMemory};
use hv_abi::lguest::virtio_page::{FEATURES_SIZE, QUEUE_SIZE, packed, tagged};
use hv_abi::lguest::{RecordForm, Records};

/// A virtqueue, as its device and the guest were told of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Queue {
    pub(super) size: u16,
    pub(super) irq: u32,
    pub(super) frame: Gfn,
}

impl Queue {
    fn bytes(self) -> [u8; QUEUE_SIZE] {
        let size = u64::from(self.size);
        let bits = size | u64::from(self.irq) << 16 | self.frame.raw() << 32;
        bits.to_le_bytes()
    }
}

/// Where those parts of a descriptor are that the guest writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Record {
    pub(super) start: Gpa,
    pub(super) status: Gpa,
    /// The features that the driver accepts, if it is offered any.
    accepted: Option<Gpa>,
}

/// Writes one part after the other.
struct Writer<'m, M> {
    memory: &'m M,
    at: Gpa,
}

impl<M: GuestMemory> Writer<'_, M> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), BadAddress> {
        self.memory.write(self.at, bytes)?;
        self.at = self.at.wrapping_add(bytes.len() as u64);
        Ok(())
    }
}

impl Record {
    /// Describes `model` with its `queues` in the guest's page, where `free` says, and moves that on.
    pub(super) fn write(
        memory: &impl GuestMemory,
        records: Records,
        model: &impl VirtioDevice,
        queues: &[Queue],
        free: &mut Free,
    ) -> Result<Self, BadAddress> {
        let mut writer = Writer {
            memory,
            at: free.record,
        };
        let record = match records.form {
            RecordForm::Packed => packed(&mut writer, model, queues),
            RecordForm::Tagged => tagged(&mut writer, model, queues),
        }?;
        free.record = writer.at;
        Ok(record)
    }

    /// The features that the driver accepts now.
    pub(super) fn accepted(&self, memory: &impl GuestMemory) -> Result<u32, BadAddress> {
        self.accepted.map_or(Ok(0), |at| memory.read_u32(at))
    }

    /// Takes back what the driver accepted.
    pub(super) fn clear_accepted(&self, memory: &impl GuestMemory) -> Result<(), BadAddress> {
        self.accepted.map_or(Ok(()), |at| memory.write_u32(at, 0))
    }
}

fn packed<M: GuestMemory>(
    writer: &mut Writer<'_, M>,
    model: &impl VirtioDevice,
    queues: &[Queue],
) -> Result<Record, BadAddress> {
    let Identity { device, legacy, .. } = model.identity();
    let start = writer.at;
    writer.put(&[
        device as u8,
        queues.len() as u8,
        FEATURES_SIZE,
        legacy.config_size,
        0,
    ])?;
    for queue in queues {
        writer.put(&queue.bytes())?;
    }
    writer.put(&legacy.features.to_le_bytes())?;
    let accepted = writer.at;
    writer.put(&0_u32.to_le_bytes())?;
    for offset in 0..legacy.config_size {
        writer.put(&[model.read_config(offset.into())])?;
    }
    Ok(Record {
        start,
        status: start.wrapping_add(packed::STATUS),
        accepted: Some(accepted),
    })
}

fn tagged<M: GuestMemory>(
    writer: &mut Writer<'_, M>,
    model: &impl VirtioDevice,
    queues: &[Queue],
) -> Result<Record, BadAddress> {
    let device = model.identity().device as u8;
    let start = writer.at;
    writer.put(&[device, 0, 0])?;
    for queue in queues {
        writer.put(&[tagged::QUEUE, QUEUE_SIZE as u8])?;
        writer.put(&queue.bytes())?;
    }
    let fields = tagged::FIELDS.iter().filter(|field| field.device == device);
    for field in fields {
        writer.put(&[field.tag, field.size])?;
        for byte in 0..field.size {
            let offset = field.offset.wrapping_add(byte.into());
            writer.put(&[model.read_config(offset)])?;
        }
    }
    let fields = writer
        .at
        .raw()
        .wrapping_sub(start.wrapping_add(tagged::HEADER).raw());
    writer
        .memory
        .write(start.wrapping_add(tagged::FIELDS_SIZE), &[fields as u8])?;
    Ok(Record {
        start,
        status: start.wrapping_add(tagged::STATUS),
        accepted: None,
    })
}
