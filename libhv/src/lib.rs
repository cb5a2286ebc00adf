//! libhv: a library OS that hosts one paravirtual guest.
//!
//! An application links this crate, writes a short `main`, and is a bootable image.
#![cfg_attr(not(test), no_std)]

#[cfg(feature = "audit")]
mod audit;
mod builder;
mod device;
mod exit;
#[cfg(any(feature = "audit", feature = "profile"))]
mod exit_kind;
#[cfg(feature = "audit")]
mod exit_times;
mod guest;
mod kick;
mod ports;
mod statistics;

pub use builder::{Builder, MIB};
pub use device::{Com1, Console, Device};
pub use exit::{Exit, PortRead, PortWrite, StartError, Status, Stop};
pub use guest::Guest;
pub use hv_core::device::{backend, ram_disk::RamDisk};
pub use hv_core::fast_paths::{FastPath, FastPaths};
pub use kick::Kicker;
pub use statistics::Statistics;

pub use hv_boot::Machine;
// What the interface above speaks in.
pub use hv_core::address::Gpa;
pub use hv_core::device::Width;
pub use hv_core::kill::Kill;
pub use hv_core::memory::BadAddress;
pub use hv_core::paging::Paging;
pub use hv_core::personality::{BadIrq, NoHandler};
pub use hv_core::registers::Registers;
pub use hv_hw::switch::Isolation;
pub use hv_hw::virtio::DeviceError;

/// What [`Builder::generation`] takes.
pub mod generation {
    pub use hv_abi::lguest::{Family, generations};
    pub use hv_core::generation::Choice;
}

/// What an application needs.
pub mod prelude {
    pub use crate::{
        Com1, Console, Device, Exit, Guest, MIB, Machine, Paging, StartError, Status, Stop,
    };
}

/// What `entry!` expands to; not for applications.
#[doc(hidden)]
pub mod entry {
    use crate::{Machine, StartError, Stop};
    pub use hv_boot::BootError;

    /// Runs the application's `main`, then ends the machine with what it says.
    pub fn run(machine: Result<Machine, BootError>, main: fn(Machine) -> Stop) -> ! {
        let stop = match machine {
            Ok(machine) => main(machine),
            Err(error) => Stop::from(StartError::configuration(error)),
        };
        // The guest's last words may still be in the port, and the machine's end would lose them.
        hv_hw::uart::Uart::com1().flush();
        hv_hw::log::stop(stop.reason());
        hv_hw::debug_exit::exit(stop.status() as u8)
    }
}

/// Makes a function `fn(Machine) -> Stop` the program that the image runs.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // SAFETY: the boot code looks for this name and signature; an image has one `entry!`.
        #[unsafe(no_mangle)]
        fn libhv_main(
            machine: ::core::result::Result<$crate::Machine, $crate::entry::BootError>,
        ) -> ! {
            $crate::entry::run(machine, $main)
        }
    };
}
