//! Getting the application's attention while its guest runs.

use core::sync::atomic::{AtomicBool, Ordering};

static KICKED: AtomicBool = AtomicBool::new(false);

/// Makes [`Guest::run`](crate::Guest::run) return [`Exit::Kicked`](crate::Exit::Kicked), from any
/// context: an interrupt handler or another processor. The guest is interrupted within one time
/// slice, 10 ms. Kicks are remembered, not counted.
#[derive(Clone, Copy, Debug)]
pub struct Kicker {
    pub(crate) _private: (),
}

impl Kicker {
    /// Kicks the guest.
    pub fn kick(self) {
        KICKED.store(true, Ordering::Release);
    }

    /// Takes the kick, if there was one. The common answer costs one load.
    pub(crate) fn take(self) -> bool {
        KICKED.load(Ordering::Relaxed) && KICKED.swap(false, Ordering::Acquire)
    }
}
