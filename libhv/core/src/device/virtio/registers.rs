//! Registers of a virtio device, as they lie in BAR0 (virtio 1.0, section 4.1.4).

/// Offsets in BAR0. The first ones are `struct virtio_pci_common_cfg` (4.1.4.3).
#[expect(missing_docs, reason = "the specification's own names")]
pub mod register {
    pub const DEVICE_FEATURE_SELECT: u32 = 0x00;
    pub const DEVICE_FEATURE: u32 = 0x04;
    pub const DRIVER_FEATURE_SELECT: u32 = 0x08;
    pub const DRIVER_FEATURE: u32 = 0x0c;
    pub const MSIX_CONFIG: u32 = 0x10;
    pub const NUM_QUEUES: u32 = 0x12;
    pub const STATUS: u32 = 0x14;
    pub const GENERATION: u32 = 0x15;
    pub const QUEUE_SELECT: u32 = 0x16;
    pub const QUEUE_SIZE: u32 = 0x18;
    pub const QUEUE_MSIX_VECTOR: u32 = 0x1a;
    pub const QUEUE_ENABLE: u32 = 0x1c;
    pub const QUEUE_NOTIFY_OFF: u32 = 0x1e;
    pub const QUEUE_DESC: u32 = 0x20;
    pub const QUEUE_AVAIL: u32 = 0x28;
    pub const QUEUE_USED: u32 = 0x30;
    pub const COMMON_END: u32 = 0x38;
    /// Two bytes: the number of a queue that has work.
    pub const NOTIFY: u32 = 0x38;
    /// One byte; reading clears it.
    pub const ISR: u32 = 0x3a;
    pub const DEVICE_CONFIG: u32 = 0x3c;
}

/// Bits of the device status (2.1).
#[expect(missing_docs, reason = "the specification's own names")]
pub mod status {
    pub const ACKNOWLEDGE: u8 = 1;
    pub const DRIVER: u8 = 2;
    pub const DRIVER_OK: u8 = 4;
    pub const FEATURES_OK: u8 = 8;
    pub const NEEDS_RESET: u8 = 64;
    pub const FAILED: u8 = 128;
    /// What a driver may set; NEEDS_RESET is the device's.
    pub const DRIVERS: u8 = ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | FAILED;
}

/// Feature bits that mean the same for every device (section 6).
#[expect(missing_docs, reason = "the specification's own names")]
pub mod feature {
    pub const INDIRECT_DESC: u64 = 1 << 28;
    pub const VERSION_1: u64 = 1 << 32;
}

/// Bits of the interrupt status (4.1.4.5).
pub(super) mod isr {
    pub const QUEUE: u8 = 1;
    pub const CONFIG: u8 = 2;
}
