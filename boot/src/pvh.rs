//! The PVH boot protocol (Xen public headers, `arch-x86/hvm/start_info.h`).

use crate::machine::{BootError, COMMAND_LINE, Module, RawMachine};
use hv_core::address::Hpa;
use hv_hw::direct_map;
use hv_hw::pci::firmware::{self, Root};

/// "xEn3", with the high bit of the E set.
const MAGIC: u32 = 0x336e_c578;
/// Type of usable memory in the memory map.
const RAM: u32 = 1;
/// Entries that a memory map can have before we take it for garbage.
const MAP_LIMIT: u32 = 1024;

#[derive(Clone, Copy)]
#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    module_count: u32,
    modules: u64,
    command_line: u64,
    root_pointer: u64,
    // From version 1 on.
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct ModuleEntry {
    address: u64,
    size: u64,
    command_line: u64,
    reserved: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct MemoryEntry {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

/// Copies what the loader left.
///
/// # Safety
/// `information` is what a PVH loader passed, mapped with all that it points to, unchanged.
pub(crate) unsafe fn read(information: u32) -> Result<RawMachine, BootError> {
    // SAFETY: the caller's promise.
    let info: StartInfo = unsafe { copy(u64::from(information), 0)? };
    if info.magic != MAGIC {
        return Err(BootError::BadInformation("neither PVH nor Multiboot2"));
    }
    if info.version < 1 || info.memory_map_entries == 0 {
        return Err(BootError::BadInformation("PVH without a memory map"));
    }
    if info.memory_map_entries > MAP_LIMIT {
        return Err(BootError::BadInformation("PVH memory map without end"));
    }
    let mut raw = RawMachine::default();
    for index in 0..info.memory_map_entries {
        // SAFETY: the caller's promise.
        let entry: MemoryEntry = unsafe { copy(info.memory_map, index)? };
        if entry.kind == RAM {
            let end = entry.address.saturating_add(entry.size);
            raw.add_ram(Hpa::new(entry.address)..Hpa::new(end))?;
        }
    }
    for index in 0..info.module_count {
        // SAFETY: the caller's promise.
        let entry: ModuleEntry = unsafe { copy(info.modules, index)? };
        raw.add_module(Module::new(Hpa::new(entry.address), entry.size))?;
    }
    if info.root_pointer != 0 {
        let root = Root::Pointer(Hpa::new(info.root_pointer));
        // SAFETY: the caller's promise; the boot's tables map the first 4 GiB.
        raw.ecam = unsafe { firmware::ecam(root) };
    }
    if info.command_line != 0 {
        for index in 0.. {
            // SAFETY: the caller's promise; the string ends with a NUL.
            let byte: u8 = unsafe { copy(info.command_line, index)? };
            if byte == 0 {
                break;
            }
            let error = BootError::TooMany {
                what: "bytes in the host's command line",
                limit: COMMAND_LINE,
            };
            raw.command_line.push(byte).map_err(|_| error)?;
        }
    }
    Ok(raw)
}

/// Copies element `index` of the array at a physical address, below the 4 GiB that are mapped.
///
/// # Safety
/// Such an array is there.
unsafe fn copy<T: Copy>(array: u64, index: u32) -> Result<T, BootError> {
    let size = size_of::<T>() as u64;
    let at = array.saturating_add(size * u64::from(index));
    if at.saturating_add(size) > 1 << 32 {
        return Err(BootError::BadInformation("PVH structures above 4 GiB"));
    }
    // SAFETY: the caller's promise, and the boot's tables map the first 4 GiB.
    Ok(unsafe {
        direct_map::pointer(Hpa::new(at))
            .cast::<T>()
            .read_unaligned()
    })
}
