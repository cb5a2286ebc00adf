//! A shadow of whichever format the guest turns out to use.

use super::{AuditFailure, AuditReport, EFFORT_OF_AN_EXIT, Invalidation, Shadow, Slot, Statistics};
use crate::address::{Gpa, Hpa};
use crate::fast_paths::FastPaths;
use crate::frames::TablePool;
use crate::memory::GuestMemory;
use crate::paging::{Detected, EntryWidth, Format as _, Pae, Paging, TwoLevel, detect};

/// The shadow of a guest whose paging format is chosen at run time, at the latest by the first root
/// that it loads. What is behind it is one [`Shadow`], of the format chosen.
#[derive(Debug)]
pub enum AnyFormatShadow<T, S> {
    /// The guest has loaded no root, and nobody has said what it will be. In linear mode a shadow's
    /// format makes no difference.
    Undecided(Shadow<T, S, TwoLevel>),
    /// A guest with two-level tables.
    TwoLevel(Shadow<T, S, TwoLevel>),
    /// A guest with three-level tables.
    Pae(Shadow<T, S, Pae>),
}

/// Does the same with the shadow, whatever its format.
macro_rules! with_shadow {
    ($any:expr, $shadow:ident => $action:expr) => {
        match $any {
            $crate::shadow::AnyFormatShadow::Undecided($shadow)
            | $crate::shadow::AnyFormatShadow::TwoLevel($shadow) => $action,
            $crate::shadow::AnyFormatShadow::Pae($shadow) => $action,
        }
    };
}
pub(crate) use with_shadow;

impl<T, S> AnyFormatShadow<T, S>
where
    T: TablePool + Default,
    S: AsRef<[Slot]> + AsMut<[Slot]> + Default,
{
    /// An empty shadow, in linear mode; see [`Shadow::new`]. No exit takes more than it should.
    pub fn new(pool: T, slots: S, roots: usize, paging: Paging) -> Self {
        let mut shadow = Shadow::new(pool, slots, roots);
        shadow.limit_exits(EFFORT_OF_AN_EXIT);
        match paging {
            Paging::Auto => Self::Undecided(shadow),
            Paging::TwoLevel => Self::TwoLevel(shadow),
            Paging::Pae => Self::Pae(shadow.into_format()),
        }
    }

    /// `root` is about to be loaded: if nothing is decided, it decides.
    pub(crate) fn decide(&mut self, memory: &impl GuestMemory, root: Gpa) {
        let Self::Undecided(shadow) = self else {
            return;
        };
        let shadow = core::mem::take(shadow);
        *self = match detected(memory, root) {
            Detected::TwoLevel => Self::TwoLevel(shadow),
            Detected::Pae => Self::Pae(shadow.into_format()),
        };
    }

    /// See [`Shadow::choose_fast_paths`].
    pub fn choose_fast_paths(&mut self, paths: FastPaths) {
        with_shadow!(self, shadow => shadow.choose_fast_paths(paths));
    }

    /// See [`Shadow::root`].
    pub fn root(&self) -> Option<Hpa> {
        with_shadow!(self, shadow => shadow.root())
    }

    /// See [`Shadow::is_tired`].
    pub fn is_tired(&self) -> bool {
        with_shadow!(self, shadow => shadow.is_tired())
    }

    /// See [`Shadow::take_invalidation`].
    pub fn take_invalidation(&mut self) -> Invalidation {
        with_shadow!(self, shadow => shadow.take_invalidation())
    }

    /// See [`Shadow::statistics`].
    pub fn statistics(&self) -> Statistics {
        with_shadow!(self, shadow => shadow.statistics())
    }

    /// See [`Shadow::audit`].
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn audit(&self, memory: &impl GuestMemory) -> Result<AuditReport, AuditFailure> {
        with_shadow!(self, shadow => shadow.audit(memory))
    }

    /// See [`Shadow::release`].
    pub fn release(self) -> T {
        with_shadow!(self, shadow => shadow.release())
    }
}

fn detected(memory: &impl GuestMemory, root: Gpa) -> Detected {
    let mut entries = [0; 4];
    let mut at = Pae::root(root);
    for entry in &mut entries {
        match memory.read_u64(at) {
            Ok(value) => *entry = value,
            // A root that is not RAM kills in any format.
            Err(_) => return Detected::TwoLevel,
        }
        at = at.wrapping_add(EntryWidth::Eight.bytes());
    }
    detect(&entries, memory.frames())
}
