//! The shadow against the truth: rules, exhaustive products and random guests, on a model of the
//! processor that remembers translations as a real one does.

mod adversary;
mod machine;
mod product;
mod rules;
mod well_behaved;
