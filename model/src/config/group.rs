//! `group "gateway" { vip "inside"; vip "outside" }`: vips that change state together.

use std::collections::BTreeMap;

use super::cursor::Cursor;
use super::draft::{Draft, GroupDraft, Member, TrackDraft, VipDraft};
use super::file::Spanned;
use super::mistakes::{Mistakes, did_you_mean};
use super::scalar::{identity, only_argument, setting};
use super::{Diagnostic, Preempt, Span, codes};

pub(super) fn group(mut c: Cursor<'_>, out: &mut Mistakes) -> Option<GroupDraft> {
    let span = c.span();
    let name = identity(&mut c, out);
    let mut vips: Vec<Spanned<String>> = Vec::new();
    let nodes = c.children("vip");
    let mut wrong = c.misspelt().contains("vip");
    for mut node in nodes {
        let values = node.arguments();
        if values.is_empty() {
            let _ = only_argument(&mut node, out);
        }
        wrong |= values.is_empty();
        for value in values {
            let Some(vip) = value.name(out) else {
                wrong = true;
                continue;
            };
            match vips.iter().find(|v| v.value == vip.value) {
                Some(first) => {
                    wrong = true;
                    out.duplicate(&format!("vip \"{}\" of {}", vip.value, c.title()), first.span, vip.span);
                }
                None => vips.push(vip),
            }
        }
        node.finish(out);
    }
    if vips.len() < 2 && !wrong {
        out.push(
            Diagnostic::error(codes::MISSING, format!("{} has fewer than two vips", c.title()))
                .at(span, "who changes state together?")
                .help("name them: `vip \"inside\"; vip \"outside\"`, or leave the group out"),
        );
    }
    let notify = setting(&mut c, "notify", out, |v, out| v.path(out));
    c.finish(out);
    Some(GroupDraft { name: name?, vips, notify })
}

/// Judges groups against their vips.
pub(super) fn check(draft: &Draft, out: &mut Mistakes) {
    let known: BTreeMap<&str, &VipDraft> = draft.vips.iter().map(|v| (v.name.value.as_str(), v)).collect();
    let mut taken: BTreeMap<&str, (&GroupDraft, Span)> = BTreeMap::new();
    for group in &draft.groups {
        let mut vips = Vec::new();
        for vip in &group.vips {
            match taken.get(vip.value.as_str()) {
                Some((first, span)) => out.push(
                    Diagnostic::error(codes::GROUP_TAKEN, format!("vip \"{}\" is in two groups", vip.value))
                        .at(vip.span, format!("of group \"{}\"", group.name.value))
                        .at(*span, format!("of group \"{}\"", first.name.value))
                        .help("put all vips that depend on each other into one group"),
                ),
                None => _ = taken.insert(&vip.value, (group, vip.span)),
            }
            match known.get(vip.value.as_str()) {
                Some(vip) => vips.push(*vip),
                None if out.incomplete => {}
                None => out.push(
                    Diagnostic::error(codes::UNKNOWN_VIP, format!("there is no vip \"{}\"", vip.value))
                        .at(vip.span, "unknown vip")
                        .helps(did_you_mean(&vip.value, known.keys().copied(), |n| format!("vip \"{n}\""))),
                ),
            }
        }
        let mut vips = vips.into_iter();
        if let Some(first) = vips.next() {
            vips.for_each(|other| alike(group, (first, other), out));
        }
    }
}

/// What the vips of a group have to have in common: where it differs, one of them would pull the others along, or wait
/// for them for ever.
fn alike(group: &GroupDraft, (first, other): (&VipDraft, &VipDraft), out: &mut Mistakes) {
    let (one, another) = (ranking(first), ranking(other));
    let names = |ranked: &[&Member]| ranked.iter().map(|m| m.peer.value.clone()).collect::<Vec<_>>();
    let sorted = |ranked: &[&Member]| {
        let mut names = names(ranked);
        names.sort();
        names
    };
    let differ = |what: &str| {
        Diagnostic::error(codes::GROUP_CONFLICT, format!("the vips of group \"{}\" {what}", group.name.value))
    };
    let spans = |vip: &VipDraft| vip.settings.priorities.get().map_or(vip.name.span, |p| p.span);
    let label =
        |vip: &VipDraft, ranked: &[&Member]| format!("of vip \"{}\": {}", vip.name.value, names(ranked).join(", "));
    if one.is_empty() || another.is_empty() {
        return;
    }
    if sorted(&one) != sorted(&another) {
        out.push(
            differ("have different members")
                .at(spans(other), label(other, &another))
                .at(spans(first), label(first, &one))
                .help("a machine holds all vips of a group or none: write the same peers in both"),
        );
    } else if names(&one) != names(&another) {
        out.push(
            differ("want different holders")
                .at(spans(other), label(other, &another))
                .at(spans(first), label(first, &one))
                .help("they are held by one machine: rank the peers alike in both"),
        );
    }
    preemption(first, other, differ("preempt differently"), out);
    weights(first, other, differ("have their priorities changed by different checks"), out);
}

/// The members of a vip from the best on.
fn ranking(vip: &VipDraft) -> Vec<&Member> {
    let mut members: Vec<&Member> = vip.settings.members().iter().collect();
    members.sort_by(|a, b| {
        let priority = |m: &Member| m.priority.as_ref().map(|p| p.value);
        priority(b).cmp(&priority(a)).then_with(|| a.peer.value.cmp(&b.peer.value))
    });
    members
}

fn preemption(first: &VipDraft, other: &VipDraft, differ: Diagnostic, out: &mut Mistakes) {
    let of = |vip: &VipDraft| vip.settings.preempt.get().map_or(Preempt::Immediately, |p| p.value);
    if of(first) == of(other) {
        return;
    }
    let span = |vip: &VipDraft| vip.settings.preempt.get().map_or(vip.name.span, |p| p.span);
    let label = |vip: &VipDraft| match vip.settings.preempt.get() {
        Some(_) => format!("of vip \"{}\"", vip.name.value),
        None => format!("vip \"{}\" preempts always, the default", vip.name.value),
    };
    out.push(
        differ
            .at(span(other), label(other))
            .at(span(first), label(first))
            .help("write the same `preempt` in both, or once in `defaults { vip { preempt … } }`"),
    );
}

/// A check without weight takes the whole group to FAULT from any vip; one with a weight moves a single vip's priority.
fn weights(first: &VipDraft, other: &VipDraft, differ: Diagnostic, out: &mut Mistakes) {
    let weighted = |vip: &VipDraft| -> BTreeMap<String, i16> {
        let weight = |t: &TrackDraft| Some((t.check.value.clone(), t.weight.get()?.value));
        vip.settings.track.iter().filter_map(weight).collect()
    };
    let (one, another) = (weighted(first), weighted(other));
    if one == another {
        return;
    }
    let odd = |mine: &BTreeMap<String, i16>, theirs: &BTreeMap<String, i16>, vip: &VipDraft| {
        let odd = |t: &&TrackDraft| mine.get(&t.check.value) != theirs.get(&t.check.value) && t.weight.get().is_some();
        vip.settings.track.iter().find(odd).map(|t| (t.check.clone(), t.weight.get().map_or(0, |w| w.value)))
    };
    let (check, weight, has, lacks) = match (odd(&another, &one, other), odd(&one, &another, first)) {
        (Some((check, weight)), _) => (check, weight, other, first),
        (None, Some((check, weight))) => (check, weight, first, other),
        (None, None) => return,
    };
    out.push(
        differ
            .at(check.span, format!("of vip \"{}\", weight={weight}", has.name.value))
            .at(lacks.name.span, "not so here")
            .help(format!(
                "write `track \"{}\" weight={weight}` in both: their priorities then move together",
                check.value
            )),
    );
}
