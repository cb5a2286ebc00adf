//! Boots an image in QEMU or Bochs, feeds and records its console, decodes its log, and says how it ended.
//!
//! ```no_run
//! use hv_runner::Machine;
//!
//! let mut running = Machine::new("build/images/demo.elf").memory_mib(128).spawn()?;
//! running.expect("demo> ")?;
//! running.send("exit 0\n")?;
//! assert_eq!(running.wait().status, 0);
//! # Ok::<(), hv_runner::RunError>(())
//! ```

pub mod archive;
mod bochs;
mod device;
mod error;
mod log;
mod machine;
mod monitor;
mod outcome;
mod qemu;
mod running;

pub use device::{Device, Network};
pub use error::RunError;
pub use log::{LogDecoder, LogLine, STOP};
pub use machine::{Accelerator, Clock, Machine};
pub use monitor::Monitor;
pub use outcome::{End, Outcome};
pub use running::{Killer, Running, Sink, Watcher};
