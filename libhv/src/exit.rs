//! How a run of the guest ends, for the application.

use core::fmt;
use hv_core::device::Width;
use hv_core::kill::{Kill, Message};
use hv_core::load::LoadError;
use hv_hw::virtio::DeviceError;

/// Why [`Guest::run`](crate::Guest::run) returned. Owned: it borrows nothing of the guest.
#[derive(Debug)]
#[non_exhaustive]
pub enum Exit {
    /// The guest switched itself off, with these last words.
    PowerOff(Message),
    /// The guest asked to be started again.
    Restart(Message),
    /// The guest was ended. It never runs again; its registers and memory can still be read.
    Killed(Kill),
    /// Somebody called [`Kicker::kick`](crate::Kicker::kick).
    Kicked,
    /// The guest reads a port that the application claimed.
    PortRead(PortRead),
    /// The guest wrote a port that the application claimed.
    PortWrite(PortWrite),
}

/// A port read that waits for its value: hand it to [`Guest::answer`](crate::Guest::answer). A guest
/// that runs on without an answer has read all ones.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the guest waits for the value"]
pub struct PortRead {
    pub(crate) port: u16,
    pub(crate) width: Width,
}

impl PortRead {
    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How much of it is read.
    pub fn width(&self) -> Width {
        self.width
    }
}

/// A port write of the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortWrite {
    /// The port.
    pub port: u16,
    /// How much is written.
    pub width: Width,
    /// The value, in the low `width` bits.
    pub value: u32,
}

/// Why a guest could not be started. Nothing of it has run.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The application named no kernel and the boot loader brought none.
    NoKernel,
    /// The host's command line or the boot module is not what it should be.
    Configuration(StartText),
    /// The kernel could not be loaded.
    Load(LoadError),
    /// No run of frames is large enough.
    Memory {
        /// What the frames are for.
        purpose: &'static str,
        /// MiB wanted, rounded up.
        wanted: u64,
        /// MiB in the largest free run, rounded down.
        largest: u64,
    },
    /// Guest RAM has to lie between these limits.
    MemorySize {
        /// Bytes asked for.
        wanted: u64,
        /// Least, in MiB.
        least: u64,
        /// Most, in MiB.
        most: u64,
    },
    /// A device of the machine's cannot be used.
    Device(DeviceError),
}

/// The text of a configuration error, cut at its capacity.
pub type StartText = heapless::String<160>;

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NoKernel => {
                write!(
                    f,
                    "no guest kernel: the application embeds none and no boot module brings one"
                )
            }
            StartError::Configuration(text) => f.write_str(text),
            StartError::Load(error) => write!(f, "{error}"),
            StartError::Memory {
                purpose,
                wanted,
                largest,
            } => write!(
                f,
                "{purpose} of {wanted} MiB does not fit: the host's largest free run of memory is {largest} MiB"
            ),
            StartError::MemorySize {
                wanted,
                least,
                most,
            } => write!(
                f,
                "guest memory of {wanted} bytes: it has to be {least} MiB to {most} MiB, in whole pages"
            ),
            StartError::Device(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for StartError {}

/// How the host ends: its status for whoever started the machine, and the reason in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    status: Status,
    reason: Reason,
}

/// Room for the longest reason: a fixed phrase and the guest's last words.
type Reason = heapless::String<224>;

/// Exit status of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Status {
    /// The guest powered off.
    PoweredOff = 0,
    /// Anything that is none of the others.
    Other = 1,
    /// The guest was killed.
    Killed = 3,
    /// The guest asked for a restart.
    Restart = 4,
    /// The host could not start the guest.
    NotStarted = 5,
}

impl Stop {
    /// Stops with `status` for a reason; a longer one is cut.
    pub fn new(status: Status, reason: impl fmt::Display) -> Self {
        Self {
            status,
            reason: cut(reason),
        }
    }

    /// Status for the machine's end.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The reason: what stands behind `libhv: stop: ` on the log.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Renders into a string of fixed capacity; what does not fit is cut, never an error.
fn cut<const N: usize>(value: impl fmt::Display) -> heapless::String<N> {
    struct Cut<const N: usize>(heapless::String<N>);
    impl<const N: usize> fmt::Write for Cut<N> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for character in text.chars() {
                // A full string drops the rest.
                let _ = self.0.push(character);
            }
            Ok(())
        }
    }
    let mut text = Cut(heapless::String::new());
    // `write_str` never fails.
    let _ = fmt::write(&mut text, format_args!("{value}"));
    text.0
}

impl From<LoadError> for StartError {
    fn from(error: LoadError) -> Self {
        StartError::Load(error)
    }
}

impl From<DeviceError> for StartError {
    fn from(error: DeviceError) -> Self {
        StartError::Device(error)
    }
}

impl From<StartError> for Stop {
    fn from(error: StartError) -> Self {
        Stop::new(Status::NotStarted, error)
    }
}

impl StartError {
    /// A configuration error with this text.
    pub fn configuration(text: impl fmt::Display) -> Self {
        StartError::Configuration(cut(text))
    }
}

impl From<Exit> for Stop {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::PowerOff(_) => Stop::new(Status::PoweredOff, "guest powered off"),
            Exit::Restart(_) => Stop::new(Status::Restart, "guest asked for restart"),
            Exit::Killed(kill) => Stop::new(Status::Killed, format_args!("guest killed: {kill}")),
            Exit::Kicked => Stop::new(Status::Other, "kicked"),
            Exit::PortRead(read) => Stop::new(
                Status::Other,
                format_args!("read of port {:#x} unanswered", read.port),
            ),
            Exit::PortWrite(write) => Stop::new(
                Status::Other,
                format_args!("write to port {:#x} unserved", write.port),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_longer_than_its_room_is_cut_and_stays_one_line() {
        let long = "x".repeat(1000);
        let stop = Stop::new(Status::Other, &long);
        assert_eq!(stop.reason(), &long[..224]);
    }

    #[test]
    fn every_end_of_a_guest_has_its_status() {
        let message = Message::try_from("Power down").unwrap();
        assert_eq!(
            Stop::from(Exit::PowerOff(message.clone())).status(),
            Status::PoweredOff
        );
        assert_eq!(Stop::from(Exit::Restart(message)).status(), Status::Restart);
        let killed = Stop::from(Exit::Killed(Kill::BadHypercall(99)));
        assert_eq!(
            (killed.status(), killed.reason()),
            (Status::Killed, "guest killed: Bad hypercall 99")
        );
        assert_eq!(
            Stop::from(StartError::NoKernel).status(),
            Status::NotStarted
        );
    }
}
