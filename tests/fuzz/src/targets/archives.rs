//! Boot modules.

use hv_core::load::{Archive, Modules};

/// What a boot loader brings: everything that comes out of a module lies in it, in order and apart, and
/// what it is refused for is one clean line.
pub fn archives(module: &[u8]) {
    let inside = |part: &[u8]| {
        let (all, part) = (module.as_ptr_range(), part.as_ptr_range());
        all.start <= part.start && part.end <= all.end
    };
    let mut end = module.as_ptr();
    let mut files = 0_usize;
    // Behind an error there is nothing more.
    for file in Archive::new(module).into_iter().flatten().flatten() {
        files += 1;
        assert!(files <= module.len() / 110, "more files than headers");
        assert!(inside(file.name) && inside(file.contents));
        assert!(end <= file.name.as_ptr(), "files overlap");
        end = file.contents.as_ptr_range().end;
    }
    match Modules::parse(module) {
        Ok(modules) => {
            let parts = [modules.kernel, modules.initrd, modules.command_line];
            let parts = parts.into_iter().chain(modules.disks);
            assert!(parts.flatten().all(inside));
        }
        Err(error) => super::is_one_clean_line(&error),
    }
}
