//! What the two versions of VRRP can carry.

use std::time::Duration;

use super::build::ADVERTISE;
use super::draft::VipDraft;
use super::file::Field;
use super::mistakes::Mistakes;
use super::{Diagnostic, Secret, Version, codes};
use crate::units::show_duration;

/// The longest interval of version 3: 12 bits of centiseconds (RFC 9568 §5.2.7).
const LONGEST_V3: Duration = Duration::from_millis(40_950);
/// The longest interval of version 2: a byte of seconds (RFC 3768 §5.3.7).
const LONGEST_V2: Duration = Duration::from_secs(255);
/// Bytes of VRRPv2's password (RFC 2338 §5.3.6.1).
const PASSWORD: usize = 8;

pub(super) fn check(vip: &VipDraft, out: &mut Mistakes) {
    password(vip, out);
    interval(vip, out);
}

fn password(vip: &VipDraft, out: &mut Mistakes) {
    let Field::Good(password) = &vip.settings.auth_pass else { return };
    if let Some(version) = vip.settings.version.get().filter(|v| v.value == Version::V3) {
        out.push(
            Diagnostic::error(codes::VERSION_CONFLICT, "version 3 has no password")
                .at(password.span, "only version 2 carries it")
                .at(version.span, "version 3 is asked for here")
                .help("leave `auth-pass` out, or write `version 2`"),
        );
    }
    let Secret::Literal(text) = &password.value else { return };
    let why = match text.len() {
        0 => "it is empty",
        _ if text.len() > PASSWORD => "more than the packet holds",
        _ if text.contains('\0') => "a zero byte ends it",
        _ => return,
    };
    out.push(
        Diagnostic::error(codes::BAD_PASSWORD, format!("a password of VRRPv2 has 1 to {PASSWORD} bytes"))
            .at(password.span, why)
            .help("choose a shorter one, the same on every router; keepalived silently cuts its own after 8 bytes"),
    );
}

fn interval(vip: &VipDraft, out: &mut Mistakes) {
    let Some(advertise) = vip.settings.advertise.get() else { return };
    let d = advertise.value;
    let shown = show_duration(d);
    let wrong = |title: String, label: &str| Diagnostic::error(codes::BAD_ADVERT, title).at(advertise.span, label);
    if vip.settings.spoken() == Version::V2 {
        if d.subsec_nanos() == 0 && d >= ADVERTISE && d <= LONGEST_V2 {
            return;
        }
        let whole = Duration::from_secs(d.as_secs().clamp(1, LONGEST_V2.as_secs()));
        let title = match d > LONGEST_V2 {
            true => format!("{shown} is too long to advertise in"),
            false => format!("version 2 cannot advertise every {shown}"),
        };
        let diagnostic = wrong(title, "whole seconds, 1 to 255");
        let diagnostic = match (&vip.settings.version, &vip.settings.auth_pass) {
            (Field::Good(v), _) => diagnostic.at(v.span, "version 2 is asked for here"),
            (_, Field::Good(p)) => diagnostic.at(p.span, "a password means version 2"),
            _ => diagnostic,
        };
        let help = format!("write `advertise \"{}\"`, or use version 3 without a password", show_duration(whole));
        out.push(diagnostic.help(help));
        return;
    }
    let nanos = d.as_nanos();
    let step = Duration::from_millis(10);
    if d < step {
        out.push(
            wrong(format!("{shown} is too short to advertise in"), "at least 10ms").help("write `advertise \"10ms\"`"),
        );
    } else if d > LONGEST_V3 {
        let help = "write `advertise \"40.95s\"`, or better one of a few seconds";
        out.push(wrong(format!("version 3 cannot advertise every {shown}"), "at most 40.95s").help(help));
    } else if !nanos.is_multiple_of(step.as_nanos()) {
        let near = Duration::from_millis(u64::try_from(nanos / step.as_nanos()).unwrap_or(1) * 10);
        out.push(
            wrong(format!("version 3 cannot advertise every {shown}"), "the packet counts in steps of 10ms")
                .help(format!("write `advertise \"{}\"`", show_duration(near))),
        );
    }
}
