//! Every target on what libFuzzer found worth keeping, and on a fixed number of changes to it. The changes
//! are the same in every run: a failure here is one that everybody sees.

use hv_fuzz::{TARGETS, Target};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

/// Executions of each target beside the corpus.
const EXECUTIONS: u32 = 20_000;

/// Numbers that look random (xorshift64*, Vigna 2016).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = 1 + self.below(most);
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// Files of the target's corpus, in the order of their names.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name);
    let mut paths: Vec<_> = directory
        .read_dir()
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("a directory can be read").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has a corpus", target.name);
    let read = |path| std::fs::read(path).expect("a file can be read");
    paths.into_iter().map(read).collect()
}

/// One of `inputs`, changed in a few places.
fn change(inputs: &[Vec<u8>], length: usize, numbers: &mut Numbers) -> Vec<u8> {
    let mut input = inputs[numbers.below(inputs.len())].clone();
    for _ in 0..=numbers.below(6) {
        let at = numbers.below(input.len() + 1);
        match numbers.below(5) {
            0 if at < input.len() => input[at] = numbers.next() as u8,
            1 if at < input.len() => input[at] ^= 1 << numbers.below(8),
            2 => {
                let end = (at + numbers.below(16)).min(input.len());
                input.drain(at..end);
            }
            3 => {
                let new = numbers.bytes(32);
                input.splice(at..at, new);
            }
            _ => {
                let other = &inputs[numbers.below(inputs.len())];
                let start = numbers.below(other.len() + 1);
                let end = (start + numbers.below(64)).min(other.len());
                input.splice(at..at, other[start..end].iter().copied());
            }
        }
    }
    input.truncate(length);
    input
}

/// Runs the target once. An input that fails is kept, for a debugger or libFuzzer.
fn execute(target: &Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.input", target.name));
        std::fs::write(&path, input).expect("a file can be written");
        eprintln!("the input is in {}", path.display());
        resume_unwind(panic);
    }
}

fn run(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.expect("a target of this name");
    let inputs = corpus(target);
    inputs.iter().for_each(|input| execute(target, input));
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for _ in 0..EXECUTIONS {
        execute(target, &change(&inputs, target.length, &mut numbers));
    }
}

/// A test for each target, by its name.
macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_tested() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(TARGETS.map(|target| target.name), tested);
        }
    };
}

targets! {
    archives command_lines descriptors devices_dma devices_page devices_pci hypercalls instructions kernels
    shadow_pae shadow_two_level
}
