//! The guest's descriptor table, in the form that the processor may see.

use super::Descriptor;
use hv_abi::lguest::{GDT_ENTRIES, GDT_IGNORED, KERNEL_CS, KERNEL_DS, TLS_ENTRIES, TLS_FIRST};

/// The index is past the table's 32 entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoSuchEntry(pub u32);

/// What became of entries that were to be replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replaced {
    /// They are the ones that were there.
    Same,
    /// They are others.
    Others,
}

/// Descriptors 0 to 31: only allow-listed, fixed-up ones; a refused one is all zero, so that loading
/// it faults in the guest. Entries 0, 10, 11, 16 and 31 are always zero.
///
/// What the guest sent is not kept: nothing in the ABI reads a descriptor back.
#[derive(Clone, Debug)]
pub struct GuestGdt {
    live: [u64; GDT_ENTRIES],
}

impl Default for GuestGdt {
    fn default() -> Self {
        Self::new()
    }
}

impl GuestGdt {
    /// The table a guest starts with: flat ring-1 code and data, nothing else.
    pub fn new() -> Self {
        let mut gdt = Self {
            live: [0; GDT_ENTRIES],
        };
        gdt.set(usize::from(KERNEL_CS >> 3), Descriptor::FLAT_CODE);
        gdt.set(usize::from(KERNEL_DS >> 3), Descriptor::FLAT_DATA);
        gdt
    }

    fn set(&mut self, index: usize, descriptor: Descriptor) {
        if let Some(entry) = self.live.get_mut(index) {
            *entry = descriptor.raw();
        }
    }

    /// LOAD_GDT_ENTRY: replaces entry `index`.
    pub fn load(&mut self, index: u32, descriptor: Descriptor) -> Result<(), NoSuchEntry> {
        let entry = usize::try_from(index).map_err(|_| NoSuchEntry(index))?;
        if entry >= GDT_ENTRIES {
            return Err(NoSuchEntry(index));
        }
        // The processor never reads entry 0; keeping it zero keeps the null selector null for us too.
        if entry != 0 && !GDT_IGNORED.contains(&entry) {
            self.set(entry, descriptor.for_guest().unwrap_or(Descriptor::ABSENT));
        }
        Ok(())
    }

    /// LOAD_TLS: replaces the three thread-local entries and no others. Says whether that made a difference: tasks
    /// of one program have the same ones.
    pub fn load_tls(&mut self, descriptors: [Descriptor; TLS_ENTRIES]) -> Replaced {
        let mut replaced = Replaced::Same;
        let entries = self.live.iter_mut().skip(TLS_FIRST);
        for (entry, descriptor) in entries.zip(descriptors) {
            let new = descriptor.for_guest().unwrap_or(Descriptor::ABSENT).raw();
            if *entry != new {
                *entry = new;
                replaced = Replaced::Others;
            }
        }
        replaced
    }

    /// The descriptor that `selector` names: absent for the null selector, for the LDT, which this
    /// ABI does not have, and past the table.
    pub fn descriptor(&self, selector: u32) -> Descriptor {
        const LOCAL_TABLE: u32 = 1 << 2;
        if selector & LOCAL_TABLE != 0 {
            return Descriptor::ABSENT;
        }
        let index = ((selector & 0xffff) >> 3) as usize;
        match self.live.get(index) {
            Some(&raw) => Descriptor::new(raw),
            None => Descriptor::ABSENT,
        }
    }

    /// The entries, as the live table has to hold them.
    pub fn entries(&self) -> &[u64; GDT_ENTRIES] {
        &self.live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER_DATA: Descriptor = Descriptor::from_words(0xffff, 0x00cf_f200);

    #[test]
    fn the_initial_table_has_kernel_code_and_data_only() {
        let gdt = GuestGdt::new();
        for (index, &entry) in gdt.entries().iter().enumerate() {
            assert_eq!(entry != 0, index == 12 || index == 13, "entry {index}");
        }
    }

    /// LG-057, and the null entry.
    #[test]
    fn lg057_the_host_s_own_entries_never_change() {
        let mut gdt = GuestGdt::new();
        for index in 0..32 {
            gdt.load(index, USER_DATA).unwrap();
        }
        for (index, &entry) in gdt.entries().iter().enumerate() {
            assert_eq!(
                entry == 0,
                [0, 10, 11, 16, 31].contains(&index),
                "entry {index}"
            );
        }
    }

    /// LG-058, A-13.
    #[test]
    fn lg058_a13_indices_past_the_table_are_refused() {
        let mut gdt = GuestGdt::new();
        for index in [32, 33, 0x8000_0000, u32::MAX] {
            assert_eq!(gdt.load(index, USER_DATA), Err(NoSuchEntry(index)));
        }
        assert_eq!(gdt.entries(), GuestGdt::new().entries());
    }

    #[test]
    fn lg060_thread_local_loads_replace_entries_6_7_and_8() {
        let mut gdt = GuestGdt::new();
        assert_eq!(gdt.load_tls([USER_DATA; 3]), Replaced::Others);
        assert_eq!(gdt.load_tls([USER_DATA; 3]), Replaced::Same);
        for (index, &entry) in gdt.entries().iter().enumerate() {
            assert_eq!(
                entry != 0,
                matches!(index, 6..=8 | 12 | 13),
                "entry {index}"
            );
        }
    }

    /// LG-063: a refused descriptor also takes away what was there before.
    #[test]
    fn lg063_a_refused_descriptor_leaves_the_entry_empty() {
        let mut gdt = GuestGdt::new();
        for refused in [
            0x0000_8900,
            0x0000_8c00,
            0x00af_9a00,
            0x00cf_da00,
            0x00cf_9e00,
        ] {
            gdt.load(14, USER_DATA).unwrap();
            gdt.load(14, Descriptor::from_words(0xffff, refused))
                .unwrap();
            assert_eq!(gdt.entries()[14], 0, "{refused:#x}");
        }
    }

    #[test]
    fn selectors_name_entries_of_this_table_only() {
        let gdt = GuestGdt::new();
        assert_eq!(gdt.descriptor(0x61), Descriptor::FLAT_CODE);
        assert_eq!(gdt.descriptor(0x69), Descriptor::FLAT_DATA);
        for absent in [0, 3, 0x6d, 0x100, 0xffff] {
            assert_eq!(gdt.descriptor(absent), Descriptor::ABSENT, "{absent:#x}");
        }
    }
}
