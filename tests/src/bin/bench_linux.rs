//! Measures what a process of a user's own Linux kernel sees, bare and hosted, side by side: once in counted instructions, and
//! once in the time that QEMU takes, which TLB flushes cost too.
//!
//! A line `BENCH-LINUX <row> <measure> bare <ticks> shared <ticks> <ratio>x isolated <ticks> <ratio>x` for each row and measure.

use clap::Parser;
use hv_runner::Clock;
use hv_tests::bench::linux::{Linux, PLACES, geometric_mean, median};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What is measured, and the clock of the machine that does.
const MEASURES: [(&str, Clock); 2] = [("counted", Clock::Counted), ("time", Clock::Real)];

/// Measures a kernel bare and hosted.
#[derive(Parser)]
#[command(name = "bench_linux")]
struct Arguments {
    /// The kernel, a bzImage built with CONFIG_LGUEST_GUEST.
    kernel: PathBuf,
    /// The program that measures.
    #[arg(long)]
    program: PathBuf,
    /// Files to boot with, to which the program is added.
    #[arg(long)]
    initrd: Option<PathBuf>,
    /// Runs of each, one place after the other; the medians are printed.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: u32,
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The ticks of each row: for each place, those of all runs.
type Rows = Vec<(String, [Vec<u32>; PLACES.len()])>;

fn measure(linux: &Linux, arguments: &Arguments, clock: Clock) -> Result<Rows, String> {
    let mut rows = Rows::new();
    for _ in 0..arguments.runs {
        for (column, place) in PLACES.into_iter().enumerate() {
            for (row, ticks) in linux.measure(&arguments.kernel, place, clock)? {
                let at = rows.iter().position(|(name, _)| *name == row);
                let at = at.unwrap_or_else(|| {
                    rows.push((row, Default::default()));
                    rows.len() - 1
                });
                rows[at].1[column].push(ticks);
            }
        }
    }
    Ok(rows)
}

fn print(measure: &str, rows: Rows) -> Result<(), String> {
    let mut ratios = [Vec::new(), Vec::new()];
    for (row, places) in rows {
        let [Some(bare), Some(shared), Some(isolated)] = places.map(median) else {
            return Err(format!("{row}: not measured everywhere"));
        };
        let hosted = [shared, isolated].map(|ticks| f64::from(ticks) / f64::from(bare.max(1)));
        for (all, ratio) in ratios.iter_mut().zip(hosted) {
            all.push(ratio);
        }
        let [to_shared, to_isolated] = hosted;
        println!(
            "BENCH-LINUX {row} {measure} bare {bare} shared {shared} {to_shared:.2}x isolated {isolated} {to_isolated:.2}x"
        );
    }
    let [shared, isolated] = ratios.map(|all| geometric_mean(&all));
    println!("BENCH-LINUX geometric_mean {measure} shared {shared:.2}x isolated {isolated:.2}x");
    Ok(())
}

fn compare(arguments: &Arguments) -> Result<(), String> {
    let initrd = arguments.initrd.as_deref().map(read).transpose()?;
    let linux = Linux::new(read(&arguments.kernel)?, initrd, &read(&arguments.program)?);
    for (name, clock) in MEASURES {
        print(name, measure(&linux, arguments, clock)?)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match compare(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("libhv: {error}");
            ExitCode::FAILURE
        }
    }
}
