//! From a machine and a description of the guest to a guest that is ready to run.

use crate::device::{Device, Model, place};
use crate::exit::StartError;
use crate::guest::{Guest, HostLguest, HostShadow, Parts};
use crate::ports::ClaimedPorts;
use core::ops::RangeInclusive;
use hv_abi::lguest::{Generation, KernelVersion, PAGE_OFFSET};
use hv_boot::Machine;
use hv_core::address::PAGE_SIZE;
use hv_core::clock::Clock as _;
use hv_core::command_line::{MEMORY_MIB, Mode, Options, ROOTS};
use hv_core::device::MAX_DEVICES;
use hv_core::device::backend::SECTOR;
use hv_core::device::bus::{Bus, SHARED_FRAMES};
use hv_core::device::pci::PciBus;
use hv_core::device::ram_disk::RamDisk;
use hv_core::fast_paths::FastPaths;
use hv_core::frames::OutOfFrames;
use hv_core::generation::Choice;
use hv_core::load::{self, Boot, Modules};
use hv_core::memory::GuestMemory as _;
use hv_core::paging::Paging;
use hv_core::personality::Mmu as _;
#[cfg(feature = "profile")]
use hv_core::profile::{Profile, ROWS, Row};
use hv_core::shadow::{LEAST_TABLES, Slot, default_budget};
use hv_hw::apic::LocalApic;
use hv_hw::clock::{Clocks, Timer};
use hv_hw::guest_ram::DirectRam;
use hv_hw::guest_space::GuestSpace;
use hv_hw::host_paging::{self, PageTables};
use hv_hw::pic::Pic;
use hv_hw::storage;
use hv_hw::switch::{Isolation, Switch};
use hv_hw::table_pool::{Cell, FixedPool};
use hv_hw::virtio::DeviceError;
use hv_hw::window::Window;

/// One mebibyte.
pub const MIB: u64 = 1 << 20;

const FRAMES_PER_MIB: u64 = MIB / PAGE_SIZE as u64;
const FRAMES_PER_2_MIB: u64 = 2 * FRAMES_PER_MIB;
const KIB_PER_FRAME: u64 = PAGE_SIZE as u64 / 1024;
/// What a RAM disk copies at a time.
const RAM_DISK_BUFFER: usize = 64 << 10;

/// What a guest is to be. Ends with [`Builder::start`].
#[must_use = "a guest runs after `start`"]
pub struct Builder {
    machine: Machine,
    memory: u64,
    shadow_budget: Option<u64>,
    roots: usize,
    isolation: Isolation,
    fast_paths: FastPaths,
    paging: Paging,
    kernel: Option<&'static [u8]>,
    initrd: Option<&'static [u8]>,
    command_line: &'static str,
    generation: Choice,
    page_offset: u32,
    devices: heapless::Vec<Device, MAX_DEVICES>,
    /// Devices that were named; more than fit are an error at the start.
    named_devices: usize,
    claimed: Option<RangeInclusive<u16>>,
}

impl Builder {
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine,
            memory: 64 * MIB,
            shadow_budget: None,
            roots: *ROOTS.end() as usize,
            isolation: Isolation::Shared,
            fast_paths: FastPaths::ON,
            paging: Paging::Auto,
            kernel: None,
            initrd: None,
            command_line: "",
            generation: Choice::Detect,
            page_offset: PAGE_OFFSET,
            devices: heapless::Vec::new(),
            named_devices: 0,
            claimed: None,
        }
    }

    /// Guest RAM in bytes: whole pages, 2 MiB to 3 GiB. `memory=` on the host's command line, in MiB,
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

    /// The generation of the ABI that the guest was built for. By default the host finds out: by the
    /// kernel's version, where its image has one, and by its first call. `generation=` comes first.
    pub fn generation(mut self, choice: Choice) -> Self {
        self.generation = choice;
        self
    }

    /// Where the guest's kernel has its RAM, 0xc0000000 by default: what Linux calls PAGE_OFFSET. Only
    /// kernels before 3.1 want the host to know. `page_offset=` comes first.
    pub fn page_offset(mut self, address: u32) -> Self {
        self.page_offset = address;
        self
    }

    /// Most address spaces that the shadow remembers; the least recently used goes. By default as many as its budget
    /// holds. `roots=` comes first.
    pub fn roots(mut self, roots: usize) -> Self {
        self.roots = roots;
        self
    }

    /// Bytes for shadow page tables, a hard limit. By default what [`default_budget`] says.
    pub fn shadow_budget(mut self, bytes: u64) -> Self {
        self.shadow_budget = Some(bytes);
        self
    }

    /// Whether the host stays mapped while the guest runs. `mode=` comes first.
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// The shorter ways that are taken: all of them unless somebody says so. `fast_paths=` comes first.
    pub fn fast_paths(mut self, fast_paths: FastPaths) -> Self {
        self.fast_paths = fast_paths;
        self
    }

    /// The guest's paging format; without this it is told from the first root that the guest loads. Guests with
    /// three levels that start on tables, of generation G3 and early G4, have to be told so. `paging=` comes first.
    pub fn paging(mut self, paging: Paging) -> Self {
        self.paging = paging;
        self
    }

    /// Accesses to these ports become exits instead of reaching a device.
    pub fn claim_ports(mut self, ports: RangeInclusive<u16>) -> Self {
        self.claimed = Some(ports);
        self
    }

    /// Gives the guest a device.
    pub fn device(mut self, device: impl Into<Device>) -> Self {
        self.named_devices += 1;
        // What does not fit is reported when the guest starts.
        let _ = self.devices.push(device.into());
        self
    }

    /// Gives the guest all disks and network links that the machine has, and a source of randomness
    /// if it has one.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn machine_devices(mut self) -> Result<Self, StartError> {
        for index in 0..self.machine.disks() {
            let disk = self.machine.disk(index)?;
            self = self.device(Device::block(disk));
        }
        for index in 0..self.machine.links() {
            let link = self.machine.link(index)?;
            self = self.device(Device::net(link));
        }
        match self.machine.entropy() {
            Ok(source) => Ok(self.device(Device::rng(source))),
            Err(DeviceError::NoEntropy) => Ok(self),
            Err(error) => Err(error.into()),
        }
    }

    /// Loads the guest and makes the hardware ready for it.
    ///
    /// # Errors
    /// When the host's command line, the boot module, the kernel or the sizes do not allow a guest.
    /// Nothing of it has run.
    pub fn start(mut self) -> Result<Guest, StartError> {
        let line = self.machine.take_command_line();
        let module = self
            .machine
            .modules()
            .first()
            .map(|module| module.contents());
        let modules = match module {
            Some(module) => Modules::parse(module).map_err(load::LoadError::from)?,
            None => Modules::default(),
        };
        let words = modules.host_command_line.unwrap_or_default();
        let options = Options::parse([words, &line]).map_err(StartError::configuration)?;
        if let Some(level) = options.log {
            hv_hw::log::set_level(level);
        }
        self.machine.report_devices();
        let boot = Boot {
            kernel: modules.kernel.or(self.kernel).ok_or(StartError::NoKernel)?,
            initrd: modules.initrd.or(self.initrd).unwrap_or_default(),
            command_line: (options.guest.or(modules.command_line))
                .unwrap_or(self.command_line.as_bytes()),
            generation: options.generation.unwrap_or(self.generation),
            page_offset: options.page_offset.unwrap_or(self.page_offset),
            paging: options.paging.unwrap_or(self.paging),
        };
        let isolation = match options.mode {
            Some(Mode::Shared) => Isolation::Shared,
            Some(Mode::Isolated) => Isolation::Isolated,
            None => self.isolation,
        };
        let fast_paths = options.fast_paths.unwrap_or(self.fast_paths);
        if let Some(mib) = options.memory_mib {
            self.memory = u64::from(mib) * MIB;
        }
        if let Some(roots) = options.roots {
            self.roots = roots as usize;
        }

        if let Some(paging) = options.paging {
            self.paging = paging;
        }

        hv_core::personality::lguest::prepare_decoder();
        let before = self.machine.frames.statistics().free;
        let mut memory = self.guest_ram()?;
        let devices = self.plug_devices(&memory, &modules)?;
        memory.reserve_for_registers(devices.device_limit());
        let start = load::load(&memory, &boot)?;
        let mut shadow = self.shadow()?;
        shadow.choose_fast_paths(fast_paths);
        if let Some(root) = start.root {
            (shadow.new_pgtable(&memory, root)).map_err(StartError::configuration)?;
        }
        #[cfg(feature = "profile")]
        let profile = self.profile()?;
        let shadow_frames = shadow.statistics().capacity as u64;
        let ram_frames = memory.ram_frames().raw();

        let Machine { frames, tables, .. } = &mut self.machine;
        let registers = tables
            .map_device(frames, LocalApic::physical_base())
            .map_err(out_of("a page table"))?;
        // SAFETY: `map_device` mapped that very page uncached, and nothing ever unmaps it.
        let apic = unsafe { LocalApic::new(registers) };
        let clocks = Clocks::calibrate(&apic);
        let switcher_only;
        let upper_half = match isolation {
            Isolation::Shared => &*tables,
            Isolation::Isolated => {
                switcher_only =
                    PageTables::switcher_only(frames).map_err(out_of("a page table"))?;
                &switcher_only
            }
        };
        let window = Window::of(upper_half);
        let pml4 = frames.take_frame().map_err(out_of("a page table"))?;
        let space = GuestSpace::new(pml4.into_state(), upper_half.root());
        let root = tables.root();
        let switch = Switch::take(isolation, fast_paths, root, space.address(), window);
        let used = before - frames.statistics().free - ram_frames - shadow_frames;
        report(&clocks, isolation, ram_frames, shadow_frames, used);
        report_generation(start.generation);

        let parts = Parts {
            lguest: HostLguest::new(
                memory,
                shadow,
                ClaimedPorts::new(Bus::new(devices), self.claimed),
                &start,
            ),
            switch,
            space,
            clocks,
            timer: Timer::new(apic),
            pic: Pic::new(),
            #[cfg(feature = "profile")]
            profile,
        };
        Ok(Guest::new(parts, start.entry.raw()))
    }

    /// Guest RAM, cleared, with the pages above it that some generations share with their devices.
    fn guest_ram(&mut self) -> Result<DirectRam, StartError> {
        let limits = (u64::from(*MEMORY_MIB.start()), u64::from(*MEMORY_MIB.end()));
        let page = u64::from(PAGE_SIZE);
        let inside = limits.0 * MIB <= self.memory && self.memory <= limits.1 * MIB;
        if !inside || !self.memory.is_multiple_of(page) {
            let (least, most) = limits;
            return Err(StartError::MemorySize {
                wanted: self.memory,
                least,
                most,
            });
        }
        // On a 2 MiB boundary, so that the guest's own large runs are the machine's too.
        let run = (self.machine.frames)
            .take(self.memory / page + SHARED_FRAMES, FRAMES_PER_2_MIB)
            .map_err(|error| {
                // People gave the size of RAM.
                let wanted = error.wanted.saturating_sub(SHARED_FRAMES);
                out_of("guest memory")(OutOfFrames { wanted, ..error })
            })?;
        Ok(DirectRam::new(run.into_state(), SHARED_FRAMES))
    }

    fn plug_devices(
        &mut self,
        memory: &DirectRam,
        modules: &Modules<'_>,
    ) -> Result<PciBus<Model>, StartError> {
        if self.named_devices > MAX_DEVICES {
            let text = format_args!(
                "{} devices; a guest has {MAX_DEVICES} at most",
                self.named_devices
            );
            return Err(StartError::configuration(text));
        }
        let mut bus = PciBus::new(memory.ram_frames().start());
        for device in core::mem::take(&mut self.devices) {
            self.plug(&mut bus, device)?;
        }
        for (number, contents) in modules.disks.iter().enumerate() {
            let Some(contents) = contents else { continue };
            let size = contents.len();
            if size < SECTOR as usize {
                let text = format_args!("disk{number}: {size} bytes; a disk has {SECTOR} at least");
                return Err(StartError::configuration(text));
            }
            let disk = self.ram_disk(contents)?;
            self.plug(&mut bus, Device::block(disk))?;
        }
        Ok(bus)
    }

    fn plug(&mut self, bus: &mut PciBus<Model>, device: Device) -> Result<(), StartError> {
        let model = device.into_model(&mut self.machine.frames);
        bus.plug(model.map_err(out_of("a device"))?)
            .map_err(StartError::configuration)
    }

    /// A disk in memory with these contents: a copy, because the boot module stays as it is.
    fn ram_disk(
        &mut self,
        contents: &[u8],
    ) -> Result<&'static mut RamDisk<&'static mut [u8]>, StartError> {
        let frames = &mut self.machine.frames;
        let mut take = |count| {
            let run = frames.take(count, 1).map_err(out_of("a RAM disk"))?;
            Ok::<_, StartError>(run.into_state())
        };
        let mut from = contents.iter().copied();
        let bytes = take(storage::frames_for::<u8>(contents.len()).max(1))?;
        let bytes = storage::array(bytes, contents.len(), || from.next().unwrap_or(0));
        let buffer = take(storage::frames_for::<u8>(RAM_DISK_BUFFER))?;
        let buffer = storage::array(buffer, RAM_DISK_BUFFER, || 0);
        let disk = RamDisk::new(bytes, buffer, *b"libhv-ram-disk\0\0\0\0\0\0");
        place(frames, disk).map_err(out_of("a RAM disk"))
    }

    /// An empty profile.
    #[cfg(feature = "profile")]
    fn profile(&mut self) -> Result<Profile, StartError> {
        let frames = storage::frames_for::<Row>(ROWS);
        let run = (self.machine.frames.take(frames, 1)).map_err(out_of("the profile"))?;
        let rows = storage::array(run.into_state(), ROWS, Row::default);
        Ok(Profile::new(rows))
    }

    /// An empty shadow, with its budget of tables and the bookkeeping for them.
    fn shadow(&mut self) -> Result<HostShadow, StartError> {
        let left = self.machine.frames.statistics().largest * u64::from(PAGE_SIZE);
        let bytes = (self.shadow_budget).unwrap_or_else(|| default_budget(self.memory, left));
        let tables = (bytes / u64::from(PAGE_SIZE)) as usize;
        if tables < LEAST_TABLES {
            let text = format_args!(
                "a shadow budget of {bytes} bytes; {LEAST_TABLES} pages are the least"
            );
            return Err(StartError::configuration(text));
        }
        let frames = &mut self.machine.frames;
        let mut take = |count| frames.take(count, 1).map_err(out_of("shadow page tables"));
        let run = take(tables as u64)?;
        let cells = take(storage::frames_for::<Cell>(tables))?;
        let slots = take(storage::frames_for::<Slot>(tables))?;
        let cells = storage::array(cells.into_state(), tables, Cell::default);
        let slots = storage::array(slots.into_state(), tables, Slot::default);
        Ok(HostShadow::new(
            FixedPool::new(run.into_state(), cells),
            slots,
            self.roots,
            self.paging,
        ))
    }
}

/// Says what did not fit, in the units that people give memory in.
fn out_of(purpose: &'static str) -> impl Fn(OutOfFrames) -> StartError {
    move |OutOfFrames { wanted, largest }| StartError::Memory {
        purpose,
        wanted: wanted.div_ceil(FRAMES_PER_MIB),
        largest: largest / FRAMES_PER_MIB,
    }
}

/// What the host takes the guest for.
fn report_generation(generation: &Generation) {
    let KernelVersion(major, minor, patch) = generation.since;
    hv_hw::log_debug!(
        "the guest is started as one of Linux {=u32}.{=u32}.{=u32}",
        major,
        minor,
        patch,
    );
}

/// One line for whoever reads the log.
fn report(clocks: &Clocks, isolation: Isolation, ram: u64, shadow: u64, host: u64) {
    let mode = match isolation {
        Isolation::Shared => "shared",
        Isolation::Isolated => "isolated",
    };
    hv_hw::log_info!(
        "{=str} mode, guest memory {=u64} MiB, shadow budget {=u64} KiB, host {=u64} KiB, tsc {=u32} kHz",
        mode,
        ram / FRAMES_PER_MIB,
        shadow * KIB_PER_FRAME,
        (host + host_paging::image_frames()) * KIB_PER_FRAME,
        clocks.tsc_khz(),
    );
}
