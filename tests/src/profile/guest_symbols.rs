//! Names for addresses of a guest's kernel.

use elf::ElfBytes;
use elf::abi::{SHF_EXECINSTR, STT_FUNC, STT_NOTYPE};
use elf::endian::LittleEndian;

/// The functions of a kernel, in the order of their addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GuestSymbols {
    functions: Vec<Function>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Function {
    start: u64,
    /// The end of its section: what the compiler says of its size may leave gaps.
    limit: u64,
    name: String,
}

impl GuestSymbols {
    /// Those of an ELF file. A kernel that is none, or was stripped, has no names.
    pub fn of(kernel: &[u8]) -> Self {
        let functions = functions(kernel).unwrap_or_default();
        Self { functions }
    }

    /// The function at an address.
    pub fn at(&self, address: u32) -> Option<&str> {
        let address = u64::from(address);
        let after = (self.functions).partition_point(|function| function.start <= address);
        let function = self.functions.get(after.checked_sub(1)?)?;
        (address < function.limit).then_some(&function.name)
    }
}

fn functions(kernel: &[u8]) -> Option<Vec<Function>> {
    let file = ElfBytes::<LittleEndian>::minimal_parse(kernel).ok()?;
    let sections = file.section_headers()?;
    let (symbols, names) = file.symbol_table().ok()??;
    let function = |symbol: elf::symbol::Symbol| {
        // Labels of assembly have no type.
        if ![STT_FUNC, STT_NOTYPE].contains(&symbol.st_symtype()) {
            return None;
        }
        let section = sections.get(symbol.st_shndx.into()).ok()?;
        let is_code = section.sh_flags & u64::from(SHF_EXECINSTR) != 0;
        let name = names.get(symbol.st_name as usize).ok()?;
        (is_code && !name.is_empty()).then(|| Function {
            start: symbol.st_value,
            limit: section.sh_addr.saturating_add(section.sh_size),
            name: name.to_owned(),
        })
    };
    let mut functions: Vec<_> = symbols.iter().filter_map(function).collect();
    functions.sort_by(|a, b| (a.start, &a.name).cmp(&(b.start, &b.name)));
    Some(functions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest_image::GuestImage;

    fn function(start: u64, limit: u64, name: &str) -> Function {
        let name = name.to_owned();
        Function { start, limit, name }
    }

    #[test]
    fn an_address_is_in_the_function_before_it_until_the_section_ends() {
        let functions = vec![function(16, 48, "first"), function(32, 48, "second")];
        let symbols = GuestSymbols { functions };
        let names = [0, 15, 16, 31, 32, 47, 48, u32::MAX].map(|address| symbols.at(address));
        let (first, second) = (Some("first"), Some("second"));
        assert_eq!(
            names,
            [None, None, first, first, second, second, None, None]
        );
    }

    #[test]
    fn a_kernel_without_symbols_has_no_names() {
        for kernel in [vec![], b"not ELF".to_vec(), GuestImage::default().bytes()] {
            assert_eq!(GuestSymbols::of(&kernel), GuestSymbols::default());
        }
    }
}
