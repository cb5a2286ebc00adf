//! The window: one page of the entry area that shows a page of the guest's memory.
//!
//! Through it the switcher reaches a word that the guest and the host share, in either mode and without the guest's
//! page tables: whatever a guest does with those, the window shows the same page. It adds nothing to what a guest can
//! learn or change, because what it shows is the guest's own.

use crate::entry_area::entry_window;
use crate::host_paging::{FRAME, PageTables};
use core::ptr::NonNull;
use hv_core::address::Hpa;

/// The window of one tree of page tables.
pub struct Window {
    /// What maps it.
    entry: NonNull<u64>,
}

impl Window {
    /// The window of the tables that are in use while the guest runs. It shows an empty page until it is told
    /// otherwise.
    ///
    /// # Panics
    /// When the tables do not have it: all that the host makes do.
    pub fn of(tables: &PageTables) -> Self {
        Self {
            entry: tables
                .small_page(address())
                .expect("the window is mapped with the rest of the entry area"),
        }
    }

    /// Shows the page with the word at `word`, which lies in guest RAM and wholly in that page. Returns the word's
    /// linear address.
    pub fn show(&mut self, word: Hpa) -> u64 {
        let frame = word.page_start().raw();
        // SAFETY: an entry of our page tables, in the direct map; beside us only the processor touches it. Nothing in
        // Rust refers to the page that the window hides, or to what it shows by the window's address.
        unsafe {
            let old = self.entry.read_volatile();
            if old & FRAME != frame {
                self.entry.write_volatile(old & !FRAME | frame);
                x86_64::instructions::tlb::flush(x86_64::VirtAddr::new(address()));
            }
        }
        address() + (word.raw() - frame)
    }
}

fn address() -> u64 {
    (&raw const entry_window).addr() as u64
}
