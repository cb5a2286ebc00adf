//! `matrix conformance|attack|bochs FILE...`: prints what the test programs that wrote the files have shown about each
//! statement of the ABI, or about each attack, on QEMU or on Bochs.
//!
//! Status 1 when an item is not shown where it has to be, or any test failed.

use hv_tests::attack::{self, Attacks};
use hv_tests::conformance::{self, Checklist};
use hv_tests::matrix::evidence::Evidence;
use hv_tests::matrix::series::Series;
use hv_tests::matrix::statement::Statement;
use hv_tests::matrix::table::Matrix;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> Result<ExitCode, String> {
    let mut arguments = std::env::args_os().skip(1);
    let list = arguments.next().unwrap_or_default();
    let output = read(arguments)?;
    match list.to_str() {
        Some("conformance") => Ok(print::<Checklist>(&conformance::statements()?, &output)),
        Some("attack") => Ok(print::<Attacks>(&attack::statements()?, &output)),
        Some("bochs") => Ok(print::<Attacks>(&attack::statements_on_bochs()?, &output)),
        _ => Err("which list? conformance, attack or bochs".into()),
    }
}

fn read(files: impl Iterator<Item = OsString>) -> Result<String, String> {
    let mut output = String::new();
    for file in files {
        let text =
            std::fs::read(&file).map_err(|error| format!("{}: {error}", file.to_string_lossy()))?;
        output.push_str(&String::from_utf8_lossy(&text));
        output.push('\n');
    }
    Ok(output)
}

fn print<S: Series>(statements: &[Statement<S::Setting>], output: &str) -> ExitCode {
    let matrix = Matrix::<S>::new(statements, &Evidence::read::<S>(output));
    for row in &matrix.rows {
        println!("{row}");
    }
    for complaint in &matrix.complaints {
        println!("{complaint}");
    }
    let [passed, failed, skipped] = matrix.totals();
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if matrix.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
