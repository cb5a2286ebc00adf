//! The dearest kinds of exits, as a table.

use crate::profile::record::Profile;
use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// Kinds that are printed.
const DEAREST: usize = 12;

/// A profile as a table: guest and host, then the kinds of exits that took most instructions.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a>(pub &'a Profile);

#[derive(Clone, Copy, Default)]
struct Sum {
    exits: u64,
    instructions: u64,
}

fn percent(part: u64, of: u64) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}

impl Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let profile = self.0;
        let (host, guest) = (profile.host(), profile.guest());
        let mut kinds: BTreeMap<_, Sum> = BTreeMap::new();
        for row in &profile.rows {
            let sum = kinds.entry(&row.kind).or_default();
            sum.exits += row.exits;
            sum.instructions += row.host;
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.instructions));
        let exits = kinds.iter().map(|(_, sum)| sum.exits).sum();

        let (exits_word, each) = ("exits", "each");
        writeln!(
            f,
            "{:<34} {:>14} {:>7} {exits_word:>10} {each:>8}",
            "PROFILE", "instructions", ""
        )?;
        let mut line = |name: &dyn Display, sum: Sum| {
            let share = percent(sum.instructions, host + guest);
            write!(f, "{name:<34} {:>14} {share:>5.1} %", sum.instructions)?;
            match sum.instructions.checked_div(sum.exits) {
                Some(each) => writeln!(f, " {:>10} {each:>8}", sum.exits),
                None => writeln!(f),
            }
        };
        let (instructions, none) = (guest, 0);
        line(
            &"guest",
            Sum {
                exits: none,
                instructions,
            },
        )?;
        line(
            &"host",
            Sum {
                exits,
                instructions: host,
            },
        )?;
        for (kind, sum) in kinds.iter().take(DEAREST) {
            line(&format!("  {kind}"), *sum)?;
        }
        let others = kinds.iter().skip(DEAREST);
        let others = others.fold(Sum::default(), |all, (_, sum)| Sum {
            exits: all.exits + sum.exits,
            instructions: all.instructions + sum.instructions,
        });
        if others.exits != 0 {
            line(&"  others", others)?;
        }
        let accounted = percent(profile.accounted_for(), profile.total);
        let Profile {
            total,
            asleep,
            itself,
            ..
        } = profile;
        writeln!(
            f,
            "{accounted:.2} % of {total} counted, {asleep} of them asleep and {itself} for the profile itself"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dearest_kinds_come_first() {
        let row = |kind: &str, exits: u32, host: u32| {
            format!(
                "profile: kind={kind} handling=served ring=1 eip=0x1 exits={exits} host={host} guest=0"
            )
        };
        let mut log = vec!["profile: total=220 asleep=0 itself=0".to_owned()];
        log.push(row("trap:14", 1, 10));
        log.push(row("wake", 2, 100));
        log.extend((0..12).map(|call| row(&format!("call:{call}"), 1, 9)));
        log.push(row("call:12", 1, 2));
        let profile = Profile::parse(log.iter().map(String::as_str)).unwrap();
        let text = Table(&profile).to_string();
        let lines: Vec<&str> = text.lines().collect();
        let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(1), "guest 0 0.0 %");
        assert_eq!(words(2), "host 220 100.0 % 16 13");
        assert_eq!(words(3), "wake 100 45.5 % 2 50");
        assert_eq!(words(4), "page fault, repaired 10 4.5 % 1 10");
        assert_eq!(words(3 + DEAREST), "others 20 9.1 % 3 6");
        assert!(lines[4 + DEAREST].starts_with("100.00 % of 220 counted"));
    }
}
