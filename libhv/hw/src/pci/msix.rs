//! Interrupts as messages: the MSI-X capability and its table (PCI Local Bus Specification 3.0, 6.8.2).

use crate::apic::Message;
use core::ptr::NonNull;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};
use volatile::VolatilePtr;

/// Number of the capability.
pub const CAPABILITY: u8 = 0x11;
const ENABLE: u32 = 1 << 31;
const MASK_ALL: u32 = 1 << 30;
/// Offset in the capability of the table's place.
const TABLE: u8 = 4;
const TABLE_BAR: u32 = 0b111;
/// Bytes of a table entry.
pub const ENTRY: u64 = 16;

/// Where a function has its table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TablePlace {
    /// BAR that it lies in.
    pub bar: u8,
    /// Offset there.
    pub offset: u32,
}

/// Reads where the table is.
pub fn table(space: &impl ConfigurationAccess, at: DeviceFunction, capability: u8) -> TablePlace {
    let place = space.read_word(at, capability.wrapping_add(TABLE));
    TablePlace {
        bar: (place & TABLE_BAR) as u8,
        offset: place & !TABLE_BAR,
    }
}

/// Makes entry 0 of a function's table send `message`, and messages what the function interrupts
/// with. What names no other entry stays silent.
///
/// # Safety
/// `table` maps the function's table, uncached, for good; nobody else uses it.
pub unsafe fn route(
    space: &mut impl ConfigurationAccess,
    at: DeviceFunction,
    capability: u8,
    table: NonNull<u8>,
    message: Message,
) {
    let control = space.read_word(at, capability) & !MASK_ALL;
    // Enabled, or some devices ignore their table; masked, so that none sees half an entry.
    space.write_word(at, capability, control | ENABLE | MASK_ALL);
    let table: NonNull<u32> = table.cast();
    let words = [message.address, 0, message.data, 0];
    for (index, word) in words.into_iter().enumerate() {
        // SAFETY: entry 0's four words, in the table that the caller promises.
        unsafe { VolatilePtr::new(table.add(index)) }.write(word);
    }
    space.write_word(at, capability, control | ENABLE);
}
