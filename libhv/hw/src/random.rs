//! Random numbers: the processor's own (Intel SDM volume 1, 7.3.17), or a device's.

use crate::virtio::RandomDevice;
use core::arch::x86_64::{_rdrand64_step, _rdseed64_step};
use hv_core::device::backend::Entropy;
use raw_cpuid::CpuId;

/// Tries after which RDRAND is taken for broken (Intel SDM volume 1, 7.3.17.1).
const DRAND_TRIES: u32 = 10;
/// Tries after which RDSEED's source is taken for exhausted for now; other processors may drain it.
const SEED_TRIES: u32 = 64;
/// Numbers drawn at the start. Some processors return the same one for ever after a suspend.
const SAMPLES: usize = 4;

/// An instruction that makes random numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Instruction {
    /// RDSEED: straight from the noise, now and then without an answer.
    Seed,
    /// RDRAND: from a generator that the noise seeds.
    Drand,
}

/// The processor as a source of randomness.
#[derive(Clone, Copy, Debug)]
pub struct Processor {
    instruction: Instruction,
}

impl Processor {
    /// The best that the processor has; `None` when it has nothing that works.
    pub fn new() -> Option<Self> {
        let cpuid = CpuId::new();
        let seed = cpuid
            .get_extended_feature_info()
            .is_some_and(|features| features.has_rdseed());
        let drand = cpuid
            .get_feature_info()
            .is_some_and(|features| features.has_rdrand());
        [(seed, Instruction::Seed), (drand, Instruction::Drand)]
            .into_iter()
            .filter(|(present, _)| *present)
            .map(|(_, instruction)| Self { instruction })
            .find(Self::works)
    }

    fn works(&self) -> bool {
        let mut samples = [0; SAMPLES];
        for sample in &mut samples {
            let Some(number) = self.draw() else {
                return false;
            };
            *sample = number;
        }
        samples.iter().any(|sample| *sample != samples[0])
    }

    /// A random number; `None` when there is none after a fixed number of tries.
    pub fn draw(&self) -> Option<u64> {
        let (tries, step): (_, unsafe fn(&mut u64) -> bool) = match self.instruction {
            Instruction::Seed => (SEED_TRIES, seed_step),
            Instruction::Drand => (DRAND_TRIES, drand_step),
        };
        let mut number = 0;
        // SAFETY: `new` saw in CPUID that the processor has the instruction.
        (0..tries)
            .any(|_| unsafe { step(&mut number) })
            .then_some(number)
    }

    /// Fills a start of `bytes` and returns its length.
    pub fn fill(&self, bytes: &mut [u8]) -> usize {
        let mut filled = 0;
        for chunk in bytes.chunks_mut(size_of::<u64>()) {
            let Some(number) = self.draw() else {
                break;
            };
            chunk.copy_from_slice(&number.to_le_bytes()[..chunk.len()]);
            filled += chunk.len();
        }
        filled
    }
}

/// Where the host's random bytes come from.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a host has one")]
pub enum Source {
    /// RDSEED or RDRAND.
    Processor(Processor),
    /// A virtio-rng device.
    Device(RandomDevice),
}

impl Entropy for Source {
    fn fill(&mut self, bytes: &mut [u8]) -> usize {
        match self {
            Source::Processor(processor) => processor.fill(bytes),
            Source::Device(device) => device.fill(bytes),
        }
    }
}

#[target_feature(enable = "rdseed")]
fn seed_step(number: &mut u64) -> bool {
    if _rdseed64_step(number) == 1 {
        return true;
    }
    // The noise needs time to come in again.
    core::hint::spin_loop();
    false
}

#[target_feature(enable = "rdrand")]
fn drand_step(number: &mut u64) -> bool {
    _rdrand64_step(number) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_working_processor_fills_all_of_an_odd_length() {
        if let Some(processor) = Processor::new() {
            let mut bytes = [0; 61];
            assert_eq!(processor.fill(&mut bytes), 61);
            assert!(bytes[56..].iter().any(|byte| *byte != 0));
        }
    }
}
