//! Choices out of an input's bytes.

/// The bytes that are left. When there are none, every choice is the first one and every number is 0.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// Choices out of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Whether there is nothing left to choose with.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// The next `length` bytes, or as many as there are.
    pub fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    fn number<const N: usize>(&mut self) -> [u8; N] {
        let mut number = [0; N];
        let bytes = self.bytes(N);
        number[..bytes.len()].copy_from_slice(bytes);
        number
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.number())
    }

    /// 16 bits.
    pub fn half(&mut self) -> u16 {
        u16::from_le_bytes(self.number())
    }

    /// 32 bits.
    pub fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.number())
    }

    /// 64 bits.
    pub fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.number())
    }

    /// One of them, by one byte.
    pub fn choose<T: Copy>(&mut self, among: &[T]) -> T {
        among[usize::from(self.byte()) % among.len()]
    }

    /// A word that is worth trying: near one of `places`, a page table's entry, at either end of the
    /// numbers, or anything.
    pub fn near(&mut self, places: &[u32]) -> u32 {
        match self.byte() {
            0..64 => u32::from(self.byte()),
            64..160 => self.choose(places),
            160..208 => self
                .choose(places)
                .wrapping_add(u32::from(self.half() & 0xfff)),
            208..224 => u32::from(self.byte() & 0x1f) << 12 | u32::from(self.half() & 0xfff),
            224..232 => !u32::from(self.byte()),
            _ => self.word(),
        }
    }
}
