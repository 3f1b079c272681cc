//! Elements of sets and maps in nft's own layout.

use std::net::Ipv4Addr;

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

impl Layout {
    /// That of the sets whose first element, as it is printed, is this one.
    pub(super) fn of(member: &str) -> Layout {
        match member.split_once(" : ") {
            Some((key, _)) if key.parse::<u32>().is_ok() => Layout::Fives,
            None if member.parse::<Ipv4Addr>().is_ok() => Layout::Pairs,
            _ => Layout::Lines,
        }
    }
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
