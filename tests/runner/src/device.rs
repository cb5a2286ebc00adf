//! Devices that a machine has beside its serial ports, all behind virtio-pci.

use crate::error::{RunError, SECTOR};
use std::collections::HashSet;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::PathBuf;

/// A device, and what is behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Device {
    /// A disk whose contents are this file, byte for byte.
    Disk(PathBuf),
    /// A network device.
    Network(Network),
    /// A source of randomness. With counted time its bytes are the same in every run.
    Entropy,
    /// Whatever these arguments of QEMU's mean.
    Arguments(Vec<String>),
}

/// What a network device is connected to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// QEMU's own network: the developer's machine is 10.0.2.2, and the world is behind it.
    User,
    /// A program on this machine: a frame is a UDP datagram.
    Program {
        /// Port of QEMU's end.
        ours: u16,
        /// Port of the program's end.
        programs: u16,
    },
}

/// Finds out whether QEMU could use the devices, while there is somebody to tell.
pub(crate) fn check(devices: &[Device]) -> Result<(), RunError> {
    let mut seen = HashSet::new();
    for device in devices {
        let Device::Disk(path) = device else {
            continue;
        };
        File::open(path).map_err(RunError::read(path))?;
        let written = File::options().write(true).open(path);
        let mut disk = written.map_err(|error| RunError::Write(path.clone(), error))?;
        // QEMU would let the guest write a last sector that the file has only a part of. A block device has no
        // size of its own, but an end.
        let size = disk.seek(SeekFrom::End(0)).map_err(RunError::read(path))?;
        if size == 0 || !size.is_multiple_of(SECTOR) {
            return Err(RunError::Sectors(path.clone(), size));
        }
        let file = path.canonicalize().map_err(RunError::read(path))?;
        if !seen.insert(file) {
            return Err(RunError::Twice(path.clone()));
        }
    }
    Ok(())
}

impl Device {
    /// QEMU's arguments for the device, the `index`th of the machine.
    pub(crate) fn arguments(&self, index: usize) -> Vec<String> {
        // Without the interface before virtio 1.0, which nobody here speaks.
        let device = |name: &str, behind: String| format!("{name}-pci,disable-legacy=on{behind}");
        let words = match self {
            Device::Disk(path) => {
                let file = path.display().to_string().replace(',', ",,");
                [
                    "-drive".to_owned(),
                    format!("file={file},if=none,format=raw,id=disk{index}"),
                    "-device".to_owned(),
                    device("virtio-blk", format!(",drive=disk{index}")),
                ]
            }
            Device::Network(network) => [
                "-netdev".to_owned(),
                match network {
                    Network::User => format!("user,id=net{index}"),
                    Network::Program { ours, programs } => format!(
                        "socket,id=net{index},udp=127.0.0.1:{programs},localaddr=127.0.0.1:{ours}"
                    ),
                },
                "-device".to_owned(),
                device("virtio-net", format!(",netdev=net{index}")),
            ],
            Device::Entropy => {
                return vec!["-device".to_owned(), device("virtio-rng", String::new())];
            }
            Device::Arguments(arguments) => return arguments.clone(),
        };
        words.to_vec()
    }
}
