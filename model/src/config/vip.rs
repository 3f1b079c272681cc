//! `vip "ui" { … }`.

use std::time::Duration;

use super::cursor::{Cursor, Value};
use super::draft::{AnnounceDraft, Member, TrackDraft, VipDraft, VipSettings};
use super::file::{Field, Spanned};
use super::mistakes::Mistakes;
use super::nodes::either;
use super::scalar::{PRIORITY, identity, only_argument, setting};
use super::{Checksum, Diagnostic, Preempt, Version, codes, held, route};
use crate::units::{Priority, Vrid};

/// How long a better router can be made to wait (keepalived's limit is 1000 s; a day is beyond any use).
const DELAY: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);

/// How long a machine can be made to wait after its start.
const START_DELAY: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(24 * 3600);

/// When addresses are announced once more; keepalived's default is 5 s.
const AGAIN: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

/// How often announcements are refreshed: below a second they would be a load on every machine of the segment.
const REFRESH: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// A weight that moves any priority to any other.
const WEIGHT: i64 = 253;

pub(super) fn vip(mut c: Cursor<'_>, out: &mut Mistakes) -> Option<VipDraft> {
    let name = identity(&mut c, out);
    let addresses = held::addresses(&mut c, out);
    let vrid = setting(&mut c, "vrid", out, |v, out| {
        let n = v.number("a vrid", 1..=255, out)?;
        Some(Spanned { value: Vrid::try_from(u8::try_from(n.value).ok()?).ok()?, span: n.span })
    });
    let settings = settings(&mut c, out);
    let misspelt = c.misspelt();
    if vrid.is_absent() && !misspelt.contains("vrid") {
        out.push(
            Diagnostic::error(codes::MISSING, format!("{} has no vrid", c.title()))
                .at(c.span(), "which virtual router is it?")
                .help("write `vrid 51`, a number from 1 to 255 that nobody else on the segment uses"),
        );
    }
    c.finish(out);
    let addressless = addresses.is_none();
    Some(VipDraft { name: name?, addresses: addresses.unwrap_or_default(), addressless, misspelt, vrid, settings })
}

/// Everything that may also stand in `defaults { vip { … } }`.
pub(super) fn settings(c: &mut Cursor<'_>, out: &mut Mistakes) -> VipSettings {
    super::foreign::of_keepalived(c, out);
    let settings = VipSettings {
        interface: setting(c, "interface", out, |v, out| v.interface(out)),
        priorities: priorities(c, out),
        unicast: either(c, "unicast", "multicast", out),
        version: setting(c, "version", out, |v, out| {
            let n = v.number("the version of VRRP", 2..=3, out)?;
            Some(Spanned { value: if n.value == 2 { Version::V2 } else { Version::V3 }, span: n.span })
        }),
        advertise: setting(c, "advertise", out, advertise),
        preempt: preempt(c, out),
        auth_pass: setting(c, "auth-pass", out, |v, out| v.secret(out)),
        checksum: setting(c, "checksum", out, |v, out| {
            let words = [("pseudo-header", Checksum::PseudoHeader), ("message", Checksum::Message)];
            v.word("checksum", &words, out)
        }),
        track: track(c, out),
        notify: setting(c, "notify", out, |v, out| v.path(out)),
        virtual_mac: either(c, "virtual-mac", "own-mac", out),
        accept: setting(c, "accept", out, |v, out| v.word("accept mode", &[("always", true), ("never", false)], out)),
        start_delay: setting(c, "start-delay", out, |v, out| v.duration(START_DELAY, out)),
        announce: announce(c, out),
        routes: route::routes(c, out),
    };
    not_yet(&settings, out);
    settings
}

/// What the language has and no machine is brought to yet.
fn not_yet(settings: &VipSettings, out: &mut Mistakes) {
    if let Some(mac) = settings.virtual_mac.get().filter(|m| m.value) {
        let instead = "leave it out: the interface's own MAC is used, and gratuitous ARP tells the move";
        out.later("virtual-mac", mac.span, instead);
    }
    if let Some(accept) = settings.accept.get().filter(|a| !a.value) {
        out.later("accept \"never\"", accept.span, "leave it out: whoever holds an address takes packets for it");
    }
    for route in &settings.routes {
        out.later("route", route.span, "leave it out; the program of `notify` can set and remove it");
    }
}

/// `announce again="5s" every="1m"`.
fn announce(c: &mut Cursor<'_>, out: &mut Mistakes) -> Field<AnnounceDraft> {
    let Some(mut node) = c.child("announce", out) else { return Field::Absent };
    let span = node.span();
    let again = node.property("again", out);
    let every = node.property("every", out);
    let misspelt = node.has_property_like("again") || node.has_property_like("every");
    if again.is_none() && every.is_none() && !misspelt {
        out.push(
            Diagnostic::error(codes::MISSING, "announce says neither again= nor every=")
                .at(span, "when?")
                .help("write `announce again=\"5s\"`, once more so long after taking over, or `announce every=\"1m\"`"),
        );
    }
    let draft = AnnounceDraft {
        again: again.map_or(Field::Absent, |v| Field::present(v.duration(AGAIN, out))),
        every: every.map_or(Field::Absent, |v| Field::present(v.duration(REFRESH, out))),
    };
    node.finish(out);
    Field::Good(Spanned { value: draft, span })
}

/// Whether the wire can carry it is judged when the version is known.
fn advertise(v: &Value<'_>, out: &mut Mistakes) -> Option<Spanned<Duration>> {
    v.duration(Duration::ZERO..=Duration::from_secs(24 * 3600), out)
}

fn priorities(c: &mut Cursor<'_>, out: &mut Mistakes) -> Field<Vec<Member>> {
    let Some(mut node) = c.child("priority", out) else { return Field::Absent };
    let span = node.span();
    if let Some(value) = node.argument() {
        node.arguments();
        out.push(value.wrong(codes::SURPLUS, "a priority belongs to a peer", "whose?").help(
            "the file is the same on every machine: write one entry per member, as in `priority pve1=150 pve2=140`",
        ));
        return Field::Bad;
    }
    let entries = node.properties(out);
    node.finish(out);
    if entries.is_empty() {
        out.push(
            Diagnostic::error(codes::MISSING, "priority names no member")
                .at(span, "nothing follows")
                .help("write one entry per member, as in `priority pve1=150 pve2=140`"),
        );
        return Field::Bad;
    }
    let members = entries
        .into_iter()
        .map(|(peer, value)| {
            let priority = value.number(PRIORITY, 1..=255, out).and_then(|n| {
                Some(Spanned { value: Priority::try_from(u8::try_from(n.value).ok()?).ok()?, span: n.span })
            });
            Member { peer, priority }
        })
        .collect();
    Field::Good(Spanned { value: members, span })
}

fn preempt(c: &mut Cursor<'_>, out: &mut Mistakes) -> Field<Preempt> {
    #[derive(Clone, Copy, PartialEq)]
    enum When {
        Always,
        After,
        Never,
    }
    let Some(mut node) = c.child("preempt", out) else { return Field::Absent };
    let words = [("always", When::Always), ("after", When::After), ("never", When::Never)];
    let when = only_argument(&mut node, out).and_then(|v| v.word("kind of preemption", &words, out));
    let delay = node.property("delay", out);
    let wait = delay.and_then(|v| v.duration(DELAY, out));
    node.finish(out);
    let Some(when) = when else { return Field::Bad };
    let value = match (when.value, delay, wait) {
        (When::After, _, Some(wait)) => Preempt::After(wait.value),
        (When::After, Some(_), None) => return Field::Bad,
        (When::After, None, _) => {
            out.push(
                Diagnostic::error(codes::MISSING, "preempt \"after\" needs its delay")
                    .at(when.span, "after how long?")
                    .help("write `preempt \"after\" delay=\"5m\"`"),
            );
            return Field::Bad;
        }
        (_, Some(delay), _) => {
            out.push(
                delay
                    .wrong(codes::SURPLUS, "a delay belongs to preempt \"after\"", "nothing is delayed here")
                    .help(format!("write `preempt \"after\" delay={}`, or leave the delay out", delay.shown())),
            );
            return Field::Bad;
        }
        (When::Always, ..) => Preempt::Immediately,
        (When::Never, ..) => Preempt::Never,
    };
    Field::Good(Spanned { value, span: when.span })
}

fn track(c: &mut Cursor<'_>, out: &mut Mistakes) -> Vec<TrackDraft> {
    let mut tracked: Vec<TrackDraft> = Vec::new();
    for mut node in c.children("track") {
        let check = only_argument(&mut node, out).and_then(|v| v.name(out));
        let weight = match node.property("weight", out) {
            None => Field::Absent,
            Some(v) => Field::present(weight(&v, out)),
        };
        node.finish(out);
        let Some(check) = check else { continue };
        match tracked.iter().find(|t| t.check.value == check.value) {
            Some(first) => out.duplicate(&format!("track \"{}\"", check.value), first.check.span, check.span),
            None => tracked.push(TrackDraft { check, weight }),
        }
    }
    tracked
}

fn weight(v: &Value<'_>, out: &mut Mistakes) -> Option<Spanned<i16>> {
    let n = v.number("a weight", -WEIGHT..=WEIGHT, out)?;
    if n.value == 0 {
        out.push(
            v.wrong(codes::OUT_OF_RANGE, "a weight of 0 changes nothing", "0")
                .help("leave it out: without a weight the failing check takes the vip away"),
        );
        return None;
    }
    Some(Spanned { value: i16::try_from(n.value).ok()?, span: n.span })
}
