//! The only crate with unsafe Rust: it acts, and decides nothing about a guest.
//!
//! Every unsafe block has a SAFETY note with the invariant it stands on and who keeps it.
#![cfg_attr(not(test), no_std)]

pub use defmt;

pub mod apic;
pub mod clock;
pub mod crash_record;
pub mod debug_exit;
pub mod descriptors;
pub mod direct_map;
pub mod entry_area;
pub mod exceptions;
pub mod guest_ram;
pub mod guest_space;
pub mod heap;
pub mod host_paging;
pub mod log;
pub mod panic;
pub mod pci;
pub mod pic;
mod pit;
pub mod random;
mod rtc;
pub mod storage;
pub mod switch;
pub mod table_pool;
pub mod uart;
pub mod virtio;
pub mod window;

#[cfg(feature = "image")]
core::arch::global_asm!(include_str!("memory_functions.S"), options(att_syntax));
