//! The table of a list: for each item, the settings in which it has to be shown.

use super::series::Series;

/// Where an item has to be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope<T> {
    /// In at least one setting of each group.
    Shown(Vec<Vec<T>>),
    /// Nowhere, for this reason.
    NotApplicable(String),
}

/// An item of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement<T> {
    /// The number behind the list's letters.
    pub number: u16,
    /// Where it has to be shown.
    pub scope: Scope<T>,
    /// What it says, in short.
    pub text: String,
}

/// Reads a table: on each line a number, a scope and a text. A `#` begins a comment line. A scope is what the
/// list has as such ([`Series::groups`]), or `n/a` for what cannot be shown: the text is the reason then.
///
/// # Errors
/// The line that is not understood.
pub fn parse<S: Series>(table: &str) -> Result<Vec<Statement<S::Setting>>, String> {
    table
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| statement::<S>(line).ok_or_else(|| format!("not a statement: {line}")))
        .collect()
}

fn statement<S: Series>(line: &str) -> Option<Statement<S::Setting>> {
    let (number, rest) = line.split_once(char::is_whitespace)?;
    let (scope, text) = rest.trim_start().split_once(char::is_whitespace)?;
    let text = text.trim();
    let number = number.strip_prefix(S::LETTERS)?.strip_prefix('-')?;
    let scope = match scope {
        "n/a" => Scope::NotApplicable(text.into()),
        groups => Scope::Shown(S::groups(groups)?),
    };
    Some(Statement {
        number: number.parse().ok()?,
        scope,
        text: text.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::Checklist;

    #[test]
    fn a_line_is_read() {
        let table = parse::<Checklist>("# comment\n\nLG-007  n/a   no reason at all\n").unwrap();
        assert_eq!(table.len(), 1);
        assert_eq!(table[0].number, 7);
        assert_eq!(
            table[0].scope,
            Scope::NotApplicable("no reason at all".into())
        );
        assert!(parse::<Checklist>("LG-1 whenever x").is_err());
        assert!(parse::<Checklist>("A-01 all x").is_err());
    }
}
