//! Which generation of the lguest ABI a guest speaks: what the user says, and what the host finds out.
//!
//! The ABI has no negotiation. A guest is hosted by the first of its [`Choice`]'s candidates that fits
//! what is known: before it runs, the version in its image; at its first call, the registers and the
//! memory that the call names. With nothing to go by, it is the newest candidate.

use core::fmt;
use hv_abi::lguest::{Family, Generation, KernelVersion, generations};

/// What the user says about a guest's generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Choice {
    /// Nothing: the host finds out.
    #[default]
    Detect,
    /// One of five; the host finds out which kernels of it.
    Family(Family),
    /// Exactly this.
    Exactly(&'static Generation),
}

/// Words for `generation=`, but for versions.
const WORDS: [(&str, Choice); 6] = [
    ("auto", Choice::Detect),
    ("g1", Choice::Family(Family::G1)),
    ("g2", Choice::Family(Family::G2)),
    ("g3", Choice::Family(Family::G3)),
    ("g4", Choice::Family(Family::G4)),
    ("g5", Choice::Family(Family::G5)),
];

impl Choice {
    /// What may be written for a choice.
    pub const NAMES: &str = "auto, g1, g2, g3, g4, g5, or a Linux version from 2.6.23 on";

    /// Reads `auto`, `g1` to `g5`, or the version of a kernel, such as `2.6.24` or `3.18`.
    pub fn parse(word: &[u8]) -> Option<Self> {
        let named = WORDS.iter().find(|(name, _)| name.as_bytes() == word);
        if let Some((_, choice)) = named {
            return Some(*choice);
        }
        match parse_version(word) {
            Some((version, [])) => of_kernel(version).map(Choice::Exactly),
            _ => None,
        }
    }

    /// The generations that it allows, the newest first.
    pub fn candidates(self) -> impl Iterator<Item = &'static Generation> {
        generations::ALL
            .into_iter()
            .filter(move |generation| self.allows(generation))
    }

    /// Whether `generation` is one of them.
    pub fn allows(self, generation: &Generation) -> bool {
        match self {
            Choice::Detect => true,
            Choice::Family(family) => generation.family == family,
            Choice::Exactly(exactly) => exactly == generation,
        }
    }

    /// What is hosted when nothing is known about the guest.
    pub fn newest(self) -> &'static Generation {
        self.candidates().next().unwrap_or(&generations::LINUX_4_0)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Exactly(generation) => write!(f, "{}", generation.since),
            named => {
                let word = WORDS.iter().find(|(_, choice)| choice == named);
                f.write_str(word.map_or("auto", |(word, _)| word))
            }
        }
    }
}

/// The generation of Linux `version`; `None` before there was lguest.
pub fn of_kernel(version: KernelVersion) -> Option<&'static Generation> {
    generations::ALL
        .into_iter()
        .find(|generation| generation.includes(version))
}

/// Reads a version at the start of `text`: two or three numbers with dots between them. Also returns
/// what follows.
pub fn parse_version(text: &[u8]) -> Option<(KernelVersion, &[u8])> {
    let (major, rest) = parse_number(text)?;
    let (minor, rest) = parse_number(rest.strip_prefix(b".")?)?;
    let third = rest.strip_prefix(b".").and_then(parse_number);
    let (patch, rest) = third.unwrap_or((0, rest));
    Some((KernelVersion(major, minor, patch), rest))
}

/// A decimal number of at most four digits: longer ones are no part of a version.
fn parse_number(text: &[u8]) -> Option<(u32, &[u8])> {
    const LONGEST: usize = 4;
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 || length > LONGEST {
        return None;
    }
    let (digits, rest) = text.split_at_checked(length)?;
    let number = digits.iter().fold(0_u32, |number, digit| {
        let value = digit.wrapping_sub(b'0');
        number.wrapping_mul(10).wrapping_add(u32::from(value))
    });
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_has_one_generation_at_most() {
        for (text, family, since) in [
            ("2.6.23", Family::G1, "2.6.23"),
            ("2.6.24", Family::G2, "2.6.24"),
            ("2.6.25", Family::G2, "2.6.25"),
            ("2.6.28", Family::G2, "2.6.25"),
            ("2.6.29", Family::G2, "2.6.29"),
            ("2.6.30", Family::G3, "2.6.30"),
            ("2.6.32", Family::G3, "2.6.31"),
            ("2.6.33", Family::G3, "2.6.31"),
            ("2.6.34", Family::G4, "2.6.34"),
            ("2.6.39", Family::G4, "2.6.34"),
            ("3.0.31", Family::G4, "2.6.34"),
            ("3.1", Family::G4, "3.1"),
            ("3.18.140", Family::G4, "3.1"),
            ("4.0", Family::G5, "4.0"),
            ("4.9", Family::G5, "4.0"),
            ("6.1", Family::G5, "4.0"),
        ] {
            let (version, rest) = parse_version(text.as_bytes()).unwrap();
            assert!(rest.is_empty());
            let all = generations::ALL.into_iter();
            assert_eq!(all.filter(|g| g.includes(version)).count(), 1, "{text}");
            let generation = of_kernel(version).unwrap();
            assert_eq!(generation.family, family, "{text}");
            assert_eq!(generation.since.to_string(), since, "{text}");
            let word = Choice::parse(text.as_bytes());
            assert_eq!(word, Some(Choice::Exactly(generation)), "{text}");
        }
        for text in ["2.6.22", "2.4.0", "1.0", "0.0.0"] {
            let (version, _) = parse_version(text.as_bytes()).unwrap();
            assert_eq!(of_kernel(version), None, "{text}");
        }
    }

    #[test]
    fn words_that_are_no_choice_are_refused() {
        for word in [
            "", "g0", "g6", "G5", "2", "2.", "2.6.", ".6", "4.9-rc1", "12345.1", "2.6.22",
        ] {
            assert_eq!(Choice::parse(word.as_bytes()), None, "{word}");
        }
    }

    #[test]
    fn the_newest_candidate_comes_first() {
        for (word, newest) in [
            ("auto", &generations::LINUX_4_0),
            ("g1", &generations::LINUX_2_6_23),
            ("g2", &generations::LINUX_2_6_29),
            ("g3", &generations::LINUX_2_6_31),
            ("g4", &generations::LINUX_3_1),
            ("g5", &generations::LINUX_4_0),
            ("2.6.24", &generations::LINUX_2_6_24),
        ] {
            assert_eq!(Choice::parse(word.as_bytes()).unwrap().newest(), newest);
        }
        assert_eq!(Choice::Detect.candidates().count(), generations::ALL.len());
    }
}
