//! The page right above RAM in which guests of G1 find their devices (9.4), and the pages that some devices share with
//! them. All numbers are byte offsets or counts of bytes, if nothing else is said.

/// Descriptors in the page; the interrupt of each is its index and one.
pub const DESCRIPTORS: usize = 16;
/// Type, features, status and number of pages, 16 bits each, then the number of the first page, 32 bits.
pub const DESCRIPTOR_SIZE: usize = 12;

/// Types of devices; 0 is none.
#[expect(missing_docs, reason = "they say what they are")]
pub mod kind {
    pub const CONSOLE: u16 = 1;
    pub const NET: u16 = 2;
    pub const BLOCK: u16 = 3;
}

/// The page of a disk, whose address is its key. The guest fills it before it sends.
pub mod block {
    /// 0 to read, 1 to write; then the first sector and the number of bytes, 32 bits each.
    pub const REQUEST: u64 = 0;
    /// Of the request's type: write.
    pub const WRITE: u32 = 1;
    /// Outcome, 32 bits.
    pub const RESULT: u64 = 12;
    /// Value of the outcome when all went well.
    pub const DONE: u32 = 1;
    /// Value of the outcome when it did not.
    pub const FAILED: u32 = 2;
    /// Sectors of the disk, 32 bits.
    pub const SECTORS: u64 = 16;
}

/// The page of a network: the addresses of all who are on it, 6 bytes each. The key of the one in slot n is the page's
/// address and [`KEY_STEP`](net::KEY_STEP) times n.
pub mod net {
    /// Bytes between the keys of neighbours.
    pub const KEY_STEP: u32 = 4;
    /// The host's slot.
    pub const HOST: u32 = 0;
    /// The guest's, which it is told in the low bits of the features.
    pub const GUEST: u32 = 1;
    /// Address of the host's end. Bit 0 of its first byte asks for every frame, whoever it is for.
    pub const HOST_ADDRESS: [u8; 6] = [3, 0, 0, 0, 0, 1];
}
