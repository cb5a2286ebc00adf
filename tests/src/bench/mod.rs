//! `make bench`: what guests of `bench/` measure, in all settings, against what they measured before.

pub mod comparison;
pub mod document;
pub mod growth;
pub mod linux;
pub mod setting;
pub mod table;
