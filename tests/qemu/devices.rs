//! Guests of `guests/attached` and the machine's devices: what they read and write there is compared with what
//! is at the other end.

use hv_runner::{Clock, Device, Machine, Outcome, Running, Watcher};
use hv_tests::expectation::verdicts;
use hv_tests::golden::{self, Numbers};
use hv_tests::pattern::{START, checksum, noise, words};
use hv_tests::{attached, block_guest, built};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

const MODES: [&str; 2] = ["shared", "isolated"];
const SECTOR: usize = 512;

/// A machine that hosts a guest, in `mode`, with this command line.
fn hosting(guest: &str, mode: &str, command_line: &str) -> Machine {
    let kernel = built::micro_guest(&format!("attached/{guest}"));
    built::hosting(&kernel, command_line).command_line(format!("mode={mode}"))
}

/// Fails unless the guest powers off with no verdict but good ones; its console.
fn passed(outcome: &Outcome) -> String {
    assert_eq!(outcome.status, 0, "{}", outcome.report());
    let text = outcome.text();
    verdicts(&text).unwrap_or_else(|reason| panic!("{reason}\n{}", outcome.report()));
    text
}

fn run(machine: &Machine) -> String {
    passed(&machine.run().expect("QEMU starts"))
}

fn said(text: &str, words: &str) {
    assert!(text.contains(words), "{words} is not in\n{text}");
}

fn sum(bytes: &[u8]) -> u32 {
    checksum(START, bytes)
}

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

/// Sectors of the disks, which are no multiple of anything.
const SECTORS: usize = 2051;

/// What `disks.c` writes onto the disk in `slot`, all of it, in pieces that start again from their first sector.
fn written(slot: u32) -> Vec<u8> {
    let mut disk = Vec::new();
    for number in 0.. {
        let first = disk.len() / SECTOR;
        let sectors = (1 + number * 7 % 24).min(SECTORS - first);
        if sectors == 0 {
            break;
        }
        disk.extend(words(slot + first as u32).take(sectors * SECTOR));
    }
    disk
}

/// The same with what the guest writes there in many segments.
fn written_and_changed(slot: u32) -> Vec<u8> {
    let mut disk = written(slot);
    disk.splice(3 * SECTOR..11 * SECTOR, words(77).take(8 * SECTOR));
    disk
}

fn disk_said(text: &str, slot: u32, when: &str, contents: &[u8]) {
    let sum = sum(contents);
    let sectors = contents.len() / SECTOR;
    said(
        text,
        &format!("slot {slot}: {sectors} sectors, {when} {sum:#010x}\n"),
    );
}

#[test]
fn disks_hold_what_guests_write_and_nothing_else() {
    let files = Files::new();
    let contents = noise(SECTORS * SECTOR);
    for mode in MODES {
        let first = files.file("first", &contents);
        let second = files.file("second", &contents);
        let third = files.file("third", &contents);
        let machine = hosting("disks", mode, "disks=3")
            .device(attached::disk(&first, 0, "", ",serial=first"))
            .device(attached::disk(
                &second,
                1,
                ",readonly=on",
                ",serial=twenty-characters-ok",
            ))
            .device(attached::disk(&third, 2, "", ""));
        let text = run(&machine);
        for slot in 2..5 {
            disk_said(&text, slot, "at first", &contents);
        }
        disk_said(&text, 2, "at last", &written_and_changed(2));
        disk_said(&text, 3, "at last", &contents);
        disk_said(&text, 4, "at last", &written_and_changed(4));
        said(&text, "serial first\n");
        said(&text, "serial twenty-characters-ok\n");
        assert!(std::fs::read(first).unwrap() == written_and_changed(2));
        assert!(std::fs::read(second).unwrap() == contents);
        assert!(std::fs::read(third).unwrap() == written_and_changed(4));
    }
}

/// The buses that there were before PCI, each with the kernels that have it: of each form of its page, and of each size of
/// its queues.
const OLD_BUSES: [(&str, &[&str]); 2] =
    [("dma", &["g1"]), ("lguest", &["2.6.24", "g2", "g3", "g4"])];
/// Those that know of randomness.
const WITH_RANDOMNESS: [(&str, &[&str]); 1] = [("lguest", &["g2", "g3", "g4"])];

/// Machines that host the guest `<directory><bus>_<what>` of each kernel in both modes, and what to call them.
fn on_old_buses(buses: &[(&str, &[&str])], directory: &str, what: &str) -> Vec<(String, Machine)> {
    let mut machines = Vec::new();
    for (bus, kernels) in buses {
        for kernel in *kernels {
            let guest = built::micro_guest(&format!("{directory}{bus}_{what}.{kernel}"));
            for mode in MODES {
                let words = format!("mode={mode} generation={kernel}");
                let machine = built::hosting(&guest, "").command_line(&words);
                machines.push((format!("{bus}_{what} {words}"), machine));
            }
        }
    }
    machines
}

#[test]
fn disks_of_old_buses_hold_what_guests_write_and_nothing_else() {
    for (name, machine) in on_old_buses(&OLD_BUSES, "", "bus") {
        let files = Files::new();
        let file = files.file("disk", &block_guest::disk());
        run(&machine.device(attached::disk(&file, 0, "", "")));
        let left = std::fs::read(&file).expect("the disk is still there");
        assert!(left == block_guest::disk_afterwards(), "{name}");
    }
}

#[test]
fn a_disk_in_memory_behaves_like_the_machines() {
    let contents = noise(SECTORS * SECTOR);
    for mode in MODES {
        let kernel = built::micro_guest("attached/disks");
        let machine = built::hosting_with_disk(&kernel, "disks=1", &contents)
            .command_line(format!("mode={mode}"));
        let text = run(&machine);
        disk_said(&text, 2, "at first", &contents);
        disk_said(&text, 2, "at last", &written_and_changed(2));
        said(&text, "serial libhv-ram-disk\n");
    }
}

#[test]
fn what_a_guest_was_told_is_flushed_survives_a_loss_of_power() {
    let files = Files::new();
    let file = files.file("disk", &noise(SECTORS * SECTOR));
    let machine = hosting("disks", "shared", "lost=1").device(Device::Disk(file.clone()));
    let mut running = machine.spawn().expect("QEMU starts");
    running.expect("flushed\n").expect("the disk is flushed");
    let mut monitor = running.monitor().expect("QEMU has a monitor");
    let statistics = monitor.command("info blockstats").expect("it runs");
    assert!(!statistics.contains("flush_operations=0"), "{statistics}");
    // Ends QEMU at once, as a loss of power would.
    drop(running);
    assert!(std::fs::read(file).unwrap() == written(2));
}

#[test]
fn an_error_of_the_medium_is_the_guests_to_handle() {
    let files = Files::new();
    let file = files.file("disk", &noise(SECTORS * SECTOR));
    let disk = attached::faulty_disk(&file, "read_aio", 600);
    run(&hosting("disks", "shared", "disks=1 bad=600").device(disk));
}

#[test]
fn rules_that_are_broken_stop_the_device_and_are_logged() {
    for mode in MODES {
        let kernel = built::micro_guest("attached/rules");
        let machine = built::hosting_with_disk(&kernel, "", &[0; SECTOR])
            .command_line(format!("log=warn mode={mode}"));
        let outcome = machine.run().expect("QEMU starts");
        passed(&outcome);
        let report = outcome.report();
        golden::compare("guests/rules", &golden::console(&outcome, Numbers::Kept))
            .and_then(|()| golden::compare("guests/rules_log", &golden::log(&outcome)))
            .unwrap_or_else(|difference| panic!("{difference}\n{report}"));
        let left_out = "990 lines about broken devices left out";
        let logged = outcome.log.iter().any(|line| line.text == left_out);
        assert!(logged, "{report}");
    }
}

#[test]
fn randomness_of_the_device_and_of_the_processor_reaches_the_guest() {
    for mode in MODES {
        run(&hosting("rng", mode, "sources=1").device(Device::Entropy));
        run(&hosting("rng", mode, "sources=1").model("qemu64,+rdrand"));
        run(&hosting("rng", mode, "sources=0"));
    }
}

#[test]
fn randomness_reaches_guests_on_the_old_bus() {
    for (_, machine) in on_old_buses(&WITH_RANDOMNESS, "attached/", "rng") {
        run(&machine.clone().device(Device::Entropy));
        run(&machine.model("qemu64,+rdrand"));
    }
}

#[test]
fn a_file_comes_intact_through_qemus_network() {
    let files = Files::new();
    // More blocks than a byte counts, and a short one at the end.
    let contents = noise(2_000_003);
    files.file("file", &contents);
    for mode in MODES {
        let text = run(&hosting("tftp", mode, "").device(attached::tftp(files.0.path())));
        let sum = sum(&contents);
        said(&text, &format!("file of 2000003 bytes, sum {sum:#010x}\n"));
    }
}

/// The other end of a guest's wire, `frames.c`.
struct Peer {
    socket: UdpSocket,
    guest: [u8; 6],
    /// Sums of the data frames without their addresses.
    sent: u32,
    received: u32,
}

/// Ethernet types.
const DATA: u16 = 0x88b5;
const FLOOD: u16 = 0x88b6;
const QUESTION: u16 = 0x88b7;

/// What the guest is asked for.
const SEND_BATCH: u8 = 1;
const SEND_FLOOD: u8 = 2;
const ANSWER: u8 = 3;
const END: u8 = 4;

/// Half seconds without a frame after which the guest is given up.
const PATIENCE: u32 = 40;

/// Frames between an answer and the next: neither QEMU nor the kernel keeps datagrams for ever.
const BATCH: usize = 32;
const HEADER: usize = 14;
const LARGEST: usize = 1514;

/// Bytes of the data frame `number`.
fn length(number: usize) -> usize {
    match number % BATCH {
        0 => HEADER,
        1 => LARGEST,
        2 => 60,
        _ => HEADER + number * 7 % (LARGEST - HEADER),
    }
}

impl Peer {
    const ADDRESS: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn new(socket: UdpSocket) -> Self {
        // How long an answer may take before the question is repeated; no verdict depends on it.
        socket
            .set_read_timeout(Some(Duration::from_millis(500)))
            .expect("a timeout");
        Self {
            socket,
            guest: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
            sent: START,
            received: START,
        }
    }

    fn send(&self, kind: u16, rest: &[u8]) {
        let kind = kind.to_be_bytes();
        let frame = [&self.guest[..], &Self::ADDRESS, &kind, rest].concat();
        self.socket.send(&frame).expect("QEMU listens");
    }

    /// Asks for something until the answer comes; data frames before that are for `data`.
    fn ask(&mut self, what: u8, number: u32, mut data: impl FnMut(&mut Self, &[u8])) {
        let mut question = [0; 60 - HEADER];
        question[0] = what;
        question[2..6].copy_from_slice(&number.to_le_bytes());
        self.send(QUESTION, &question);
        let mut buffer = [0; 65536];
        let mut patience = 0..PATIENCE;
        loop {
            let Ok(length) = self.socket.recv(&mut buffer) else {
                assert!(patience.next().is_some(), "no answer to question {what}");
                // What makes the guest send data is asked once: nothing of that is lost.
                if what != SEND_BATCH {
                    self.send(QUESTION, &question);
                }
                continue;
            };
            let frame = &buffer[..length];
            assert!((HEADER..=LARGEST).contains(&length), "{length} bytes");
            assert_eq!(frame[..6], Self::ADDRESS);
            assert_eq!(frame[6..12], self.guest);
            match u16::from_be_bytes([frame[12], frame[13]]) {
                DATA => data(self, frame),
                FLOOD => {}
                QUESTION if frame[14..20] == question[..6] => return,
                // The answer to a question that was repeated.
                QUESTION => {}
                kind => panic!("a frame of type {kind:#x}"),
            }
        }
    }

    /// The guest sends a batch; each frame has to be there, in its order.
    fn take_batch(&mut self, batch: usize) {
        let mut number = batch * BATCH;
        self.ask(SEND_BATCH, batch as u32, |peer, frame| {
            assert_eq!(frame.len(), length(number), "frame {number}");
            // A word of the frame's tail shares its place with the type.
            let fill: Vec<u8> = words(number as u32 + 1)
                .take(length(number).saturating_sub(16))
                .collect();
            assert_eq!(frame.get(16..).unwrap_or_default(), fill, "frame {number}");
            peer.received = checksum(peer.received, &frame[12..]);
            number += 1;
        });
        assert_eq!(number, (batch + 1) * BATCH, "the guest's frames");
    }

    /// Sends a batch, with frames between them that are longer than the wire allows.
    fn give_batch(&mut self, batch: usize, noise: &[u8]) -> usize {
        let mut bytes = 0;
        for number in batch * BATCH..(batch + 1) * BATCH {
            let length = length(number);
            if number % BATCH == 5 {
                self.send(DATA, &noise[..1519 - HEADER]);
                self.send(DATA, &noise[..2048 - HEADER]);
                self.send(DATA, &noise[..4096 - HEADER]);
            }
            let rest = &noise[number..][..length - HEADER];
            self.send(DATA, rest);
            self.sent = checksum(self.sent, &DATA.to_be_bytes());
            self.sent = checksum(self.sent, rest);
            bytes += length;
        }
        self.ask(ANSWER, batch as u32, |_, _| ());
        bytes
    }
}

/// Frames that come back to a guest on an old bus.
const ECHOES: usize = 96;

/// Sends back what the guest sends, with the addresses exchanged; the sum of the contents.
fn echo(socket: &UdpSocket) -> u32 {
    // How long the guest is waited for; no verdict depends on it.
    let patience = Duration::from_secs(60);
    socket.set_read_timeout(Some(patience)).expect("a timeout");
    let mut buffer = [0; 65536];
    (0..ECHOES).fold(START, |sum, number| {
        let length = socket
            .recv(&mut buffer)
            .unwrap_or_else(|error| panic!("frame {number}: {error}"));
        let frame = &mut buffer[..length];
        let (to, rest) = frame.split_at_mut(6);
        to.swap_with_slice(&mut rest[..6]);
        socket.send(frame).expect("QEMU listens");
        checksum(sum, &frame[HEADER..])
    })
}

#[test]
fn frames_of_old_buses_cross_intact_both_ways() {
    for (name, machine) in on_old_buses(&OLD_BUSES, "attached/", "echo") {
        let (device, socket) = attached::wire();
        let running = machine
            .clock(Clock::Real)
            .device(device)
            .spawn()
            .expect("QEMU starts");
        let sum = echo(&socket);
        let text = passed(&running.wait());
        assert!(
            text.contains(&format!("echoes {ECHOES}, sum {sum:#010x}\n")),
            "{name}: {text}"
        );
    }
}

/// Frames of each direction: 1.5 MB.
const BATCHES: usize = 64;

#[test]
fn frames_of_all_lengths_cross_intact_and_floods_hurt_nobody() {
    for mode in MODES {
        let (device, socket) = attached::wire();
        let mut running: Running = hosting("frames", mode, "")
            .clock(Clock::Real)
            .device(device)
            .spawn()
            .expect("QEMU starts");
        running.expect("up\n").expect("the guest has its device");
        let mut peer = Peer::new(socket);
        let noise = noise(8192);
        let mut bytes = 0;
        for batch in 0..BATCHES {
            peer.take_batch(batch);
            bytes += peer.give_batch(batch, &noise);
        }
        // More than anything on the way can hold.
        for _ in 0..5000 {
            peer.send(FLOOD, &noise[..LARGEST - HEADER]);
        }
        peer.ask(ANSWER, 1_000_000, |_, _| ());
        peer.ask(SEND_FLOOD, 5000, |_, _| ());
        peer.take_batch(BATCHES);
        bytes += peer.give_batch(BATCHES, &noise);
        peer.send(QUESTION, &[&[END][..], &[0; 60]].concat());
        let outcome = running.wait();
        let text = passed(&outcome);
        let frames = (BATCHES + 1) * BATCH;
        let Peer { sent, received, .. } = peer;
        said(
            &text,
            &format!("received {frames} frames, {bytes} bytes, sum {sent:#010x}\n"),
        );
        said(&text, &format!("sent sum {received:#010x}\n"));
    }
}

/// What `terminal.c` prints, of bytes of all values.
fn printed(bytes: usize) -> Vec<u8> {
    words(5).take(bytes).collect()
}

/// Bytes to print and to paste, and nanoseconds that the guest takes over each few bytes.
struct Talk {
    print: usize,
    paste: usize,
    slow: u32,
}

impl Talk {
    /// Fails unless all bytes arrive in their order, both ways.
    fn is_intact(&self, mode: &str, deadline: Duration) {
        let Talk { print, paste, slow } = self;
        let pasted = noise(*paste);
        let words = format!("print={print} input={paste} slow={slow}");
        let machine = hosting("terminal", mode, &words).deadline(Some(deadline));
        let mut running = machine.spawn().expect("QEMU starts");
        running.expect("ready\n").expect("the guest is ready");
        running.paste(&pasted).expect("QEMU reads");
        let outcome = running.wait();
        let verdicts = format!("\nreceived {paste} bytes, sum {:#010x}\n", sum(&pasted));
        let console = &outcome.console;
        let at = |what: &str| {
            let found = console
                .windows(what.len())
                .position(|window| window == what.as_bytes());
            found.unwrap_or_else(|| panic!("no {what:?}: {}", outcome.stop()))
        };
        assert!(console[at("ready\n") + 6..at(&verdicts)] == printed(*print));
        assert_eq!(outcome.status, 0, "{}", outcome.stop());
        let rest = String::from_utf8_lossy(&console[at(&verdicts)..]);
        verdicts_of(&rest);
    }
}

fn verdicts_of(text: &str) {
    verdicts(text).unwrap_or_else(|reason| panic!("{reason}"));
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_pasted_megabyte_arrives_intact_while_the_guest_prints_another() {
    for mode in MODES {
        let talk = Talk {
            print: 1_000_000,
            paste: 1_000_000,
            slow: 0,
        };
        talk.is_intact(mode, 5 * MINUTE);
    }
}

#[test]
fn a_guest_that_is_slow_to_read_loses_nothing() {
    for mode in MODES {
        let talk = Talk {
            print: 10_000,
            paste: 100_000,
            slow: 200_000,
        };
        talk.is_intact(mode, 5 * MINUTE);
    }
}

/// The pipe fills up, then QEMU's port, then what the host holds; the verdict is the same if they do not.
#[test]
fn a_terminal_that_stops_for_a_while_loses_nothing() {
    let stopped = Duration::from_secs(2);
    for mode in MODES {
        let mut stops = 2;
        let watcher = Watcher {
            console: Box::new(move |_| {
                if stops != 0 {
                    stops -= 1;
                    std::thread::sleep(stopped);
                }
            }),
            ..Watcher::default()
        };
        let (input, _keyboard) = std::io::pipe().expect("a pipe");
        let lines: String = (0..20_000).map(|line| format!("{line:#010x}\n")).collect();
        let outcome = hosting("terminal", mode, "lines=20000 print=200000")
            .spawn_with(input, watcher)
            .expect("QEMU starts")
            .wait();
        let wanted = [lines.as_bytes(), b"ready\n", &printed(200_000), b"\n"].concat();
        assert_eq!(outcome.status, 0, "{}", outcome.stop());
        assert!(outcome.console.starts_with(&wanted));
        verdicts_of(&String::from_utf8_lossy(&outcome.console[wanted.len()..]));
    }
}

#[test]
fn four_megabytes_are_printed_intact() {
    let talk = Talk {
        print: 4_000_000,
        paste: 0,
        slow: 0,
    };
    talk.is_intact("shared", 5 * MINUTE);
}

#[test]
#[ignore = "takes minutes"]
fn a_hundred_megabytes_are_printed_intact() {
    let talk = Talk {
        print: 100_000_000,
        paste: 0,
        slow: 0,
    };
    talk.is_intact("shared", 60 * MINUTE);
}
