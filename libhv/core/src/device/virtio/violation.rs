//! Rules of virtio that a driver can break.

use crate::memory::BadAddress;
use core::fmt;

/// What the driver did. Its device stops until the guest resets it; the line is for the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the Display line of each says it")]
pub enum Violation {
    BadRegisterWidth { offset: u32 },
    StatusBitsCleared { from: u8, to: u8 },
    DriverReadyTooEarly,
    FeaturesAtWrongTime,
    UnknownFeatureWord(u32),
    NoSuchQueue(u16),
    QueueSetUpAtWrongTime,
    BadQueueSize(u16),
    BadQueueEnable(u16),
    QueueMisaligned,
    QueueOutsideRam,
    QueueNotEnabled(u16),
    IndexJump { from: u16, to: u16 },
    BadDescriptorIndex(u16),
    ChainTooLong,
    BufferOutsideRam,
    BuffersTooLarge,
    ReadableAfterWritable,
    IndirectNotNegotiated,
    IndirectNested,
    IndirectWithNext,
    BadIndirectLength(u32),
    WrongDirection,
    RequestTooShort,
    TooManySegments,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Violation::*;
        match self {
            BadRegisterWidth { offset } => {
                write!(f, "write of the wrong width to register {offset:#x}")
            }
            StatusBitsCleared { from, to } => {
                write!(f, "status bits cleared without reset: {from:#x} to {to:#x}")
            }
            DriverReadyTooEarly => f.write_str("DRIVER_OK before FEATURES_OK"),
            FeaturesAtWrongTime => f.write_str("features written outside negotiation"),
            UnknownFeatureWord(word) => write!(f, "features accepted in word {word}"),
            NoSuchQueue(queue) => write!(f, "no queue {queue}"),
            QueueSetUpAtWrongTime => f.write_str("queue set up outside set-up time"),
            BadQueueSize(size) => write!(f, "queue size {size}"),
            BadQueueEnable(value) => write!(f, "queue_enable written with {value}"),
            QueueMisaligned => f.write_str("queue part not aligned"),
            QueueOutsideRam => f.write_str("queue part outside RAM"),
            QueueNotEnabled(queue) => write!(f, "queue {queue} used before it was enabled"),
            IndexJump { from, to } => {
                write!(f, "available index jumped from {from} to {to}")
            }
            BadDescriptorIndex(index) => write!(f, "no descriptor {index}"),
            ChainTooLong => f.write_str("descriptor chain longer than the queue"),
            BufferOutsideRam => f.write_str("buffer outside RAM"),
            BuffersTooLarge => f.write_str("buffers of one chain exceed 4 GiB"),
            ReadableAfterWritable => f.write_str("readable buffer after a writable one"),
            IndirectNotNegotiated => f.write_str("indirect descriptor without the feature"),
            IndirectNested => f.write_str("indirect descriptor inside an indirect table"),
            IndirectWithNext => f.write_str("indirect descriptor with a successor"),
            BadIndirectLength(length) => write!(f, "indirect table of {length} bytes"),
            RequestTooShort => f.write_str("request without room for its header or its answer"),
            TooManySegments => f.write_str("request of more segments than the device allows"),
            WrongDirection => f.write_str("buffer of the wrong direction for its queue"),
        }
    }
}

impl From<BadAddress> for Violation {
    fn from(_: BadAddress) -> Self {
        Violation::BufferOutsideRam
    }
}

#[cfg(test)]
mod tests {
    use super::Violation::{self, *};

    /// Scripts match these lines.
    #[test]
    fn every_violation_has_a_line_of_its_own() {
        let lines: [(Violation, &str); 25] = [
            (
                BadRegisterWidth { offset: 0x14 },
                "write of the wrong width to register 0x14",
            ),
            (
                StatusBitsCleared { from: 15, to: 3 },
                "status bits cleared without reset: 0xf to 0x3",
            ),
            (DriverReadyTooEarly, "DRIVER_OK before FEATURES_OK"),
            (FeaturesAtWrongTime, "features written outside negotiation"),
            (UnknownFeatureWord(2), "features accepted in word 2"),
            (NoSuchQueue(7), "no queue 7"),
            (QueueSetUpAtWrongTime, "queue set up outside set-up time"),
            (BadQueueSize(3), "queue size 3"),
            (BadQueueEnable(2), "queue_enable written with 2"),
            (QueueMisaligned, "queue part not aligned"),
            (QueueOutsideRam, "queue part outside RAM"),
            (QueueNotEnabled(1), "queue 1 used before it was enabled"),
            (
                IndexJump { from: 1, to: 9 },
                "available index jumped from 1 to 9",
            ),
            (BadDescriptorIndex(256), "no descriptor 256"),
            (ChainTooLong, "descriptor chain longer than the queue"),
            (BufferOutsideRam, "buffer outside RAM"),
            (BuffersTooLarge, "buffers of one chain exceed 4 GiB"),
            (
                ReadableAfterWritable,
                "readable buffer after a writable one",
            ),
            (
                IndirectNotNegotiated,
                "indirect descriptor without the feature",
            ),
            (
                IndirectNested,
                "indirect descriptor inside an indirect table",
            ),
            (IndirectWithNext, "indirect descriptor with a successor"),
            (BadIndirectLength(17), "indirect table of 17 bytes"),
            (
                RequestTooShort,
                "request without room for its header or its answer",
            ),
            (
                TooManySegments,
                "request of more segments than the device allows",
            ),
            (
                WrongDirection,
                "buffer of the wrong direction for its queue",
            ),
        ];
        for (violation, line) in lines {
            assert_eq!(violation.to_string(), line);
        }
    }
}
