//! Makes a flame graph and a table of what an image with the exit trace logged.
//!
//! The last line on standard output is the picture's path. Beside the picture lie its stacks, with the extension
//! `folded`, for other tools.

use clap::Parser;
use hv_tests::profile::fold::fold;
use hv_tests::profile::guest_symbols::GuestSymbols;
use hv_tests::profile::picture::draw;
use hv_tests::profile::record::Profile;
use hv_tests::profile::table::Table;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Draws where a guest's exits come from, and what they cost.
#[derive(Parser)]
#[command(name = "profile")]
struct Arguments {
    /// The host's log.
    log: PathBuf,
    /// The guest's kernel; symbols of an ELF file name its addresses.
    #[arg(long)]
    kernel: PathBuf,
    /// The picture.
    #[arg(long)]
    picture: PathBuf,
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, contents: &[u8]) -> Result<(), String> {
    std::fs::write(path, contents).map_err(|error| format!("{}: {error}", path.display()))
}

/// Why the host stopped, if it said so.
fn stop(log: &str) -> &str {
    let mut lines = log.lines().rev();
    let reason = lines.find_map(|line| line.strip_prefix(hv_runner::STOP));
    reason.unwrap_or("the host has not stopped")
}

fn profile(arguments: &Arguments) -> Result<(), String> {
    let log = read(&arguments.log)?;
    let log = String::from_utf8_lossy(&log);
    let profile =
        Profile::parse(log.lines()).map_err(|error| format!("{error}: {}", stop(&log)))?;
    let stacks = fold(&profile, &GuestSymbols::of(&read(&arguments.kernel)?));
    let name = arguments.kernel.file_name().unwrap_or_default();
    let subtitle = format!(
        "{} instructions of guest and host; {}",
        profile.guest() + profile.host(),
        stop(&log)
    );
    let picture = draw(&stacks, &name.to_string_lossy(), &subtitle)?;
    write(&arguments.picture, &picture)?;
    let folded = arguments.picture.with_extension("folded");
    write(&folded, (stacks.join("\n") + "\n").as_bytes())?;
    print!("{}", Table(&profile));
    println!("{}", arguments.picture.display());
    Ok(())
}

fn main() -> ExitCode {
    match profile(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("libhv: {error}");
            ExitCode::FAILURE
        }
    }
}
