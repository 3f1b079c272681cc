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
        Fact::Expectation { text, met: true, saw } if bare(text) == saw => vec![(Tone::Good, format!("yes: {saw}"))],
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
        "group" => (Tone::Dim, format!("{peer}: all of group {}: {} -> {}", text("group"), text("from"), text("to"))),
        "ready" => (Tone::Dim, format!("{peer}: ready")),
        kind @ ("check" | "backend") => {
            let of = if kind == "check" { String::new() } else { format!(" of {}", text("service")) };
            let is_up = event.get("up").and_then(Value::as_bool).unwrap_or_default();
            let (tone, up) = if is_up { (Tone::Dim, "up") } else { (Tone::Bad, "down") };
            (tone, format!("{peer}: {kind} {}{of} is {up}: {}", text(kind), found(text("why"))))
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

/// What a check or probe found, without its code where there are words beside it.
fn found(why: &str) -> &str {
    const WORDLESS: [(&str, &str); 6] = [
        ("PROCOK", "its command succeeded"),
        ("LINKOK", "it has a carrier"),
        ("L3OK", "it answers a ping"),
        ("L4OK", "it accepts connections"),
        ("L6OK", "it completes a TLS handshake"),
        ("L7OK", "it answers as expected"),
    ];
    let (code, words) = why.split_once(' ').unwrap_or((why, ""));
    let is_code = !code.is_empty() && code.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    match (is_code, words.trim()) {
        (true, "") => WORDLESS.iter().find(|(known, _)| *known == code).map_or(why, |(_, words)| words),
        (true, words) => words,
        (false, _) => why,
    }
}

/// The end, in words for somebody who saw nothing of it.
fn summary_lines(summary: &Summary) -> Vec<(Tone, String)> {
    let mut lines = vec![];
    lines.extend(table(&summary.disturbances));
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
    let untried: Vec<&String> = summary.left.iter().filter(|line| line.starts_with("expect ")).collect();
    let total = summary.met + summary.unmet.len() + untried.len();
    if total > 0 {
        let tone = if summary.met == total { Tone::Good } else { Tone::Bad };
        lines.push((tone, format!("{} of {total} expectations met", summary.met)));
        lines.extend(summary.unmet.iter().map(|text| (Tone::Bad, format!("  not: {}", bare(text)))));
        lines.extend(untried.iter().map(|text| (Tone::Bad, format!("  never tried: {}", bare(text)))));
    }
    if !summary.left.is_empty() {
        let commands = crate::report::count(summary.left.len(), "command was", "commands were");
        lines.push((Tone::Bad, format!("the script was broken off: its last {commands} not carried out")));
    }
    lines
}

/// Who held what after each disturbance, and how long nobody answered.
fn table(disturbances: &[Disturbance]) -> Vec<(Tone, String)> {
    let mut rows = vec![["what was done".to_owned(), "vip".into(), "held by".into(), "out for".into()]];
    for Disturbance { what, vips, .. } in disturbances {
        for (i, (vip, (ms, before, after))) in vips.iter().enumerate() {
            let name = |holder: &str| if holder.is_empty() { "nobody".to_owned() } else { holder.to_owned() };
            let held = if before == after { name(after) } else { format!("{} -> {}", name(before), name(after)) };
            let out = if *ms < 1.0 { "no probe lost".into() } else { format!("{ms:.0} ms") };
            rows.push([if i == 0 { what.clone() } else { String::new() }, vip.clone(), held, out]);
        }
    }
    if rows.len() == 1 {
        return vec![];
    }
    let wide = |i: usize| rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths = [wide(0), wide(1), wide(2), 0];
    let line = |row: &[String; 4]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect::<Vec<_>>();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().enumerate().map(|(i, row)| (if i == 0 { Tone::Dim } else { Tone::Plain }, line(row))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn facts() -> Vec<Fact> {
        let state = json!({"at": 1, "event": "state", "vip": "ui", "from": "BACKUP", "to": "MASTER", "priority": 140,
            "why": "master 192.168.31.11 was silent for 3.5s"});
        let dropped = json!({"at": 1, "event": "dropped", "subject": "ui", "source": "192.168.31.66", "cause": "ttl", "count": 10});
        let other = json!({"at": 1, "event": "check", "check": "proxies", "up": true, "why": "PROCOK haproxy (pid 3), pveproxy (pid 4) run"});
        let backend =
            json!({"at": 1, "event": "backend", "service": "ui", "backend": "pve3", "up": true, "why": "L6OK"});
        let event = |event: serde_json::Value| Fact::Event { peer: "pve2".into(), event };
        let vips =
            |ms: f64, before: &str, after: &str| BTreeMap::from([("ui".to_owned(), (ms, before.into(), after.into()))]);
        let disturbances = vec![
            Disturbance { what: "kill holder of ui (pve1)".into(), at: 0, vips: vips(3379.4, "pve1", "pve2") },
            Disturbance { what: "start pve1".into(), at: 0, vips: vips(0.0, "pve2", "pve2") },
            Disturbance { what: "kill pve2".into(), at: 0, vips: vips(500.0, "pve2", "") },
        ];
        vec![
            Fact::Command { text: "kill holder of ui".into() },
            Fact::Machine { name: "pve1".into(), now: "off" },
            event(state),
            event(dropped),
            event(other),
            event(backend),
            Fact::Daemon { peer: "pve3".into(), runs: false, how: "exit status: 1".into(), unasked: true },
            Fact::Outage { vip: "ui".into(), address: [192, 168, 31, 50].into(), ms: 3379.4 },
            Fact::Settled { holders: BTreeMap::from([("ui".into(), "pve2".into())]), after_ms: 3412.0 },
            Fact::Connected { open: 100, backends: BTreeMap::from([("pve1".into(), 34), ("pve2".into(), 66)]) },
            Fact::Expectation { text: "expect ui on pve2".into(), met: true, saw: "ui on pve2".into() },
            Fact::Expectation { text: "expect outage ui < 3s".into(), met: false, saw: "3379 ms".into() },
            Fact::Trouble {
                subject: "kil pve1".into(),
                what: "there is no command \"kil\"".into(),
                help: "did you mean \"kill\"?".into(),
            },
            Fact::Summary(Summary {
                disturbances,
                connections: Tally { opened: 100, alive: 66, with_backend: 34, ..Tally::default() },
                met: 4,
                unmet: vec!["expect outage ui < 3s".into()],
                left: vec!["wait 1s".into(), "expect survivors all".into()],
            }),
        ]
    }

    #[test]
    fn facts_are_told_in_words() {
        let lines: Vec<String> = facts().iter().flat_map(lines).map(|(_, line)| line).collect();
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../../../../snapshots/trace");
        settings.set_prepend_module_to_snapshot(false);
        settings.bind(|| insta::assert_snapshot!("lab_words", lines.join("\n")));
    }

    #[test]
    fn connections_that_break_together_are_told_together() {
        let broken = |id, backend: &str, with_backend| Stamped {
            ms: 0.0,
            fact: Fact::Broken { id, backend: Some(backend.into()), why: "reset".into(), with_backend },
        };
        let told: Vec<String> =
            super::broken(&[broken(1, "pve1", true), broken(2, "pve1", true), broken(3, "pve2", false)])
                .into_iter()
                .map(|(_, line)| line)
                .collect();
        assert_eq!(
            told,
            ["client: 1 connection to pve2 LOST: reset", "client: 2 connections to pve1 ended with it: reset"]
        );
    }
}
