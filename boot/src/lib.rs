//! From the boot loader to the application's `main`.
//!
//! `entry.S` brings the processor into 64-bit mode; here what the loader said, in either of two
//! dialects, becomes one [`Machine`].
#![cfg_attr(not(test), no_std)]

mod grub;
mod machine;
mod pvh;

pub use machine::{BootError, Machine, Module, RawMachine};

use hv_hw::host_paging::{Lifetime, PageTables};

#[cfg(not(test))]
core::arch::global_asm!(include_str!("entry.S"), options(att_syntax));

unsafe extern "Rust" {
    /// The application, by way of `libhv::entry!`.
    fn libhv_main(machine: Result<Machine, BootError>) -> !;
}

/// First Rust code of the image, on the host's stack, with the boot's temporary tables loaded.
/// `magic`: Multiboot2's, or 0 for PVH; `information`: physical address of what the loader left.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn boot_main(magic: u32, information: u32) -> ! {
    hv_hw::uart::Uart::com1().initialise(hv_hw::uart::Interrupts::OnReceive);
    hv_hw::log::initialise();
    // SAFETY: the loader left its information at this address, below 4 GiB, where the boot's tables
    // map it; nothing has written to memory since.
    let raw = unsafe {
        if magic == grub::MAGIC {
            grub::read(information)
        } else {
            pvh::read(information)
        }
    };
    let machine = raw.and_then(start_machine);
    // SAFETY: `entry!` defines the symbol with this signature.
    unsafe { libhv_main(machine) }
}

/// Accounts for all memory, then moves onto page tables of our own.
#[cfg(not(test))]
fn start_machine(raw: RawMachine) -> Result<Machine, BootError> {
    let mut frames = raw.frame_allocator(hv_hw::host_paging::image())?;
    // Built global: isolated mode switches that off with CR4.PGE.
    let tables = PageTables::host(&mut frames, &raw.ram, Lifetime::Global)?;
    // SAFETY: the tables map the whole image, its stack included, where it runs, and all RAM.
    unsafe { tables.load() };
    Ok(Machine::new(raw, frames, tables))
}
