//! Golden files: what a run has to say, word for word, reviewed like any other source.
//!
//! Times are left out: they change with every instruction that the host gains or loses, which the
//! benchmarks watch. `make test UPDATE=1` writes what the runs say now.

use crate::built;
use hv_runner::{LogLine, Outcome};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What a file keeps of the numbers in a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Numbers {
    /// All of them.
    Kept,
    /// None: each is `#`. For counts and addresses, which are not what the test is about.
    Masked,
}

/// Replaces each decimal or hexadecimal number by `#`.
pub fn masked(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(start);
        result.push_str(before);
        let digits = match number.strip_prefix("0x") {
            Some(hex) => {
                2 + hex
                    .find(|c: char| !c.is_ascii_hexdigit())
                    .unwrap_or(hex.len())
            }
            None => number
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(number.len()),
        };
        // A digit in the middle of a word, as in `hvc0`, belongs to the name.
        match before.chars().last() {
            Some(c) if c.is_ascii_alphabetic() => result.push_str(&number[..digits]),
            _ => result.push('#'),
        }
        rest = &number[digits..];
    }
    result + rest
}

/// The console and how the machine ended.
pub fn console(outcome: &Outcome, numbers: Numbers) -> String {
    let text = outcome.text();
    let text = if numbers == Numbers::Masked {
        masked(&text)
    } else {
        text
    };
    let newline = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    format!(
        "{text}{newline}--- status {}: {}\n",
        outcome.status,
        outcome.stop()
    )
}

/// The log without its times and numbers.
pub fn log(outcome: &Outcome) -> String {
    outcome
        .log
        .iter()
        .map(LogLine::without_time)
        .fold(String::new(), |mut text, line| {
            let shown = if line.stop().is_some() {
                line.to_string()
            } else {
                masked(&line.to_string())
            };
            writeln!(text, "{shown}").expect("strings take everything");
            text
        })
}

/// Compares with `golden/<name>.log`, or rewrites that file when `UPDATE` is set.
///
/// # Errors
/// The first line that differs, and how.
pub fn compare(name: &str, got: &str) -> Result<(), String> {
    if update() {
        return write(&path(name), got);
    }
    compare_with(&path(name), got)
}

/// The same for a guest that was built for another world than the newest: it has a file of its own only where
/// it does not say what the newest one, `usual`, says.
///
/// # Errors
/// The first line that differs, and how.
pub fn compare_variant(name: &str, usual: &str, got: &str) -> Result<(), String> {
    let (own, usual) = (path(name), path(usual));
    if update() {
        let needless = std::fs::read_to_string(&usual).is_ok_and(|text| text == got);
        return match needless {
            true if own.exists() => std::fs::remove_file(&own).map_err(|error| error.to_string()),
            true => Ok(()),
            false => write(&own, got),
        };
    }
    compare_with(if own.exists() { &own } else { &usual }, got)
}

/// The same for a run on another processor, `place`: the usual file is the first of `names` that exists, and
/// a difference that the documents explain has a file of its own, `golden/<place>/<first name>.log`.
///
/// # Errors
/// The first line that differs, and how.
pub fn compare_elsewhere(place: &str, names: &[String], got: &str) -> Result<(), String> {
    let own = names
        .iter()
        .take(1)
        .map(|name| path(&format!("{place}/{name}")));
    let mut files = own.chain(names.iter().map(|name| path(name)));
    match files.find(|file| file.exists()) {
        Some(file) => compare_with(&file, got),
        None => Err(format!("{names:?}: no golden log")),
    }
}

fn path(name: &str) -> PathBuf {
    built::tests().join("golden").join(format!("{name}.log"))
}

fn update() -> bool {
    std::env::var_os("UPDATE").is_some_and(|update| !update.is_empty())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let directory = path.parent().expect("a golden file lies in a directory");
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|error| error.to_string())
}

fn compare_with(path: &Path, got: &str) -> Result<(), String> {
    let wanted = std::fs::read_to_string(path).map_err(|error| {
        format!(
            "{}: {error}; `make test UPDATE=1` writes it",
            path.display()
        )
    })?;
    match difference(&wanted, got) {
        None => Ok(()),
        Some(difference) => Err(format!("{}: {difference}", path.display())),
    }
}

fn difference(wanted: &str, got: &str) -> Option<String> {
    if wanted == got {
        return None;
    }
    let (mut wanted, mut got) = (wanted.lines(), got.lines());
    let mut number = 1;
    loop {
        match (wanted.next(), got.next()) {
            (Some(wanted), Some(got)) if wanted == got => number += 1,
            (None, None) => return Some("the last line feed".into()),
            (wanted, got) => {
                let [wanted, got] = [wanted, got].map(|line| line.unwrap_or("(the end)"));
                return Some(format!(
                    "line {number}\n  wanted: {wanted}\n  got:    {got}"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_masked_and_names_are_not() {
        assert_eq!(
            masked("12 ticks at 0x1f3a, hvc0 1.5"),
            "# ticks at #, hvc0 #.#"
        );
        assert_eq!(masked(""), "");
    }

    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        let text = difference("a\nb\n", "a\nc\n").unwrap();
        assert_eq!(text, "line 2\n  wanted: b\n  got:    c");
        assert!(difference("a\nb\n", "a\n").unwrap().contains("(the end)"));
    }
}
