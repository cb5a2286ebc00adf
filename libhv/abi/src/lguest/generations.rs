//! The generations, from the oldest to the newest. The newer of two tables says what changed.

use super::generation::*;
use super::{SYSCALL_VECTOR, SYSCALL_VECTOR_PLAN_9};

/// All of them, the newest first: what cannot be told apart is taken for the newer one.
pub const ALL: [&Generation; 9] = [
    &LINUX_4_0,
    &LINUX_3_1,
    &LINUX_2_6_34,
    &LINUX_2_6_31,
    &LINUX_2_6_30,
    &LINUX_2_6_29,
    &LINUX_2_6_25,
    &LINUX_2_6_24,
    &LINUX_2_6_23,
];

/// Any third number of a version.
const ANY: u32 = u32::MAX;
/// Leaf flag PWT, which the first hosts refused.
const PWT: u64 = 1 << 3;

/// G1: DMA keys, and a kernel that starts at PAGE_OFFSET.
pub static LINUX_2_6_23: Generation = Generation {
    family: Family::G1,
    since: KernelVersion(2, 6, 23),
    until: KernelVersion(2, 6, 23),
    calls: [
        Some(Hypercall::FlushAsync),
        Some(Hypercall::Init),
        Some(Hypercall::Crash),
        Some(Hypercall::LoadGdt),
        Some(Hypercall::NewPgtable),
        Some(Hypercall::FlushTlb),
        Some(Hypercall::LoadIdtEntry),
        Some(Hypercall::SetStack),
        Some(Hypercall::Ts),
        Some(Hypercall::SetClockEvent),
        Some(Hypercall::Halt),
        None,
        Some(Hypercall::BindDma),
        Some(Hypercall::SendDma),
        Some(Hypercall::SetPte),
        Some(Hypercall::SetPgd),
        Some(Hypercall::LoadTls),
        None,
        None,
        None,
    ],
    arguments: Arguments::EdxEbxEcx,
    transport: Transport::Int,
    slot: Slot::ThreeArguments,
    data: DataLayout {
        irq_pending: None,
        hcall_status: 0x014,
        hcalls: 0x054,
        reserve_mem: 0x454,
        guestid: Some(0x458),
        tsc_khz: 0x45c,
        pgdir: None,
        noirq: Noirq::Range(0x460, 0x464),
        kernel: None,
        size: 0x468,
    },
    syscall_vectors: &[SYSCALL_VECTOR],
    entry: Entry::Marker,
    idt: IdtLimit::IgnoreFrom64,
    top_index: TopIndex::Ignore,
    silence: Silence::InactiveSpaces,
    refused_leaf_flags: PWT,
    tsc: Tsc::Published,
    devices: DeviceBus::Dma,
};

/// G2: NOTIFY in place of DMA, a physical entry, and a guest that says where it lives.
pub static LINUX_2_6_24: Generation = Generation {
    family: Family::G2,
    since: KernelVersion(2, 6, 24),
    until: KernelVersion(2, 6, 24),
    calls: with(
        LINUX_2_6_23.calls,
        &[(12, None), (13, None), (17, Some(Hypercall::Notify))],
    ),
    slot: Slot::FirstArgumentLast,
    data: DataLayout {
        guestid: None,
        tsc_khz: 0x458,
        pgdir: Some(0x45c),
        kernel: Some(KernelFields {
            address: 0x468,
            syscall_vector: 0x46c,
        }),
        size: 0x470,
        ..LINUX_2_6_23.data
    },
    syscall_vectors: &[SYSCALL_VECTOR, SYSCALL_VECTOR_PLAN_9],
    entry: Entry::Physical(BootTables::Identity),
    idt: IdtLimit::KillFrom256,
    devices: DeviceBus::Lguest(Records {
        form: RecordForm::Tagged,
        queue_size: 128,
    }),
    ..LINUX_2_6_23
};

/// G2: the end of a guest can be a restart.
pub static LINUX_2_6_25: Generation = Generation {
    since: KernelVersion(2, 6, 25),
    until: KernelVersion(2, 6, 28),
    calls: with(LINUX_2_6_24.calls, &[(2, Some(Hypercall::Shutdown))]),
    syscall_vectors: &[SYSCALL_VECTOR],
    refused_leaf_flags: 0,
    devices: DeviceBus::Lguest(Records {
        form: RecordForm::Packed,
        queue_size: 128,
    }),
    ..LINUX_2_6_24
};

/// G2: RAM at PAGE_OFFSET from the start.
pub static LINUX_2_6_29: Generation = Generation {
    since: KernelVersion(2, 6, 29),
    until: KernelVersion(2, 6, 29),
    entry: Entry::Physical(BootTables::IdentityAndPageOffset),
    devices: DeviceBus::Lguest(Records {
        form: RecordForm::Packed,
        queue_size: 256,
    }),
    ..LINUX_2_6_25
};

/// G3: KVM's instruction and registers, descriptors one by one.
pub static LINUX_2_6_30: Generation = Generation {
    family: Family::G3,
    since: KernelVersion(2, 6, 30),
    until: KernelVersion(2, 6, 30),
    calls: with(
        LINUX_2_6_29.calls,
        &[(3, None), (18, Some(Hypercall::LoadGdtEntry))],
    ),
    arguments: Arguments::EbxEcxEdxEsi,
    transport: Transport::IntOrVmcall,
    slot: Slot::ThreeArguments,
    ..LINUX_2_6_29
};

/// G3: a fourth argument, `irq_pending`, and more is announced. Seen in 2.6.32; 2.6.31 is taken for one
/// of these.
pub static LINUX_2_6_31: Generation = Generation {
    since: KernelVersion(2, 6, 31),
    until: KernelVersion(2, 6, 33),
    calls: with(
        LINUX_2_6_30.calls,
        &[
            (13, Some(Hypercall::SetPmd)),
            (19, Some(Hypercall::SendInterrupts)),
        ],
    ),
    slot: Slot::FourArguments,
    data: DataLayout {
        irq_pending: Some(0x014),
        hcall_status: 0x018,
        hcalls: 0x058,
        reserve_mem: 0x558,
        tsc_khz: 0x55c,
        pgdir: Some(0x560),
        noirq: Noirq::Range(0x564, 0x568),
        kernel: Some(KernelFields {
            address: 0x56c,
            syscall_vector: 0x570,
        }),
        size: 0x574,
        ..LINUX_2_6_30.data
    },
    silence: Silence::None,
    tsc: Tsc::HiddenOnAmd,
    ..LINUX_2_6_30
};

/// G4: `int $0x1f` again, but for a `vmcall` left behind in SEND_INTERRUPTS.
pub static LINUX_2_6_34: Generation = Generation {
    family: Family::G4,
    since: KernelVersion(2, 6, 34),
    until: KernelVersion(3, 0, ANY),
    tsc: Tsc::Published,
    ..LINUX_2_6_31
};

/// G4: starts without page tables.
pub static LINUX_3_1: Generation = Generation {
    since: KernelVersion(3, 1, 0),
    until: KernelVersion(3, ANY, ANY),
    transport: Transport::Int,
    data: DataLayout {
        pgdir: None,
        noirq: Noirq::Range(0x560, 0x564),
        kernel: Some(KernelFields {
            address: 0x568,
            syscall_vector: 0x56c,
        }),
        size: 0x570,
        ..LINUX_2_6_34.data
    },
    entry: Entry::Linear,
    ..LINUX_2_6_34
};

/// G5: PCI in place of NOTIFY, and an `iret` that interrupts are folded into.
pub static LINUX_4_0: Generation = Generation {
    family: Family::G5,
    since: KernelVersion(4, 0, 0),
    until: KernelVersion(ANY, ANY, ANY),
    calls: with(LINUX_3_1.calls, &[(17, None)]),
    data: DataLayout {
        noirq: Noirq::Iret(0x560),
        kernel: Some(KernelFields {
            address: 0x564,
            syscall_vector: 0x568,
        }),
        size: 0x56c,
        ..LINUX_3_1.data
    },
    top_index: TopIndex::Kill,
    devices: DeviceBus::Pci,
    ..LINUX_3_1
};

/// `calls` with other meanings for some numbers.
const fn with(
    calls: [Option<Hypercall>; 20],
    changes: &[(usize, Option<Hypercall>)],
) -> [Option<Hypercall>; 20] {
    let mut calls = calls;
    let mut at = 0;
    while at < changes.len() {
        calls[changes[at].0] = changes[at].1;
        at += 1;
    }
    calls
}
