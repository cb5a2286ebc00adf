//! Links an application into a bootable image; the build script of every image.

fn main() {
    // The images in `tests/hosts` lie deeper than those in `apps`.
    let house = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(|directory| directory.join("linker/host.ld").exists())
        .expect("an image lies somewhere in the house")
        .display();
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
