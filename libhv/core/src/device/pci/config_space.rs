//! Configuration space as data: registers are 32-bit words, named by their offset
//! (PCI Local Bus Specification 3.0, chapter 6; virtio 1.0, section 4.1).

use crate::device::virtio::Identity;
use crate::device::virtio::registers::register;

/// Offsets of header registers that can be written.
pub(super) const CACHE_LINE_AND_LATENCY: u8 = 0x0c;
pub(super) const BAR0: u8 = 0x10;

/// Vendor of all virtio devices, and the device number that theirs count from (4.1.2).
const VIRTIO_VENDOR: u32 = 0x1af4;
const VIRTIO_DEVICE: u16 = 0x1040;
/// Least revision and subsystem device number of a device without the legacy interface (4.1.2).
const REVISION: u32 = 1;
const SUBSYSTEM_DEVICE: u32 = 0x40;
/// Bit 4 of the status register, in the high half: there are capabilities.
const CAPABILITY_LIST: u32 = 1 << (16 + 4);
const HOST_BRIDGE_CLASS: u32 = 0x0600 << 16;
/// First byte of a vendor-specific capability.
const VENDOR_SPECIFIC: u8 = 0x09;

/// `struct virtio_pci_cap` (4.1.4). All of them refer to BAR 0.
struct Capability {
    at: u8,
    next: u8,
    length: u8,
    kind: u8,
    /// Where in BAR 0, and how long.
    region: [u32; 2],
}

/// Offset of the first capability.
const FIRST: u8 = 0x40;
const DEVICE: u8 = 0x74;
const WINDOW: u8 = 0x84;

/// The access window's registers (4.1.4.7), which a guest without device memory mapped writes.
pub(super) const WINDOW_BAR: u8 = WINDOW + 4;
pub(super) const WINDOW_OFFSET: u8 = WINDOW + 8;
pub(super) const WINDOW_LENGTH: u8 = WINDOW + 12;
pub(super) const WINDOW_DATA: u8 = WINDOW + 16;

/// In the order of the list: common, notify, interrupt status, access window.
const CAPABILITIES: [Capability; 4] = [
    Capability {
        at: FIRST,
        next: 0x50,
        length: 16,
        kind: 1,
        region: [0, register::COMMON_END],
    },
    Capability {
        at: 0x50,
        next: 0x64,
        length: 20,
        kind: 2,
        region: [register::NOTIFY, 2],
    },
    Capability {
        at: 0x64,
        next: WINDOW,
        length: 16,
        kind: 3,
        region: [register::ISR, 1],
    },
    Capability {
        at: WINDOW,
        next: DEVICE,
        length: 20,
        kind: 5,
        region: [0, 0],
    },
];

/// The last one, where the device has a configuration.
fn device_capability(identity: &Identity) -> Capability {
    let region = [register::DEVICE_CONFIG, identity.config_size];
    Capability {
        at: DEVICE,
        next: 0,
        length: 16,
        kind: 4,
        region,
    }
}

impl Capability {
    fn word(&self, register: u8, identity: &Identity) -> Option<u32> {
        let offset = register
            .checked_sub(self.at)
            .filter(|offset| *offset < self.length)?;
        let [start, size] = self.region;
        Some(match offset {
            0 => {
                let last = self.next == DEVICE && identity.config_size == 0;
                let next = if last { 0 } else { self.next };
                u32::from_le_bytes([VENDOR_SPECIFIC, next, self.length, self.kind])
            }
            8 => start,
            12 => size,
            // The BAR's number; behind the notify capability, its multiplier: all queues share
            // one address.
            _ => 0,
        })
    }
}

/// Slot 0. A kernel takes mechanism #1 for absent unless some device has a class that it knows;
/// with vendor 0 it then leaves this one alone.
pub(super) fn host_bridge(register: u8) -> u32 {
    match register {
        0x08 => HOST_BRIDGE_CLASS,
        _ => 0,
    }
}

/// The constant registers of a virtio device: `None` past the end of its configuration space.
pub(super) fn constant(register: u8, identity: &Identity, line: u8) -> Option<u32> {
    let device = u32::from(VIRTIO_DEVICE.saturating_add(identity.device));
    match register {
        0x00 => Some(device << 16 | VIRTIO_VENDOR),
        0x04 => Some(CAPABILITY_LIST),
        0x08 => Some(u32::from(identity.class) << 16 | REVISION),
        0x2c => Some(SUBSYSTEM_DEVICE << 16),
        0x34 => Some(FIRST.into()),
        0x3c => Some(line.into()),
        0x38 | 0x0c..0x34 => Some(0),
        _ => {
            let device = (identity.config_size != 0).then(|| device_capability(identity));
            CAPABILITIES
                .iter()
                .chain(&device)
                .find_map(|cap| cap.word(register, identity))
        }
    }
}
