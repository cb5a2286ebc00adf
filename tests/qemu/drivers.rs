//! The host's drivers against QEMU's devices, without a guest: the image `drivers` does what the words
//! on its command line say. It has no timer, so an interrupt that is lost hangs it.

use hv_runner::{Device, Machine, Outcome};
use hv_tests::expectation::verdicts;
use hv_tests::pattern::noise;
use hv_tests::{attached, block_guest, built};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

const SECTOR: usize = 512;

/// A machine that does `words`.
fn doing(words: &str) -> Machine {
    built::machine("drivers").command_line(format!("log=debug -- {words}"))
}

fn done(machine: &Machine) -> Outcome {
    let outcome = machine.run().expect("QEMU starts");
    assert_eq!(outcome.status, 0, "{}", outcome.report());
    outcome
}

/// Fails unless the host ends with status 5 and this reason.
fn refused(machine: &Machine, reason: &str) {
    let outcome = machine.run().expect("QEMU starts");
    assert_eq!(outcome.status, 5, "{}", outcome.report());
    assert_eq!(outcome.stop(), reason, "{}", outcome.report());
}

/// Files that disks are made of.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, contents).expect("a temporary file");
        path
    }
}

/// What `fill` writes: 8-byte words that say where they belong.
fn pattern(sectors: usize) -> Vec<u8> {
    let words = (0..sectors as u64).flat_map(|sector| (0..64).map(move |word| sector << 8 | word));
    words
        .flat_map(|place| place.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect()
}

/// What `sum` prints: FNV-1a of each sector, seeded with its number, summed up.
fn sum(contents: &[u8]) -> u64 {
    let sectors = contents.chunks(SECTOR).zip(0_u64..);
    sectors.fold(0, |total, (bytes, sector)| {
        let start = 0xcbf2_9ce4_8422_2325 ^ sector;
        let hash = bytes.iter().fold(start, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
        total.wrapping_add(hash)
    })
}

#[test]
fn disks_are_written_and_read_from_end_to_end() {
    let files = Files::new();
    // Sizes that are no multiple of a buffer: the last transfers are short.
    let noise = noise(5 * 1024 * 1024 + 7 * SECTOR);
    let first = files.file("first", &noise);
    let second = files.file("second", &vec![0; 20_001 * SECTOR]);
    let machine = doing("count open=0 open=1 sum=0 fill=1 sum=1")
        .device(Device::Disk(first.clone()))
        .device(Device::Disk(second.clone()));
    let console = done(&machine).text();
    let filled = pattern(20_001);
    let expected = format!(
        "2 disks, 0 links\n{} sectors, Allowed, serial , sum {:016x}\nflushed\n\
         20001 sectors, Allowed, serial , sum {:016x}\n",
        noise.len() / SECTOR,
        sum(&noise),
        sum(&filled),
    );
    assert_eq!(console.replace('\r', ""), expected);
    assert!(std::fs::read(first).unwrap() == noise);
    assert!(std::fs::read(second).unwrap() == filled);
}

#[test]
fn what_was_flushed_is_in_the_file_after_a_loss_of_power() {
    let files = Files::new();
    let file = files.file("disk", &vec![0; 4096 * SECTOR]);
    let machine = doing("open=0 fill=0 wait").device(Device::Disk(file.clone()));
    let mut running = machine.spawn().expect("QEMU starts");
    running.expect("flushed").expect("the disk is flushed");
    let mut monitor = running.monitor().expect("QEMU has a monitor");
    let statistics = monitor.command("info blockstats").expect("it runs");
    assert!(!statistics.contains("flush_operations=0"), "{statistics}");
    // Ends QEMU at once, as a loss of power would.
    drop(running);
    assert!(std::fs::read(file).unwrap() == pattern(4096));
}

#[test]
fn an_error_of_the_medium_is_the_transfers() {
    let files = Files::new();
    let file = files.file("disk", &vec![0; 1024 * SECTOR]);
    for (words, event, said) in [
        ("open=0 sum=0", "read_aio", "read error at sector 512"),
        ("open=0 fill=0", "write_aio", "write error at sector 512"),
    ] {
        let outcome = done(&doing(words).device(attached::faulty_disk(&file, event, 600)));
        assert_eq!(outcome.text().trim(), said, "{}", outcome.report());
    }
}

#[test]
fn a_disk_says_its_serial_number_and_that_it_is_read_only() {
    let files = Files::new();
    let file = files.file("disk", &[7; 64 * SECTOR]);
    let disk = attached::disk(&file, 0, ",readonly=on", ",serial=twenty-characters-ok");
    let outcome = done(&doing("open=0 sum=0").device(disk));
    let said = "64 sectors, Refused, serial twenty-characters-ok, sum";
    assert!(outcome.text().contains(said), "{}", outcome.report());
}

#[test]
fn a_guests_disk_is_the_machines() {
    let files = Files::new();
    for mode in ["shared", "isolated"] {
        let file = files.file("disk", &block_guest::disk());
        let machine = built::hosting(&built::micro_guest("block"), "")
            .command_line(format!("mode={mode}"))
            .device(attached::disk(&file, 0, "", ",serial=libhv"));
        let outcome = done(&machine);
        verdicts(&outcome.text()).unwrap_or_else(|reason| panic!("{reason}\n{}", outcome.report()));
        let disk = std::fs::read(&file).expect("the disk's file");
        assert!(disk == block_guest::disk_afterwards());
    }
}

#[test]
fn frames_cross_the_link_intact_both_ways() {
    let (device, ours) = attached::wire();
    ours.set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    let machine = built::machine("drivers")
        .clock(hv_runner::Clock::Real)
        .command_line("-- echo=0")
        .device(device);
    let mut running = machine.spawn().expect("QEMU starts");
    running.expect("link [52, 54, 00").expect("the link is up");

    let noise = noise(1500 + 4000);
    let frame = |number: usize, kind: u8| {
        let length = 46 + number * 7 % (1500 - 46 + 1);
        let mut frame = vec![
            0x52, 0x54, 0, 0x12, 0x34, 0x56, 2, 0, 0, 0, 0, 1, 0x88, kind,
        ];
        frame.extend_from_slice(&noise[number % 4000..][..length]);
        frame
    };
    let frames = 4000;
    let mut sent = 0;
    let mut echo = [0; 2048];
    // A few at a time: neither QEMU nor the kernel keeps datagrams for ever.
    for first in (0..frames).step_by(32) {
        let batch = first..(first + 32).min(frames);
        for number in batch.clone() {
            let frame = frame(number, 0xb5);
            sent += frame.len();
            ours.send(&frame).expect("QEMU listens");
        }
        for number in batch {
            let length = ours.recv(&mut echo).expect("an echo");
            let frame = frame(number, 0xb5);
            assert_eq!(echo[14..length], frame[14..], "frame {number}");
            assert_eq!((&echo[..6], &echo[6..12]), (&frame[6..12], &frame[..6]));
        }
    }
    ours.send(&frame(0, 0xb6)).expect("QEMU listens");
    let outcome = running.wait();
    let said = format!("echoed {frames} frames, {sent} bytes");
    assert!(outcome.text().contains(&said), "{}", outcome.report());
}

#[test]
fn randomness_comes_from_the_device_where_the_processor_has_none() {
    let outcome = done(&doing("random").device(Device::Entropy));
    let text = outcome.text();
    let numbers: Vec<&str> = text.lines().collect();
    assert_eq!(numbers.len(), 2, "{}", outcome.report());
    assert_ne!(numbers[0], numbers[1]);
    refused(
        &doing("random"),
        "no source of entropy: neither RDSEED nor RDRAND nor a virtio-rng device",
    );
}

#[test]
fn devices_are_found_behind_bridges_and_by_ports() {
    let files = Files::new();
    let file = files.file("disk", &pattern(100));
    let bridged = Device::Arguments(
        [
            ["-device", "pcie-root-port,id=root,chassis=1"],
            ["-device", "virtio-blk-pci,drive=d0,bus=root"],
            [
                "-drive",
                &format!("file={},if=none,format=raw,id=d0", file.display()),
            ],
        ]
        .map(|words| words.map(str::to_owned))
        .concat(),
    );
    let old = Device::Arguments(vec!["-machine".to_owned(), "pc".to_owned()]);
    for (machine, mechanism) in [
        (doing("open=0 sum=0").device(bridged), "PCI by memory"),
        (
            doing("open=0 sum=0")
                .device(Device::Disk(file.clone()))
                .device(old),
            "PCI by ports",
        ),
    ] {
        let outcome = done(&machine);
        let said = format!("sum {:016x}", sum(&pattern(100)));
        assert!(outcome.text().contains(&said), "{}", outcome.report());
        let mut log = outcome.log.iter();
        let found = log.any(|line| line.text.contains(mechanism));
        assert!(found, "{}", outcome.report());
    }
}

#[test]
fn a_device_that_cannot_be_used_is_named_with_its_place() {
    let files = Files::new();
    let file = files.file("disk", &pattern(100));
    let disk = |device: &str| attached::disk(&file, 0, "", device);
    refused(
        &doing("open=1").device(disk("")),
        "no disk 1: the machine has 1",
    );
    refused(&doing("echo=0"), "no network device 0: the machine has 0");
    for (words, device, trouble) in [
        (
            "open=0",
            ",addr=5,disable-modern=on,disable-legacy=off",
            "no virtio 1.0 interface",
        ),
        (
            "open=0",
            ",addr=5,vectors=0",
            "no MSI-X, the only interrupts that the host takes",
        ),
        ("open=0 open=0", ",addr=5", "in use already"),
        (
            "open=0",
            ",addr=5,queue-size=32",
            "queue 0: Invalid parameter",
        ),
    ] {
        let reason = format!("disk at PCI 00:05.0: {trouble}");
        refused(&doing(words).device(disk(device)), &reason);
    }
}
