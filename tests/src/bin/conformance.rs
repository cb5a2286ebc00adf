//! `conformance FILE...`: prints the conformance matrix from what test programs wrote to the files.
//!
//! Status 1 when a statement is not shown where it has to be, or any test failed.

use hv_tests::conformance::{evidence::Evidence, matrix::Matrix, statement};
use std::process::ExitCode;

fn main() -> Result<ExitCode, String> {
    let mut output = String::new();
    for file in std::env::args_os().skip(1) {
        let text =
            std::fs::read(&file).map_err(|error| format!("{}: {error}", file.to_string_lossy()))?;
        output.push_str(&String::from_utf8_lossy(&text));
        output.push('\n');
    }
    let statements = statement::parse(include_str!("../../conformance/statements.txt"))?;
    let matrix = Matrix::new(&statements, &Evidence::read(&output));
    for row in &matrix.rows {
        println!("{row}");
    }
    for complaint in &matrix.complaints {
        println!("{complaint}");
    }
    let [passed, failed, skipped] = matrix.totals();
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(if matrix.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
