//! The page right above RAM in which guests of G2 to G4 find their virtio devices (9.5), as records one after
//! another. The first byte of each is the device's type, by virtio's numbers; a type of 0 stands behind the last one. All numbers
//! here are byte offsets or counts of bytes, if nothing else is said.

/// Parts of a virtqueue are aligned to this, its used ring to begin with.
pub const RING_ALIGNMENT: u32 = 4096;
/// Description of a virtqueue, in either form: descriptors and interrupt, 16 bits each, and number of its
/// first frame, 32 bits.
pub const QUEUE_SIZE: usize = 8;
/// Feature bits are 32 at most.
pub const FEATURES_SIZE: u8 = 4;

/// Records from Linux 2.6.25 on. Virtqueues follow the header, then the features that are offered, those that are accepted, and
/// the configuration.
pub mod packed {
    /// Status of the driver. Before it: type, virtqueues, bytes of features and of configuration.
    pub const STATUS: u64 = 4;
}

/// Records of Linux 2.6.24: a list of fields follows the header, each with a tag and a length of one byte.
pub mod tagged {
    /// Bytes of the fields.
    pub const FIELDS_SIZE: u64 = 1;
    /// Status of the driver.
    pub const STATUS: u64 = 2;
    /// Type, bytes of fields, status.
    pub const HEADER: u64 = 3;
    /// Tag of a virtqueue; a device can have several.
    pub const QUEUE: u8 = 2;

    /// A field of the device's configuration.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Field {
        /// Type of the device.
        pub device: u8,
        /// Its tag.
        pub tag: u8,
        /// Where it is in virtio's own configuration of such a device.
        pub offset: u32,
        /// Its length.
        pub size: u8,
    }

    /// All of them. Feature bits had a tag too, 0x40, but numbers of their own, and none is offered.
    pub const FIELDS: [Field; 3] = [
        // Address of a network device.
        Field {
            device: 1,
            tag: 0x41,
            offset: 0,
            size: 6,
        },
        // Sectors of a disk.
        Field {
            device: 2,
            tag: 0x41,
            offset: 0,
            size: 8,
        },
        // Segments of a request to a disk, at most.
        Field {
            device: 2,
            tag: 0x43,
            offset: 12,
            size: 4,
        },
    ];
}
