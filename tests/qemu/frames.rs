//! a guest that does what it can with its network device (`guests/attached/hostile_frames.c`), and a peer on the
//! wire that answers it, and floods it when it asks.

use hv_runner::Clock;
use hv_tests::attack::unharmed::sound;
use hv_tests::expectation::verdicts;
use hv_tests::matrix::evidence;
use hv_tests::pattern::noise;
use hv_tests::{attached, built};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Ethernet types that the guest sends.
const QUESTION: [u8; 2] = [0x88, 0xb7];
const FLOOD: [u8; 2] = [0x88, 0xb6];
const TYPE: std::ops::Range<usize> = 12..14;

/// Lengths of a flood's datagrams: no frames, the shortest, the longest, and what no Ethernet carries. QEMU takes an
/// empty datagram for the end of the wire.
const LENGTHS: [usize; 9] = [1, 13, 14, 60, 1514, 1515, 4096, 40_000, 65_507];
/// Datagrams of one flood.
const DATAGRAMS: usize = 200;
/// After so long without a question the last answer is given again: a flood may have swept it away.
const AGAIN: Duration = Duration::from_millis(200);

/// The other end of the wire, until `over`.
fn peer(socket: &UdpSocket, over: &AtomicBool) {
    socket.set_read_timeout(Some(AGAIN)).expect("a timeout");
    let flood = noise(LENGTHS[LENGTHS.len() - 1]);
    let mut answer = vec![0];
    let mut buffer = vec![0; 1 << 16];
    // What cannot be sent is lost, as on any wire.
    let send = |frame: &[u8]| drop(socket.send(frame));
    while !over.load(Ordering::Relaxed) {
        let Ok(length) = socket.recv(&mut buffer) else {
            send(&answer);
            continue;
        };
        match buffer[..length].get(TYPE) {
            Some(kind) if kind == QUESTION => {
                answer = buffer[..length].to_vec();
                send(&answer);
            }
            Some(kind) if kind == FLOOD => {
                for number in 0..DATAGRAMS {
                    send(&flood[..LENGTHS[number % LENGTHS.len()]]);
                }
            }
            _ => {}
        }
    }
}

fn hostile_frames(mode: &str) {
    let (device, socket) = attached::wire();
    let guest = built::micro_guest("attached/hostile_frames");
    let machine = built::hosting(&guest, "")
        .command_line(format!("log=debug mode={mode}"))
        // A machine whose time counts instructions would not wait for what is outside of it.
        .clock(Clock::Real)
        .device(device);
    let over = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| peer(&socket, &over));
        let outcome = machine.run();
        over.store(true, Ordering::Relaxed);
        outcome.expect("QEMU starts")
    });
    let text = outcome.text();
    let judged = match outcome.status {
        0 => verdicts(&text).and_then(|_| sound(&outcome)),
        status => Err(format!("status {status}")),
    };
    evidence::record(&format!("hostile_frames::{mode}"), &judged, &text);
    if let Err(reason) = judged {
        panic!("{reason}\n{}", outcome.report());
    }
}

#[test]
fn a35_hostile_frames_shared() {
    hostile_frames("shared");
}

#[test]
fn a35_hostile_frames_isolated() {
    hostile_frames("isolated");
}
