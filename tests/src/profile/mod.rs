//! `make profile`: what an image with the exit trace logs, as a picture and a table.

pub mod fold;
pub mod guest_symbols;
pub mod kind;
pub mod picture;
pub mod record;
pub mod table;
