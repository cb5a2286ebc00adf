//! What there is to work with.

use core::fmt;
use core::ops::Range;
use heapless::Vec;
use hv_core::address::Hpa;
use hv_core::frames::{FrameAllocator, OutOfFrames, TooManyRanges};
use hv_hw::host_paging::{MapError, PageTables};
use hv_hw::pci::Ecam;
use hv_hw::random::Source;
use hv_hw::virtio::{DeviceError, Devices, Disk, Kind, Link};

/// Ranges of RAM that are kept of a memory map.
pub const RAM_RANGES: usize = 32;
/// Boot modules that are kept.
pub const MODULES: usize = 8;
/// Bytes that are kept of the host's command line.
pub const COMMAND_LINE: usize = 4096;
/// Below this lie the firmware's data and the boot loaders' favourite places; never handed out.
const LOW_MEMORY: Hpa = Hpa::new(1 << 20);
/// RAM from here on is out of the direct map's reach.
const UNREACHABLE: Hpa = Hpa::new(hv_hw::direct_map::SIZE);

/// A file that the boot loader put into memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Module {
    start: Hpa,
    bytes: u64,
}

impl Module {
    pub(crate) fn new(start: Hpa, bytes: u64) -> Self {
        Self { start, bytes }
    }

    /// Physical addresses that it occupies.
    pub fn range(&self) -> Range<Hpa> {
        self.start..self.start.wrapping_add(self.bytes)
    }

    /// The module's bytes.
    pub fn contents(&self) -> &'static [u8] {
        let pointer = hv_hw::direct_map::pointer(self.start);
        // SAFETY: `RawMachine` made sure that the module is RAM, which the direct map covers, and kept
        // it from ever being handed out, so nothing writes to it any more.
        unsafe { core::slice::from_raw_parts(pointer.as_ptr(), self.bytes as usize) }
    }
}

/// What a boot loader said, copied.
#[derive(Debug, Default)]
pub struct RawMachine {
    /// Usable memory, as the map has it.
    pub ram: Vec<Range<Hpa>, RAM_RANGES>,
    /// Boot modules.
    pub modules: Vec<Module, MODULES>,
    /// The host's command line.
    pub command_line: Vec<u8, COMMAND_LINE>,
    /// Where the firmware says that PCI configuration space is in memory.
    pub ecam: Option<Ecam>,
}

/// The boot loader left something we cannot work with.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BootError {
    /// Not the structure that the protocol promises.
    BadInformation(&'static str),
    /// More of something than is kept.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are kept.
        limit: usize,
    },
    /// A module does not lie in RAM.
    ModuleOutsideRam(Module),
    /// Not enough memory for the host's page tables.
    OutOfFrames(OutOfFrames),
    /// PCI configuration space could not be mapped.
    ConfigurationSpace(MapError),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::BadInformation(what) => write!(f, "boot loader: {what}"),
            BootError::TooMany { what, limit } => {
                write!(f, "boot loader: more than {limit} {what}")
            }
            BootError::ModuleOutsideRam(Module { start, bytes }) => {
                write!(
                    f,
                    "boot loader: a module at {start} with {bytes} bytes is not in RAM"
                )
            }
            BootError::OutOfFrames(error) => write!(f, "host page tables: {error}"),
            BootError::ConfigurationSpace(error) => write!(f, "PCI: {error}"),
        }
    }
}

impl core::error::Error for BootError {}

impl From<OutOfFrames> for BootError {
    fn from(error: OutOfFrames) -> Self {
        BootError::OutOfFrames(error)
    }
}

impl From<MapError> for BootError {
    fn from(error: MapError) -> Self {
        BootError::ConfigurationSpace(error)
    }
}

impl<T> From<TooManyRanges<T>> for BootError {
    fn from(_: TooManyRanges<T>) -> Self {
        BootError::TooMany {
            what: "separate ranges of memory",
            limit: RAM_RANGES,
        }
    }
}

impl RawMachine {
    /// Notes a range of usable memory.
    pub(crate) fn add_ram(&mut self, range: Range<Hpa>) -> Result<(), BootError> {
        let error = BootError::TooMany {
            what: "ranges of RAM",
            limit: RAM_RANGES,
        };
        if range.is_empty() {
            Ok(())
        } else {
            self.ram.push(range).map_err(|_| error)
        }
    }

    /// Notes a boot module.
    pub(crate) fn add_module(&mut self, module: Module) -> Result<(), BootError> {
        let error = BootError::TooMany {
            what: "boot modules",
            limit: MODULES,
        };
        self.modules.push(module).map_err(|_| error)
    }

    /// Everything that is free: the usable memory above 1 MiB that the direct map reaches, without the
    /// image and the modules.
    ///
    /// What else the loader left has been copied by now.
    ///
    /// # Errors
    /// When a module lies outside RAM or the memory map is too fragmented.
    pub fn frame_allocator(&self, image: Range<Hpa>) -> Result<FrameAllocator, BootError> {
        let mut frames = FrameAllocator::new();
        for range in &self.ram {
            frames.add(range.clone())?;
        }
        for module in &self.modules {
            let Range { start, end } = module.range();
            let inside = |ram: &Range<Hpa>| {
                ram.start <= start && start <= end && end <= ram.end.min(UNREACHABLE)
            };
            if !self.ram.iter().any(inside) {
                return Err(BootError::ModuleOutsideRam(*module));
            }
            frames.reserve(start..end)?;
        }
        frames.reserve(Hpa::new(0)..LOW_MEMORY)?;
        frames.reserve(UNREACHABLE..Hpa::new(u64::MAX))?;
        frames.reserve(image)?;
        Ok(frames)
    }
}

/// The number behind `takes=`: allocations of frames that succeed.
#[cfg(feature = "fault-injection")]
pub(crate) fn takes(command_line: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(command_line).ok()?;
    let mut words = text.split(' ');
    words.find_map(|word| word.strip_prefix("takes=")?.parse().ok())
}

/// The machine, as the application gets it: all that is free of it, and what the boot loader brought.
#[derive(Debug)]
pub struct Machine {
    /// Free memory.
    pub frames: FrameAllocator,
    /// The page tables that the host runs on.
    pub tables: PageTables,
    raw: RawMachine,
    devices: Devices,
}

impl Machine {
    pub(crate) fn new(
        raw: RawMachine,
        frames: FrameAllocator,
        tables: PageTables,
        devices: Devices,
    ) -> Self {
        Self {
            frames,
            tables,
            raw,
            devices,
        }
    }

    /// Says in the log what devices were found.
    pub fn report_devices(&self) {
        self.devices.report();
    }

    /// Disks that the machine has: virtio-blk devices, in the order of a scan of its buses.
    pub fn disks(&self) -> usize {
        self.devices.count(Kind::Disk)
    }

    /// Opens disk `index`, from 0 on.
    ///
    /// # Errors
    /// When there is no such disk, it was opened before or it cannot be driven.
    pub fn disk(&mut self, index: usize) -> Result<&'static mut Disk, DeviceError> {
        self.devices.disk(index, &mut self.frames, &mut self.tables)
    }

    /// Network links that the machine has: virtio-net devices, in the order of a scan of its buses.
    pub fn links(&self) -> usize {
        self.devices.count(Kind::Link)
    }

    /// Opens network link `index`, from 0 on.
    ///
    /// # Errors
    /// As for [`Machine::disk`].
    pub fn link(&mut self, index: usize) -> Result<&'static mut Link, DeviceError> {
        self.devices.link(index, &mut self.frames, &mut self.tables)
    }

    /// The machine's best source of randomness: the processor's own instructions, else a virtio-rng
    /// device.
    ///
    /// # Errors
    /// When there is neither, or the device cannot be driven.
    pub fn entropy(&mut self) -> Result<&'static mut Source, DeviceError> {
        self.devices.entropy(&mut self.frames, &mut self.tables)
    }

    /// The host's command line; empty from the second time on.
    pub fn take_command_line(&mut self) -> Vec<u8, COMMAND_LINE> {
        core::mem::take(&mut self.raw.command_line)
    }

    /// The files that the boot loader brought.
    pub fn modules(&self) -> &[Module] {
        &self.raw.modules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> RawMachine {
        let mut raw = RawMachine::default();
        raw.add_ram(Hpa::new(0)..Hpa::new(0x9fc00)).unwrap();
        raw.add_ram(Hpa::new(0x10_0000)..Hpa::new(0x100_0000))
            .unwrap();
        raw
    }

    #[test]
    fn neither_low_memory_nor_the_image_nor_a_module_is_free() {
        let mut raw = machine();
        raw.add_module(Module::new(Hpa::new(0x20_0800), 0x1000))
            .unwrap();
        let mut frames = raw
            .frame_allocator(Hpa::new(0x10_0000)..Hpa::new(0x20_0000))
            .unwrap();
        assert_eq!(frames.statistics().free, 0xe00 - 2);
        assert_eq!(frames.take(1, 1).unwrap().start(), Hpa::new(0x20_2000));
    }

    #[test]
    fn memory_beyond_the_direct_map_is_not_free() {
        let mut raw = machine();
        raw.add_ram(Hpa::new(UNREACHABLE.raw() - 0x1000)..Hpa::new(UNREACHABLE.raw() + 0x1000))
            .unwrap();
        let module = Module::new(UNREACHABLE, 0x800);
        let nothing = Hpa::new(0)..Hpa::new(0);
        let frames = raw.frame_allocator(nothing.clone()).unwrap();
        assert_eq!(frames.statistics().free, 0xf00 + 1);
        raw.add_module(module).unwrap();
        let error = raw.frame_allocator(nothing).unwrap_err();
        assert_eq!(error, BootError::ModuleOutsideRam(module));
    }

    #[test]
    fn a_module_outside_ram_is_refused() {
        for (start, bytes) in [
            (0xf_f000, 0x2000),
            (0xff_f000, 0x1001),
            (u64::MAX - 10, 100),
        ] {
            let mut raw = machine();
            let module = Module::new(Hpa::new(start), bytes);
            raw.add_module(module).unwrap();
            let error = raw.frame_allocator(Hpa::new(0)..Hpa::new(0)).unwrap_err();
            assert_eq!(error, BootError::ModuleOutsideRam(module));
        }
    }
}
