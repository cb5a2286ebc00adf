//! The flame graph of folded stacks.

use crate::profile::fold::HOST;
use inferno::flamegraph::color::{MultiPalette, Palette};
use inferno::flamegraph::{Options, from_lines};

/// Letters behind a frame's name that choose a palette of inferno's: orange and green.
const OF_HOST: &str = "_[k]";
const OF_GUEST: &str = "_[j]";

/// An SVG file. The same stacks make the same file.
///
/// # Errors
/// When there is nothing to draw.
pub fn draw(stacks: &[String], title: &str, subtitle: &str) -> Result<Vec<u8>, String> {
    let mut options = Options::default();
    options.title = title.to_owned();
    options.subtitle = Some(subtitle.to_owned());
    options.count_name = "instructions".to_owned();
    options.name_type = "Frame:".to_owned();
    options.colors = Palette::Multi(MultiPalette::Java);
    options.deterministic = true;
    let coloured: Vec<String> = stacks.iter().filter_map(|stack| coloured(stack)).collect();
    let mut svg = Vec::new();
    let lines = coloured.iter().map(String::as_str);
    from_lines(&mut options, lines, &mut svg).map_err(|error| error.to_string())?;
    Ok(svg)
}

fn coloured(stack: &str) -> Option<String> {
    let (frames, count) = stack.rsplit_once(' ')?;
    let colour = match frames.split(';').next() {
        Some(HOST) => OF_HOST,
        _ => OF_GUEST,
    };
    let frames = frames.replace(';', &format!("{colour};"));
    Some(format!("{frames}{colour} {count}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_colour_of_who_runs() {
        let host = coloured("host;page fault;repaired;main 20");
        let expected = "host_[k];page fault_[k];repaired_[k];main_[k] 20";
        assert_eq!(host.as_deref(), Some(expected));
        let guest = coloured("guest;main 3");
        assert_eq!(guest.as_deref(), Some("guest_[j];main_[j] 3"));
    }

    #[test]
    fn a_picture_names_its_frames_and_their_instructions() {
        let stacks = ["guest;main 300", "host;interrupt;main 100"].map(str::to_owned);
        let draw = || draw(&stacks, "a title", "and more").unwrap();
        let svg = String::from_utf8(draw()).unwrap();
        for text in [
            "<svg",
            "a title",
            "main (300 instructions, 75.00%)",
            "interrupt (100 instructions, 25.00%)",
        ] {
            assert!(svg.contains(text), "{text} is not in the picture");
        }
        assert!(!svg.contains("_["), "a frame's colour is in its name");
        assert_eq!(draw(), svg.into_bytes());
    }

    #[test]
    fn nothing_makes_no_picture() {
        assert!(draw(&[], "", "").is_err());
    }
}
