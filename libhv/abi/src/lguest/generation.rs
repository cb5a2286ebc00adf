//! What differs between generations of the ABI, as data: one [`Generation`] describes one of them whole.
//! Paragraph numbers are those of the ABI page.

use core::fmt;

/// The five generations by which users name the ABI. Kernels within one can still differ: each table of
/// [`generations`](super::generations) belongs to one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(
    missing_docs,
    reason = "0.2 says what each is; the tables do in detail"
)]
pub enum Family {
    G1,
    G2,
    G3,
    G4,
    G5,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::G1 => "G1",
            Family::G2 => "G2",
            Family::G3 => "G3",
            Family::G4 => "G4",
            Family::G5 => "G5",
        })
    }
}

/// A Linux version, such as 2.6.24: numbers compare in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct KernelVersion(pub u32, pub u32, pub u32);

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KernelVersion(major, minor, patch) = self;
        // From 3.0 on the third number is that of a stable release, and says nothing about the ABI.
        match major {
            ..=2 => write!(f, "{major}.{minor}.{patch}"),
            _ => write!(f, "{major}.{minor}"),
        }
    }
}

/// One generation of the ABI, or one vintage of it.
#[derive(PartialEq, Eq, Debug)]
pub struct Generation {
    /// The generation that users know it by.
    pub family: Family,
    /// First kernel that speaks it.
    pub since: KernelVersion,
    /// Last one.
    pub until: KernelVersion,
    /// Meaning of the numbers in EAX (2.3).
    pub calls: [Option<Hypercall>; 20],
    /// Registers of the arguments.
    pub arguments: Arguments,
    /// Instructions that make a call.
    pub transport: Transport,
    /// Slots of the ring.
    pub slot: Slot,
    /// `struct lguest_data`.
    pub data: DataLayout,
    /// System call vectors that LGUEST_INIT accepts.
    pub syscall_vectors: &'static [u8],
    /// What a guest starts with.
    pub entry: Entry,
    /// What LOAD_IDT_ENTRY makes of a high vector.
    pub idt: IdtLimit,
    /// What SET_PMD or SET_PGD makes of an index past the table.
    pub top_index: TopIndex,
    /// Which changes of page tables the guest leaves unsaid.
    pub silence: Silence,
    /// Leaf flags that end the guest, beside those that no generation may use (7.2).
    pub refused_leaf_flags: u64,
    /// Whom the guest tells its clock's rate.
    pub tsc: Tsc,
    /// How the guest finds its devices.
    pub devices: DeviceBus,
}

/// What a call asks for, whatever its number and registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hypercall {
    /// Does nothing beyond draining the ring.
    FlushAsync,
    /// Address of `lguest_data`.
    Init,
    /// Address of a message: the guest's last words.
    Crash,
    /// Address of a message; 1 power off, 2 restart.
    Shutdown,
    /// Address and number of descriptors: the whole table.
    LoadGdt,
    /// Root.
    NewPgtable,
    /// 0 for user mappings of the current root, anything else for everything.
    FlushTlb,
    /// Vector, low and high word of the gate.
    LoadIdtEntry,
    /// Selector and top of the stack, pages to pin.
    SetStack,
    /// The guest's CR0.TS.
    Ts,
    /// Nanoseconds until the timer's interrupt, 0 to cancel.
    SetClockEvent,
    /// Sleeps until an interrupt is deliverable.
    Halt,
    /// Key, address of an array of `lguest_dma`, number of them and interrupt. Sets EAX.
    BindDma,
    /// Key, address of a `lguest_dma`.
    SendDma,
    /// Root, address, entry.
    SetPte,
    /// Root, index of the top-level entry that changed. Called SET_PMD before PAE.
    SetPgd,
    /// Table, index of the middle-level entry that changed. Guests without PAE have no such call.
    SetPmd,
    /// Address of three descriptors.
    LoadTls,
    /// Address: of a device's page, or of a text for the console.
    Notify,
    /// Index, low and high word of the descriptor.
    LoadGdtEntry,
    /// Does nothing beyond letting pending interrupts in.
    SendInterrupts,
}

/// Registers of the arguments, first to last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arguments {
    /// Three of them.
    EdxEbxEcx,
    /// KVM's order.
    EbxEcxEdxEsi,
}

/// Instructions that make a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// `int $0x1f`.
    Int,
    /// `vmcall` too, which the host replaces where it meets it (2.2).
    IntOrVmcall,
}

/// A slot of the ring: words of 32 bits, the call's number first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// Then three arguments.
    ThreeArguments,
    /// Then the second and the third argument, and the first one last.
    FirstArgumentLast,
    /// Then four arguments.
    FourArguments,
}

impl Slot {
    /// Bytes of a slot.
    pub const fn size(self) -> u32 {
        match self {
            Slot::ThreeArguments | Slot::FirstArgumentLast => 16,
            Slot::FourArguments => 20,
        }
    }

    /// The words that a guest puts into a slot for a call: as many as fit.
    pub fn words(self, number: u32, arguments: [u32; 4]) -> impl Iterator<Item = u32> {
        let [first, second, third, fourth] = arguments;
        let words = match self {
            Slot::ThreeArguments | Slot::FourArguments => [number, first, second, third, fourth],
            Slot::FirstArgumentLast => [number, second, third, first, fourth],
        };
        words.into_iter().take(self.size() as usize / 4)
    }
}

/// Byte offsets in `struct lguest_data` (2.4); those that never move are in [`data`](super::data).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataLayout {
    /// 0x200 while an interrupt waits for `irq_enabled`.
    pub irq_pending: Option<u32>,
    /// Status bytes of the ring.
    pub hcall_status: u32,
    /// Slots of the ring.
    pub hcalls: u32,
    /// Bytes at the top of the address space that the guest leaves alone.
    pub reserve_mem: u32,
    /// Number of the guest on its host, 16 bits.
    pub guestid: Option<u32>,
    /// Rate of the time-stamp counter, or 0.
    pub tsc_khz: u32,
    /// Root of the tables that the guest starts on.
    pub pgdir: Option<u32>,
    /// Where interrupts are not welcome.
    pub noirq: Noirq,
    /// What the guest says about itself.
    pub kernel: Option<KernelFields>,
    /// Size of the structure.
    pub size: u32,
}

/// Fields that say where the guest's final `iret` is (4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Noirq {
    /// Start and end of a range of addresses in which no interrupt is delivered.
    Range(u32, u32),
    /// Address of an `iret` that the host folds an interrupt into.
    Iret(u32),
}

/// Fields of a guest that is not told where it lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KernelFields {
    /// At and above this address all page tables are the same.
    pub address: u32,
    /// The guest's system call vector.
    pub syscall_vector: u32,
}

/// Where a guest starts, and what is mapped there (2.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// At the address after the marker, with RAM at PAGE_OFFSET and nowhere else.
    Marker,
    /// At the image's physical entry, on tables of this kind.
    Physical(BootTables),
    /// There, with no tables: address = RAM until the first NEW_PGTABLE.
    Linear,
}

/// Where boot tables map RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BootTables {
    /// At 0.
    Identity,
    /// At 0 and at PAGE_OFFSET.
    IdentityAndPageOffset,
}

/// What LOAD_IDT_ENTRY makes of a high vector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdtLimit {
    /// Only the first 64 and the system call exist; the others are ignored.
    IgnoreFrom64,
    /// 256 exist; past them the guest ends.
    KillFrom256,
}

/// What SET_PMD or SET_PGD makes of an index past the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopIndex {
    /// Nothing.
    Ignore,
    /// The guest ends.
    Kill,
}

/// Which changes of page tables the guest leaves unsaid (13.3, rule R2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silence {
    /// Any of address spaces that are not active: what is known of one goes when it is loaded.
    InactiveSpaces,
    /// None that takes rights away.
    None,
}

/// Whether the host says how fast the time-stamp counter runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tsc {
    /// It does.
    Published,
    /// Not on AMD's processors, where the guest would use performance counters (A16).
    HiddenOnAmd,
}

/// How the guest finds its devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceBus {
    /// Descriptors in a page above RAM; keys name them (9.4).
    Dma,
    /// Virtio descriptors in a page above RAM (9.5).
    Lguest(Records),
    /// PCI, by ports (9.6).
    Pci,
}

/// Form of the descriptors of virtio devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Records {
    /// How one of them is laid out.
    pub form: RecordForm,
    /// Descriptors in each virtqueue.
    pub queue_size: u16,
}

/// How the descriptor of a virtio device is laid out (9.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordForm {
    /// A list of fields with a tag and a length each.
    Tagged,
    /// Fields at places that the counts in the header give.
    Packed,
}

impl Generation {
    /// The hypercall with this number, if there is one.
    pub fn call(&self, number: u32) -> Option<Hypercall> {
        self.calls.get(number as usize).copied().flatten()
    }

    /// Whether kernels of version `version` speak it.
    pub fn includes(&self, version: KernelVersion) -> bool {
        self.since <= version && version <= self.until
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of Linux {}", self.family, self.since)
    }
}
