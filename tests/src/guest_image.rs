//! Smallest possible guest kernels, good and bad: a header, one segment, and code that powers off.
//!
//! Numbers are those of the System V ABI (ELF), chapters 4 and 5.

/// An ELF file with one loadable segment.
#[derive(Clone, Debug)]
pub struct GuestImage {
    /// `EI_CLASS`: 1 for 32 bits, 2 for 64.
    pub class: u8,
    /// `e_machine`.
    pub machine: u16,
    /// `e_entry`.
    pub entry: u32,
    /// Physical and virtual address of the segment.
    pub address: u32,
    /// Bytes of the segment in memory.
    pub memory: u32,
    /// Its first bytes, from the file.
    pub code: Vec<u8>,
}

const FILE_HEADER: u32 = 52;
const PROGRAM_HEADER: u32 = 32;

impl Default for GuestImage {
    fn default() -> Self {
        // ud2: a guest that gets so far is killed, with a trap that it has no handler for.
        let code = vec![0x0f, 0x0b];
        GuestImage {
            class: 1,
            machine: 3,
            entry: 0x10_0000,
            address: 0x10_0000,
            memory: 4096,
            code,
        }
    }
}

impl GuestImage {
    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = vec![0x7f, b'E', b'L', b'F', self.class, 1, 1];
        file.resize(16, 0);
        let half = |file: &mut Vec<u8>, value: u16| file.extend_from_slice(&value.to_le_bytes());
        let word = |file: &mut Vec<u8>, value: u32| file.extend_from_slice(&value.to_le_bytes());
        // Executable, machine, version; entry, program headers, section headers, flags.
        half(&mut file, 2);
        half(&mut file, self.machine);
        [1, self.entry, FILE_HEADER, 0, 0]
            .into_iter()
            .for_each(|value| word(&mut file, value));
        let sizes = [FILE_HEADER as u16, PROGRAM_HEADER as u16, 1, 40, 0, 0];
        sizes.into_iter().for_each(|value| half(&mut file, value));
        // PT_LOAD: offset, addresses, sizes, R+W+X, alignment.
        let length = self.code.len() as u32;
        let offset = FILE_HEADER + PROGRAM_HEADER;
        [
            1,
            offset,
            self.address,
            self.address,
            length,
            self.memory,
            7,
            1,
        ]
        .into_iter()
        .for_each(|value| word(&mut file, value));
        file.extend_from_slice(&self.code);
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elf::ElfBytes;
    use elf::endian::LittleEndian;

    #[test]
    fn another_reader_finds_the_segment() {
        let image = GuestImage::default().bytes();
        let file = ElfBytes::<LittleEndian>::minimal_parse(&image).unwrap();
        assert_eq!((file.ehdr.e_machine, file.ehdr.e_entry), (3, 0x10_0000));
        let segment = file.segments().unwrap().get(0).unwrap();
        assert_eq!(
            (segment.p_paddr, segment.p_filesz, segment.p_memsz),
            (0x10_0000, 2, 4096)
        );
        assert_eq!(file.segment_data(&segment).unwrap(), [0x0f, 0x0b]);
    }
}
