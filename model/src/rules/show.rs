//! A table for people: counters at rest, long slot maps in a line, what there is in numbers.

use std::collections::BTreeMap;

use super::elements::{Layout, elements};

/// The text with every counter's value as 0, so that texts of two moments can be compared.
pub fn without_counters(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut words = text.split_inclusive(|c: char| c.is_whitespace());
    let mut zero = false;
    for word in words.by_ref() {
        let bare = word.trim_end();
        let number = bare.trim_end_matches(',');
        if zero && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
            out.push('0');
            out.push_str(word.get(number.len()..).unwrap_or_default());
        } else {
            out.push_str(word);
        }
        zero = matches!(bare, "packets" | "bytes");
    }
    out
}

/// The text in the spelling and the layout of nft 1.0.6, as it is rendered, with the elements of each set in order:
/// nft lists concatenations in the kernel's, and nft 1.1 puts each slot on a line of its own.
pub fn arranged(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let text = named(text);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(first) = line.strip_prefix("\t\telements = { ") else {
            out.push_str(&numbered(line));
            out.push('\n');
            continue;
        };
        let mut all = first.trim().to_owned();
        while !all.ends_with('}') {
            let Some(next) = lines.next() else { break };
            all.push(' ');
            all.push_str(next.trim());
        }
        let members = all.trim_end_matches('}').split(',').map(|m| m.trim().to_owned());
        let mut members: Vec<String> = members.filter(|m| !m.is_empty()).collect();
        let layout = Layout::of(members.first().map_or("", String::as_str));
        if matches!(layout, Layout::Lines) {
            members.sort_unstable();
        }
        out.push_str(&elements(layout, &members));
    }
    out
}

/// The protocol by its name: on a machine without `/etc/protocols` (Debian's netbase) nft lists its number.
pub(super) fn named(text: &str) -> String {
    text.replace("meta l4proto 6 ", "meta l4proto tcp ").replace(" . 6 . ", " . tcp . ")
}

/// The priorities of NAT hooks that nft 1.0.6 lists as numbers and nft 1.1 by name.
fn numbered(line: &str) -> String {
    line.replace("hook output priority dstnat;", "hook output priority -100;")
        .replace("hook input priority srcnat;", "hook input priority 100;")
}

/// Names of backends by the map of slots and by how nft writes them in it: `10.0.0.1 . 80`.
pub type BackendNames = BTreeMap<String, BTreeMap<String, String>>;

/// The text with each map of slots as one line, `251 slots: pve1 84, pve2 167`; a backend without name is its address.
pub fn shortened(text: &str, names: &BackendNames) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.split_inclusive('\n');
    let mut slots = false;
    let mut known = None;
    while let Some(line) = lines.next() {
        let trimmed = line.trim();
        if let Some(map) = trimmed.strip_prefix("map ") {
            known = names.get(map.trim_end_matches('{').trim_end());
        }
        slots = (slots && trimmed != "}") || trimmed.starts_with("typeof numgen inc mod");
        if !slots || !trimmed.starts_with("elements = {") {
            out.push_str(line);
            continue;
        }
        let mut all = trimmed.to_owned();
        while !all.ends_with('}') {
            let Some(more) = lines.next() else { break };
            all.push(' ');
            all.push_str(more.trim());
        }
        out.push_str("\t\t");
        out.push_str(&summary(&all, known));
        out.push('\n');
    }
    out
}

fn summary(elements: &str, names: Option<&BTreeMap<String, String>>) -> String {
    let inner = elements.trim_start_matches("elements = {").trim_end_matches('}');
    let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
    for member in inner.split(',') {
        if let Some((_, backend)) = member.split_once(" : ") {
            *shares.entry(backend.trim()).or_default() += 1;
        }
    }
    let total: usize = shares.values().sum();
    let name = |backend: &str| match names.and_then(|n| n.get(backend)) {
        Some(name) => name.clone(),
        None => backend.replace(" . ", ":"),
    };
    let shares: Vec<String> = shares.iter().map(|(backend, n)| format!("{} {n}", name(backend))).collect();
    format!("{total} slots: {}", shares.join(", "))
}

/// What a table has: `9 chains, 14 rules, 2 maps, 3 sets`.
pub fn counts(text: &str) -> String {
    let (mut chains, mut rules, mut maps, mut sets) = (0, 0, 0, 0);
    let mut in_chain = false;
    for line in text.lines().map(str::trim) {
        match line.split_whitespace().next() {
            Some("chain") => (chains, in_chain) = (chains + 1, true),
            Some("map") => maps += 1,
            Some("set") => sets += 1,
            Some("}") | None => in_chain = false,
            Some("type") => {}
            Some(_) if in_chain => rules += 1,
            Some(_) => {}
        }
    }
    let n = |n: i32, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    [n(chains, "chain"), n(rules, "rule"), n(maps, "map"), n(sets, "set")].join(", ")
}
