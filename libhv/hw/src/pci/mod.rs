//! PCI configuration space (PCI Local Bus Specification 3.0, chapter 6; PCI Express Base
//! Specification, 7.2.2).

pub mod firmware;
pub mod msix;

use crate::direct_map;
use crate::host_paging::{MapError, PageTables};
use core::fmt;
use core::ops::RangeInclusive;
use hv_core::address::Hpa;
use hv_core::frames::FrameAllocator;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};
use x86_64::instructions::port::Port;

/// Functions that are kept of a scan.
pub const FUNCTIONS: usize = 64;
const DEVICES_A_BUS: u8 = 32;
const FUNCTIONS_A_DEVICE: u8 = 8;
/// Bytes of the memory window that one bus has.
const BUS_WINDOW: u64 = 1 << 20;

const IDENTITY: u8 = 0x00;
/// Vendor that no device has: nobody answered.
const NOBODY: u16 = 0xffff;
const HEADER_TYPE: u8 = 0x0c;
const BRIDGE: u8 = 1;
const MULTIFUNCTION: u8 = 1 << 7;
const BUS_NUMBERS: u8 = 0x18;

const ADDRESS_PORT: u16 = 0xcf8;
const DATA_PORT: u16 = 0xcfc;
const ADDRESS_ENABLE: u32 = 1 << 31;

/// Configuration space in memory (ECAM): a window of 1 MiB for each bus.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ecam {
    /// Where the window of bus 0 is, or would be.
    pub base: Hpa,
    /// Buses that have one.
    pub buses: RangeInclusive<u8>,
}

#[derive(Clone, Debug)]
enum Mechanism {
    /// The ports 0xcf8 and 0xcfc, which every PC has.
    Ports,
    Memory(Ecam),
}

/// A set of bus numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Buses([u128; 2]);

impl Buses {
    fn contains(self, bus: u8) -> bool {
        self.0[usize::from(bus >> 7)] >> (bus & 127) & 1 != 0
    }

    /// Adds `bus`; says whether it is new.
    fn insert(&mut self, bus: u8) -> bool {
        let new = !self.contains(bus);
        self.0[usize::from(bus >> 7)] |= 1 << (bus & 127);
        new
    }
}

/// One function of a device, as a scan found it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Function {
    /// Where it is.
    pub at: DeviceFunction,
    /// Who made it.
    pub vendor: u16,
    /// What it is.
    pub device: u16,
}

/// Access to the configuration space of the host's devices.
#[derive(Clone, Debug)]
pub struct ConfigurationSpace {
    mechanism: Mechanism,
    /// Buses whose memory windows are mapped; the others read as empty.
    mapped: Buses,
}

impl ConfigurationSpace {
    /// Access through memory where there is such a window and the host can map it, else through
    /// ports.
    pub fn new(ecam: Option<Ecam>) -> Self {
        let reachable = |ecam: &Ecam| {
            let end = BUS_WINDOW * (u64::from(*ecam.buses.end()) + 1);
            ecam.base.raw().saturating_add(end) <= direct_map::SIZE
        };
        Self {
            mechanism: ecam
                .filter(reachable)
                .map_or(Mechanism::Ports, Mechanism::Memory),
            mapped: Buses::default(),
        }
    }

    /// How it is accessed, for the log.
    pub fn mechanism(&self) -> &'static str {
        match self.mechanism {
            Mechanism::Ports => "ports",
            Mechanism::Memory(_) => "memory",
        }
    }

    /// Makes a bus accessible.
    fn open(
        &mut self,
        bus: u8,
        frames: &mut FrameAllocator,
        tables: &mut PageTables,
    ) -> Result<(), MapError> {
        let Mechanism::Memory(ecam) = &self.mechanism else {
            return Ok(());
        };
        if ecam.buses.contains(&bus) && !self.mapped.contains(bus) {
            let window = ecam.base.wrapping_add(BUS_WINDOW * u64::from(bus));
            tables.map_device_range(frames, window, BUS_WINDOW)?;
            self.mapped.insert(bus);
        }
        Ok(())
    }

    /// Looks at every function on bus 0 and behind its bridges, which the firmware has numbered.
    ///
    /// # Errors
    /// When there are no frames for the page tables of the memory windows.
    pub fn scan(
        &mut self,
        frames: &mut FrameAllocator,
        tables: &mut PageTables,
    ) -> Result<heapless::Vec<Function, FUNCTIONS>, MapError> {
        scan(self, |space, bus| space.open(bus, frames, tables))
    }

    /// A pointer to a register of a function in its bus's memory window; `None` when that is not
    /// mapped.
    fn register(&self, ecam: &Ecam, at: DeviceFunction, offset: u8) -> Option<*mut u32> {
        let inside = at.device < DEVICES_A_BUS && at.function < FUNCTIONS_A_DEVICE;
        (inside && self.mapped.contains(at.bus)).then(|| {
            let offset = u64::from(at.bus) << 20
                | u64::from(at.device) << 15
                | u64::from(at.function) << 12
                | u64::from(offset & !3);
            direct_map::pointer(ecam.base.wrapping_add(offset))
                .cast()
                .as_ptr()
        })
    }
}

impl ConfigurationAccess for ConfigurationSpace {
    fn read_word(&self, at: DeviceFunction, offset: u8) -> u32 {
        match &self.mechanism {
            Mechanism::Ports => {
                select(at, offset);
                // SAFETY: the port shows the register that was selected; reading it touches no memory.
                unsafe { Port::new(DATA_PORT).read() }
            }
            Mechanism::Memory(ecam) => match self.register(ecam, at, offset) {
                // SAFETY: aligned, and inside a window that is mapped for good (`open`).
                Some(register) => unsafe { register.read_volatile() },
                None => !0,
            },
        }
    }

    fn write_word(&mut self, at: DeviceFunction, offset: u8, data: u32) {
        match &self.mechanism {
            Mechanism::Ports => {
                select(at, offset);
                // SAFETY: a register of a device that the host owns. What it makes the device do to
                // memory is up to who enables bus mastering, and gives it addresses.
                unsafe { Port::new(DATA_PORT).write(data) }
            }
            Mechanism::Memory(ecam) => {
                if let Some(register) = self.register(ecam, at, offset) {
                    // SAFETY: as above and in `read_word`.
                    unsafe { register.write_volatile(data) };
                }
            }
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        self.clone()
    }
}

fn select(at: DeviceFunction, offset: u8) {
    let address = ADDRESS_ENABLE
        | u32::from(at.bus) << 16
        | u32::from(at.device & 31) << 11
        | u32::from(at.function & 7) << 8
        | u32::from(offset & !3);
    // SAFETY: chooses what the data port shows. The host is the only user of the two ports: a
    // guest's port instructions never reach the machine's.
    unsafe { Port::new(ADDRESS_PORT).write(address) }
}

/// Walks the buses in the order in which bridges name them. `open` makes a bus accessible.
fn scan<C: ConfigurationAccess, E>(
    space: &mut C,
    mut open: impl FnMut(&mut C, u8) -> Result<(), E>,
) -> Result<heapless::Vec<Function, FUNCTIONS>, E> {
    let mut found = heapless::Vec::new();
    let mut known = Buses::default();
    let mut queue = heapless::Deque::<u8, 256>::new();
    known.insert(0);
    // A bus enters the queue once, so all 256 of them fit.
    let _ = queue.push_back(0);
    while let Some(bus) = queue.pop_front() {
        open(space, bus)?;
        for device in 0..DEVICES_A_BUS {
            let mut functions = 1;
            let mut function = 0;
            while function < functions {
                let at = DeviceFunction {
                    bus,
                    device,
                    function,
                };
                function += 1;
                let identity = space.read_word(at, IDENTITY);
                let vendor = identity as u16;
                if vendor == NOBODY {
                    continue;
                }
                let header = (space.read_word(at, HEADER_TYPE) >> 16) as u8;
                if at.function == 0 && header & MULTIFUNCTION != 0 {
                    functions = FUNCTIONS_A_DEVICE;
                }
                if header & !MULTIFUNCTION == BRIDGE {
                    let secondary = (space.read_word(at, BUS_NUMBERS) >> 8) as u8;
                    if known.insert(secondary) {
                        let _ = queue.push_back(secondary);
                    }
                }
                // A machine with more functions than are kept has its last ones unseen.
                let _ = found.push(Function {
                    at,
                    vendor,
                    device: (identity >> 16) as u16,
                });
            }
        }
    }
    Ok(found)
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeviceFunction {
            bus,
            device,
            function,
        } = self.at;
        write!(f, "{bus:02x}:{device:02x}.{function}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Functions with their identity, header type and, of bridges, the bus behind them.
    #[derive(Clone)]
    struct Fake(&'static [(u8, u8, u8, u32, u8, u8)]);

    impl ConfigurationAccess for Fake {
        fn read_word(&self, at: DeviceFunction, offset: u8) -> u32 {
            let place = (at.bus, at.device, at.function);
            let function = self.0.iter().find(|it| (it.0, it.1, it.2) == place);
            match (function, offset) {
                (None, _) => !0,
                (Some(it), IDENTITY) => it.3,
                (Some(it), HEADER_TYPE) => u32::from(it.4) << 16,
                (Some(it), BUS_NUMBERS) => u32::from(it.5) << 8,
                (Some(_), _) => 0,
            }
        }

        fn write_word(&mut self, _: DeviceFunction, _: u8, _: u32) {
            panic!("a scan writes nothing");
        }

        unsafe fn unsafe_clone(&self) -> Self {
            self.clone()
        }
    }

    fn scanned(fake: &'static [(u8, u8, u8, u32, u8, u8)]) -> Vec<String> {
        let found = scan(&mut Fake(fake), |_, _| Ok::<(), ()>(())).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn functions_beyond_the_first_are_looked_for_in_multifunction_devices_only() {
        const ID: u32 = 0x1041_1af4;
        let found = scanned(&[
            (0, 1, 0, ID, 0, 0),
            (0, 1, 1, ID, 0, 0),
            (0, 2, 0, ID, 0x80, 0),
            (0, 2, 7, ID, 0, 0),
            (0, 3, 1, ID, 0, 0),
        ]);
        assert_eq!(found, ["00:01.0", "00:02.0", "00:02.7"]);
    }

    #[test]
    fn buses_behind_bridges_are_scanned_once_even_if_bridges_form_a_ring() {
        let found = scanned(&[
            (0, 1, 0, 0x8086, 1, 5),
            (0, 2, 0, 0x8086, 1, 5),
            (5, 0, 0, 0x8086, 1, 0),
            (5, 31, 0, 0x1af4, 0, 0),
        ]);
        assert_eq!(found, ["00:01.0", "00:02.0", "05:00.0", "05:1f.0"]);
    }

    #[test]
    fn a_window_out_of_reach_is_not_used() {
        let ecam = |base| {
            Some(Ecam {
                base: Hpa::new(base),
                buses: 0..=255,
            })
        };
        let memory = |space: ConfigurationSpace| matches!(space.mechanism, Mechanism::Memory(_));
        assert!(memory(ConfigurationSpace::new(ecam(0xb000_0000))));
        assert!(!memory(ConfigurationSpace::new(ecam(direct_map::SIZE - 1))));
        assert!(!memory(ConfigurationSpace::new(ecam(u64::MAX))));
        assert!(!memory(ConfigurationSpace::new(None)));
    }

    #[test]
    fn a_bus_that_is_not_mapped_reads_as_empty() {
        let mut space = ConfigurationSpace::new(Some(Ecam {
            base: Hpa::new(0xb000_0000),
            buses: 0..=255,
        }));
        let at = DeviceFunction {
            bus: 3,
            device: 0,
            function: 0,
        };
        space.write_word(at, 4, 7);
        assert_eq!(space.read_word(at, 0), !0);
    }
}
