//! Smallest possible bzImages (Linux boot protocol, Documentation/x86/boot): one sector of setup code with a
//! header, then code that runs at 1 MiB.

const SECTOR: usize = 512;
/// Offset of the header's last field, `init_size`, and its end.
const INIT_SIZE: usize = 0x260;
const HEADER_END: u8 = 0x64;
/// Version of the protocol: with `xloadflags`.
const VERSION: u16 = 0x20c;
const ONE_MIB: u32 = 1 << 20;

/// A bzImage that runs `code`.
pub fn bzimage(code: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 2 * SECTOR];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    // setup_sects, syssize in paragraphs, a jump over the header, its magic number and version.
    put(0x1f1, &[1]);
    put(0x1f4, &(code.len() as u32).div_ceil(16).to_le_bytes());
    put(0x200, &[0xeb, HEADER_END - 2]);
    put(0x202, b"HdrS");
    put(0x206, &VERSION.to_le_bytes());
    // loadflags: LOADED_HIGH. code32_start, pref_address, init_size.
    put(0x211, &[1]);
    put(0x214, &ONE_MIB.to_le_bytes());
    put(0x258, &u64::from(ONE_MIB).to_le_bytes());
    put(INIT_SIZE, &ONE_MIB.to_le_bytes());
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_where_the_protocol_wants_it() {
        let file = bzimage(b"code");
        // A short jump from 0x200 ends behind init_size.
        assert_eq!(0x202 + usize::from(file[0x201]), INIT_SIZE + 4);
        assert_eq!(&file[0x202..0x206], b"HdrS");
        assert_eq!(&file[1024..], b"code");
    }
}
