//! What a guest is built for: a generation of the ABI, and a page-table format.

use std::fmt;

/// A generation of the ABI.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Generation {
    /// Linux 2.6.23.
    G1,
    /// Linux 2.6.24 to 2.6.29.
    G2,
    /// Linux 2.6.30 to 2.6.33.
    G3,
    /// Linux 2.6.34 to 3.18.
    G4,
    /// Linux 4.x to 4.13.
    G5,
}

impl Generation {
    /// All of them, the oldest first.
    pub const ALL: [Generation; 5] = [
        Generation::G1,
        Generation::G2,
        Generation::G3,
        Generation::G4,
        Generation::G5,
    ];

    /// The generation of Linux 2.6.`patch`.
    fn of_linux_2_6(patch: u32) -> Self {
        match patch {
            ..=23 => Generation::G1,
            24..=29 => Generation::G2,
            30..=33 => Generation::G3,
            _ => Generation::G4,
        }
    }

    /// Reads `G1` to `G5`, in either case.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|generation| word.eq_ignore_ascii_case(&format!("{generation:?}")))
    }
}

/// A page-table format.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Paging {
    /// 4-byte entries on two levels.
    TwoLevel,
    /// 8-byte entries on three levels.
    Pae,
}

/// A kind of guest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct World {
    /// Its ABI.
    pub generation: Generation,
    /// Its page tables.
    pub paging: Paging,
}

impl World {
    /// The worlds that there are. PAE came with 2.6.32, so G1 and G2 have none.
    pub fn all() -> Vec<World> {
        Self::product(&Generation::ALL, &[Paging::TwoLevel, Paging::Pae])
    }

    /// The worlds in which a test ran, from its name. The words of a name are what stands between
    /// `:`, `_`, `.` and `-`: `g1` to `g5`, a version of Linux 2.6 such as `2.6.24`, and `pae` say what the
    /// guest was built for, `every_generation` and `both_pagings` that the test goes through all. Without such a word it
    /// is the default guest: G5, two-level.
    pub fn of_test(name: &str) -> Vec<World> {
        let words: Vec<&str> = name.split([':', '_', '.', '-']).collect();
        let pair = |first, second| words.windows(2).any(|pair| pair == [first, second]);
        let mut generations: Vec<_> = words
            .iter()
            .filter_map(|word| Generation::parse(word))
            .collect();
        let numbers: Vec<Option<u32>> = words.iter().map(|word| word.parse().ok()).collect();
        generations.extend(numbers.windows(3).filter_map(|version| match *version {
            [Some(2), Some(6), Some(patch)] => Some(Generation::of_linux_2_6(patch)),
            _ => None,
        }));
        if pair("every", "generation") {
            generations.extend(Generation::ALL);
        }
        if generations.is_empty() {
            generations.push(Generation::G5);
        }
        let pagings: &[Paging] = if pair("both", "pagings") {
            &[Paging::TwoLevel, Paging::Pae]
        } else if words.contains(&"pae") {
            &[Paging::Pae]
        } else {
            &[Paging::TwoLevel]
        };
        Self::product(&generations, pagings)
    }

    /// Those of all combinations that exist.
    pub fn product(generations: &[Generation], pagings: &[Paging]) -> Vec<World> {
        let mut worlds: Vec<_> = generations
            .iter()
            .flat_map(|&generation| {
                pagings
                    .iter()
                    .map(move |&paging| World { generation, paging })
            })
            .filter(|world| world.paging == Paging::TwoLevel || world.generation >= Generation::G3)
            .collect();
        worlds.sort();
        worlds.dedup();
        worlds
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paging = match self.paging {
            Paging::TwoLevel => "",
            Paging::Pae => "-pae",
        };
        write!(f, "{:?}{paging}", self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(worlds: &[World]) -> Vec<String> {
        worlds.iter().map(World::to_string).collect()
    }

    #[test]
    fn eight_worlds_exist() {
        assert_eq!(
            names(&World::all()),
            ["G1", "G2", "G3", "G3-pae", "G4", "G4-pae", "G5", "G5-pae"]
        );
    }

    #[test]
    fn a_test_s_name_says_its_world() {
        let of = |name| names(&World::of_test(name));
        assert_eq!(of("frames::shared"), ["G5"]);
        assert_eq!(of("frames.g3::shared"), ["G3"]);
        assert_eq!(of("frames.g4.pae::shared"), ["G4-pae"]);
        assert_eq!(of("ring.2.6.24::told"), ["G2"]);
        assert_eq!(of("ring.2.6.34::told"), ["G4"]);
        assert_eq!(of("paging_pae::isolated"), ["G5-pae"]);
        assert_eq!(of("tests::lg058_g1_g2_an_index"), ["G1", "G2"]);
        assert_eq!(of("lg030_every_generation_has_gaps").len(), 5);
        assert_eq!(of("lg094_both_pagings"), ["G5", "G5-pae"]);
    }
}
