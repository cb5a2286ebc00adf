//! Guests that do anything: `guests/hosted/random.c`, a machine for each seed. However a seed ends, the host
//! says so in its last line, has nothing else to complain of, and its audit found nothing.

use hv_runner::{Clock, Outcome};
use hv_tests::attack::unharmed::complains;
use hv_tests::built;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SEEDS: usize = 1000;
/// Machines at a time. More than processors: a good part of a short life is waiting for QEMU to start and to end.
const MACHINES: usize = 4;
/// For guest and host: what a loader puts into the image's own part of memory is little.
const MEMORY_MIB: u32 = 48;
/// A host gives such a guest a tenth of a second of its own time, for which the translator can need a minute.
const DEADLINE: Duration = Duration::from_secs(600);
/// What a guest was built for, and what the host is told; every other seed is of the first.
const WORLDS: [(&str, &str); 8] = [
    ("", ""),
    (".pae", "paging=pae"),
    (".g1", "generation=g1"),
    (".g2", "generation=g2"),
    (".g3", "generation=g3"),
    (".g4", "generation=g4"),
    (".g3.pae", "generation=g3 paging=pae"),
    (".g4.pae", "generation=g4 paging=pae"),
];
/// Ways to end that have to occur, so that a generator which only ever makes one mistake is found out.
const KINDS: usize = 12;
/// Of a hundred seeds, at most so many may end in the same way, or for want of time.
const SAME: usize = 60;
const ENDLESS: usize = 20;

/// Runs one seed. In isolated mode every third.
fn run(seed: usize) -> Outcome {
    let (suffix, words) = WORLDS[if seed.is_multiple_of(2) {
        0
    } else {
        seed / 2 % WORLDS.len()
    }];
    let mode = if seed.is_multiple_of(3) {
        "isolated"
    } else {
        "shared"
    };
    let guest = built::micro_guest(&format!("hosted/random{suffix}"));
    built::hosting_on("impatient", &guest, &format!("case={seed}"))
        .command_line(format!("mode={mode} {words}"))
        .memory_mib(MEMORY_MIB)
        .clock(Clock::CountedByEight)
        .deadline(Some(DEADLINE))
        .run()
        .expect("QEMU starts")
}

/// Whether the guest's end is one that a host may come to, and the host has kept quiet until then.
fn judge(outcome: &Outcome) -> Result<(), String> {
    let stop = outcome.stop();
    let status = match stop {
        "guest powered off" => 0,
        "guest asked for restart" => 4,
        // Its time was over.
        "kicked" => 1,
        stop if stop.starts_with("guest killed: ") => 3,
        _ => return Err("no end for a guest".into()),
    };
    if outcome.status != status {
        return Err(format!("status {} for {stop:?}", outcome.status));
    }
    let complaint = outcome
        .log
        .iter()
        .find(|line| complains(line) && line.stop().is_none());
    match complaint {
        Some(line) => Err(format!("the host complains: {line}")),
        None => Ok(()),
    }
}

/// A stop line without its numbers, and of a guest's last words only that there were some.
fn kind(stop: &str) -> String {
    let words = stop.split([' ', ',']).map(|word| {
        let number = word.starts_with(|first: char| first.is_ascii_digit());
        if number { "N" } else { word }
    });
    let kind = words.collect::<Vec<_>>().join(" ");
    match kind.find("CRASH: ") {
        Some(at) => kind[..at + "CRASH".len()].into(),
        None => kind,
    }
}

#[test]
fn every_seed_of_the_random_guest_ends_in_a_stop_line() {
    let next = AtomicUsize::new(0);
    let ends = Mutex::new(BTreeMap::<String, usize>::new());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..MACHINES {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS {
                        break;
                    }
                    let outcome = run(seed);
                    let end = kind(outcome.stop());
                    *ends.lock().unwrap().entry(end).or_default() += 1;
                    if let Err(reason) = judge(&outcome) {
                        let report = outcome.report();
                        let failure = format!("seed {seed}: {reason}\n{report}");
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let (ends, failures) = (ends.into_inner().unwrap(), failures.into_inner().unwrap());
    for (end, count) in &ends {
        println!("{count:5} {end}");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(ends.len() >= KINDS, "{} kinds of ends", ends.len());
    for (end, count) in &ends {
        assert!(count * 100 <= SEEDS * SAME, "{count} seeds end as {end:?}");
    }
    let endless = ends.get("kicked").unwrap_or(&0);
    assert!(
        endless * 100 <= SEEDS * ENDLESS,
        "{endless} seeds do not end"
    );
}
