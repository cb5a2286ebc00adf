//! The conformance matrix: what tests have shown about each statement of the ABI's checklist.
//!
//! Nothing here knows whether a statement holds. [`evidence`] reads what test programs printed,
//! [`statement`] says in which [`world`]s a statement has to be shown, and [`matrix`] puts the two
//! together. `docs/conformance.md` says how to add to either side.

pub mod evidence;
pub mod matrix;
pub mod statement;
pub mod world;
