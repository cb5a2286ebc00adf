//! Devices of the machine that have options of their own, or a test at their other end.

use hv_runner::{Device, Network};
use std::net::UdpSocket;
use std::path::Path;

/// A disk with more words for QEMU's drive and for its device; `number` is unique in the machine.
pub fn disk(file: &Path, number: u32, drive: &str, device: &str) -> Device {
    Device::Arguments(vec![
        "-drive".to_owned(),
        format!(
            "file={},if=none,format=raw,id=d{number}{drive}",
            file.display()
        ),
        "-device".to_owned(),
        format!("virtio-blk-pci,drive=d{number}{device}"),
    ])
}

/// A disk that fails where an `event` of QEMU's blkdebug driver touches `sector`.
pub fn faulty_disk(file: &Path, event: &str, sector: u32) -> Device {
    Device::Arguments(vec![
        "-blockdev".to_owned(),
        format!(
            "driver=raw,node-name=d,file.driver=blkdebug,file.inject-error.0.event={event},\
             file.inject-error.0.sector={sector},file.inject-error.0.errno=5,\
             file.image.driver=file,file.image.filename={}",
            file.display()
        ),
        "-device".to_owned(),
        // QEMU would make one transfer of several and let them share its error.
        "virtio-blk-pci,drive=d,request-merging=off".to_owned(),
    ])
}

/// QEMU's own network, with a TFTP server for the files in `directory` and nothing of the world.
pub fn tftp(directory: &Path) -> Device {
    Device::Arguments(vec![
        "-netdev".to_owned(),
        format!("user,id=tftp,restrict=on,tftp={}", directory.display()),
        "-device".to_owned(),
        "virtio-net-pci,disable-legacy=on,netdev=tftp".to_owned(),
    ])
}

/// A network device, and the socket at the other end of its wire: a datagram is a frame.
pub fn wire() -> (Device, UdpSocket) {
    let ours = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let qemus = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = |socket: &UdpSocket| socket.local_addr().expect("bound").port();
    let network = Network::Program {
        ours: port(&qemus),
        programs: port(&ours),
    };
    ours.connect(("127.0.0.1", port(&qemus))).expect("a peer");
    // QEMU takes its port over.
    (Device::Network(network), ours)
}
