//! What can be wrong with a device of the host's.

use super::Kind;
use crate::host_paging::MapError;
use crate::pci::Function;
use core::fmt;
use hv_core::frames::OutOfFrames;
use virtio_drivers::transport::pci::VirtioPciError;

/// A device could not be opened. The `Display` line is stable.
#[derive(Debug)]
#[non_exhaustive]
pub enum DeviceError {
    /// The machine has no such device.
    Missing {
        /// What was asked for.
        kind: Kind,
        /// Which of them, from 0 on.
        index: usize,
        /// How many there are.
        found: usize,
    },
    /// It is there, and cannot be used.
    Unusable {
        /// What it is.
        kind: Kind,
        /// Where it is.
        function: Function,
        /// Why.
        trouble: Trouble,
    },
    /// Nothing in the machine makes random numbers.
    NoEntropy,
    /// There is no memory for the driver.
    OutOfFrames(OutOfFrames),
}

/// Why a device cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum Trouble {
    /// It was opened before.
    Taken,
    /// All interrupt vectors for devices are in use.
    OutOfVectors,
    /// Its BAR has no address, is no memory, or is larger than any that a device needs.
    BadBar(u8),
    /// Its BAR cannot be mapped.
    Unmapped(u8, MapError),
    /// It cannot interrupt with messages.
    NoMessages,
    /// It speaks only the interface before virtio 1.0.
    Legacy,
    /// It did not accept the features that we need.
    FeaturesRefused,
    /// What it says about itself on PCI makes no sense.
    Pci(VirtioPciError),
    /// A queue, or its configuration, is not as we need it.
    Queue(u16, virtio_drivers::Error),
    /// It did not route its interrupts.
    Unrouted,
    /// It takes no buffer of a useful size: bytes that it takes.
    SmallSegments(u32),
    /// It has no network address.
    NoAddress,
    /// It does not answer.
    Silent,
    /// There is no memory for its buffers.
    OutOfFrames(OutOfFrames),
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceError::Missing { kind, index, found } => {
                write!(f, "no {kind} {index}: the machine has {found}")
            }
            DeviceError::Unusable {
                kind,
                function,
                trouble,
            } => write!(f, "{kind} at PCI {function}: {trouble}"),
            DeviceError::OutOfFrames(error) => write!(f, "driver of a device: {error}"),
            DeviceError::NoEntropy => write!(
                f,
                "no source of entropy: neither RDSEED nor RDRAND nor a virtio-rng device"
            ),
        }
    }
}

impl core::error::Error for DeviceError {}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Taken => write!(f, "in use already"),
            Trouble::OutOfVectors => write!(f, "no interrupt vector is left for it"),
            Trouble::BadBar(bar) => write!(
                f,
                "BAR {bar} has no address, is no memory or is larger than {} MiB",
                super::device::LARGEST_BAR >> 20
            ),
            Trouble::Unmapped(bar, error) => write!(f, "BAR {bar}: {error}"),
            Trouble::NoMessages => write!(f, "no MSI-X, the only interrupts that the host takes"),
            Trouble::Legacy => write!(f, "no virtio 1.0 interface"),
            Trouble::FeaturesRefused => write!(f, "features refused"),
            Trouble::Pci(error) => write!(f, "{error}"),
            Trouble::Queue(queue, error) => write!(f, "queue {queue}: {error}"),
            Trouble::Unrouted => write!(f, "interrupt vector refused"),
            Trouble::SmallSegments(bytes) => {
                write!(f, "takes {bytes} bytes at a time; 4096 are the least")
            }
            Trouble::NoAddress => write!(f, "no network address"),
            Trouble::Silent => write!(f, "no answer"),
            Trouble::OutOfFrames(error) => write!(f, "buffers: {error}"),
        }
    }
}

impl From<OutOfFrames> for Trouble {
    fn from(error: OutOfFrames) -> Self {
        Trouble::OutOfFrames(error)
    }
}

impl From<VirtioPciError> for Trouble {
    fn from(error: VirtioPciError) -> Self {
        match error {
            VirtioPciError::MissingCommonConfig => Trouble::Legacy,
            VirtioPciError::BarNotAllocated(bar) => Trouble::BadBar(bar),
            error => Trouble::Pci(error),
        }
    }
}
