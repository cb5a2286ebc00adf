//! Scopes of the checklist: lists of worlds.

use super::world::{Generation, Paging, World};

/// The worlds of a scope: one of each group is enough. `None` if it is no scope.
///
/// A scope is a list of generations such as `all`, `G2-G5` or `G1,G2`, to be shown in each of them.
/// Behind it stands the paging: `/both` for each format that the generation has, `/two-level`, `/pae`,
/// or nothing where it makes no difference and one is enough. `once` is for what does not depend on
/// the guest at all.
pub fn groups(scope: &str) -> Option<Vec<Vec<World>>> {
    if scope == "once" {
        return Some(vec![World::all()]);
    }
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
}
