//! Shorter ways that are taken unless somebody wants to see what they bring, or to do without: a guest notices
//! nothing of them but the time.

/// A shorter way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FastPath {
    /// The switcher delivers the guest's system calls by itself, where it can.
    Syscalls,
    /// A page that is announced by a call of its own is in the processor's tables before the guest goes on. Otherwise its first
    /// access faults.
    Eager,
    /// Where the last announcements went, and where the kernel's stacks are, is remembered. Otherwise each is sought from
    /// the root on.
    Places,
    /// A few pages that the processor has to forget are named to it one by one. Otherwise it forgets all.
    Pages,
}

impl FastPath {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Self); 4] = [
        ("syscalls", Self::Syscalls),
        ("eager", Self::Eager),
        ("places", Self::Places),
        ("pages", Self::Pages),
    ];

    const fn bit(self) -> u8 {
        1_u8.wrapping_shl(self as u32)
    }
}

/// The ways that are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FastPaths(u8);

impl Default for FastPaths {
    /// All of them.
    fn default() -> Self {
        Self::ON
    }
}

impl FastPaths {
    /// All of them.
    pub const ON: Self = Self(15);
    /// None.
    pub const OFF: Self = Self(0);
    /// What [`FastPaths::parse`] understands.
    pub const NAMES: &'static str =
        "on, off, or some of syscalls, eager, places, pages with commas";

    /// These and one more.
    #[must_use]
    pub const fn with(self, path: FastPath) -> Self {
        Self(self.0 | path.bit())
    }

    /// All of these but one.
    #[must_use]
    pub const fn without(self, path: FastPath) -> Self {
        Self(self.0 & !path.bit())
    }

    /// Whether a way is among them.
    #[inline(always)]
    pub const fn contain(self, path: FastPath) -> bool {
        self.0 & path.bit() != 0
    }

    /// From `on`, `off`, or names with commas between them.
    pub fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"on" => return Some(Self::ON),
            b"off" => return Some(Self::OFF),
            _ => {}
        }
        let mut paths = Self::OFF;
        for word in text.split(|byte| *byte == b',') {
            let known = FastPath::ALL.iter();
            let (_, path) = known.clone().find(|(name, _)| name.as_bytes() == word)?;
            paths = paths.with(*path);
        }
        Some(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_is_all_of_them_and_off_none() {
        for (_, path) in FastPath::ALL {
            assert!(FastPaths::ON.contain(path) && !FastPaths::OFF.contain(path));
            assert!(!FastPaths::ON.without(path).contain(path));
            assert_eq!(FastPaths::ON.without(path).with(path), FastPaths::ON);
        }
        let all = FastPath::ALL.iter();
        let all = all.fold(FastPaths::OFF, |paths, (_, path)| paths.with(*path));
        assert_eq!((all, FastPaths::default()), (FastPaths::ON, FastPaths::ON));
    }

    #[test]
    fn a_list_names_what_is_on() {
        assert_eq!(FastPaths::parse(b"on"), Some(FastPaths::ON));
        assert_eq!(FastPaths::parse(b"off"), Some(FastPaths::OFF));
        for (name, path) in FastPath::ALL {
            assert!(FastPaths::NAMES.contains(name), "{name}");
            let only = FastPaths::OFF.with(path);
            assert_eq!(FastPaths::parse(name.as_bytes()), Some(only));
        }
        assert_eq!(
            FastPaths::parse(b"pages,eager"),
            Some(FastPaths::OFF.with(FastPath::Eager).with(FastPath::Pages))
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            ",",
            "eager,",
            "eager,,pages",
            "On",
            "on,eager",
            "eager pages",
            "fast",
        ] {
            assert_eq!(FastPaths::parse(text.as_bytes()), None, "{text}");
        }
    }
}
