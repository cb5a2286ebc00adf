//! The checklist of the lguest ABI: `tests/conformance/statements.txt`.

pub mod scope;
pub mod world;

use crate::matrix::series::Series;
use crate::matrix::statement::{self, Statement};
use world::World;

/// The number of the last statement.
pub const LAST: u16 = 184;
/// Statements that may have no test.
pub const MOST_NOT_APPLICABLE: usize = 8;

/// The statements LG-001 to LG-184.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checklist {}

impl Series for Checklist {
    const LETTERS: &'static str = "LG";
    const DIGITS: usize = 3;
    const WORDS: [&'static str; 2] = ["pass", "fail"];
    type Setting = World;

    fn of_test(name: &str) -> Vec<World> {
        World::of_test(name)
    }

    fn groups(scope: &str) -> Option<Vec<Vec<World>>> {
        scope::groups(scope)
    }
}

/// The table of this repository.
///
/// # Errors
/// The line that is not understood.
pub fn statements() -> Result<Vec<Statement<World>>, String> {
    statement::parse::<Checklist>(include_str!("../../conformance/statements.txt"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::statement::Scope;

    #[test]
    fn every_statement_is_there_once_in_order_and_few_have_no_test() {
        let table = statements().unwrap();
        let numbers: Vec<u16> = table.iter().map(|statement| statement.number).collect();
        assert_eq!(numbers, (1..=LAST).collect::<Vec<_>>());
        let untested = table
            .iter()
            .filter(|statement| matches!(statement.scope, Scope::NotApplicable(_)))
            .count();
        assert!(untested <= MOST_NOT_APPLICABLE, "{untested}");
    }
}
