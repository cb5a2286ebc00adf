//! What the processor must forget before the guest runs again.

use crate::address::Gva;
use heapless::Vec;

/// Pages that are invalidated one by one; more than this, and forgetting everything is cheaper than
/// so many INVLPG.
const PAGES: usize = 8;

/// Translations that the processor may remember and must not use again. A translation that was absent
/// before is never remembered, so adding one needs no invalidation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Invalidation {
    /// None.
    #[default]
    None,
    /// Those of these pages.
    Pages(Vec<Gva, PAGES>),
    /// All of the guest's, with the upper levels that the processor caches. [`Shadow::root`](super::Shadow::root) may
    /// have changed, and only then.
    All,
}

impl Invalidation {
    pub(super) fn add_page(&mut self, gva: Gva) {
        match self {
            Invalidation::None => {
                let mut pages = Vec::new();
                // A new vector has room.
                let _ = pages.push(gva.page_start());
                *self = Invalidation::Pages(pages);
            }
            Invalidation::Pages(pages) => {
                if pages.push(gva.page_start()).is_err() {
                    *self = Invalidation::All;
                }
            }
            Invalidation::All => {}
        }
    }

    pub(super) fn add_all(&mut self) {
        *self = Invalidation::All;
    }
}
