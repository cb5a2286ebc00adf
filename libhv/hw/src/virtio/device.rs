//! Bringing a virtio device up: BARs, interrupt, features, queues (virtio 1.0, 3.1 and 4.1).

use super::Trouble;
use super::dma::{self, HostMemory};
use crate::apic::Message;
use crate::direct_map;
use crate::host_paging::PageTables;
use crate::pci::ConfigurationSpace;
use crate::pci::msix::{self, TablePlace};
use core::mem::offset_of;
use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};
use hv_core::address::{Hpa, PAGE_SIZE};
use hv_core::frames::FrameAllocator;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::pci::bus::{
    Command, ConfigurationAccess as _, DeviceFunction, PCI_CAP_ID_VNDR, PciRoot,
};
use virtio_drivers::transport::pci::{
    PciTransport, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_DEVICE_CFG, VIRTIO_PCI_CAP_ISR_CFG,
    VIRTIO_PCI_CAP_NOTIFY_CFG,
};
use virtio_drivers::transport::{DeviceStatus, Transport as _};
use volatile::VolatilePtr;

/// VIRTIO_F_VERSION_1: the interface of virtio 1.0.
const VERSION_1: u64 = 1 << 32;
/// VIRTIO_F_ACCESS_PLATFORM: the platform may have its say about bus addresses. We use physical ones,
/// which is what a platform wants whose IOMMU nobody switched on.
const ACCESS_PLATFORM: u64 = 1 << 33;
/// Devices use a few KiB; a notification page for each of 1024 queues makes it 8 MiB.
pub const LARGEST_BAR: u64 = 16 << 20;
/// BARs of a function.
const BARS: usize = 6;
/// Offsets in a capability of virtio's: the BAR, and where in it (virtio 1.0, 4.1.4).
const CAPABILITY_BAR: u8 = 4;
const CAPABILITY_OFFSET: u8 = 8;
/// Value of a vector register: no vector.
const NO_VECTOR: u16 = 0xffff;
/// Polls for the answer to a request at the start, about a second.
pub const POLLS: u32 = 100_000_000;

/// A device that is to be opened.
pub struct Place<'a> {
    /// Configuration space.
    pub space: &'a mut ConfigurationSpace,
    /// The function.
    pub at: DeviceFunction,
    /// Vector of its interrupts.
    pub vector: u8,
}

/// The common configuration (virtio 1.0, 4.1.4.3), as far as the crate leaves it to us.
#[repr(C)]
struct CommonConfiguration {
    device_feature_select: u32,
    device_feature: u32,
    driver_feature_select: u32,
    driver_feature: u32,
    msix_config: u16,
    queues: u16,
    device_status: u8,
    config_generation: u8,
    queue_select: u16,
    queue_size: u16,
    queue_msix_vector: u16,
}

/// A device that has been negotiated with.
pub struct Device {
    transport: PciTransport,
    common: NonNull<u8>,
    features: u64,
}

impl Device {
    /// Resets the device, makes it interrupt with the place's vector, and negotiates: of `wanted`,
    /// what it offers.
    pub fn open(
        place: Place<'_>,
        wanted: u64,
        frames: &mut FrameAllocator,
        tables: &mut PageTables,
    ) -> Result<Self, Trouble> {
        let Place { space, at, vector } = place;
        let mut root = PciRoot::new(space.clone());
        let found = Capabilities::read(&root, space, at)?;
        let bars = found.map_bars(&mut root, at, frames, tables)?;
        let table = bars.pointer(found.table.bar, found.table.offset, msix::ENTRY)?;
        let (bar, offset) = found.common;
        let common = bars.pointer(bar, offset, size_of::<CommonConfiguration>() as u64)?;

        // Line interrupts off: nobody would end them.
        root.set_command(
            at,
            Command::MEMORY_SPACE | Command::BUS_MASTER | Command::INTERRUPT_DISABLE,
        );
        let transport = PciTransport::new::<HostMemory, _>(&mut root, at)?;
        let message = Message::to_this_processor(vector);
        // SAFETY: `map_bar` mapped the table uncached for good, and each function is opened once.
        unsafe { msix::route(space, at, found.messages, table, message) };
        let mut device = Self {
            transport,
            common,
            features: 0,
        };
        device.negotiate(wanted)?;
        Ok(device)
    }

    fn negotiate(&mut self, wanted: u64) -> Result<(), Trouble> {
        let hello = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
        self.transport.set_status(DeviceStatus::empty());
        self.wait_for(|device| {
            (device.transport.get_status() == DeviceStatus::empty()).then_some(())
        })?;
        self.transport.set_status(hello);
        self.features =
            self.transport.read_device_features() & (wanted | VERSION_1 | ACCESS_PLATFORM);
        if !self.offers(VERSION_1) {
            return Err(Trouble::Legacy);
        }
        self.transport.write_driver_features(self.features);
        self.transport.set_status(hello | DeviceStatus::FEATURES_OK);
        if self
            .transport
            .get_status()
            .contains(DeviceStatus::FEATURES_OK)
        {
            Ok(())
        } else {
            Err(Trouble::FeaturesRefused)
        }
    }

    /// Whether `feature` was agreed on.
    pub fn offers(&self, feature: u64) -> bool {
        self.features & feature != 0
    }

    /// A 32-bit word of the device's own configuration.
    pub fn configuration(&self, offset: usize) -> Result<u32, Trouble> {
        self.transport
            .read_config_space(offset)
            .map_err(|error| Trouble::Queue(0, error))
    }

    /// The two words at `offset` as one number that the device did not change meanwhile.
    pub fn configuration_u64(&self, offset: usize) -> Result<u64, Trouble> {
        self.transport
            .read_consistent(|| {
                let low: u32 = self.transport.read_config_space(offset)?;
                let high: u32 = self.transport.read_config_space(offset + 4)?;
                Ok(u64::from(high) << 32 | u64::from(low))
            })
            .map_err(|error| Trouble::Queue(0, error))
    }

    /// Sets queue `index` up, with interrupts for what the device has used.
    pub fn queue<const SIZE: usize>(
        &mut self,
        index: u16,
        frames: &mut FrameAllocator,
    ) -> Result<Queue<SIZE>, Trouble> {
        // Descriptors (16 bytes each) with the available ring, and apart from them the used ring
        // (virtio 1.0, 2.4).
        let ours = (16 * SIZE + 2 * SIZE + 6).div_ceil(PAGE_SIZE as usize);
        let devices = (8 * SIZE + 6).div_ceil(PAGE_SIZE as usize);
        let transport = &mut self.transport;
        let queue = dma::with_stock(frames, ours + devices, || {
            VirtQueue::new(transport, index, false, false)
        })?
        .map_err(|error| Trouble::Queue(index, error))?;
        // The crate has left this queue selected.
        let vector = self.common_register(offset_of!(CommonConfiguration, queue_msix_vector));
        vector.write(0);
        if vector.read() == NO_VECTOR {
            return Err(Trouble::Unrouted);
        }
        Ok(Queue { index, queue })
    }

    /// A 16-bit register of the common configuration.
    fn common_register(&self, offset: usize) -> VolatilePtr<'_, u16> {
        // SAFETY: inside the structure that `open` found mapped; the crate's transport, which writes
        // there too, is not in use now.
        unsafe { VolatilePtr::new(self.common.add(offset).cast()) }
    }

    /// The queues are set up; the device may use them.
    pub fn start(&mut self) {
        self.transport.finish_init();
    }

    /// Tells the device of what was added to a queue, if it wants to know.
    pub fn kick<const SIZE: usize>(&mut self, queue: &Queue<SIZE>) {
        // Our write of the ring's index comes before our read of the device's wish, as its write of
        // the wish comes before its read of the index (virtio 1.0, 2.4.7).
        fence(Ordering::SeqCst);
        if queue.queue.should_notify() {
            self.transport.notify(queue.index);
        }
    }

    /// Polls for something that a working device does at once.
    pub fn wait_for<T>(
        &mut self,
        mut done: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<T, Trouble> {
        for _ in 0..POLLS {
            if let Some(result) = done(self) {
                return Ok(result);
            }
            core::hint::spin_loop();
        }
        Err(Trouble::Silent)
    }
}

/// One of a device's queues.
pub struct Queue<const SIZE: usize> {
    index: u16,
    queue: VirtQueue<HostMemory, SIZE>,
}

impl<const SIZE: usize> Queue<SIZE> {
    /// Adds a chain of buffers, if there is room for it, and returns its token, below `SIZE`.
    ///
    /// # Safety
    /// The buffers are in the direct map and nobody else's until `pop` has returned them.
    pub unsafe fn add<'a>(
        &mut self,
        readable: &'a [&'a [u8]],
        writable: &'a mut [&'a mut [u8]],
    ) -> Option<u16> {
        // SAFETY: the caller's promise.
        unsafe { self.queue.add(readable, writable) }.ok()
    }

    /// The token of the next chain that the device is done with.
    pub fn used(&self) -> Option<u16> {
        self.queue
            .peek_used()
            .filter(|token| usize::from(*token) < SIZE)
    }

    /// Takes back the chain that [`Queue::used`] named. Returns the number of bytes that the device
    /// says it wrote.
    ///
    /// # Safety
    /// The buffers are those of the `add` that returned `token`.
    pub unsafe fn pop<'a>(
        &mut self,
        token: u16,
        readable: &'a [&'a [u8]],
        writable: &'a mut [&'a mut [u8]],
    ) -> Option<u32> {
        // SAFETY: the caller's promise.
        unsafe { self.queue.pop_used(token, readable, writable) }.ok()
    }

    /// Whether the device interrupts for this queue.
    pub fn set_interrupts(&mut self, interrupts: Interrupts) {
        self.queue.set_dev_notify(interrupts == Interrupts::On);
        // The device sees the wish before we look at the used ring for the last time.
        fence(Ordering::SeqCst);
    }
}

/// Whether a queue interrupts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interrupts {
    /// It does, for each chain or a few of them.
    On,
    /// It need not.
    Off,
}

/// What a function's capabilities say (virtio 1.0, 4.1.4).
struct Capabilities {
    /// Offset of the MSI-X capability.
    messages: u8,
    /// Its table.
    table: TablePlace,
    /// BAR and offset of the common configuration.
    common: (u8, u32),
    /// BARs in which something of it lies.
    bars: [bool; BARS],
}

impl Capabilities {
    fn read(
        root: &PciRoot<ConfigurationSpace>,
        space: &ConfigurationSpace,
        at: DeviceFunction,
    ) -> Result<Self, Trouble> {
        let mut messages = None;
        let mut common = None;
        let mut bars = [false; BARS];
        for capability in root.capabilities(at) {
            let bar = match capability.id {
                msix::CAPABILITY => {
                    let table = msix::table(space, at, capability.offset);
                    messages = Some((capability.offset, table));
                    table.bar
                }
                PCI_CAP_ID_VNDR => {
                    let word = |offset| space.read_word(at, capability.offset.wrapping_add(offset));
                    let bar = word(CAPABILITY_BAR) as u8;
                    match (capability.private_header >> 8) as u8 {
                        VIRTIO_PCI_CAP_COMMON_CFG => {
                            common.get_or_insert((bar, word(CAPABILITY_OFFSET)));
                        }
                        VIRTIO_PCI_CAP_NOTIFY_CFG
                        | VIRTIO_PCI_CAP_ISR_CFG
                        | VIRTIO_PCI_CAP_DEVICE_CFG => {}
                        // Others may name BARs that do not exist.
                        _ => continue,
                    }
                    bar
                }
                _ => continue,
            };
            // Numbers from 6 on are reserved: not for us (virtio 1.0, 4.1.4.1).
            if let Some(used) = bars.get_mut(usize::from(bar)) {
                *used = true;
            }
        }
        let common = common.ok_or(Trouble::Legacy)?;
        let (messages, table) = messages.ok_or(Trouble::NoMessages)?;
        Ok(Self {
            messages,
            table,
            common,
            bars,
        })
    }

    fn map_bars(
        &self,
        root: &mut PciRoot<ConfigurationSpace>,
        at: DeviceFunction,
        frames: &mut FrameAllocator,
        tables: &mut PageTables,
    ) -> Result<Bars, Trouble> {
        let mut bars = [None; BARS];
        for (number, (place, used)) in (0..).zip(bars.iter_mut().zip(self.bars)) {
            if used {
                *place = Some(map_bar(root, at, number, frames, tables)?);
            }
        }
        Ok(Bars(bars))
    }
}

/// Memory BARs that are mapped: where they are, and how large.
struct Bars([Option<(Hpa, u64)>; BARS]);

impl Bars {
    /// A pointer to `bytes` bytes of one.
    fn pointer(&self, bar: u8, offset: u32, bytes: u64) -> Result<NonNull<u8>, Trouble> {
        let place = self.0.get(usize::from(bar)).copied().flatten();
        place
            .filter(|(_, size)| u64::from(offset) + bytes <= *size)
            .map(|(start, _)| direct_map::pointer(start.wrapping_add(u64::from(offset))))
            .ok_or(Trouble::BadBar(bar))
    }
}

/// Maps a memory BAR and returns where it is and how large.
fn map_bar(
    root: &mut PciRoot<ConfigurationSpace>,
    at: DeviceFunction,
    bar: u8,
    frames: &mut FrameAllocator,
    tables: &mut PageTables,
) -> Result<(Hpa, u64), Trouble> {
    let place = root
        .bar_info(at, bar)
        .map_err(|_| Trouble::BadBar(bar))?
        .and_then(|info| info.memory_address_size())
        .filter(|(address, size)| *address != 0 && *size <= LARGEST_BAR);
    let (address, size) = place.ok_or(Trouble::BadBar(bar))?;
    let start = Hpa::new(address);
    tables
        .map_device_range(frames, start, size)
        .map_err(|error| Trouble::Unmapped(bar, error))?;
    Ok((start, size))
}
