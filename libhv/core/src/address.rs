//! One type for each address space, so that none is ever taken for another.
//!
//! All operations wrap or check; none can panic.

/// Bytes in a page frame, on the host and in every paging format we mirror.
pub const PAGE_SIZE: u32 = 4096;
/// Bits of an address inside a page.
pub const PAGE_SHIFT: u32 = 12;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name($int);

        impl $name {
            /// The value `raw` as this kind of address.
            pub const fn new(raw: $int) -> Self {
                Self(raw)
            }

            /// The bare number.
            pub const fn raw(self) -> $int {
                self.0
            }

            /// The address `bytes` further on, wrapping at the end of the number range.
            pub const fn wrapping_add(self, bytes: $int) -> Self {
                Self(self.0.wrapping_add(bytes))
            }

            /// The address `bytes` further on, or `None` past the end of the number range.
            pub const fn checked_add(self, bytes: $int) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(raw) => Some(Self(raw)),
                    None => None,
                }
            }

            /// Position inside the page, 0 to 4095.
            pub const fn page_offset(self) -> u32 {
                (self.0 & 0xfff) as u32
            }

            /// The first byte of the page.
            pub const fn page_start(self) -> Self {
                Self(self.0 & !0xfff)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address!(
    /// Guest-virtual: what a guest's instruction names, after segmentation. 32-bit guests: 4 GiB.
    Gva(u32)
);
address!(
    /// Guest-physical: an address in what the guest takes for its RAM.
    Gpa(u64)
);
address!(
    /// Host-physical: an address on the memory bus.
    Hpa(u64)
);

impl From<u32> for Gpa {
    fn from(raw: u32) -> Self {
        Self::new(raw as u64)
    }
}

macro_rules! frame_number {
    ($(#[$doc:meta])* $name:ident of $address:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Frame `number`.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The bare number.
            pub const fn raw(self) -> u64 {
                self.0
            }

            /// Address of the frame's first byte.
            pub const fn start(self) -> $address {
                $address::new(self.0 << PAGE_SHIFT)
            }

            /// The frame that holds `address`.
            pub const fn containing(address: $address) -> Self {
                Self(address.raw() >> PAGE_SHIFT)
            }

            /// The frame `count` further on, wrapping.
            pub const fn wrapping_add(self, count: u64) -> Self {
                Self(self.0.wrapping_add(count))
            }
        }
    };
}

frame_number!(
    /// Guest frame number.
    Gfn of Gpa
);
frame_number!(
    /// Host frame number.
    Hfn of Hpa
);
