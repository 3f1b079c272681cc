//! A plan in words: summary first for machines and last for people, a line for each step with its reason at the right.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use model::desired::Reason;
use model::plan::{Action, Impact, Note, Operation, Plan, Step};
use model::rules::{self, BackendNames};
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use crate::report::Exit;
use crate::words::wrap::wrap;

/// Version of what [`json`] gives.
const JSON_VERSION: u32 = 1;
/// Reasons stand behind this column, or two blanks behind a longer line; where that does not fit, beneath it.
const REASONS_AT: usize = 78;

/// What lies beneath a step's line begins here.
const BENEATH: usize = 6;

/// The whole plan as text with colours; `file` is what the machine is compared with, `width` that of a terminal.
pub fn text(plan: &Plan, file: &str, width: Option<usize>) -> String {
    let mut out = String::new();
    if plan.steps.is_empty() && plan.notes.is_empty() {
        return format!("No changes. {} is as {file} says.\n", plan.peer);
    }
    let cluster = if plan.cluster.is_empty() { String::new() } else { format!(" · {}", plan.cluster) };
    let counts = match (plan.blocked(), plan.steps.is_empty()) {
        (true, true) => "blocked".to_owned(),
        (false, true) => "no changes".to_owned(),
        _ => counts(plan),
    };
    line(&mut out, &format!("{}{cluster} · {counts}\n", plan.peer));
    for step in &plan.steps {
        self::step(&mut out, step, &plan.backends, width);
    }
    for note in &plan.notes {
        self::note(&mut out, note, width);
    }
    out.push('\n');
    wrapped(&mut out, &verdict(plan, file), width, 0);
    out
}

/// The plans as one object, versioned.
pub fn json(plans: &[Plan]) -> Value {
    let one = |plan: &Plan| {
        json!({
            "cluster": plan.cluster,
            "peer": plan.peer,
            "fingerprint": plan.fingerprint().to_string(),
            "summary": {
                "add": plan.count(&[Action::Create]),
                "change": plan.count(&[Action::Change, Action::Replace]),
                "remove": plan.count(&[Action::Remove]),
                "drifted": plan.count(&[Action::Drift]),
                "adopt": plan.count(&[Action::Adopt]),
                "impact": plan.impact(),
                "blocked": plan.blocked(),
            },
            "steps": plan.steps,
            "notes": plan.notes,
        })
    };
    json!({ "version": JSON_VERSION, "plans": plans.iter().map(one).collect::<Vec<_>>() })
}

/// What `--detailed-exitcode` says of it.
pub fn detailed_exit(plans: &[Plan]) -> Exit {
    let steps = plans.iter().any(|p| !p.steps.is_empty());
    match plans.iter().map(Plan::impact).max() {
        Some(Impact::Deletes | Impact::Interrupts) => Exit::PendingDisruptive,
        _ if steps => Exit::Pending,
        _ => Exit::Done,
    }
}

fn line(out: &mut String, text: &str) {
    // Writing to a String does not fail.
    _ = writeln!(out, "{text}");
}

fn wrapped(out: &mut String, text: &str, width: Option<usize>, indent: usize) {
    wrap(text, width, indent).iter().for_each(|row| line(out, row));
}

/// A line that begins with a painted mark, and its place in the file at the right or beneath.
fn marked(out: &mut String, (mark, style): (&str, Style), (words, place): (&str, &str), width: Option<usize>) {
    let plain = format!("  {mark}{words}");
    let long = plain.chars().count();
    let column = if place.is_empty() { long } else { REASONS_AT.max(long + 2) };
    let fits = width.is_none_or(|width| column + place.chars().count() <= width);
    let rows = if fits { vec![plain] } else { wrap(&plain, width, BENEATH) };
    for (n, row) in rows.iter().enumerate() {
        let pad = if fits { column.saturating_sub(long) } else { 0 };
        let place = if fits { place } else { "" };
        match row.strip_prefix("  ").and_then(|row| row.strip_prefix(mark)).filter(|_| n == 0) {
            Some(rest) => line(out, &format!("  {style}{mark}{style:#}{rest}{:pad$}{place}", "")),
            None => line(out, row),
        }
    }
    if !fits && !place.is_empty() {
        wrapped(out, &format!("{:BENEATH$}{place}", ""), width, BENEATH);
    }
}

fn counts(plan: &Plan) -> String {
    let mut parts = vec![
        format!("{} to add", plan.count(&[Action::Create])),
        format!("{} to change", plan.count(&[Action::Change, Action::Replace])),
        format!("{} to remove", plan.count(&[Action::Remove])),
    ];
    let more = [(Action::Drift, "drifted"), (Action::Adopt, "adopted")];
    parts.extend(
        more.iter().map(|(a, word)| (plan.count(&[*a]), word)).filter(|(n, _)| *n > 0).map(|(n, w)| format!("{n} {w}")),
    );
    parts.join(", ")
}

fn verdict(plan: &Plan, file: &str) -> String {
    if plan.blocked() {
        return "Blocked: nothing is applied until the conflicts above are settled.".to_owned();
    }
    if plan.steps.is_empty() {
        return format!("No changes. {} is as {file} says.", plan.peer);
    }
    let unless = match plan.steps.iter().any(|s| s.impact == Impact::MayMove) {
        true => ", unless a lower member holds a new vip now: it moves here",
        false => "",
    };
    let impact = match plan.impact() {
        Impact::None | Impact::MayMove => format!("No traffic is interrupted{unless}."),
        Impact::Deletes => format!("No traffic is interrupted{unless}; what is removed is not in use."),
        Impact::Interrupts => "Traffic is interrupted.".to_owned(),
    };
    format!("Plan: {}. {impact}", counts(plan))
}

/// The sign of an action and its colour.
pub fn sign(action: Action) -> (&'static str, Style) {
    let (sign, colour) = match action {
        Action::Create => ("+", AnsiColor::Green),
        Action::Change => ("~", AnsiColor::Yellow),
        Action::Remove => ("-", AnsiColor::Red),
        Action::Replace => ("-/+", AnsiColor::Red),
        Action::Adopt => ("<-", AnsiColor::Cyan),
        Action::Drift => ("!", AnsiColor::Magenta),
    };
    (sign, Style::new().fg_color(Some(colour.into())))
}

fn step(out: &mut String, step: &Step, names: &BackendNames, width: Option<usize>) {
    let (sign, style) = sign(step.action);
    let colon =
        if step.what.starts_with(|c: char| c.is_ascii_digit()) && step.object.starts_with("nft") { ":" } else { "" };
    let words = format!(" {}{colon} {}", step.object, step.what);
    marked(out, (sign, style), (&words, &reasons(step)), width);
    for detail in &step.details {
        wrapped(out, &format!("{:BENEATH$}{detail}", ""), width, BENEATH);
    }
    table(out, step, names);
}

fn reasons(step: &Step) -> String {
    let one = |r: &Reason| match r.what.as_str() {
        "sysctl" => r.at.to_string(),
        what if what == step.object => r.at.to_string(),
        _ => format!("needed by {r}"),
    };
    match step.reasons.as_slice() {
        [] => String::new(),
        [only] => one(only),
        [first, rest @ ..] => format!("{}, and {} more", one(first), rest.len()),
    }
}

/// The text of a new table, or what changes in one that is there.
fn table(out: &mut String, step: &Step, names: &BackendNames) {
    let Operation::LoadTable { text, .. } = &step.operation else { return };
    let after = shown(text, names);
    match (&step.undo, step.action) {
        (_, Action::Adopt) => {}
        (Operation::LoadTable { text: before, .. }, _) => {
            let before = shown(before, names);
            let diff = TextDiff::from_lines(&before, &after);
            for (n, group) in diff.grouped_ops(2).iter().enumerate() {
                if n > 0 {
                    line(out, "      |   …");
                }
                for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
                    changed(out, change.tag(), change.value());
                }
            }
        }
        (_, Action::Drift) => {}
        _ => after.lines().for_each(|l| line(out, format!("      | {l}").trim_end())),
    }
}

fn changed(out: &mut String, tag: ChangeTag, text: &str) {
    let (sign, style) = match tag {
        ChangeTag::Equal => (' ', Style::new()),
        ChangeTag::Insert => ('+', Style::new().fg_color(Some(AnsiColor::Green.into()))),
        ChangeTag::Delete => ('-', Style::new().fg_color(Some(AnsiColor::Red.into()))),
    };
    let text = format!("{sign}{}", text.trim_end());
    line(out, &format!("      |{style}{}{style:#}", text.trim_end()));
}

/// A table for the eye: slots in a line, counters at rest, nft's tabs as blanks.
fn shown(text: &str, names: &BackendNames) -> String {
    rules::shortened(&rules::arranged(&rules::without_counters(text)), names)
        .replace(" counter packets 0 bytes 0", " counter")
        .replace('\t', "    ")
}

fn note(out: &mut String, note: &Note, width: Option<usize>) {
    let (word, colour) = match note.blocks {
        true => ("conflict", AnsiColor::Red),
        false => ("note", AnsiColor::Cyan),
    };
    let style = Style::new().fg_color(Some(colour.into()));
    let at = note.at.as_ref().map(ToString::to_string).unwrap_or_default();
    marked(out, (word, style), (&format!(": {}", note.what), &at), width);
    wrapped(out, &format!("{:BENEATH$}{}", "", note.remedy), width, BENEATH);
}

#[cfg(test)]
mod tests;
