//! The host's command line: words for the host, then ` -- `, then the guest's own command line.

use crate::fast_paths::FastPaths;
use crate::generation::Choice;
use crate::load::boot_tables::{PAGE_OFFSET_RULE, is_page_offset};
use crate::paging::Paging;
use core::fmt;
use core::ops::RangeInclusive;

/// Guest RAM in MiB. The devices' memory lies above RAM and below 4 GiB.
pub const MEMORY_MIB: RangeInclusive<u32> = 2..=3072;
/// Roots that the shadow remembers at most. The upper end is no limit: no budget has room for so many.
pub const ROOTS: RangeInclusive<u32> = 1..=65_536;

/// What the host writes to its log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "the levels of every logging system")]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// What of the host is mapped while the guest runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The whole upper half, supervisor and global.
    Shared,
    /// Only the switcher and the entry area of the processor.
    Isolated,
}

/// What the command line says. `None`: it says nothing, and the application decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options<'a> {
    /// `log=`
    pub log: Option<LogLevel>,
    /// `mode=`
    pub mode: Option<Mode>,
    /// `fast_paths=`: the shorter ways that are taken.
    pub fast_paths: Option<FastPaths>,
    /// `memory=`: MiB of guest RAM, within [`MEMORY_MIB`].
    pub memory_mib: Option<u32>,
    /// `roots=`: size of the root cache, within [`ROOTS`].
    pub roots: Option<u32>,
    /// `paging=`: the guest's paging format.
    pub paging: Option<Paging>,
    /// `generation=`: the ABI that the guest was built for.
    pub generation: Option<Choice>,
    /// `page_offset=`: where the guest's kernel has its RAM, one that [`is_page_offset`].
    pub page_offset: Option<u32>,
    /// Everything after ` -- `, byte for byte.
    pub guest: Option<&'a [u8]>,
}

/// The start of a word, made printable.
pub type Word = heapless::String<48>;

/// Why the command line was refused. The `Display` line is stable; scripts match it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CommandLineError {
    /// A word that has no meaning.
    UnknownWord(Word),
    /// A value that is not one of the names that exist.
    UnknownValue {
        /// The word.
        word: Word,
        /// What may stand there.
        known: &'static str,
    },
    /// A value that is not a decimal number within its limits.
    BadNumber {
        /// The word.
        word: Word,
        /// The limits.
        limits: RangeInclusive<u32>,
    },
    /// A value that is no address in hexadecimal, or none that a kernel can have.
    BadAddress(Word),
}

impl fmt::Display for CommandLineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LINE: &str = "on the host's command line";
        match self {
            Self::UnknownWord(word) => write!(
                f,
                "unknown word {LINE}: `{word}`; known: log=, mode=, fast_paths=, memory=, roots=, paging=, generation=, page_offset=, --"
            ),
            Self::UnknownValue { word, known } => {
                write!(f, "unknown value {LINE}: `{word}`; known: {known}")
            }
            Self::BadNumber { word, limits } => write!(
                f,
                "bad number {LINE}: `{word}`; the limits are {} and {}",
                limits.start(),
                limits.end()
            ),
            Self::BadAddress(word) => write!(
                f,
                "bad address {LINE}: `{word}`; it has to be a {PAGE_OFFSET_RULE}"
            ),
        }
    }
}

impl core::error::Error for CommandLineError {}

const LOG_LEVELS: &[(&[u8], LogLevel)] = &[
    (b"off", LogLevel::Off),
    (b"error", LogLevel::Error),
    (b"warn", LogLevel::Warn),
    (b"info", LogLevel::Info),
    (b"debug", LogLevel::Debug),
    (b"trace", LogLevel::Trace),
];
const LOG_LEVEL_NAMES: &str = "off, error, warn, info, debug, trace";
const MODES: &[(&[u8], Mode)] = &[(b"shared", Mode::Shared), (b"isolated", Mode::Isolated)];
const MODE_NAMES: &str = "shared, isolated";
const PAGING: &[(&[u8], Paging)] = &[
    (b"auto", Paging::Auto),
    (b"two-level", Paging::TwoLevel),
    (b"pae", Paging::Pae),
];
const PAGING_NAMES: &str = "auto, two-level, pae";

impl<'a> Options<'a> {
    /// Reads `lines`, one after the other. Words are separated by blanks; of two words with the same
    /// name the later one holds, so that a script can append to a line that it did not write. A ` -- `
    /// ends its line only.
    pub fn parse(lines: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, CommandLineError> {
        let mut options = Self::default();
        for line in lines {
            options.read(line)?;
        }
        Ok(options)
    }

    fn read(&mut self, line: &'a [u8]) -> Result<(), CommandLineError> {
        let mut rest = line.trim_ascii_start();
        while !rest.is_empty() {
            let end = rest
                .iter()
                .position(u8::is_ascii_whitespace)
                .unwrap_or(rest.len());
            let (word, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            if word == b"--" {
                self.guest = Some(after.get(1..).unwrap_or_default());
                break;
            }
            self.apply(word)?;
            rest = after.trim_ascii_start();
        }
        Ok(())
    }

    fn apply(&mut self, word: &[u8]) -> Result<(), CommandLineError> {
        let equals = word.iter().position(|byte| *byte == b'=');
        let (name, value) = equals
            .and_then(|at| word.split_at_checked(at))
            .unwrap_or((word, &[]));
        let value = value.strip_prefix(b"=").unwrap_or_default();
        match name {
            b"log" => self.log = Some(choice(word, value, LOG_LEVELS, LOG_LEVEL_NAMES)?),
            b"mode" => self.mode = Some(choice(word, value, MODES, MODE_NAMES)?),
            b"fast_paths" => self.fast_paths = Some(fast_paths(word, value)?),
            b"paging" => self.paging = Some(choice(word, value, PAGING, PAGING_NAMES)?),
            b"memory" => self.memory_mib = Some(number(word, value, MEMORY_MIB)?),
            b"roots" => self.roots = Some(number(word, value, ROOTS)?),
            b"generation" => self.generation = Some(generation(word, value)?),
            b"page_offset" => self.page_offset = Some(page_offset(word, value)?),
            _ => return Err(CommandLineError::UnknownWord(printable(word))),
        }
        Ok(())
    }
}

fn choice<T: Copy>(
    word: &[u8],
    value: &[u8],
    names: &[(&[u8], T)],
    known: &'static str,
) -> Result<T, CommandLineError> {
    let found = names.iter().find(|(name, _)| *name == value);
    found
        .map(|(_, meaning)| *meaning)
        .ok_or_else(|| CommandLineError::UnknownValue {
            word: printable(word),
            known,
        })
}

fn fast_paths(word: &[u8], value: &[u8]) -> Result<FastPaths, CommandLineError> {
    FastPaths::parse(value).ok_or_else(|| CommandLineError::UnknownValue {
        word: printable(word),
        known: FastPaths::NAMES,
    })
}

fn generation(word: &[u8], value: &[u8]) -> Result<Choice, CommandLineError> {
    Choice::parse(value).ok_or_else(|| CommandLineError::UnknownValue {
        word: printable(word),
        known: Choice::NAMES,
    })
}

fn page_offset(word: &[u8], value: &[u8]) -> Result<u32, CommandLineError> {
    value
        .strip_prefix(b"0x")
        .and_then(|digits| core::str::from_utf8(digits).ok())
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .filter(|address| is_page_offset(*address))
        .ok_or_else(|| CommandLineError::BadAddress(printable(word)))
}

fn number(word: &[u8], value: &[u8], limits: RangeInclusive<u32>) -> Result<u32, CommandLineError> {
    let number = core::str::from_utf8(value)
        .ok()
        .and_then(|digits| digits.parse().ok());
    number
        .filter(|number| limits.contains(number))
        .ok_or_else(|| CommandLineError::BadNumber {
            word: printable(word),
            limits,
        })
}

fn printable(word: &[u8]) -> Word {
    let shown = word
        .iter()
        .map(|byte| if byte.is_ascii_graphic() { *byte } else { b'?' });
    shown.take(Word::new().capacity()).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(line: &[u8]) -> Result<Options<'_>, CommandLineError> {
        Options::parse([line])
    }

    fn refusal(line: &str) -> String {
        parse(line.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_line_says_nothing() {
        assert_eq!(parse(b""), Ok(Options::default()));
        assert_eq!(parse(b"  \t "), Ok(Options::default()));
    }

    #[test]
    fn every_word_has_its_meaning() {
        let line = b" log=debug  mode=isolated fast_paths=eager,pages memory=64 roots=8 paging=pae generation=g2 page_offset=0x80000000 -- console=hvc0  quiet -- x";
        let expected = Options {
            log: Some(LogLevel::Debug),
            mode: Some(Mode::Isolated),
            fast_paths: FastPaths::parse(b"eager,pages"),
            memory_mib: Some(64),
            roots: Some(8),
            paging: Some(Paging::Pae),
            generation: Some(Choice::Family(hv_abi::lguest::Family::G2)),
            page_offset: Some(0x8000_0000),
            guest: Some(b"console=hvc0  quiet -- x"),
        };
        assert_eq!(parse(line), Ok(expected));
    }

    #[test]
    fn the_guests_part_is_taken_byte_for_byte() {
        for (line, guest) in [
            (&b"--"[..], &b""[..]),
            (b"-- ", b""),
            (b"log=off --  a \xff", b" a \xff"),
            (b"-- unknown words", b"unknown words"),
        ] {
            assert_eq!(parse(line).unwrap().guest, Some(guest));
        }
    }

    #[test]
    fn the_later_of_two_words_holds() {
        let options = parse(b"mode=isolated mode=shared").unwrap();
        assert_eq!(options.mode, Some(Mode::Shared));
    }

    #[test]
    fn a_later_line_holds_word_by_word() {
        let lines = [
            &b"mode=isolated memory=64 -- of the image"[..],
            b"mode=shared",
            b"roots=2 -- of the loader",
        ];
        let options = Options::parse(lines).unwrap();
        assert_eq!(options.mode, Some(Mode::Shared));
        assert_eq!(options.memory_mib, Some(64));
        assert_eq!(options.roots, Some(2));
        assert_eq!(options.guest, Some(&b"of the loader"[..]));
        assert_eq!(
            Options::parse([lines[0], lines[1]]).unwrap().guest,
            Some(&b"of the image"[..])
        );
    }

    #[test]
    fn limits_are_inclusive() {
        for (line, fits) in [
            ("memory=1", false),
            ("memory=2", true),
            ("memory=3072", true),
            ("memory=3073", false),
            ("roots=0", false),
            ("roots=1", true),
            ("roots=65536", true),
            ("roots=65537", false),
        ] {
            assert_eq!(parse(line.as_bytes()).is_ok(), fits, "{line}");
        }
    }

    #[test]
    fn refusals_name_the_word_and_the_limit() {
        assert_eq!(
            refusal("foo mode=shared"),
            "unknown word on the host's command line: `foo`; known: log=, mode=, fast_paths=, memory=, roots=, paging=, generation=, page_offset=, --"
        );
        assert_eq!(
            refusal("mode=fast"),
            "unknown value on the host's command line: `mode=fast`; known: shared, isolated"
        );
        assert_eq!(
            refusal("paging=4"),
            "unknown value on the host's command line: `paging=4`; known: auto, two-level, pae"
        );
        assert_eq!(
            refusal("log"),
            "unknown value on the host's command line: `log`; known: off, error, warn, info, debug, trace"
        );
        assert_eq!(
            refusal("generation=g9"),
            "unknown value on the host's command line: `generation=g9`; known: auto, g1, g2, g3, g4, g5, or a Linux version from 2.6.23 on"
        );
        assert_eq!(
            refusal("fast_paths=eager,fast"),
            "unknown value on the host's command line: `fast_paths=eager,fast`; known: on, off, or some of syscalls, eager, places, pages with commas"
        );
        for value in [
            "",
            "0x",
            "c0000000",
            "0xc0000001",
            "0xffc00000",
            "0x3fc00000",
            "0x1c0000000",
        ] {
            assert_eq!(
                refusal(&format!("page_offset={value}")),
                format!(
                    "bad address on the host's command line: `page_offset={value}`; it has to be a multiple of 0x400000 from 0x40000000 to 0xff800000"
                )
            );
        }
        for value in ["0", "64M", "", "99999999999999999999", "-1"] {
            assert_eq!(
                refusal(&format!("memory={value}")),
                format!(
                    "bad number on the host's command line: `memory={value}`; the limits are 2 and 3072"
                )
            );
        }
    }

    #[test]
    fn a_refusal_is_one_clean_line() {
        let line = refusal(&format!("\x1b[2J{}", "x".repeat(10_000)));
        assert!(line.len() < 200 && line.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }

    proptest! {
        #[test]
        fn random_bytes_are_parsed_or_refused(line in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Err(error) = parse(&line) {
                let text = error.to_string();
                prop_assert!(text.len() < 200 && text.is_ascii());
            }
        }
    }
}
