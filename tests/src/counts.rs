//! What guests that measure print.

/// The lines `COUNT <name> <instructions>` of a console, in their order.
pub fn counts(console: &str) -> Vec<(&str, u32)> {
    let lines = console
        .lines()
        .filter_map(|line| line.strip_prefix("COUNT "));
    lines
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, n)| Some((name, n.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_counts() {
        let console = "COUNT a 1\n.COUNT b 2\nCOUNT c\nCOUNT d x\nCOUNT e 5\n";
        assert_eq!(counts(console), [("a", 1), ("e", 5)]);
    }
}
