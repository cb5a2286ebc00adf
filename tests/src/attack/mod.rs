//! The attacks that a guest may try: `tests/attacks/attacks.txt`.

pub mod guests;
pub mod images;
pub mod unharmed;

use crate::matrix::series::Series;
use crate::matrix::statement::{self, Scope, Statement};
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

/// The same attacks on Bochs: by guests in both modes, unless `not_on_bochs.txt` says why not.
///
/// # Errors
/// The line that is not understood, or an attack that no guest tries and that has no reason there.
pub fn statements_on_bochs() -> Result<Vec<Statement<Setting>>, String> {
    let text = include_str!("../../attacks/not_on_bochs.txt");
    let exceptions = statement::parse::<Attacks>(text)?;
    let on_bochs = |mut attack: Statement<Setting>| {
        let mut exceptions = exceptions.iter();
        if let Some(exception) = exceptions.find(|exception| exception.number == attack.number) {
            return Ok(exception.clone());
        }
        if let Scope::Shown(groups) = &mut attack.scope {
            groups.retain(|group| !group.contains(&Setting::Host));
            if groups.is_empty() {
                return Err(format!("A-{:02} is tried by no guest", attack.number));
            }
        }
        Ok(attack)
    };
    statements()?.into_iter().map(on_bochs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn an_attack_that_bochs_cannot_be_used_for_has_a_reason() {
        let table = statements_on_bochs().unwrap();
        assert_eq!(table.len(), statements().unwrap().len());
        let without = table
            .iter()
            .filter(|attack| matches!(attack.scope, Scope::NotApplicable(_)));
        assert_eq!(
            without.map(|attack| attack.number).collect::<Vec<_>>(),
            [9, 35]
        );
        let modes = Scope::Shown(vec![vec![Setting::Shared], vec![Setting::Isolated]]);
        assert_eq!(table[1].scope, modes);
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
