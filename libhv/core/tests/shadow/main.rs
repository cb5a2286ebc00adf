//! The shadow against the truth: rules, exhaustive products and random guests, on a model of the
//! processor that remembers translations as a real one does.
//!
//! All of it runs for each paging format. A file for each format says, by hand, what its tables look
//! like, and takes in the common tests as modules of its own.

mod pae;
mod two_level;

use hv_core::fast_paths::{FastPath, FastPaths};
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::test_runner::Config;

/// Mostly all shorter ways, sometimes a few of them or none.
fn fast_paths() -> impl Strategy<Value = FastPaths> {
    let some = subsequence(FastPath::ALL.to_vec(), 0..FastPath::ALL.len());
    let some = some.prop_map(|some| {
        let paths = some.into_iter();
        paths.fold(FastPaths::OFF, |paths, (_, path)| paths.with(path))
    });
    prop_oneof![3 => Just(FastPaths::ON), 1 => some]
}

/// 400 random guests for each property, unless `PROPTEST_CASES` says another number.
fn random_guests() -> Config {
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => Config {
            cases: 400,
            ..config
        },
    }
}
