//! The Multiboot2 boot protocol, by way of the `multiboot2` crate.

use crate::machine::{BootError, COMMAND_LINE, Module, RawMachine};
use hv_core::address::Hpa;
use hv_hw::direct_map;
use hv_hw::pci::firmware::{self, Root};
use multiboot2::{BootInformation, BootInformationHeader, MemoryAreaType};

pub(crate) use multiboot2::MAGIC;

/// Copies what the loader left.
///
/// # Safety
/// `information` is what a Multiboot2 loader passed, mapped with all that it points to, unchanged.
pub(crate) unsafe fn read(information: u32) -> Result<RawMachine, BootError> {
    let pointer = direct_map::pointer(Hpa::new(information.into()));
    // SAFETY: the caller's promise; the boot's tables map the first 4 GiB.
    let info = unsafe { BootInformation::load(pointer.as_ptr().cast::<BootInformationHeader>()) }
        .map_err(|_| BootError::BadInformation("Multiboot2 information is malformed"))?;
    let map = info
        .memory_map_tag()
        .ok_or(BootError::BadInformation("Multiboot2 without a memory map"))?;
    let mut raw = RawMachine::default();
    for area in map.memory_areas() {
        if area.typ() == MemoryAreaType::Available {
            raw.add_ram(Hpa::new(area.start_address())..Hpa::new(area.end_address()))?;
        }
    }
    for module in info.module_tags() {
        raw.add_module(Module::new(
            Hpa::new(module.start_address().into()),
            module.module_size().into(),
        ))?;
    }
    let maker = match (info.rsdp_v2_tag(), info.rsdp_v1_tag()) {
        (Some(tag), _) => tag.oem_id(),
        (None, Some(tag)) => tag.oem_id(),
        (None, None) => Ok(""),
    };
    hv_hw::debug_exit::firmware_made_by(maker.unwrap_or_default());
    let root = match (info.rsdp_v2_tag(), info.rsdp_v1_tag()) {
        (Some(tag), _) => Some((tag.revision(), tag.xsdt_address())),
        (None, Some(tag)) => Some((0, tag.rsdt_address())),
        (None, None) => None,
    };
    if let Some((revision, at)) = root {
        let at = Hpa::new(at as u64);
        // SAFETY: the caller's promise; the boot's tables map the first 4 GiB.
        raw.ecam = unsafe { firmware::ecam(Root::Table { revision, at }) };
    }
    if let Some(tag) = info.command_line_tag() {
        let text = tag
            .cmdline()
            .map_err(|_| BootError::BadInformation("command line is no text"))?;
        let error = BootError::TooMany {
            what: "bytes in the host's command line",
            limit: COMMAND_LINE,
        };
        raw.command_line
            .extend_from_slice(text.as_bytes())
            .map_err(|_| error)?;
    }
    Ok(raw)
}
