//! Warnings: what is no mistake of form, and still does not do what its author will expect.

use super::draft::{Draft, TrackDraft, VipDraft};
use super::file::Spanned;
use super::mistakes::Mistakes;
use super::{CheckKind, Diagnostic, Preempt, Secret, codes};
use crate::units::Priority;

pub(super) fn check(draft: &Draft, out: &mut Mistakes) {
    for vip in &draft.vips {
        equal_priorities(vip, out);
        // A number in a file moves it, too, by how much nobody knows.
        let fixed = !vip.settings.track.iter().any(|t| is_file(draft, t));
        for track in vip.settings.track.iter().filter(|_| fixed) {
            weight(vip, track, out);
        }
        literal_password(vip, out);
    }
    for check in &draft.checks {
        let name = &check.name.value;
        if !out.incomplete && !draft.vips.iter().any(|v| v.settings.track.iter().any(|t| t.check.value == *name)) {
            out.push(
                Diagnostic::warning(codes::UNUSED, format!("no vip tracks check \"{name}\""))
                    .at(check.name.span, "changes nothing")
                    .help(format!("write `track \"{name}\"` in a vip")),
            );
        }
    }
}

fn is_file(draft: &Draft, track: &TrackDraft) -> bool {
    let check = draft.checks.iter().find(|c| c.name.value == track.check.value);
    check.and_then(|c| c.kind.get()).is_some_and(|k| matches!(k.value, CheckKind::File { .. }))
}

fn equal_priorities(vip: &VipDraft, out: &mut Mistakes) {
    let members = vip.settings.members();
    for (i, member) in members.iter().enumerate() {
        let Some(priority) = &member.priority else { continue };
        let first = members.iter().take(i).find(|m| m.priority.as_ref().is_some_and(|p| p.value == priority.value));
        let Some(first) = first else { continue };
        let lower = (1..priority.value.get())
            .rev()
            .find(|n| !members.iter().any(|m| m.priority.as_ref().is_some_and(|p| p.value.get() == *n)));
        out.push(
            Diagnostic::warning(
                codes::EQUAL_PRIORITIES,
                format!("{} and {} have the same priority {}", first.peer.value, member.peer.value, priority.value),
            )
            .at(member.peer.span, "the same")
            .at(first.peer.span, "as here")
            .help(format!(
                "between equals the higher address wins{}",
                lower.map_or(String::new(), |n| { format!("; to choose yourself, write `{}={n}`", member.peer.value) })
            )),
        );
    }
}

/// The vip's two best members: between them a weight has to change the order.
struct Race<'a> {
    best: (u8, &'a Spanned<String>),
    next: (u8, &'a Spanned<String>),
}

impl Race<'_> {
    fn of(vip: &VipDraft) -> Option<Race<'_>> {
        let members = vip.settings.members().iter();
        let mut members: Vec<_> = members.filter_map(|m| Some((m.priority.as_ref()?.value.get(), &m.peer))).collect();
        members.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
        match members.as_slice() {
            [best, next, ..] => Some(Race { best: *best, next: *next }),
            _ => None,
        }
    }

    fn gap(&self) -> u8 {
        self.best.0 - self.next.0
    }
}

/// A weight moves the vip only where it carries one member past the next, and where that one takes over then.
fn weight(vip: &VipDraft, track: &TrackDraft, out: &mut Mistakes) {
    let (Some(weight), Some(race)) = (track.weight.get(), Race::of(vip)) else { return };
    let title = format!("weight={} can never move vip \"{}\"", weight.value, vip.name.value);
    let diagnostic = Diagnostic::warning(codes::WEIGHT_TOO_SMALL, title);
    let alone =
        format!("`track \"{}\"` alone: without a weight the failing check takes the vip away", track.check.value);
    let never = vip.settings.preempt.get().filter(|p| p.value == Preempt::Never);
    if race.best.0 == Priority::OWNER.get() {
        out.push(
            diagnostic
                .at(weight.span, "priority 255 is not changed by weights")
                .at(race.best.1.span, "the owner")
                .help(format!("write {alone}")),
        );
    } else if together(vip) <= u32::from(race.gap()) {
        out.push(gap(&race, weight, diagnostic).help(format!("or write {alone}")));
    } else if let Some(never) = never {
        out.push(
            diagnostic
                .at(weight.span, "lowers a holder that nobody takes over from")
                .at(never.span, "a living holder keeps the vip, whatever its priority")
                .help(format!("write {alone}")),
        );
    }
}

/// What all weights of a vip can move together: several small ones may bridge a gap that none does alone.
fn together(vip: &VipDraft) -> u32 {
    vip.settings.track.iter().filter_map(|t| t.weight.get()).map(|w| u32::from(w.value.unsigned_abs())).sum()
}

/// Explains the gap that a weight does not bridge.
fn gap(race: &Race<'_>, weight: &Spanned<i16>, diagnostic: Diagnostic) -> Diagnostic {
    let Race { best: (best, first), next: (next, second) } = race;
    let (gap, size) = (race.gap(), weight.value.unsigned_abs());
    let (first_name, second_name) = (&first.value, &second.value);
    let (result, enough) = match weight.value < 0 {
        true => (
            format!("{first_name} at {} still outranks {second_name} at {next}", i32::from(*best) - i32::from(size)),
            -i32::from(gap) - 1,
        ),
        false => (
            format!("{second_name} at {} does not outrank {first_name} at {best}", i32::from(*next) + i32::from(size)),
            i32::from(gap) + 1,
        ),
    };
    diagnostic
        .at(weight.span, result)
        .at(first.span, format!("the gap to {second_name} is {gap}"))
        .help(format!("write `weight={enough}`, one more than the gap"))
}

fn literal_password(vip: &VipDraft, out: &mut Mistakes) {
    if let Some(password) = vip.settings.auth_pass.get()
        && matches!(password.value, Secret::Literal(_))
    {
        out.push(
            Diagnostic::warning(
                codes::LITERAL_SECRET,
                format!("the password of vip \"{}\" stands in the file", vip.name.value),
            )
            .at(password.span, "everybody who reads the file knows it")
            .help("write `auth-pass (env)\"VIP_AUTH_PASS\"`, (file) or (credential)"),
        );
    }
}
