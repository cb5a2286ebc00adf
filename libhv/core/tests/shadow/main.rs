//! The shadow against the truth: rules, exhaustive products and random guests, on a model of the
//! processor that remembers translations as a real one does.
//!
//! All of it runs for each paging format. A file for each format says, by hand, what its tables look
//! like, and takes in the common tests as modules of its own.

mod pae;
mod two_level;

use proptest::test_runner::Config;

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
