//! Fuzz targets: whatever a guest, its image or its user says, the host neither panics nor works without
//! bound, and keeps what its safety rests on.
//!
//! A target is a function of bytes. `libfuzzer/` has a program for each, which libFuzzer drives; the tests
//! replay what it found worth keeping (`corpus/`) and go on from there, on any compiler. Targets look for more
//! than panics: each asserts what has to hold after every step, by its own account of it.

mod far_ends;
mod input;
mod memory;
mod scripted;
mod targets;

pub use targets::{
    archives, command_lines, descriptors, devices_dma, devices_page, devices_pci, hypercalls,
    instructions, kernels, shadow_pae, shadow_two_level,
};

/// A target, for those that run all of them.
#[derive(Clone, Copy)]
pub struct Target {
    /// The name of its function, its program and its directory below `corpus/`.
    pub name: &'static str,
    /// Runs it once.
    ///
    /// # Panics
    /// When something does not hold.
    pub run: fn(&[u8]),
    /// Bytes that are enough for the longest input worth making.
    pub length: usize,
}

/// All targets.
pub const TARGETS: [Target; 11] = {
    const fn target(name: &'static str, run: fn(&[u8]), length: usize) -> Target {
        Target { name, run, length }
    }
    [
        target("archives", archives, 1024),
        target("command_lines", command_lines, 256),
        target("descriptors", descriptors, 512),
        target("devices_dma", devices_dma, 512),
        target("devices_page", devices_page, 512),
        target("devices_pci", devices_pci, 512),
        target("hypercalls", hypercalls, 512),
        target("instructions", instructions, 256),
        target("kernels", kernels, 4096),
        target("shadow_pae", shadow_pae, 256),
        target("shadow_two_level", shadow_two_level, 256),
    ]
};
