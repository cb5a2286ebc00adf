//! What the tests show about the items of a numbered list.
//!
//! A table says what each item is and where it has to be shown ([`statement`]). The names of tests and
//! the verdicts that guests print say what was shown ([`evidence`]). [`table`] puts both together.

pub mod evidence;
pub mod series;
pub mod statement;
pub mod table;
