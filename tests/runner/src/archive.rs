//! A writer of cpio archives in the `newc` format (Linux Documentation, "initramfs buffer format").
//!
//! PVH carries one module; this is how a kernel, its initrd and its command line become one.

/// A regular file that everybody may read.
const MODE: u32 = 0o100_644;
/// One that everybody may execute.
const EXECUTABLE: u32 = 0o100_755;
const TRAILER: &str = "TRAILER!!!";

/// An archive that is being written.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    files: u32,
}

impl Archive {
    /// Adds a file.
    pub fn file(mut self, name: &str, contents: &[u8]) -> Self {
        self.entry(name, MODE, contents);
        self
    }

    /// Adds a program.
    pub fn program(mut self, name: &str, contents: &[u8]) -> Self {
        self.entry(name, EXECUTABLE, contents);
        self
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, contents: &[u8]) {
        self.files += 1;
        let size = u32::try_from(contents.len()).expect("newc files are smaller than 4 GiB");
        // Inode, mode, uid, gid, links, mtime, size, device (2), special device (2), name size, checksum.
        let fields = [
            self.files,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name.len() as u32 + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn headers_and_contents_are_aligned_to_four_bytes() {
        let archive = Archive::default().file("kernel", b"12345").finish();
        assert_eq!(&archive[..6], b"070701");
        // 110 bytes of header and "kernel\0" make 117; the contents start at 120.
        assert_eq!(&archive[110..117], b"kernel\0");
        assert_eq!(&archive[117..128], b"\0\0\x0012345\0\0\0");
        assert_eq!(&archive[54..62], b"00000005");
        assert_eq!(&archive[128..134], b"070701");
        assert!(
            archive
                .windows(TRAILER.len())
                .any(|name| name == TRAILER.as_bytes())
        );
    }

    /// Another implementation reads back what was written, where there is one.
    #[test]
    fn python_reads_the_same_files() {
        let archive = Archive::default()
            .file("kernel", b"abc")
            .file("cmdline", b"x=1")
            .finish();
        let script = "
import sys
data, at, found = sys.stdin.buffer.read(), 0, []
while True:
    field = lambda n: int(data[at + 6 + 8 * n:at + 14 + 8 * n], 16)
    size, name_size = field(6), field(11)
    name = data[at + 110:at + 109 + name_size].decode()
    start = (at + 110 + name_size + 3) // 4 * 4
    if name == 'TRAILER!!!': break
    found.append((name, data[start:start + size].decode()))
    at = (start + size + 3) // 4 * 4
print(found)";
        let mut python = Command::new("python3")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        python.stdin.take().unwrap().write_all(&archive).unwrap();
        let output = python.wait_with_output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            "[('kernel', 'abc'), ('cmdline', 'x=1')]"
        );
    }
}
