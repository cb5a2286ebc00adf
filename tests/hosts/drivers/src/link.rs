//! Frames that come back.

use crate::interrupts::Interrupts;
use crate::report::say;
use hv_core::device::backend::{FRAME, Link as _};
use hv_hw::virtio::Link;

/// Bytes of a frame's header: destination, source, type.
const HEADER: usize = 14;
/// Ethernet type of a frame that ends the test.
const LAST: [u8; 2] = [0x88, 0xb6];
/// Ethernet type of the others.
const DATA: [u8; 2] = [0x88, 0xb5];

/// Sends back whatever comes, until the last frame: that one might still be in the machine at its end.
pub fn echo(link: &mut Link, interrupts: &mut Interrupts) {
    say!("link {:02x?}", link.mac());
    let (mut frames, mut bytes) = (0_u64, 0_u64);
    let mut buffer = [0; FRAME];
    loop {
        let Some(length) = link.receive(&mut buffer) else {
            interrupts.wait();
            continue;
        };
        let frame = &mut buffer[..length];
        if length < HEADER {
            continue;
        }
        let kind = [frame[12], frame[13]];
        if kind == LAST {
            return say!("echoed {frames} frames, {bytes} bytes");
        }
        if kind != DATA {
            continue;
        }
        let (destination, rest) = frame.split_at_mut(6);
        destination.swap_with_slice(&mut rest[..6]);
        while link.send(&buffer[..length]).is_err() {
            interrupts.wait();
        }
        frames += 1;
        bytes += length as u64;
    }
}
