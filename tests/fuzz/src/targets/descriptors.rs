//! Segment descriptors.

use crate::input::Input;
use hv_abi::lguest::{GDT_IGNORED, TLS_ENTRIES};
use hv_core::segment::{Descriptor, GuestGdt};

/// Loads of any descriptors into any entries: the live table has nothing but what a guest may have, and what
/// a selector names is what the table has.
pub fn descriptors(data: &[u8]) {
    let mut input = Input::new(data);
    let mut gdt = GuestGdt::new();
    while !input.is_empty() {
        match input.byte() {
            0..200 => {
                let index = u32::from(input.byte());
                load(&mut gdt, index, input.long());
            }
            200..224 => load(&mut gdt, input.word(), input.long()),
            _ => {
                let wanted = [(); TLS_ENTRIES].map(|()| input.long());
                gdt.load_tls(wanted.map(Descriptor::new));
                for (index, raw) in (6..).zip(wanted) {
                    assert_eq!(gdt.entries()[index], expected(raw), "{raw:#x}");
                }
            }
        }
        let selector = u32::from(input.half());
        check_table(&gdt, selector);
    }
}

fn load(gdt: &mut GuestGdt, index: u32, raw: u64) {
    let before = *gdt.entries();
    let loaded = gdt.load(index, Descriptor::new(raw));
    assert_eq!(loaded.is_ok(), index < 32);
    let ignored = index == 0 || index >= 32 || GDT_IGNORED.contains(&(index as usize));
    for (entry, (&old, &new)) in (0..).zip(before.iter().zip(gdt.entries())) {
        let replaced = entry == index && !ignored;
        assert_eq!(
            new,
            if replaced { expected(raw) } else { old },
            "entry {entry}"
        );
    }
}

/// What becomes of a descriptor, by lguest-abi 6.2 and Intel SDM volume 3, 3.4.5: code and data of the rings 1
/// and 3 that are not 64-bit, DPL 0 raised to 1, marked as accessed.
fn expected(raw: u64) -> u64 {
    let bit = |number: u32| raw >> number & 1 != 0;
    let dpl = raw >> 45 & 3;
    let conforming = bit(43) && bit(42);
    if !bit(44) || bit(53) || dpl == 2 || conforming && dpl != 3 {
        return 0;
    }
    raw & !(3 << 45) | dpl.max(1) << 45 | 1 << 40
}

fn check_table(gdt: &GuestGdt, selector: u32) {
    for (index, &raw) in gdt.entries().iter().enumerate() {
        let live = Descriptor::new(raw);
        assert!(
            raw == 0 || live.for_guest() == Ok(live),
            "{index}: {raw:#x}"
        );
        assert!(raw == 0 || ![0, 10, 11, 16, 31].contains(&index));
    }
    let named = gdt.descriptor(selector);
    let index = (selector >> 3) as usize;
    let there = selector & 4 == 0 && index < 32;
    let expected = if there { gdt.entries()[index] } else { 0 };
    assert_eq!(named.raw(), expected);
    let base = expected >> 16 & 0xff_ffff | expected >> 32 & 0xff00_0000;
    assert_eq!(u64::from(named.base()), base);
}
