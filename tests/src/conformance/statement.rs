//! The checklist: for each statement, the worlds in which it has to be shown.

use super::world::{Generation, Paging, World};

/// Where a statement has to be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// In at least one world of each group.
    Shown(Vec<Vec<World>>),
    /// Nowhere, for this reason.
    NotApplicable(String),
}

/// A statement of the checklist.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// The number behind `LG-`.
    pub number: u16,
    /// Where it has to be shown.
    pub scope: Scope,
    /// What it says, in short.
    pub text: String,
}

/// The number of the last statement.
pub const LAST: u16 = 184;
/// Statements that may have no test.
pub const MOST_NOT_APPLICABLE: usize = 8;

/// Reads a table: on each line a number, a scope and a text. A `#` begins a comment line.
///
/// A scope is a list of generations such as `all`, `G2-G5` or `G1,G2`, to be shown in each of them.
/// Behind it stands the paging: `/both` for each format that the generation has, `/two-level`, `/pae`,
/// or nothing where it makes no difference and one is enough. `once` is for what does not depend on
/// the guest at all, and `n/a` for what cannot be shown: the text is the reason then.
///
/// # Errors
/// The line that is not understood.
pub fn parse(table: &str) -> Result<Vec<Statement>, String> {
    table
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| statement(line).ok_or_else(|| format!("not a statement: {line}")))
        .collect()
}

fn statement(line: &str) -> Option<Statement> {
    let (number, rest) = line.split_once(char::is_whitespace)?;
    let (scope, text) = rest.trim_start().split_once(char::is_whitespace)?;
    let text = text.trim();
    let scope = match scope {
        "once" => Scope::Shown(vec![World::all()]),
        "n/a" => Scope::NotApplicable(text.into()),
        groups => Scope::Shown(self::groups(groups)?),
    };
    Some(Statement {
        number: number.strip_prefix("LG-")?.parse().ok()?,
        scope,
        text: text.into(),
    })
}

/// The worlds of a scope such as `G2-G5/pae`: one of each group is enough. `None` if it is no scope.
pub fn groups(scope: &str) -> Option<Vec<Vec<World>>> {
    let (list, paging) = scope.split_once('/').unwrap_or((scope, ""));
    let pagings: &[Paging] = match paging {
        "" | "both" => &[Paging::TwoLevel, Paging::Pae],
        "two-level" => &[Paging::TwoLevel],
        "pae" => &[Paging::Pae],
        _ => return None,
    };
    let mut groups = Vec::new();
    for part in list.split(',') {
        let (first, last) = match part {
            "all" => (Generation::G1, Generation::G5),
            part => {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                (Generation::parse(first)?, Generation::parse(last)?)
            }
        };
        let generations = Generation::ALL.into_iter();
        for generation in generations.filter(|g| (first..=last).contains(g)) {
            let worlds = World::product(&[generation], pagings);
            match paging {
                "both" => groups.extend(worlds.into_iter().map(|world| vec![world])),
                _ if worlds.is_empty() => {}
                _ => groups.push(worlds),
            }
        }
    }
    Some(groups).filter(|groups| !groups.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_in(scope: &str) -> String {
        let groups = groups(scope).unwrap();
        let name = |group: &Vec<World>| {
            let names: Vec<_> = group.iter().map(World::to_string).collect();
            names.join("|")
        };
        groups.iter().map(name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn scopes_are_lists_of_generations() {
        assert_eq!(shown_in("all"), "G1 G2 G3|G3-pae G4|G4-pae G5|G5-pae");
        assert_eq!(shown_in("all/both"), "G1 G2 G3 G3-pae G4 G4-pae G5 G5-pae");
        assert_eq!(shown_in("G1,G2"), "G1 G2");
        assert_eq!(shown_in("G3-G5/two-level"), "G3 G4 G5");
        assert_eq!(shown_in("all/pae"), "G3-pae G4-pae G5-pae");
        for nonsense in ["G6", "G5-G4", "G1/pae", "all/four-level", ""] {
            assert_eq!(groups(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_line_is_read() {
        let table = parse("# comment\n\nLG-007  n/a   no reason at all\n").unwrap();
        assert_eq!(table.len(), 1);
        assert_eq!(table[0].number, 7);
        assert_eq!(
            table[0].scope,
            Scope::NotApplicable("no reason at all".into())
        );
        assert!(parse("LG-1 whenever x").is_err());
        assert!(parse("A-01 all x").is_err());
    }

    /// The table of this repository.
    #[test]
    fn every_statement_is_there_once_in_order_and_few_have_no_test() {
        let table = parse(include_str!("../../conformance/statements.txt")).unwrap();
        let numbers: Vec<u16> = table.iter().map(|statement| statement.number).collect();
        assert_eq!(numbers, (1..=LAST).collect::<Vec<_>>());
        let untested = table
            .iter()
            .filter(|statement| matches!(statement.scope, Scope::NotApplicable(_)))
            .count();
        assert!(untested <= MOST_NOT_APPLICABLE, "{untested}");
    }
}
