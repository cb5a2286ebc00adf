//! The facade that an application links.
#![cfg_attr(not(test), no_std)]
