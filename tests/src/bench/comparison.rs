//! A table against the one that was committed.

use super::table::{Place, Table};
use std::fmt;

/// Percent that a row may be away from its baseline.
pub const TOLERANCE: u64 = 3;

/// What there is to say about one cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// More instructions than the baseline and the tolerance.
    Worse(Place, u32, u32),
    /// Fewer, by more than the tolerance. Kept in the baseline, that is what a later change may lose unnoticed.
    Better(Place, u32, u32),
    /// In the baseline, and not measured.
    Missing(Place),
    /// Measured, and not in the baseline.
    Unknown(Place, u32),
}

impl Finding {
    /// Whether it fails the benchmark.
    pub fn fails(&self) -> bool {
        !matches!(self, Finding::Better(..))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Worse((row, setting), was, is) => {
                let percent = percent(*was, *is);
                write!(f, "worse: {row} {setting}: {was} -> {is} (+{percent} %)")
            }
            Finding::Better((row, setting), was, is) => {
                let percent = percent(*is, *was);
                write!(
                    f,
                    "better: {row} {setting}: {was} -> {is} (baseline +{percent} %)"
                )
            }
            Finding::Missing((row, setting)) => write!(f, "missing: {row} {setting}"),
            Finding::Unknown((row, setting), is) => {
                write!(f, "not in the baseline: {row} {setting}: {is}")
            }
        }
    }
}

/// Percent, in tenths, by which `more` exceeds `less`.
fn percent(less: u32, more: u32) -> String {
    let excess = f64::from(more) - f64::from(less);
    format!("{:.1}", 100.0 * excess / f64::from(less.max(1)))
}

fn exceeds(more: u32, less: u32) -> bool {
    u64::from(more) * 100 > u64::from(less) * (100 + TOLERANCE)
}

/// All findings, in the order of the tables.
pub fn compare(baseline: &Table, measured: &Table) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, was) in baseline.cells() {
        match measured.get(place) {
            None => findings.push(Finding::Missing(place.clone())),
            Some(is) if exceeds(is, was) => findings.push(Finding::Worse(place.clone(), was, is)),
            Some(is) if exceeds(was, is) => findings.push(Finding::Better(place.clone(), was, is)),
            Some(_) => {}
        }
    }
    let unknown = measured
        .cells()
        .filter(|(place, _)| baseline.get(place).is_none());
    findings.extend(unknown.map(|(place, is)| Finding::Unknown(place.clone(), is)));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(baseline: &str, measured: &str) -> Vec<String> {
        let tables = [baseline, measured].map(|text| Table::parse(text).unwrap());
        let findings = compare(&tables[0], &tables[1]);
        findings.iter().map(Finding::to_string).collect()
    }

    #[test]
    fn three_percent_are_let_pass_either_way() {
        assert!(findings("a shared 1000", "a shared 1030").is_empty());
        assert!(findings("a shared 1030", "a shared 1000").is_empty());
        assert_eq!(
            findings("a shared 1000", "a shared 1031"),
            ["worse: a shared: 1000 -> 1031 (+3.1 %)"]
        );
        assert_eq!(
            findings("a shared 1031", "a shared 1000"),
            ["better: a shared: 1031 -> 1000 (baseline +3.1 %)"]
        );
    }

    #[test]
    fn small_counts_have_no_tolerance() {
        assert_eq!(findings("a bare 4", "a bare 5").len(), 1);
        assert_eq!(findings("a bare 0", "a bare 1").len(), 1);
    }

    #[test]
    fn rows_come_and_go_with_the_baseline_only() {
        assert_eq!(
            findings("a bare 1\nb bare 2", "b bare 2\nc bare 3"),
            ["missing: a bare", "not in the baseline: c bare: 3"]
        );
    }

    #[test]
    fn only_what_is_better_does_not_fail() {
        let tables = [
            "a bare 9\nb bare 1\nc bare 1",
            "a bare 1\nb bare 9\nd bare 1",
        ];
        let tables = tables.map(|text| Table::parse(text).unwrap());
        let failing: Vec<bool> = compare(&tables[0], &tables[1])
            .iter()
            .map(Finding::fails)
            .collect();
        assert_eq!(failing, [false, true, true, true]);
    }
}
