//! Settling the generation at a guest's first call (2.5).

use super::Lguest;
use crate::address::Gpa;
use crate::device::Devices;
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::personality::Mmu;
use crate::registers::Registers;
use hv_abi::lguest::data::{RING_SLOTS, SLOT_EMPTY};
use hv_abi::lguest::{Arguments, Entry, Family, Generation, generations};

/// The family of a generation that was not among those to choose from.
pub(super) type Likely = Option<Family>;

/// Kernels live above this address.
const LOWEST_KERNEL: u32 = 0x4000_0000;
const PAGE_MASK: u32 = 0xfff;

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// The guest makes its first call, with `regs`. What it is taken for is kept if the call makes sense
    /// in it; if not, the newest generation that the user allows and in which it does is taken instead.
    /// Where there is none, the guest stays what it is, and the reason why it is about to end names the
    /// one that the user might have meant.
    #[cold]
    pub(super) fn settle_generation(&mut self, regs: &Registers) -> Result<(), Kill> {
        if fits(&self.memory, regs, self.generation) {
            return Ok(());
        }
        // A kernel that starts at its marker is known by it, or it would not have come this far.
        let mut fitting = generations::ALL
            .into_iter()
            .filter(|generation| generation.entry != Entry::Marker)
            .filter(|generation| fits(&self.memory, regs, generation));
        match fitting
            .clone()
            .find(|generation| self.choice.allows(generation))
        {
            Some(generation) => self.adopt(generation)?,
            None => {
                // The user may have been right about the family.
                let told = self.generation.family;
                let closest = fitting.clone().find(|generation| generation.family == told);
                self.likely = closest
                    .or(fitting.next())
                    .map(|generation| generation.family);
            }
        }
        Ok(())
    }

    /// From now on the guest speaks `generation`.
    fn adopt(&mut self, generation: &'static Generation) -> Result<(), Kill> {
        let bus = generation.devices;
        if bus != self.generation.devices {
            self.memory.choose_bus(bus);
            self.devices.choose_bus(&self.memory, bus);
            // What was above RAM so far may be mapped.
            self.mmu.flush_all(&self.memory)?;
        }
        self.generation = generation;
        Ok(())
    }

    /// The guest uses `vmcall` before its first call came through: it is G3, if the user allows that.
    pub(super) fn settle_on_vmcall(&mut self) -> Result<(), Kill> {
        let called = generations::ALL
            .into_iter()
            .filter(|generation| generation.family == Family::G3)
            .find(|generation| self.choice.allows(generation));
        match called {
            Some(generation) => self.adopt(generation)?,
            None => self.likely = Some(Family::G3),
        }
        Ok(())
    }
}

/// Whether LGUEST_INIT with `regs` makes sense in `generation`: its argument names an `lguest_data` in
/// RAM with an empty ring, a system call vector and a kernel's address where they belong.
fn fits(memory: &impl GuestMemory, regs: &Registers, generation: &Generation) -> bool {
    let layout = &generation.data;
    let base = Gpa::from(match generation.arguments {
        Arguments::EdxEbxEcx => regs.edx,
        Arguments::EbxEcxEdxEsi => regs.ebx,
    });
    if !memory.contains(base, layout.size.into()) {
        return false;
    }
    let mut status = [0; RING_SLOTS as usize];
    let ring = base.wrapping_add(layout.hcall_status.into());
    if memory.read(ring, &mut status).is_err() || status.iter().any(|&byte| byte != SLOT_EMPTY) {
        return false;
    }
    let word = |offset: u32| memory.read_u32(base.wrapping_add(offset.into())).ok();
    let Some(fields) = layout.kernel else {
        return true;
    };
    let (Some(vector), Some(address)) = (word(fields.syscall_vector), word(fields.address)) else {
        return false;
    };
    let mut vectors = generation.syscall_vectors.iter();
    vectors.any(|&allowed| u32::from(allowed) == vector)
        && address >= LOWEST_KERNEL
        && address & PAGE_MASK == 0
}
