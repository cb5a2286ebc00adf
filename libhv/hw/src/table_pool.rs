//! The budget of page-table frames for the shadow.

use crate::direct_map;
use core::ptr::NonNull;
use hv_core::frames::{Frame, Run, Table, TableIndex, TablePool};

/// A fixed run of frames, handed out one by one. What is used up is used up: the shadow has to evict.
pub struct FixedPool {
    /// Never touched yet.
    fresh: Run<Table>,
    /// Given back, linked through their first entry.
    returned: Option<Frame<Table>>,
    capacity: usize,
}
