//! What differs between generations.
