//! From the boot loader to the application's `main`.
//!
//! `entry.S` brings the processor into 64-bit mode; here what the loader said, in either of two
//! dialects, becomes one [`Machine`].
#![cfg_attr(not(test), no_std)]

mod embedded;
mod grub;
mod machine;
mod pvh;

pub use machine::{BootError, Machine, Module, RawMachine};

use hv_hw::host_paging::{self, Lifetime, PageTables};
use hv_hw::uart::{Interrupts, Uart};
use hv_hw::virtio::Devices;

/// What only an image has: the code that boot loaders enter.
#[cfg(feature = "image")]
mod image {
    use super::{BootError, Machine};

    core::arch::global_asm!(include_str!("entry.S"), options(att_syntax));

    unsafe extern "Rust" {
        /// The application, by way of `libhv::entry!`.
        fn libhv_main(machine: Result<Machine, BootError>) -> !;
    }

    /// First Rust code of the image, on the host's stack, with the boot's temporary tables loaded.
    #[unsafe(no_mangle)]
    extern "C" fn boot_main(magic: u32, information: u32) -> ! {
        // SAFETY: `entry.S` passes on what the loader left in EAX and EBX, and nothing has written to
        // memory since; `entry!` defines `libhv_main` with this signature.
        unsafe { libhv_main(super::start(magic, information)) }
    }
}

/// Reads what the boot loader left, accounts for all memory, and moves onto page tables of our own.
/// `magic`: Multiboot2's, or anything else for PVH. An exception on the way, as on all later ones, ends
/// the host with a line that says where.
///
/// # Errors
/// When the loader left something that we cannot work with.
///
/// # Safety
/// This is the image's first code. `information` is the physical address that the loader passed, and
/// the tables in use map the first 4 GiB at the direct map and the image where it is linked.
pub unsafe fn start(magic: u32, information: u32) -> Result<Machine, BootError> {
    // SAFETY: the caller's promise; interrupts are off since `entry.S`.
    unsafe { hv_hw::exceptions::load() };
    Uart::com1().initialise(Interrupts::OnReceive);
    hv_hw::log::initialise();
    hv_hw::log::start();
    // SAFETY: the caller's promise.
    let mut raw = unsafe {
        if magic == grub::MAGIC {
            grub::read(information)
        } else {
            pvh::read(information)
        }
    }?;
    // After the loader's: the first module counts.
    // SAFETY: the caller's promise.
    if let Some(module) = unsafe { embedded::module() } {
        raw.add_module(module)?;
    }
    let mut frames = raw.frame_allocator(host_paging::image())?;
    #[cfg(feature = "fault-injection")]
    if let Some(takes) = machine::takes(&raw.command_line) {
        frames.fail_after(takes);
    }
    // Built global: isolated mode switches that off with CR4.PGE.
    let mut tables = PageTables::host(&mut frames, &raw.ram, Lifetime::Global)?;
    // SAFETY: the tables map the whole image, its stack included, where it runs, and all RAM.
    unsafe { tables.load() };
    let devices = Devices::discover(raw.ecam.take(), &mut frames, &mut tables)?;
    Ok(Machine::new(raw, frames, tables, devices))
}
