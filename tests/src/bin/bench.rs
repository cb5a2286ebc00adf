//! Runs the guests that measure, prints a line `BENCH <row> <setting> <value> instructions` for each row in each setting, and
//! compares them with the baseline.
//!
//! Status 1 when a row got worse, is missing or is new, grows with the number of address spaces, or a guest did not come to its end.

use clap::Parser;
use hv_tests::bench::comparison::{Finding, compare};
use hv_tests::bench::setting::Run;
use hv_tests::bench::table::Table;
use hv_tests::bench::{document, growth};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

/// Machines that run at a time.
const AT_A_TIME: usize = 2;

/// What stands at the top of a baseline.
const HEAD: &str =
    "# Counted instructions: row, setting, count. `make bench UPDATE=1` writes this file.\n";

/// Counts what the operations of a guest take, and says which got worse.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    /// What was measured before: a line `<row> <setting> <count>` each.
    baseline: PathBuf,
    /// Write that file instead of comparing with it, and the figures into this document.
    #[arg(long)]
    update: Option<PathBuf>,
}

/// All runs, a few at a time.
fn measure() -> Result<Table, String> {
    let runs = Mutex::new(Run::all().into_iter());
    let next = || runs.lock().ok().and_then(|mut runs| runs.next());
    let table = Mutex::new(Table::default());
    let work = || {
        while let Some(run) = next() {
            let counts = run.measure()?;
            let mut table = table.lock().map_err(|_| "another run failed")?;
            for (row, count) in counts {
                table.add(&row, run.setting, count)?;
            }
        }
        Ok::<(), String>(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        let mut results = workers.into_iter().map(|worker| worker.join());
        results.try_for_each(|result| result.unwrap_or_else(|_| Err("a run panicked".into())))
    })?;
    table.into_inner().map_err(|error| error.to_string())
}

fn print(measured: &Table) {
    for ((row, setting), count) in measured.cells() {
        println!("BENCH {row} {setting} {count} instructions");
    }
}

fn judge(baseline: &Path, measured: &Table) -> Result<ExitCode, String> {
    let findings = compare(&Table::parse(&read(baseline)?)?, measured);
    for finding in &findings {
        println!("{finding}");
    }
    let growing = growth::growing(measured);
    for growth in &growing {
        println!("{growth}");
    }
    let count = |which: fn(&Finding) -> bool| findings.iter().filter(|&f| which(f)).count();
    let (failed, better) = (count(Finding::fails), count(|finding| !finding.fails()));
    let failed = failed + growing.len();
    let cells = measured.cells().count();
    println!("{cells} counts, {failed} failed, {better} better than the baseline");
    if better != 0 {
        println!("make bench UPDATE=1 renews the baseline");
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn update(baseline: &Path, document: &Path, measured: &Table) -> Result<ExitCode, String> {
    write(baseline, &format!("{HEAD}{measured}"))?;
    write(document, &document::renewed(&read(document)?, measured)?)?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn bench(arguments: &Arguments) -> Result<ExitCode, String> {
    let measured = measure()?;
    print(&measured);
    match &arguments.update {
        Some(document) => update(&arguments.baseline, document, &measured),
        None => judge(&arguments.baseline, &measured),
    }
}

fn main() -> ExitCode {
    bench(&Arguments::parse()).unwrap_or_else(|error| {
        eprintln!("libhv: {error}");
        ExitCode::FAILURE
    })
}
