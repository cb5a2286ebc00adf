//! A machine in ordinary memory: guest RAM, frames for shadow tables, and a processor that remembers
//! translations as a real one may. Property tests and fuzz targets run the shadow on it and compare what
//! a guest sees with what its tables say.

pub mod adversary;
mod machine;
mod pool;
mod ram;
mod tables;

pub use machine::{
    ACCESSES, EXECUTE, Machine, READ, Remembered, Seen, USER_EXECUTE, USER_READ, USER_WRITE, WRITE,
};
pub use pool::Pool;
pub use ram::{RAM_BASE, Ram};
pub use tables::{Entries, Tables, set_pmd, slot_size};
