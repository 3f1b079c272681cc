//! Whether two texts describe the same table, whichever nft printed them.

use super::show::{named, without_counters};

/// Names that nft prints for priorities, by hook where a name means two numbers (never in our family).
const PRIORITIES: [(&str, &str); 6] =
    [("raw", "-300"), ("mangle", "-150"), ("dstnat", "-100"), ("filter", "0"), ("security", "50"), ("srcnat", "100")];

/// Whether a listed table says what is wanted: counters' values, blanks, the order of elements and of sets and
/// chains, comments, handles, names of priorities and the base of numbers do not count; the order of rules does.
pub fn same(wanted: &str, listed: &str) -> bool {
    canonical(wanted) == canonical(listed)
}

/// A table as comparable lines: every set, map and chain with its rules, in an order of its own.
fn canonical(text: &str) -> Vec<String> {
    // `nft -s` leaves the values out altogether.
    let text = without_counters(&named(text)).replace(" packets 0 bytes 0", "");
    let text: String = text.lines().map(|l| format!("{}\n", uncommented(l))).collect();
    let mut blocks = vec![];
    let mut block: Vec<String> = vec![];
    for statement in statements(&text) {
        let head = statement.split_whitespace().next().unwrap_or_default();
        if matches!(head, "set" | "map" | "chain" | "table" | "flowtable" | "ct" | "counter")
            && statement.ends_with('{')
        {
            blocks.push(std::mem::take(&mut block).join("\n"));
        }
        block.extend(normal(&statement));
    }
    blocks.push(block.join("\n"));
    blocks.retain(|b| !b.is_empty());
    blocks.sort();
    blocks
}

/// A line without what nft adds behind `#`: handles, and only outside quotes.
fn uncommented(line: &str) -> &str {
    let mut quoted = false;
    let end = line.find(|c| {
        quoted ^= c == '"';
        c == '#' && !quoted
    });
    end.and_then(|n| line.get(..n)).unwrap_or(line)
}

/// The text cut at line ends, `;` and the braces of blocks; the braces of a set of values stay within a statement.
fn statements(text: &str) -> Vec<String> {
    let mut all = vec![];
    let mut now = String::new();
    let mut values = 0_usize;
    for c in text.chars() {
        match c {
            '{' if opens_block(&now) && values == 0 => {
                now.push(c);
                all.push(std::mem::take(&mut now));
            }
            '{' => {
                values += 1;
                now.push_str(" { ");
            }
            '}' if values > 0 => {
                values -= 1;
                now.push_str(" } ");
            }
            '}' => all.extend([std::mem::take(&mut now)]),
            '\n' | ';' if values == 0 => all.push(std::mem::take(&mut now)),
            c => now.push(c),
        }
    }
    all.push(now);
    all.retain(|s| !s.trim().is_empty());
    all
}

fn opens_block(before: &str) -> bool {
    matches!(before.split_whitespace().next(), Some("table" | "set" | "map" | "chain"))
}

/// A statement in one spelling; nothing where it says only what is so anyhow.
fn normal(statement: &str) -> Option<String> {
    let words: Vec<String> = statement.split_whitespace().map(word).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["policy", "accept"] | ["handle", ..] | ["size", _] | ["flags", "dynamic"] => None,
        ["elements", "=", "{", members @ .., "}"] => {
            let joined = members.join(" ");
            let mut members: Vec<String> = joined.split(',').map(|m| m.trim().to_owned()).collect();
            members.retain(|m| !m.is_empty());
            members.sort();
            Some(format!("elements {}", members.join(" , ")))
        }
        ["type", kind, "hook", hook, "priority", priority @ ..] => {
            Some(format!("type {kind} hook {hook} priority {}", number(priority)))
        }
        // A concatenation's protocol is told by `tcp` in it: some versions print it once more.
        ["meta", "l4proto", "tcp", rest @ ..] if rest.contains(&"jhash") => Some(rest.join(" ")),
        _ => Some(rule(&words)),
    }
}

/// A rule with the order inside its anonymous sets and flag lists taken out.
fn rule(words: &[&str]) -> String {
    let mut out: Vec<String> = vec![];
    let mut inside: Option<Vec<String>> = None;
    for word in words {
        match (*word, &mut inside) {
            ("{", _) => inside = Some(vec![]),
            ("}", Some(members)) => {
                members.sort();
                out.push(members.join(","));
                inside = None;
            }
            (word, Some(members)) => members.extend(word.split(',').filter(|m| !m.is_empty()).map(str::to_owned)),
            (word, None) => {
                let mut flags: Vec<&str> = word.split(',').collect();
                flags.sort_unstable();
                out.push(flags.join(","));
            }
        }
    }
    // `ct status ! dnat` of one version is `ct status & dnat == 0` or `and` of another.
    out.join(" ")
        .replace("ct status & dnat == 0", "ct status ! dnat")
        .replace("ct status and dnat == 0", "ct status ! dnat")
        .replace("ct status & dnat == 0x0", "ct status ! dnat")
        .replace("snat ip to", "snat to")
}

fn word(word: &str) -> String {
    match word.strip_prefix("0x").map(|digits| u64::from_str_radix(digits, 16)) {
        Some(Ok(n)) => n.to_string(),
        _ => word.to_owned(),
    }
}

/// `filter - 5`, `mangle` and `-150` as numbers.
fn number(words: &[&str]) -> String {
    let (name, offset) = match words {
        [name, sign, offset] => (*name, format!("{sign}{offset}")),
        [name] => (*name, String::new()),
        _ => return words.join(" "),
    };
    let base = PRIORITIES.iter().find(|(n, _)| *n == name).map_or(name, |(_, number)| *number);
    match (base.parse::<i64>(), offset.parse::<i64>()) {
        (Ok(base), Ok(offset)) => (base + offset).to_string(),
        (Ok(base), Err(_)) => base.to_string(),
        _ => words.join(" "),
    }
}
