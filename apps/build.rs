//! Links an application into a bootable image; the build script of every application and test host.

use std::path::Path;

const SCRIPT: &str = "linker/host.ld";

fn main() {
    let house = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(|directory| directory.join(SCRIPT).exists())
        .expect("an image is built inside the repository, which has the link script");
    let script = house.join(SCRIPT);
    println!("cargo:rerun-if-changed={}", script.display());
    let arguments = [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,-z,max-page-size=4096",
        "-Wl,-z,noexecstack",
        "-Wl,-z,norelro",
        "-Wl,--no-dynamic-linker",
        "-Wl,-Tdefmt.x",
    ];
    for argument in arguments {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    println!("cargo:rustc-link-arg-bins=-Wl,-T{}", script.display());
    // Where the Makefile puts the guest kernels that applications embed.
    println!("cargo:rustc-env=GUESTS={}/build/guests", house.display());
}
