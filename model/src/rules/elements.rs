//! Elements of sets and maps in nft's own layout.

/// How many elements nft 1.0.6 puts on a line: it depends on the type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Layout {
    /// Concatenations, and whatever has a counter.
    Lines,
    /// Addresses.
    Pairs,
    /// Keys of 32-bit integers.
    Fives,
}

/// The `elements = { … }` of a set, or nothing where it is empty.
pub(super) fn elements(layout: Layout, members: &[String]) -> String {
    let per_line = match layout {
        Layout::Lines => 1,
        Layout::Pairs => 2,
        Layout::Fives => 5,
    };
    if members.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = members.chunks(per_line).map(|line| line.join(", ")).collect();
    format!("\t\telements = {{ {} }}\n", lines.join(",\n\t\t\t     "))
}
