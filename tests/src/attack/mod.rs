//! The attacks that a guest may try: `tests/attacks/attacks.txt`.

pub mod guests;
pub mod unharmed;

use crate::matrix::series::Series;
use crate::matrix::statement::{self, Statement};
use std::fmt;

/// Attacks that were thought of before the code was read; further ones came by reading it.
pub const FIRST_LIST: u16 = 37;

/// The attacks, A-01 and up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attacks {}

/// Where an attack is tried.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Setting {
    /// By a guest, with the host mapped beside it.
    Shared,
    /// By a guest, with nothing but the switcher beside it.
    Isolated,
    /// Without a guest: on the code that decides, in a test on the developer's own machine.
    Host,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Setting::Shared => "shared",
            Setting::Isolated => "isolated",
            Setting::Host => "host",
        })
    }
}

impl Series for Attacks {
    const LETTERS: &'static str = "A";
    const DIGITS: usize = 2;
    const WORDS: [&'static str; 2] = ["held", "FELL"];
    type Setting = Setting;

    /// The name's last word says the mode; where it does not, no guest ran.
    fn of_test(name: &str) -> Vec<Setting> {
        let setting = if name.ends_with("shared") {
            Setting::Shared
        } else if name.ends_with("isolated") {
            Setting::Isolated
        } else {
            Setting::Host
        };
        vec![setting]
    }

    /// `guests`: by guests in both modes. `host`: on the developer's own machine. `both`: all three.
    fn groups(scope: &str) -> Option<Vec<Vec<Setting>>> {
        use Setting::{Host, Isolated, Shared};
        match scope {
            "guests" => Some(vec![vec![Shared], vec![Isolated]]),
            "host" => Some(vec![vec![Host]]),
            "both" => Some(vec![vec![Shared], vec![Isolated], vec![Host]]),
            _ => None,
        }
    }
}

/// The table of this repository.
///
/// # Errors
/// The line that is not understood.
pub fn statements() -> Result<Vec<Statement<Setting>>, String> {
    statement::parse::<Attacks>(include_str!("../../attacks/attacks.txt"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::statement::Scope;

    #[test]
    fn every_attack_is_there_once_in_order_and_is_tried() {
        let table = statements().unwrap();
        let numbers: Vec<u16> = table.iter().map(|attack| attack.number).collect();
        assert!(numbers.len() >= usize::from(FIRST_LIST));
        assert_eq!(numbers, (1..=numbers.len() as u16).collect::<Vec<_>>());
        for attack in &table {
            assert!(matches!(attack.scope, Scope::Shown(_)), "{}", attack.number);
        }
    }

    #[test]
    fn the_mode_is_the_last_word_of_a_test_s_name() {
        assert_eq!(Attacks::of_test("flags::isolated"), [Setting::Isolated]);
        assert_eq!(
            Attacks::of_test("killed::ud2_at_0::shared"),
            [Setting::Shared]
        );
        assert_eq!(Attacks::of_test("tests::a12_only_ring_1"), [Setting::Host]);
    }
}
