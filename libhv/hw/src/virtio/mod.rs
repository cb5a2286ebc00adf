//! The host's own virtio devices, on PCI (virtio 1.0, 4.1), by way of the `virtio-drivers` crate.
//!
//! Of that crate we take the transport and the virtqueues. Its drivers wait for a flush by spinning,
//! and with event indices they may miss a notification on a machine with several processors; so the
//! three drivers here are our own, and each of their calls returns at once.

mod device;
mod disk;
mod dma;
mod entropy;
mod error;
mod link;

pub use disk::Disk;
pub use entropy::RandomDevice;
pub use error::{DeviceError, Trouble};
pub use link::Link;

use crate::apic::MESSAGE_VECTORS;
use crate::host_paging::{MapError, PageTables};
use crate::pci::{ConfigurationSpace, Ecam, Function};
use crate::random::{Processor, Source};
use crate::storage;
use core::fmt;
use device::Place;
use hv_core::frames::FrameAllocator;
use virtio_drivers::transport::DeviceType;
use virtio_drivers::transport::pci::bus::{DeviceFunctionInfo, HeaderType};
use virtio_drivers::transport::pci::virtio_device_type;

/// What a device is to the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A virtio-blk device.
    Disk,
    /// A virtio-net device.
    Link,
    /// A virtio-rng device.
    Random,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Disk => "disk",
            Kind::Link => "network device",
            Kind::Random => "source of randomness",
        })
    }
}

/// One device that nobody drives yet, or that somebody took.
#[derive(Clone, Copy, Debug)]
struct Found {
    function: Function,
    kind: Kind,
    taken: bool,
}

/// The machine's virtio devices, in the order in which a scan meets them.
#[derive(Debug)]
pub struct Devices {
    space: ConfigurationSpace,
    found: heapless::Vec<Found, { crate::pci::FUNCTIONS }>,
    next_vector: u8,
}

impl Devices {
    /// Looks for devices, and changes nothing about any. Devices that the host does not know are
    /// not its business.
    ///
    /// # Errors
    /// When configuration space could not be mapped.
    pub fn discover(
        ecam: Option<Ecam>,
        frames: &mut FrameAllocator,
        tables: &mut PageTables,
    ) -> Result<Self, MapError> {
        let mut space = ConfigurationSpace::new(ecam);
        let functions = space.scan(frames, tables)?;
        let known = functions.iter().filter_map(|function| {
            kind(function).map(|kind| Found {
                function: *function,
                kind,
                taken: false,
            })
        });
        Ok(Self {
            found: known.collect(),
            space,
            next_vector: MESSAGE_VECTORS.start,
        })
    }

    /// Says in the log what was found.
    pub fn report(&self) {
        crate::log_debug!(
            "PCI by {=str}: {=usize} disks, {=usize} network devices, {=usize} sources of randomness",
            self.space.mechanism(),
            self.count(Kind::Disk),
            self.count(Kind::Link),
            self.count(Kind::Random),
        );
    }

    /// Devices of a kind, taken ones included.
    pub fn count(&self, kind: Kind) -> usize {
        self.found.iter().filter(|it| it.kind == kind).count()
    }

    /// Opens disk `index`.
    ///
    /// # Errors
    /// When there is no such disk, it has been opened before, or it cannot be driven.
    pub fn disk(
        &mut self,
        index: usize,
        frames: &mut FrameAllocator,
        tables: &mut PageTables,
    ) -> Result<&'static mut Disk, DeviceError> {
        let disk = self.open(Kind::Disk, index, |place| Disk::open(place, frames, tables))?;
        keep(frames, disk)
    }

    /// Opens network device `index`.
    ///
    /// # Errors
    /// As for [`Devices::disk`].
    pub fn link(
        &mut self,
        index: usize,
        frames: &mut FrameAllocator,
        tables: &mut PageTables,
    ) -> Result<&'static mut Link, DeviceError> {
        let link = self.open(Kind::Link, index, |place| Link::open(place, frames, tables))?;
        keep(frames, link)
    }

    /// The best source of randomness: the processor's own instructions, else the first virtio-rng
    /// device.
    ///
    /// # Errors
    /// When there is neither, or the device cannot be driven.
    pub fn entropy(
        &mut self,
        frames: &mut FrameAllocator,
        tables: &mut PageTables,
    ) -> Result<&'static mut Source, DeviceError> {
        let source = match Processor::new() {
            Some(processor) => Source::Processor(processor),
            None if self.count(Kind::Random) == 0 => return Err(DeviceError::NoEntropy),
            None => Source::Device(self.open(Kind::Random, 0, |place| {
                RandomDevice::open(place, frames, tables)
            })?),
        };
        keep(frames, source)
    }

    fn open<T>(
        &mut self,
        kind: Kind,
        index: usize,
        open: impl FnOnce(Place<'_>) -> Result<T, Trouble>,
    ) -> Result<T, DeviceError> {
        let found = self.count(kind);
        let device = self
            .found
            .iter_mut()
            .filter(|it| it.kind == kind)
            .nth(index)
            .ok_or(DeviceError::Missing { kind, index, found })?;
        let error = |trouble| DeviceError::Unusable {
            kind,
            function: device.function,
            trouble,
        };
        if device.taken {
            return Err(error(Trouble::Taken));
        }
        if !MESSAGE_VECTORS.contains(&self.next_vector) {
            return Err(error(Trouble::OutOfVectors));
        }
        let opened = open(Place {
            space: &mut self.space,
            at: device.function.at,
            vector: self.next_vector,
        })
        .map_err(error)?;
        // One that could not be opened was reset; it may be tried again.
        device.taken = true;
        self.next_vector += 1;
        Ok(opened)
    }
}

/// Puts a driver into frames of its own: the host's stack is small, and it stays for good.
fn keep<T>(frames: &mut FrameAllocator, driver: T) -> Result<&'static mut T, DeviceError> {
    let run = frames
        .take(storage::frames_for::<T>(1), 1)
        .map_err(DeviceError::OutOfFrames)?;
    Ok(storage::place(run.into_state(), driver))
}

fn kind(function: &Function) -> Option<Kind> {
    // The crate looks at vendor and device only.
    let identity = DeviceFunctionInfo {
        vendor_id: function.vendor,
        device_id: function.device,
        class: 0,
        subclass: 0,
        prog_if: 0,
        revision: 0,
        header_type: HeaderType::Standard,
    };
    match virtio_device_type(&identity)? {
        DeviceType::Block => Some(Kind::Disk),
        DeviceType::Network => Some(Kind::Link),
        DeviceType::EntropySource => Some(Kind::Random),
        _ => None,
    }
}
