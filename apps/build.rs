//! Links an application into a bootable image; every application's build script.

fn main() {
    let house = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let script = format!("{house}/linker/host.ld");
    println!("cargo:rerun-if-changed={script}");
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
    println!("cargo:rustc-link-arg-bins=-Wl,-T{script}");
    // Where the Makefile puts the guest kernels that applications embed.
    println!("cargo:rustc-env=GUESTS={house}/build/guests");
}
