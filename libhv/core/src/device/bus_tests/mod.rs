//! The buses of all generations, as a guest sees them.

mod dma;
mod fixture;
mod lguest;

use crate::address::Gpa;
use crate::device::bus::SHARED_FRAMES;
use crate::device::fake_memory::FakeMemory;
use crate::device::{Devices, NoDevice, Width};
use fixture::{Guest, RAM};
use hv_abi::lguest::{DeviceBus, generations};

/// 5.8: guests before G5 see no PCI, but the console takes what hypercalls bring.
#[test]
fn a_guest_of_an_older_generation_finds_nothing_at_any_port() {
    for generation in [&generations::LINUX_2_6_23, &generations::LINUX_3_1] {
        let mut guest = Guest::of(generation);
        for port in 0..=u16::MAX {
            (guest.bus).port_write(&guest.memory, port, Width::Dword, 1 << 31);
            let value = guest.bus.port_read(&guest.memory, port, Width::Dword);
            assert_eq!(value, u32::MAX);
        }
        let bar = Gpa::new(RAM + (1 << 20));
        assert_eq!(guest.bus.memory_read(bar, Width::Dword), Err(NoDevice));
        guest.bus.console_write(b"early");
        assert_eq!(guest.output(), b"early");
        guest.line.0.borrow_mut().input.push_back(b'k');
        assert_eq!(guest.bus.console_read(), Some(b'k'));
        assert_eq!(guest.bus.console_read(), None);
    }
}

/// A guest whose generation turns out to be another finds all its devices on the other bus.
#[test]
fn devices_move_from_bus_to_bus() {
    let mut guest = Guest::of(&generations::LINUX_4_0);
    for generation in generations::ALL
        .into_iter()
        .chain([&generations::LINUX_4_0])
    {
        guest.bus.choose_bus(&guest.memory, generation.devices);
        if matches!(generation.devices, DeviceBus::Lguest(_))
            && lguest::packed().contains(&generation)
        {
            let queue = guest.packed_records()[0].queues[0];
            assert_eq!(guest.read_sector(queue, 2), 0, "{generation}");
        }
    }
    for (slot, device) in [(1, 3), (2, 2), (3, 1)] {
        (guest.bus).port_write(&guest.memory, 0xcf8, Width::Dword, 1 << 31 | slot << 11);
        let id = guest.bus.port_read(&guest.memory, 0xcfc, Width::Dword);
        assert_eq!(id, 0x1040_1af4 + (device << 16));
    }
}

#[test]
fn memory_without_pages_for_devices_has_none() {
    let memory = FakeMemory::with_bytes(RAM as usize);
    let mut guest = Guest::with(memory, generations::LINUX_3_1.devices);
    for frame in 0..(RAM >> 12) + SHARED_FRAMES {
        let at = Gpa::new(frame << 12);
        assert_eq!(guest.bus.notify(&guest.memory, at), None);
    }
    guest.bus.console_write(b"x");
    assert_eq!(guest.output(), b"x");
}
