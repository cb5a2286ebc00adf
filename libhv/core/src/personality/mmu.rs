//! Memory translation, as a personality needs it.

use crate::address::{Gpa, Gva};
use crate::frames::TablePool;
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::paging::{Access, AccessKind, Format, Privilege};
use crate::shadow::{
    AnyFormatShadow, Fault, LeafChange, NoMiddleTables, Progress, Shadow, Slot, with_shadow,
};

/// Memory translation of one guest, as a personality needs it.
///
/// A `Kill` from any of these methods means that the guest's tables hold something this ABI does not
/// have, or that its stack is gone.
pub trait Mmu {
    /// Whether this exit has had its share of work: the guest should run before anything else is asked for.
    fn is_tired(&self) -> bool;

    /// The processor could not translate `gva`; `error` is its error code.
    fn page_fault(
        &mut self,
        memory: &impl GuestMemory,
        gva: Gva,
        error: u32,
    ) -> Result<Fault, Kill>;

    /// Where the host may do `kind` at `gva` for the guest's kernel: the guest's own rights are
    /// honoured and accessed and dirty bits set, as if the guest had done it. The inner error is the
    /// page-fault error code that the guest would have had.
    fn guest_access(
        &mut self,
        memory: &impl GuestMemory,
        gva: Gva,
        kind: AccessKind,
    ) -> Result<Result<Gpa, u32>, Kill>;

    /// Where `gva` lies, without regard to rights and without leaving a trace.
    fn translate(&self, memory: &impl GuestMemory, gva: Gva) -> Option<Gpa>;

    /// The kernel's stack for traps from ring 3 now ends below `top`, with `pages` (at most 2)
    /// that have to be mapped writable, now and whenever the shadow is rebuilt.
    fn set_stack(&mut self, memory: &impl GuestMemory, top: Gva, pages: u32) -> Result<(), Kill>;

    /// `root` is the current root from now on.
    fn new_pgtable(&mut self, memory: &impl GuestMemory, root: Gpa) -> Result<(), Kill>;

    /// A leaf changed.
    fn set_pte(&mut self, memory: &impl GuestMemory, change: LeafChange) -> Result<(), Kill>;

    /// Several leaves changed, one after the other. Stops early when this exit has had its share, but never before
    /// the first.
    fn set_ptes(
        &mut self,
        memory: &impl GuestMemory,
        changes: &mut impl Iterator<Item = LeafChange>,
    ) -> Result<(), Kill>;

    /// Top-level entry `index` of `root` changed.
    fn set_pgd(&mut self, memory: &impl GuestMemory, root: Gpa, index: u32) -> Result<(), Kill>;

    /// An entry of the page directory at `table` changed: one that is neither top nor leaf. The inner
    /// error says that the guest's tables have no such level.
    fn set_pmd(
        &mut self,
        memory: &impl GuestMemory,
        table: Gpa,
    ) -> Result<Result<(), NoMiddleTables>, Kill>;

    /// Forget the current root's translations below the kernel's address.
    fn flush_user(&mut self, memory: &impl GuestMemory) -> Result<Progress, Kill>;

    /// Forget every translation.
    fn flush_all(&mut self, memory: &impl GuestMemory) -> Result<(), Kill>;

    /// At and above `start` all of the guest's page tables are the same.
    fn set_kernel_address(&mut self, start: Gva);

    /// A leaf in use that has one of `flags` ends the guest from now on.
    fn refuse_leaf_flags(&mut self, flags: u64);
}

impl<T: TablePool, S: AsRef<[Slot]> + AsMut<[Slot]>, F: Format> Mmu for Shadow<T, S, F> {
    fn is_tired(&self) -> bool {
        Shadow::is_tired(self)
    }

    fn page_fault(
        &mut self,
        memory: &impl GuestMemory,
        gva: Gva,
        error: u32,
    ) -> Result<Fault, Kill> {
        Shadow::page_fault(self, memory, gva, error)
    }

    #[inline(always)]
    fn guest_access(
        &mut self,
        memory: &impl GuestMemory,
        gva: Gva,
        kind: AccessKind,
    ) -> Result<Result<Gpa, u32>, Kill> {
        let access = Access {
            kind,
            privilege: Privilege::Supervisor,
        };
        Shadow::guest_access(self, memory, gva, access)
    }

    fn translate(&self, memory: &impl GuestMemory, gva: Gva) -> Option<Gpa> {
        Shadow::translate(self, memory, gva)
    }

    fn set_stack(&mut self, memory: &impl GuestMemory, top: Gva, pages: u32) -> Result<(), Kill> {
        Shadow::set_stack(self, memory, top, pages)
    }

    fn new_pgtable(&mut self, memory: &impl GuestMemory, root: Gpa) -> Result<(), Kill> {
        Shadow::new_pgtable(self, memory, root)
    }

    #[inline(always)]
    fn set_pte(&mut self, memory: &impl GuestMemory, change: LeafChange) -> Result<(), Kill> {
        Shadow::set_pte(self, memory, change)
    }

    fn set_ptes(
        &mut self,
        memory: &impl GuestMemory,
        changes: &mut impl Iterator<Item = LeafChange>,
    ) -> Result<(), Kill> {
        Shadow::set_ptes(self, memory, changes)
    }

    fn set_pgd(&mut self, memory: &impl GuestMemory, root: Gpa, index: u32) -> Result<(), Kill> {
        Shadow::set_pgd(self, memory, root, index)
    }

    fn set_pmd(
        &mut self,
        memory: &impl GuestMemory,
        table: Gpa,
    ) -> Result<Result<(), NoMiddleTables>, Kill> {
        Shadow::set_pmd(self, memory, table)
    }

    fn flush_user(&mut self, _memory: &impl GuestMemory) -> Result<Progress, Kill> {
        Ok(Shadow::flush_user(self))
    }

    fn flush_all(&mut self, memory: &impl GuestMemory) -> Result<(), Kill> {
        Shadow::flush_all(self, memory)
    }

    fn set_kernel_address(&mut self, start: Gva) {
        Shadow::set_kernel_address(self, start);
    }

    fn refuse_leaf_flags(&mut self, flags: u64) {
        Shadow::refuse_leaf_flags(self, flags);
    }
}

impl<T, S> Mmu for AnyFormatShadow<T, S>
where
    T: TablePool + Default,
    S: AsRef<[Slot]> + AsMut<[Slot]> + Default,
{
    fn is_tired(&self) -> bool {
        AnyFormatShadow::is_tired(self)
    }

    fn page_fault(
        &mut self,
        memory: &impl GuestMemory,
        gva: Gva,
        error: u32,
    ) -> Result<Fault, Kill> {
        with_shadow!(self, shadow => Mmu::page_fault(shadow, memory, gva, error))
    }

    #[inline(always)]
    fn guest_access(
        &mut self,
        memory: &impl GuestMemory,
        gva: Gva,
        kind: AccessKind,
    ) -> Result<Result<Gpa, u32>, Kill> {
        with_shadow!(self, shadow => Mmu::guest_access(shadow, memory, gva, kind))
    }

    fn translate(&self, memory: &impl GuestMemory, gva: Gva) -> Option<Gpa> {
        with_shadow!(self, shadow => Mmu::translate(shadow, memory, gva))
    }

    fn set_stack(&mut self, memory: &impl GuestMemory, top: Gva, pages: u32) -> Result<(), Kill> {
        with_shadow!(self, shadow => Mmu::set_stack(shadow, memory, top, pages))
    }

    fn new_pgtable(&mut self, memory: &impl GuestMemory, root: Gpa) -> Result<(), Kill> {
        self.decide(memory, root);
        with_shadow!(self, shadow => Mmu::new_pgtable(shadow, memory, root))
    }

    #[inline(always)]
    fn set_pte(&mut self, memory: &impl GuestMemory, change: LeafChange) -> Result<(), Kill> {
        with_shadow!(self, shadow => Mmu::set_pte(shadow, memory, change))
    }

    fn set_ptes(
        &mut self,
        memory: &impl GuestMemory,
        changes: &mut impl Iterator<Item = LeafChange>,
    ) -> Result<(), Kill> {
        with_shadow!(self, shadow => Mmu::set_ptes(shadow, memory, changes))
    }

    fn set_pgd(&mut self, memory: &impl GuestMemory, root: Gpa, index: u32) -> Result<(), Kill> {
        with_shadow!(self, shadow => Mmu::set_pgd(shadow, memory, root, index))
    }

    fn set_pmd(
        &mut self,
        memory: &impl GuestMemory,
        table: Gpa,
    ) -> Result<Result<(), NoMiddleTables>, Kill> {
        with_shadow!(self, shadow => Mmu::set_pmd(shadow, memory, table))
    }

    fn flush_user(&mut self, memory: &impl GuestMemory) -> Result<Progress, Kill> {
        with_shadow!(self, shadow => Mmu::flush_user(shadow, memory))
    }

    fn flush_all(&mut self, memory: &impl GuestMemory) -> Result<(), Kill> {
        with_shadow!(self, shadow => Mmu::flush_all(shadow, memory))
    }

    fn set_kernel_address(&mut self, start: Gva) {
        with_shadow!(self, shadow => Mmu::set_kernel_address(shadow, start));
    }

    fn refuse_leaf_flags(&mut self, flags: u64) {
        with_shadow!(self, shadow => Mmu::refuse_leaf_flags(shadow, flags));
    }
}
