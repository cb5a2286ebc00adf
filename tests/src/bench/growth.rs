//! What has to cost the same however many address spaces there are.

use super::setting::{SETTINGS, Setting};
use super::table::Table;
use std::fmt;

/// Percent by which the dearest row of a group may exceed the cheapest.
pub const TOLERANCE: u64 = 10;

/// Rows that differ in the number of address spaces and in nothing else.
const GROUPS: [&[&str]; 4] = [
    &[
        "root_switch_2",
        "root_switch_8",
        "root_switch_32",
        "root_switch_128",
        "root_switch_1024",
    ],
    &["null_hypercall", "null_hypercall_1024"],
    &["fault_read", "fault_read_1024"],
    &["set_pte", "set_pte_1024"],
];

/// A row that costs more than another of its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Growth {
    setting: Setting,
    cheapest: (u32, &'static str),
    dearest: (u32, &'static str),
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((less, cheapest), (more, dearest)) = (self.cheapest, self.dearest);
        let setting = self.setting;
        write!(
            f,
            "grows: {dearest} {setting}: {more}, but {cheapest}: {less}"
        )
    }
}

/// All groups of which one row costs more than another, in each setting with a host.
pub fn growing(measured: &Table) -> Vec<Growth> {
    let hosted = SETTINGS
        .into_iter()
        .filter(|setting| *setting != Setting::Bare);
    hosted
        .flat_map(|setting| {
            GROUPS
                .iter()
                .filter_map(move |rows| growth(measured, setting, rows))
        })
        .collect()
}

fn growth(measured: &Table, setting: Setting, rows: &[&'static str]) -> Option<Growth> {
    let costs = || {
        rows.iter().filter_map(|&row| {
            let cost = measured.get(&(row.to_owned(), setting))?;
            Some((cost, row))
        })
    };
    let (cheapest, dearest) = (costs().min()?, costs().max()?);
    let grows = u64::from(dearest.0) * 100 > u64::from(cheapest.0) * (100 + TOLERANCE);
    grows.then_some(Growth {
        setting,
        cheapest,
        dearest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(measured: &str) -> Vec<String> {
        let growing = growing(&Table::parse(measured).unwrap());
        growing.iter().map(Growth::to_string).collect()
    }

    #[test]
    fn ten_percent_are_let_pass() {
        let flat = "root_switch_2 shared 1000\nroot_switch_8 shared 1100\nset_pte shared 5";
        assert!(lines(flat).is_empty());
        assert_eq!(
            lines("root_switch_2 shared 1000\nroot_switch_1024 shared 1101"),
            ["grows: root_switch_1024 shared: 1101, but root_switch_2: 1000"]
        );
    }

    /// The machine's own caches are none of ours.
    #[test]
    fn settings_are_apart_and_a_bare_machine_does_not_count() {
        assert!(lines("fault_read isolated 10\nfault_read_1024 shared 20").is_empty());
        assert!(lines("root_switch_2 bare 8\nroot_switch_1024 bare 10").is_empty());
    }
}
