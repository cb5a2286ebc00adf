//! One file for each thing that is fuzzed, and what several share: `rings`.

mod archives;
mod command_lines;
mod descriptors;
mod devices_dma;
mod devices_page;
mod devices_pci;
mod hypercalls;
mod instructions;
mod kernels;
mod rings;
mod shadow;

pub use archives::archives;
pub use command_lines::command_lines;
pub use descriptors::descriptors;
pub use devices_dma::devices_dma;
pub use devices_page::devices_page;
pub use devices_pci::devices_pci;
pub use hypercalls::hypercalls;
pub use instructions::instructions;
pub use kernels::kernels;
pub use shadow::{shadow_pae, shadow_two_level};

/// Whatever a text says, it does not disturb the log or the terminal.
pub(crate) fn is_one_clean_line(text: &impl std::fmt::Display) {
    let text = text.to_string();
    assert!(
        text.chars().all(|c| c.is_ascii_graphic() || c == ' '),
        "{text:?}"
    );
    assert!(!text.is_empty() && text.len() < 512, "{text:?}");
}
