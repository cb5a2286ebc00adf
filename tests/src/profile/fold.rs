//! Folded stacks: a line `frame;frame;... instructions` for each way to spend instructions.

use crate::profile::guest_symbols::GuestSymbols;
use crate::profile::record::{Profile, Row};
use std::collections::BTreeMap;

/// The outermost frames.
pub const HOST: &str = "host";
/// As above.
pub const GUEST: &str = "guest";
const PAGE: u32 = 4096;
const PROCESS_RING: u8 = 3;

/// A profile as folded stacks, sorted. Sleep is no instruction, and the profile's own are nobody's: both are left out.
pub fn fold(profile: &Profile, symbols: &GuestSymbols) -> Vec<String> {
    let mut stacks: BTreeMap<String, u64> = BTreeMap::new();
    for row in &profile.rows {
        let place = place(row, symbols);
        *stacks.entry(format!("{GUEST};{place}")).or_default() += row.guest;
        let mut exit = vec![HOST.to_owned(), row.kind.class()];
        exit.extend(row.kind.rest());
        exit.push(place);
        exit.extend(row.page.map(|page| format!("page {page:#010x}")));
        *stacks.entry(exit.join(";")).or_default() += row.host;
    }
    let spent = stacks.into_iter().filter(|(_, count)| *count != 0);
    spent
        .map(|(stack, count)| format!("{stack} {count}"))
        .collect()
}

/// The function that the guest was left in, or else whose code it was and the page.
fn place(row: &Row, symbols: &GuestSymbols) -> String {
    let Some(eip) = row.eip else {
        return "elsewhere".to_owned();
    };
    let eip = match row.kind.is_past_its_instruction() {
        true => eip.wrapping_sub(1),
        false => eip,
    };
    if let Some(name) = symbols.at(eip) {
        // What separates frames.
        return name.replace([';', ' '], "_");
    }
    let whose = match row.ring {
        PROCESS_RING => "process",
        _ => "kernel",
    };
    format!("{whose} {:#010x}", eip & !(PAGE - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_folded_by_kind_and_place_and_the_guest_by_place() {
        let profile = Profile::parse([
            "profile: total=0 asleep=5 itself=6",
            "profile: kind=trap:14 handling=served ring=3 eip=0x8048123 page=0x8049000 exits=1 host=20 guest=3",
            "profile: kind=trap:14 handling=served ring=3 eip=0x8048456 page=0x8049000 exits=1 host=30 guest=4",
            "profile: kind=call:SetPte handling=served ring=1 eip=0xc0001000 exits=2 host=40 guest=0",
            "profile: kind=interrupt handling=served ring=1 exits=1 host=1 guest=9",
        ]);
        let stacks = fold(&profile.unwrap(), &GuestSymbols::default());
        let expected = [
            "guest;elsewhere 9",
            "guest;process 0x08048000 7",
            // The instruction is on the page before.
            "host;hypercall;SET_PTE;kernel 0xc0000000 40",
            "host;interrupt;elsewhere 1",
            "host;page fault;repaired;process 0x08048000;page 0x08049000 50",
        ];
        assert_eq!(stacks, expected);
    }
}
