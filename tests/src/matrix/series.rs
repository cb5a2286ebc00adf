//! A numbered list that tests speak of: the statements of the ABI, or the attacks on the host.

use std::fmt::{Debug, Display};

/// The letters of every list, as verdicts begin: `LG-080 pass ...`.
pub const ALL_LETTERS: [&str; 2] = ["LG", "A"];

/// A list.
pub trait Series {
    /// Stand before the number in a verdict; small, in a test's name.
    const LETTERS: &'static str;
    /// Digits of a number.
    const DIGITS: usize;
    /// What a row says of an item that holds, and of one that does not.
    const WORDS: [&'static str; 2];
    /// What can differ between two runs of the same test.
    type Setting: Copy + Ord + Display + Debug;

    /// The settings in which a test ran, from its name.
    fn of_test(name: &str) -> Vec<Self::Setting>;

    /// The settings of a scope: one of each group is enough. `None` if it is no scope.
    fn groups(scope: &str) -> Option<Vec<Vec<Self::Setting>>>;
}
