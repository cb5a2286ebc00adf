//! Numbers and layouts of guest ABIs. No code, no dependencies: the host, guests and tools all read
//! the same tables. Today there is one personality, lguest, in all its generations.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod lguest;
