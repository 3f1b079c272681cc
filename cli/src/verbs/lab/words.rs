//! Facts of a laboratory in words, one line each.

use std::collections::BTreeMap;

use runtime::lab::fact::{Disturbance, Fact, Stamped, Summary, Tally};
use serde_json::Value;

/// How a line is to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// A command or the script's words.
    Strong,
    /// As hoped.
    Good,
    /// Not as hoped.
    Bad,
    /// Of less interest.
    Dim,
}

/// A fact's lines; none for measurements, which are a picture or nothing.
pub fn lines(fact: &Fact) -> Vec<(Tone, String)> {
    match fact {
        Fact::Built { cluster, peers, hosts, ordinary_user } => {
            let hosts = if hosts.is_empty() { String::new() } else { format!(" and {}", hosts.join(", ")) };
            let user = if *ordinary_user { "an ordinary user's namespaces" } else { "root's namespaces" };
            vec![(Tone::Dim, format!("{cluster} in {user}: {}{hosts}, one client", peers.join(", ")))]
        }
        Fact::Command { text } => vec![(Tone::Strong, format!("> {text}"))],
        Fact::Said { text } => vec![(Tone::Strong, text.clone())],
        Fact::Event { peer, event } => event_line(peer, event).into_iter().collect(),
        Fact::Daemon { peer, runs: true, .. } => vec![(Tone::Dim, format!("{peer}: hactl run starts"))],
        Fact::Daemon { peer, how, unasked, .. } => {
            let (tone, how) =
                if *unasked { (Tone::Bad, format!(" by itself: {how}")) } else { (Tone::Dim, String::new()) };
            vec![(tone, format!("{peer}: hactl run ended{how}"))]
        }
        Fact::Machine { name, now } => vec![(Tone::Dim, format!("{name} is {now}"))],
        Fact::Settled { holders, after_ms } => {
            let holders: Vec<String> = holders.iter().map(|(vip, holder)| format!("{vip} on {holder}")).collect();
            vec![(Tone::Good, format!("settled after {:.1} s: {}", after_ms / 1e3, holders.join(", ")))]
        }
        Fact::Outage { vip, address, ms } => {
            vec![(Tone::Plain, format!("client: {vip} ({address}) answers again, was out for {ms:.0} ms"))]
        }
        Fact::Measured { .. } => vec![],
        Fact::Connected { open, backends } => {
            let of: Vec<String> = backends.iter().map(|(name, count)| format!("{count} to {name}")).collect();
            vec![(Tone::Good, format!("client: {open} connections open: {}", of.join(", ")))]
        }
        Fact::Broken { .. } => vec![],
        Fact::Expectation { text, met: true, saw } => vec![(Tone::Good, format!("yes: {} ({saw})", bare(text)))],
        Fact::Expectation { text, saw, .. } => vec![(Tone::Bad, format!("NO: {}, but {saw}", bare(text)))],
        Fact::Lines { lines } => lines.iter().map(|line| (Tone::Plain, line.clone())).collect(),
        Fact::Trouble { subject, what, help } => {
            let help = help.lines().map(|line| (Tone::Plain, format!("  {}", line.trim())));
            std::iter::once((Tone::Bad, format!("{subject}: {what}"))).chain(help).collect()
        }
        Fact::Summary(summary) => summary_lines(summary),
    }
}

/// Connections that broke, told together: many break at once.
pub fn broken(facts: &[Stamped]) -> Vec<(Tone, String)> {
    let mut kinds: BTreeMap<(bool, String, String), usize> = BTreeMap::new();
    for stamped in facts {
        let Fact::Broken { backend, why, with_backend, .. } = &stamped.fact else { continue };
        *kinds.entry((*with_backend, backend.clone().unwrap_or_default(), why.clone())).or_default() += 1;
    }
    let line = |((with_backend, backend, why), count): ((bool, String, String), usize)| {
        let connections = if count == 1 { "connection" } else { "connections" };
        match (with_backend, backend.is_empty()) {
            (true, _) => (Tone::Dim, format!("client: {count} {connections} to {backend} ended with it: {why}")),
            (false, true) => (Tone::Bad, format!("client: {count} {connections} refused: {why}")),
            (false, false) => (Tone::Bad, format!("client: {count} {connections} to {backend} LOST: {why}")),
        }
    };
    kinds.into_iter().map(line).collect()
}

fn bare(text: &str) -> &str {
    text.strip_prefix("expect ").unwrap_or(text)
}

fn event_line(peer: &str, event: &Value) -> Option<(Tone, String)> {
    let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
    let line = match text("event") {
        "state" => {
            let tone = if text("to") == "MASTER" { Tone::Good } else { Tone::Plain };
            let priority = event.get("priority").and_then(Value::as_u64).unwrap_or_default();
            let why = text("why");
            (tone, format!("{peer}: {} {} -> {} (priority {priority}): {why}", text("vip"), text("from"), text("to")))
        }
        "restored" => (Tone::Plain, format!("{peer}: {}: put back: {}", text("vip"), text("what"))),
        "warning" => (Tone::Bad, format!("{peer}: {}: {}", text("vip"), text("what"))),
        "dropped" => {
            let count = event.get("count").and_then(Value::as_u64).unwrap_or_default();
            (
                Tone::Dim,
                format!("{peer}: {}: {count} dropped from {}: {}", text("subject"), text("source"), text("cause")),
            )
        }
        kind => {
            let rest = event.as_object()?.iter().filter(|(key, _)| !matches!(key.as_str(), "event" | "at"));
            let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let rest: Vec<String> = rest.map(|(key, value)| format!("{key} {}", shown(value))).collect();
            (Tone::Dim, format!("{peer}: {kind}: {}", rest.join(", ")))
        }
    };
    Some(line)
}

/// The end, in words for somebody who saw nothing of it.
fn summary_lines(summary: &Summary) -> Vec<(Tone, String)> {
    let mut lines = vec![];
    for Disturbance { what, vips } in &summary.disturbances {
        lines.push((Tone::Strong, what.clone()));
        for (vip, (ms, before, after)) in vips {
            let who = match (before.as_str(), after.as_str()) {
                (before, after) if before == after && !after.is_empty() => format!("stayed on {after}"),
                ("", "") => "was held by nobody".to_owned(),
                (before, "") => format!("left {before}, and nobody holds it"),
                ("", after) => format!("came to {after}"),
                (before, after) => format!("went from {before} to {after}"),
            };
            let out = if *ms < 1.0 { "no probe was lost".into() } else { format!("out for {ms:.0} ms") };
            lines.push((Tone::Plain, format!("  {vip} {who}; {out}")));
        }
    }
    let Tally { opened, alive, with_backend, lost, silent, refused } = summary.connections;
    if opened + refused > 0 {
        let also = [(silent, "silent"), (refused, "refused")];
        let also: Vec<String> = also.iter().filter(|(n, _)| *n > 0).map(|(n, w)| format!("; {n} {w}")).collect();
        let tone = if lost + silent + refused == 0 { Tone::Good } else { Tone::Bad };
        lines.push((
            tone,
            format!(
                "{opened} connections: {alive} went on; {with_backend} ended with the machine of their backend; {lost} lost{}",
                also.concat()
            ),
        ));
    }
    let total = summary.met + summary.unmet.len();
    if total > 0 {
        let tone = if summary.unmet.is_empty() { Tone::Good } else { Tone::Bad };
        lines.push((tone, format!("{} of {total} expectations met", summary.met)));
        lines.extend(summary.unmet.iter().map(|text| (Tone::Bad, format!("  not: {}", bare(text)))));
    }
    lines
}
