//! From a machine and a description of the guest to a guest that is ready to run.

use crate::exit::StartError;
use crate::guest::{Guest, Parts};
use crate::ports::ClaimedPorts;
use core::ops::RangeInclusive;
use hv_boot::Machine;
use hv_core::address::PAGE_SIZE;
use hv_core::clock::Clock as _;
use hv_core::command_line::Options;
use hv_core::device::{Devices, NoDevices};
use hv_core::frames::{FrameAllocator, GuestRam, Host, Run, Table};
use hv_core::load::{BootModule, Kernel};
use hv_core::personality::lguest::Lguest;
use hv_core::shadow::{self, Shadow};
use hv_hw::apic::LocalApic;
use hv_hw::clock::{Clocks, Timer};
use hv_hw::guest_ram::DirectRam;
use hv_hw::guest_space::GuestSpace;
use hv_hw::pic::Pic;
use hv_hw::switch::{Isolation, Switch};
use hv_hw::table_pool::FixedPool;

/// One mebibyte.
pub const MIB: u64 = 1 << 20;

/// Least guest RAM: the boot page, its command line, and room for a kernel.
const LEAST_MEMORY: u64 = 4 * MIB;
/// Most guest RAM: a 32-bit guest addresses 4 GiB, of which devices keep the last.
const MOST_MEMORY: u64 = 3072 * MIB;
/// Shadow tables take at most this fraction of guest RAM, unless the application says otherwise.
const SHADOW_FRACTION: u64 = 32;
/// ... and at least this much.
const LEAST_SHADOW: u64 = MIB;
/// Page tables of address spaces that the shadow remembers.
const ROOTS: usize = 64;

/// What a guest is to be. Ends with [`Builder::start`].
#[must_use = "a guest runs after `start`"]
pub struct Builder<D = NoDevices> {
    machine: Machine,
    memory: u64,
    shadow_budget: Option<u64>,
    roots: usize,
    isolation: Isolation,
    kernel: Option<&'static [u8]>,
    initrd: Option<&'static [u8]>,
    command_line: &'static str,
    devices: D,
    claimed: Option<RangeInclusive<u16>>,
}

impl Builder<NoDevices> {
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine,
            memory: 64 * MIB,
            shadow_budget: None,
            roots: ROOTS,
            isolation: Isolation::Shared,
            kernel: None,
            initrd: None,
            command_line: "",
            devices: NoDevices,
            claimed: None,
        }
    }
}

impl<D: Devices> Builder<D> {
    /// Guest RAM in bytes: whole pages, 4 MiB to 3 GiB. `memory=` on the host's command line, in MiB,
    /// comes first.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    /// The guest's kernel: a 32-bit ELF file or a bzImage. One that the boot loader brings as a module
    /// comes first.
    pub fn kernel(mut self, image: &'static [u8]) -> Self {
        self.kernel = Some(image);
        self
    }

    /// The guest's initial RAM disk.
    pub fn initrd(mut self, image: &'static [u8]) -> Self {
        self.initrd = Some(image);
        self
    }

    /// The guest's command line. What stands behind ` -- ` on the host's comes first.
    pub fn command_line(mut self, text: &'static str) -> Self {
        self.command_line = text;
        self
    }

    /// Address spaces that the shadow remembers; the least recently used goes. `roots=` comes first.
    pub fn roots(mut self, roots: usize) -> Self {
        self.roots = roots;
        self
    }

    /// Bytes for shadow page tables, a hard limit.
    pub fn shadow_budget(mut self, bytes: u64) -> Self {
        self.shadow_budget = Some(bytes);
        self
    }

    /// Whether the host stays mapped while the guest runs. `mode=` comes first.
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Accesses to these ports become exits instead of reaching a device.
    pub fn claim_ports(mut self, ports: RangeInclusive<u16>) -> Self {
        self.claimed = Some(ports);
        self
    }
}
