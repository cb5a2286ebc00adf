//! The bus as a guest's ports show it.

use super::*;
use crate::device::fake_memory::FakeMemory;
use crate::device::virtio::queue::Queue;
use crate::device::virtio::registers::register;
use crate::device::virtio::scripted_driver::{BAR, Driver, RAM};
use crate::device::virtio::{Identity, Legacy};
use std::vec::Vec;

pub(super) fn read(driver: &mut Driver, port: u16, width: Width) -> u32 {
    driver.bus.port_read(&driver.memory, port, width)
}

pub(super) fn write(driver: &mut Driver, port: u16, width: Width, value: u32) {
    driver.bus.port_write(&driver.memory, port, width, value);
}

fn select(driver: &mut Driver, slot: u32, offset: u32) -> u16 {
    write(
        driver,
        ADDRESS,
        Width::Dword,
        1 << 31 | slot << 11 | offset & 0xfc,
    );
    DATA + (offset & 3) as u16
}

fn config_read(driver: &mut Driver, slot: u32, offset: u32, width: Width) -> u32 {
    let port = select(driver, slot, offset);
    read(driver, port, width)
}

fn config_write(driver: &mut Driver, slot: u32, offset: u32, width: Width, value: u32) {
    let port = select(driver, slot, offset);
    write(driver, port, width, value);
}

/// Points the access window of the console at `length` bytes of its registers.
fn open_window(driver: &mut Driver, offset: u32, length: u32) {
    config_write(driver, 1, 0x88, Width::Byte, 0);
    config_write(driver, 1, 0x90, Width::Dword, length);
    config_write(driver, 1, 0x8c, Width::Dword, offset);
}

#[test]
fn lg156_the_keyboard_controller_reads_one() {
    assert_eq!(read(&mut Driver::new(), 0x64, Width::Byte), 1);
}

/// LG-152, LG-153, A21
#[test]
fn lg152_lg153_other_ports_read_ones_and_ignore_writes() {
    let mut driver = Driver::new();
    for port in (0..=u16::MAX).filter(|port| !(ADDRESS..=DATA_LAST).contains(port) && *port != 0x64)
    {
        for width in [Width::Byte, Width::Word, Width::Dword] {
            write(&mut driver, port, width, 0);
            assert_eq!(read(&mut driver, port, width), width.ones());
        }
    }
    assert_eq!(driver.memory.take_accesses(), 0);
}

/// A30
#[test]
fn configuration_mechanism_1_is_found() {
    let mut driver = Driver::new();
    write(&mut driver, 0xcfb, Width::Byte, 1);
    read(&mut driver, ADDRESS, Width::Dword);
    write(&mut driver, ADDRESS, Width::Dword, 0x8000_0000);
    assert_eq!(read(&mut driver, ADDRESS, Width::Dword), 0x8000_0000);
    for offset in (0..0x100).step_by(4) {
        let expected = if offset == 8 { 0x0600_0000 } else { 0 };
        assert_eq!(config_read(&mut driver, 0, offset, Width::Dword), expected);
    }
    assert_eq!(config_read(&mut driver, 0, 0xa, Width::Word), 0x0600);
}

#[test]
fn lg157_absent_devices_and_disabled_accesses_read_ones() {
    let mut driver = Driver::new();
    for slot in 2..32 {
        config_write(&mut driver, slot, 0, Width::Dword, 0);
        assert_eq!(config_read(&mut driver, slot, 0, Width::Dword), u32::MAX);
        assert_eq!(config_read(&mut driver, slot, 0xe, Width::Byte), 0xff);
    }
    // Disabled; function 1; bus 1; the console's id in all three.
    for latch in [0x0000_0800, 0x8000_0900, 0x8001_0800_u32] {
        write(&mut driver, ADDRESS, Width::Dword, latch);
        assert_eq!(read(&mut driver, DATA, Width::Dword), u32::MAX);
    }
    // Past the end of the configuration space.
    assert_eq!(config_read(&mut driver, 1, 0x98, Width::Dword), u32::MAX);
    assert_eq!(config_read(&mut driver, 1, 0xfc, Width::Dword), u32::MAX);
}

/// LG-158 and the header of lguest-abi 9.6
#[test]
fn lg158_device_1_is_the_console() {
    let mut driver = Driver::new();
    let header = [
        (0x00, Width::Dword, 0x1043_1af4),
        (0x06, Width::Word, 0x0010),
        (0x08, Width::Byte, 1),
        (0x0a, Width::Word, 0x0700),
        (0x0e, Width::Byte, 0),
        (0x10, Width::Dword, BAR as u32),
        (0x14, Width::Dword, 0),
        (0x2e, Width::Word, 0x40),
        (0x30, Width::Dword, 0),
        (0x34, Width::Byte, 0x40),
        (0x3c, Width::Byte, 1),
        (0x3d, Width::Byte, 0),
    ];
    for (offset, width, value) in header {
        assert_eq!(
            config_read(&mut driver, 1, offset, width),
            value,
            "{offset:#x}"
        );
    }
}

#[test]
fn the_capability_list_names_every_structure() {
    let mut driver = Driver::new();
    let mut found = Vec::new();
    let mut at = config_read(&mut driver, 1, 0x34, Width::Byte);
    while at != 0 {
        let mut byte = |offset| config_read(&mut driver, 1, at + offset, Width::Byte);
        assert_eq!(byte(0), 9);
        assert_eq!(byte(4), 0, "all of them are in BAR 0");
        let (next, kind) = (byte(1), byte(3));
        let start = config_read(&mut driver, 1, at + 8, Width::Dword);
        let length = config_read(&mut driver, 1, at + 12, Width::Dword);
        found.push((at, kind, start, length));
        at = next;
    }
    assert_eq!(
        found,
        [
            (0x40, 1, 0, 0x38),
            (0x50, 2, 0x38, 2),
            (0x64, 3, 0x3a, 1),
            (0x84, 5, 0, 0),
            (0x74, 4, 0x3c, 12),
        ]
    );
    assert_eq!(
        config_read(&mut driver, 1, 0x60, Width::Dword),
        0,
        "notify multiplier"
    );
}

#[test]
fn bar_0_can_be_sized_but_not_moved() {
    let mut driver = Driver::new();
    config_write(&mut driver, 1, 0x10, Width::Dword, u32::MAX);
    assert_eq!(config_read(&mut driver, 1, 0x10, Width::Dword), !0x7f);
    config_write(&mut driver, 1, 0x10, Width::Dword, 0xe000_0000);
    assert_eq!(config_read(&mut driver, 1, 0x10, Width::Dword), BAR as u32);
}

/// A38
#[test]
fn writes_that_kernels_make_are_harmless() {
    let mut driver = Driver::ready();
    for (offset, width, value) in [
        (0x04, Width::Word, 0x0407),
        (0x0c, Width::Byte, 64),
        (0x0d, Width::Byte, 0x40),
        (0x0f, Width::Byte, 0x55),
        (0x14, Width::Dword, u32::MAX),
        (0x30, Width::Dword, u32::MAX),
        (0x3c, Width::Byte, 11),
    ] {
        config_write(&mut driver, 1, offset, width, value);
    }
    assert_eq!(config_read(&mut driver, 1, 0x04, Width::Dword), 0x0010_0000);
    assert_eq!(config_read(&mut driver, 1, 0x0c, Width::Dword), 0x4040);
    assert_eq!(config_read(&mut driver, 1, 0x14, Width::Dword), 0);
    assert_eq!(config_read(&mut driver, 1, 0x3c, Width::Byte), 1);
    assert_eq!(driver.status(), 0xf);
}

#[test]
fn lg159_the_access_window_reaches_every_register() {
    let mut driver = Driver::new();
    open_window(&mut driver, register::NUM_QUEUES, 2);
    assert_eq!(config_read(&mut driver, 1, 0x94, Width::Word), 2);
    open_window(&mut driver, register::STATUS, 1);
    config_write(&mut driver, 1, 0x94, Width::Byte, 3);
    assert_eq!(driver.status(), 3);
    assert_eq!(config_read(&mut driver, 1, 0x94, Width::Byte), 3);
    // A32: the window's length is the width of the access, whatever the port's.
    config_write(&mut driver, 1, 0x94, Width::Dword, 0);
    assert_eq!(driver.status(), 0);
}

/// A31: exactly what a kernel's early console does for each character.
#[test]
fn lg163_the_access_window_prints_emergency_bytes() {
    let mut driver = Driver::new();
    for byte in b"early" {
        open_window(&mut driver, register::DEVICE_CONFIG + 8, 4);
        config_write(&mut driver, 1, 0x94, Width::Dword, (*byte).into());
    }
    assert_eq!(driver.output(), b"early");
}

///
#[test]
fn a36_a_window_outside_the_registers_reads_ones_and_ignores_writes() {
    let mut driver = Driver::ready();
    for (offset, length) in [
        (0x80, 1),
        (0x7e, 4),
        (u32::MAX, 1),
        (0xffff_fffe, 4),
        (0, 0),
        (0, 3),
        (0, 8),
    ] {
        open_window(&mut driver, offset, length);
        config_write(&mut driver, 1, 0x94, Width::Dword, 0);
        assert_eq!(config_read(&mut driver, 1, 0x94, Width::Dword), u32::MAX);
    }
    open_window(&mut driver, register::STATUS, 1);
    config_write(&mut driver, 1, 0x88, Width::Byte, 1);
    config_write(&mut driver, 1, 0x94, Width::Dword, 0);
    assert_eq!(config_read(&mut driver, 1, 0x94, Width::Dword), u32::MAX);
    assert_eq!(driver.status(), 0xf);
}

#[test]
fn device_memory_is_the_bars_and_nothing_else() {
    let mut driver = Driver::new();
    let mut probe = |at: u64, width| driver.bus.memory_read(Gpa::new(at), width);
    assert!(probe(BAR, Width::Dword).is_ok());
    assert!(probe(BAR + 0x7c, Width::Dword).is_ok());
    for at in [
        0,
        RAM as u64,
        BAR - 1,
        BAR + 0x7d,
        BAR + 0x80,
        u64::MAX,
        1 << 32 | BAR,
    ] {
        assert_eq!(probe(at, Width::Dword), Err(NoDevice), "{at:#x}");
    }
}

/// A stand-in for a device with few or many registers.
struct Blank(u32);

impl VirtioDevice for Blank {
    fn identity(&self) -> Identity {
        Identity {
            device: 4,
            class: 0xff00,
            features: 0,
            queues: 1,
            config_size: self.0,
            legacy: Legacy::default(),
        }
    }

    fn read_config(&self, offset: u32) -> u8 {
        offset as u8
    }

    fn write_config(&mut self, _offset: u32, _value: u32) {}

    fn reset(&mut self) {}

    fn driver_ready(&mut self, _features: u64) {}

    fn notify(&mut self, _queue: u16) {}

    fn poll(
        &mut self,
        _memory: &impl GuestMemory,
        _queues: &mut [Queue],
    ) -> Result<Work, Violation> {
        Ok(Work::Done)
    }

    fn console_read(&mut self) -> Option<u8> {
        None
    }
}

/// A37: 0x40 and 0x80 bytes, upward in order, each aligned to its size.
#[test]
fn bars_are_aligned_to_their_size() {
    let memory = FakeMemory::with_bytes(RAM);
    let mut bus = PciBus::new(Gpa::new(RAM as u64));
    for config_size in [0, 36, 0] {
        bus.plug(Blank(config_size)).unwrap();
    }
    let mut bars = Vec::new();
    for slot in 1..=3 {
        bus.port_write(&memory, ADDRESS, Width::Dword, 1 << 31 | slot << 11 | 0x10);
        let address = bus.port_read(&memory, DATA, Width::Dword);
        bus.port_write(&memory, DATA, Width::Dword, u32::MAX);
        bars.push((address, !bus.port_read(&memory, DATA, Width::Dword) + 1));
    }
    let base = BAR as u32;
    assert_eq!(
        bars,
        [(base, 0x40), (base + 0x80, 0x80), (base + 0x100, 0x40)]
    );
    // The device without a configuration ends its list at the access window.
    bus.port_write(&memory, ADDRESS, Width::Dword, 1 << 31 | 1 << 11 | 0x84);
    assert_eq!(bus.port_read(&memory, DATA + 1, Width::Byte), 0);
    assert_eq!(
        bus.memory_read(Gpa::new(BAR + 0x80 + 0x3c + 35), Width::Byte),
        Ok(35)
    );
    assert_eq!(
        bus.memory_read(Gpa::new(BAR + 0x80 + 0x3c + 36), Width::Byte),
        Ok(0xff)
    );
}

#[test]
fn a_full_bus_and_full_memory_refuse_devices() {
    let mut bus = PciBus::new(Gpa::new(RAM as u64));
    for _ in 0..MAX_DEVICES {
        bus.plug(Blank(0)).unwrap();
    }
    assert_eq!(bus.plug(Blank(0)), Err(PlugError::NoSlot));
    let mut bus = PciBus::new(Gpa::new((1 << 32) - (1 << 20) - 0x40));
    assert_eq!(bus.plug(Blank(36)), Err(PlugError::NoAddress));
    assert_eq!(bus.plug(Blank(0)), Err(PlugError::NoAddress));
}
