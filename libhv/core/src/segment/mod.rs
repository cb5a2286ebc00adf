//! Segment descriptors: what a guest may put into the table that the processor uses.

mod descriptor;
mod gdt;

pub use descriptor::{Descriptor, Refused};
pub use gdt::{GuestGdt, NoSuchEntry, Replaced};
