//! Exits as the host tells them, and what the table makes of them.

use super::*;

fn profile(rows: usize) -> Profile {
    Profile::new(vec![Row::default(); rows].leak())
}

fn registers(eip: u32, cs: u32) -> Registers {
    Registers {
        eip,
        cs,
        ..Registers::default()
    }
}

fn call(number: u32, eip: u32) -> Origin {
    Origin::new(Kind::Call(number), &registers(eip, 0x61))
}

fn fault(eip: u32, cr2: u64) -> Origin {
    Origin::new(Kind::Trap(14), &registers(eip, 0x7b)).with_fault(cr2)
}

fn progress(reflected: u64, emulated: u64) -> Progress {
    Progress {
        reflected,
        emulated,
    }
}

const NOTHING: Progress = Progress {
    reflected: 0,
    emulated: 0,
};

/// The lines of the log, sorted: their order is that of a hash.
fn lines(profile: &Profile) -> Vec<String> {
    let name = |number| (number == 14).then_some(Hypercall::SetPte);
    let mut lines: Vec<_> = profile.lines(name).map(|line| line.to_string()).collect();
    lines.sort();
    lines
}

fn sum(profile: &Profile, of: fn(&Row) -> u64) -> u64 {
    profile.rows.iter().map(of).sum()
}

#[test]
fn exits_of_one_origin_are_added_up() {
    let mut profile = profile(64);
    profile.exited(call(14, 0x1000), 100, 110, NOTHING);
    profile.exited(call(14, 0x1000), 150, 170, NOTHING);
    profile.exited(call(99, 0x2000), 200, 201, NOTHING);
    profile.rests(300, NOTHING);
    let expected = [
        "kind=call:99 handling=served ring=1 eip=0x2000 exits=1 host=99 guest=1",
        "kind=call:SetPte handling=served ring=1 eip=0x1000 exits=2 host=70 guest=30",
    ];
    assert_eq!(lines(&profile), expected);
}

#[test]
fn what_was_done_is_known_by_the_next_entry() {
    let mut profile = profile(64);
    profile.exited(fault(0x10, 0x1_2345), 0, 0, NOTHING);
    profile.exited(fault(0x10, 0x1_2fff), 0, 0, progress(1, 0));
    profile.exited(fault(0x10, 0x1_2000), 0, 0, progress(1, 1));
    profile.rests(0, progress(1, 1));
    let rest = "ring=3 eip=0x10 page=0x12000 exits=1 host=0 guest=0";
    let expected = ["emulated", "reflected", "served"];
    let expected = expected.map(|done| format!("kind=trap:14 handling={done} {rest}"));
    assert_eq!(lines(&profile), expected);
}

#[test]
fn every_count_from_the_first_entry_on_is_somewhere() {
    let mut profile = profile(64);
    profile.exited(call(14, 1), 1000, 1010, NOTHING);
    profile.took(7);
    profile.exited(call(5, 2), 1100, 1130, NOTHING);
    profile.took(5);
    profile.rests(1200, NOTHING);
    profile.took(9);
    profile.wakes(
        Origin::new(Kind::Wake, &Registers::default()),
        9200,
        NOTHING,
    );
    profile.took(3);
    profile.rests(9300, NOTHING);
    let (host, guest) = (
        sum(&profile, |row| row.host),
        sum(&profile, |row| row.guest),
    );
    assert_eq!((guest, profile.asleep, profile.itself), (40, 7991, 24));
    let everything = host + guest + profile.asleep + profile.itself;
    assert_eq!((everything, profile.total()), (8300, 8300));
}

#[test]
fn a_guest_that_exits_everywhere_fills_the_table_but_loses_no_exit() {
    let mut profile = profile(64);
    for eip in 0..10_000 {
        profile.exited(call(eip % 8, eip), 0, 3, NOTHING);
    }
    profile.rests(3, NOTHING);
    assert_eq!(sum(&profile, |row| row.exits), 10_000);
    assert_eq!(sum(&profile, |row| row.guest), 30_000);
    // A place of its own for the first 56, and one for each kind.
    let anywhere = |row: &&Row| row.exits != 0 && row.origin.eip.is_none();
    assert_eq!(profile.rows.iter().filter(anywhere).count(), 8);
    assert_eq!(profile.used, 64);
}
