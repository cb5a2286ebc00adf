//! What the tests that boot images share. The tests themselves are in `qemu/`.
//!
//! `make test` builds the images and names their places in the environment; a test that does not
//! find what it needs fails.

pub mod attached;
pub mod attack;
pub mod bench;
pub mod block_guest;
pub mod built;
pub mod bzimage;
pub mod conformance;
pub mod counts;
pub mod expectation;
pub mod gdb;
pub mod golden;
pub mod guest_image;
pub mod matrix;
pub mod pattern;
pub mod profile;
pub mod symbols;
pub mod translations;
