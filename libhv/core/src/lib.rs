//! Everything a guest can reach, as pure logic.
//!
//! This crate knows no hardware: guest memory, page-table frames, clocks and devices' far ends come
//! in through traits, so the code that decides about a guest in the image is the very code that unit
//! tests, property tests and fuzzers run. It cannot panic and has no unsafe code; the lints below
//! are part of the security argument.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects,
        clippy::float_arithmetic
    )
)]

pub mod address;
pub mod clock;
pub mod command_line;
pub mod device;
pub mod exit_kind;
pub mod fast_paths;
pub mod frames;
pub mod generation;
pub mod kill;
pub mod load;
pub mod log_limit;
pub mod memory;
pub mod paging;
pub mod personality;
pub mod profile;
pub mod registers;
pub mod segment;
pub mod shadow;
