//! All of a disk, with as many transfers under way as it takes.

use crate::interrupts::Interrupts;
use crate::report::say;
use hv_core::device::backend::{Disk as _, Operation, SECTOR};
use hv_hw::virtio::Disk;

/// FNV-1a, 64 bits.
pub fn checksum(seed: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325 ^ seed, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        })
}

/// What a sector is filled with: bytes that say where they belong.
fn pattern(sector: u64, bytes: &mut [u8]) {
    for (word, index) in bytes.chunks_exact_mut(8).zip(0..) {
        let value = (sector << 8 | index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word.copy_from_slice(&value.to_le_bytes());
    }
}

/// Calls `step` for every part of the disk, and `ended` with each that was transferred.
fn transfer(
    disk: &mut Disk,
    interrupts: &mut Interrupts,
    mut prepare: impl FnMut(u64, &mut [u8]) -> Operation,
    mut ended: impl FnMut(u64, &mut [u8]),
) -> Result<(), u64> {
    let size = disk.buffer(0).len();
    let sectors = disk.sectors();
    let mut at = [0; 64];
    let mut free: [bool; 64] = core::array::from_fn(|buffer| buffer < disk.buffers());
    let (mut next, mut left) = (0, sectors);
    while left != 0 {
        while next < sectors {
            let Some(buffer) = free.iter().position(|free| *free) else {
                break;
            };
            let count = (sectors - next).min(size as u64 / u64::from(SECTOR));
            let bytes = (count * u64::from(SECTOR)) as usize;
            let operation = prepare(next, &mut disk.buffer(buffer)[..bytes]);
            if disk.start(buffer, operation).is_err() {
                break;
            }
            (at[buffer], free[buffer]) = (next, false);
            next += count;
        }
        let Some(completion) = disk.completed() else {
            interrupts.wait();
            continue;
        };
        let sector = at[completion.buffer];
        completion.result.map_err(|_| sector)?;
        let count = (sectors - sector).min(size as u64 / u64::from(SECTOR));
        let bytes = (count * u64::from(SECTOR)) as usize;
        ended(sector, &mut disk.buffer(completion.buffer)[..bytes]);
        free[completion.buffer] = true;
        left -= count;
    }
    Ok(())
}

/// Fills the disk and flushes it.
pub fn fill(disk: &mut Disk, interrupts: &mut Interrupts) {
    let filled = transfer(
        disk,
        interrupts,
        |first, bytes| {
            for (sector, bytes) in (first..).zip(bytes.chunks_exact_mut(SECTOR as usize)) {
                pattern(sector, bytes);
            }
            Operation::Write {
                sector: first,
                bytes: bytes.len() as u32,
            }
        },
        |_, _| (),
    );
    if let Err(sector) = filled {
        return say!("write error at sector {sector}");
    }
    disk.start(0, Operation::Flush)
        .expect("nothing is under way");
    let result = loop {
        match disk.completed() {
            Some(completion) => break completion.result,
            None => interrupts.wait(),
        }
    };
    match result {
        Ok(()) => say!("flushed"),
        Err(_) => say!("flush failed"),
    }
}

/// Reads the disk and prints the sum of its sectors' checksums, in which each sector's place counts.
pub fn sum(disk: &mut Disk, interrupts: &mut Interrupts) {
    let mut total = 0_u64;
    let read = transfer(
        disk,
        interrupts,
        |sector, bytes| Operation::Read {
            sector,
            bytes: bytes.len() as u32,
        },
        |first, bytes| {
            for (sector, bytes) in (first..).zip(bytes.chunks_exact(SECTOR as usize)) {
                total = total.wrapping_add(checksum(sector, bytes));
            }
        },
    );
    match read {
        Ok(()) => say!(
            "{} sectors, {:?}, serial {}, sum {total:016x}",
            disk.sectors(),
            disk.writing(),
            core::str::from_utf8(&disk.serial())
                .unwrap_or_default()
                .trim_end_matches('\0'),
        ),
        Err(sector) => say!("read error at sector {sector}"),
    }
}
