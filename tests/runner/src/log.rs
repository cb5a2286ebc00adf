//! The host's log: defmt frames on COM2, and the plain lines that a dying host may still write.
//!
//! A frame ends with a zero byte (rzCOBS). A plain line starts with `libhv: ` and ends with a line
//! feed; it may come at any place, even in the middle of a frame that was never finished.

use defmt_decoder::{DecodeError, Locations, Table};
use std::fmt;

/// How the last line of every log starts.
pub const STOP: &str = "libhv: stop: ";
const PLAIN: &[u8] = b"libhv: ";
/// A frame longer than this is noise: the host's longest message is a few hundred bytes.
const LONGEST_FRAME: usize = 64 * 1024;

/// One line of the log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogLine {
    /// Seconds since the host started, as the host prints them.
    pub seconds: Option<String>,
    /// `error`, `warn`, `info`, `debug` or `trace`; none for lines without a level.
    pub level: Option<&'static str>,
    /// The Rust module of the log statement.
    pub module: Option<String>,
    /// What it says. Control characters are shown as `?`.
    pub text: String,
}

impl LogLine {
    /// A line that is nothing but text.
    pub fn plain(text: impl Into<String>) -> Self {
        LogLine {
            text: text.into(),
            ..LogLine::default()
        }
    }

    /// The reason, if this is the line that says why the host stopped.
    pub fn stop(&self) -> Option<&str> {
        self.text.strip_prefix(STOP)
    }

    /// The line without its time, which changes with every instruction that the host gains or loses.
    pub fn without_time(&self) -> LogLine {
        LogLine {
            seconds: None,
            ..self.clone()
        }
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [self.seconds.as_deref(), self.level, self.module.as_deref()];
        let tags: Vec<&str> = parts.into_iter().flatten().collect();
        // Scripts match the stop line from its first byte.
        if self.level.is_some() && self.stop().is_none() {
            write!(f, "[{}] ", tags.join(" "))?;
        }
        f.write_str(&self.text)
    }
}

/// The format strings of an image.
struct Strings {
    table: Table,
    locations: Locations,
}

/// Turns the bytes of COM2 into lines.
pub struct LogDecoder {
    strings: Option<Strings>,
    complaint: Option<String>,
    pending: Vec<u8>,
    undecodable: usize,
}

impl LogDecoder {
    /// A decoder for the image whose unstripped ELF file this is. An image without log strings is no
    /// error: one line will say so, and plain lines still come through.
    pub fn new(elf: &[u8]) -> Self {
        let strings = match Table::parse(elf) {
            Ok(Some(table)) => match table.get_locations(elf) {
                Ok(locations) => Ok(Strings { table, locations }),
                // Debug information is a comfort; the strings alone make a log.
                Err(_) => Ok(Strings {
                    table,
                    locations: Locations::new(),
                }),
            },
            Ok(None) => Err("the image has no log strings".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let complaint = strings
            .as_ref()
            .err()
            .map(|reason| format!("log not decoded: {reason}"));
        LogDecoder {
            strings: strings.ok(),
            complaint,
            pending: Vec::new(),
            undecodable: 0,
        }
    }

    /// Takes bytes as they come, and returns the lines that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<LogLine> {
        let mut lines = Vec::new();
        for byte in bytes {
            match byte {
                0 => self.end_of_frame(&mut lines),
                b'\n' if self.plain_start().is_some() => self.end_of_plain(&mut lines),
                _ => self.pending.push(*byte),
            }
            if self.pending.len() > LONGEST_FRAME {
                self.undecodable += self.pending.len();
                self.pending.clear();
            }
        }
        lines
    }

    /// The end of the stream: an unfinished plain line, and what could not be read.
    pub fn finish(&mut self) -> Vec<LogLine> {
        let mut lines = Vec::new();
        if self.plain_start().is_some() {
            self.end_of_plain(&mut lines);
        }
        self.undecodable += self.pending.len();
        self.pending.clear();
        if self.undecodable > 0 && self.strings.is_some() {
            let count = self.undecodable;
            lines.push(LogLine::plain(format!(
                "log: {count} bytes could not be decoded"
            )));
            self.undecodable = 0;
        }
        lines
    }

    /// Where in the pending bytes a plain line starts that reaches to their end.
    fn plain_start(&self) -> Option<usize> {
        let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\r' | b'\t');
        let start = self
            .pending
            .windows(PLAIN.len())
            .position(|window| window == PLAIN)?;
        self.pending[start..].iter().all(printable).then_some(start)
    }

    fn end_of_plain(&mut self, lines: &mut Vec<LogLine>) {
        let Some(start) = self.plain_start() else {
            return;
        };
        let text = printable(String::from_utf8_lossy(&self.pending[start..]).trim_end());
        self.undecodable += start;
        self.pending.clear();
        lines.push(LogLine::plain(text));
    }

    fn end_of_frame(&mut self, lines: &mut Vec<LogLine>) {
        let frame = std::mem::take(&mut self.pending);
        if frame.is_empty() {
            return;
        }
        match self.strings.as_ref().map(|strings| strings.decode(&frame)) {
            Some(Ok(line)) => lines.push(line),
            Some(Err(_)) => self.undecodable += frame.len(),
            None => lines.extend(self.complaint.take().map(LogLine::plain)),
        }
    }
}

impl Strings {
    fn decode(&self, frame: &[u8]) -> Result<LogLine, DecodeError> {
        let mut decoder = self.table.new_stream_decoder();
        decoder.received(frame);
        decoder.received(&[0]);
        let frame = decoder.decode()?;
        let location = self.locations.get(&frame.index());
        Ok(LogLine {
            seconds: frame.display_timestamp().map(|time| time.to_string()),
            level: frame.level().map(|level| level.as_str()),
            module: location.map(|location| location.module.clone()),
            text: printable(&frame.display_message().to_string()),
        })
    }
}

/// No escape sequence of the log reaches the developer's terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: Vec<LogLine>) -> Vec<String> {
        lines.iter().map(LogLine::to_string).collect()
    }

    fn decoder() -> LogDecoder {
        LogDecoder::new(b"not an ELF file")
    }

    #[test]
    fn a_line_is_shown_with_its_time_level_and_module() {
        let line = LogLine {
            seconds: Some("0.000123".into()),
            level: Some("info"),
            module: Some("hv_boot::pvh".into()),
            text: "64 MiB".into(),
        };
        assert_eq!(line.to_string(), "[0.000123 info hv_boot::pvh] 64 MiB");
        assert_eq!(
            line.without_time().to_string(),
            "[info hv_boot::pvh] 64 MiB"
        );
    }

    #[test]
    fn a_stop_line_is_bare_even_when_it_was_logged_with_a_level() {
        let line = LogLine {
            seconds: Some("1".into()),
            level: Some("info"),
            text: format!("{STOP}guest powered off"),
            ..LogLine::default()
        };
        assert_eq!(line.to_string(), "libhv: stop: guest powered off");
        assert_eq!(line.stop(), Some("guest powered off"));
        assert_eq!(LogLine::plain("libhv: panic").stop(), None);
    }

    #[test]
    fn plain_lines_come_through_at_once_and_in_pieces() {
        let mut decoder = decoder();
        assert!(decoder.push(b"libhv: pa").is_empty());
        assert_eq!(
            texts(decoder.push(b"nic\r\nlibhv: stop: x\n")),
            ["libhv: panic", "libhv: stop: x"]
        );
        assert!(decoder.finish().is_empty());
    }

    #[test]
    fn a_plain_line_survives_an_unfinished_frame_before_it() {
        let mut decoder = decoder();
        assert_eq!(
            texts(decoder.push(b"\x81\x02\xfflibhv: stop: panic\n")),
            ["libhv: stop: panic"]
        );
    }

    #[test]
    fn a_plain_line_without_its_line_feed_is_not_lost() {
        let mut decoder = decoder();
        assert!(decoder.push(b"libhv: stop: short").is_empty());
        assert_eq!(texts(decoder.finish()), ["libhv: stop: short"]);
    }

    #[test]
    fn an_image_without_strings_is_told_once() {
        let mut decoder = decoder();
        let lines = texts(decoder.push(b"\x01\x02\x00\x03\x04\x00"));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("log not decoded: "), "{lines:?}");
    }

    #[test]
    fn garbage_and_zeros_are_tolerated() {
        let mut decoder = decoder();
        let noise: Vec<u8> = (0..200_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 | 1)
            .collect();
        decoder.push(&noise);
        decoder.push(&[0; 100]);
        assert_eq!(texts(decoder.push(b"libhv: stop: x\n")), ["libhv: stop: x"]);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc"), "a?[2Jb?c");
    }
}
