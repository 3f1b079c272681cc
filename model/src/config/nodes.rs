//! The smaller nodes: cluster, peer, check, sysctl, defaults.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use kdl::KdlValue;

use super::cursor::{Cursor, Value};
use super::draft::{CheckDraft, Cluster, Defaults, PaceDraft, PeerDraft, SysctlDraft};
use super::file::{Field, Spanned};
use super::mistakes::Mistakes;
use super::scalar::{self, flag, identity, only_argument, setting};
use super::{CheckKind, Diagnostic, codes, service, vip};
use crate::units::Family;

/// The shortest and the longest pace of a check: below, the try itself takes longer; above, nobody would wait for it.
const PACE: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(24 * 3600);

/// The most processes that one check names, and the most arguments of a command.
const ARGUMENTS_LIMIT: usize = 64;

pub(super) fn cluster(mut c: Cursor<'_>, out: &mut Mistakes) -> Cluster {
    let span = c.span();
    let name = identity(&mut c, out);
    let key = setting(&mut c, "key", out, |v, out| v.secret(out));
    c.finish(out);
    Cluster { name, key, span }
}

pub(super) fn peer(mut c: Cursor<'_>, out: &mut Mistakes) -> Option<PeerDraft> {
    let span = c.span();
    let name = identity(&mut c, out);
    let address = match c.property("address", out) {
        Some(value) => Field::present(value.address(out).filter(|a| usable(a, &value, out))),
        None => Field::Absent,
    };
    if address.is_absent() {
        out.push(
            Diagnostic::error(codes::MISSING, format!("{} has no address", c.title()))
                .at(span, "where do the other peers reach it?")
                .help(format!("write `{} address=\"192.0.2.11\"`", c.title())),
        );
    }
    let second = second(&mut c, &address, out);
    let interface = setting(&mut c, "interface", out, |v, out| v.interface(out));
    c.finish(out);
    Some(PeerDraft { name: name?, address, second, interface })
}

/// A peer's address of the other family: `peer "a" address="192.0.2.11" { address "2001:db8::11" }`.
fn second(c: &mut Cursor<'_>, first: &Field<IpAddr>, out: &mut Mistakes) -> Field<IpAddr> {
    let second = setting(c, "address", out, |v, out| v.address(out).filter(|a| usable(a, v, out)));
    let (Some(one), Some(other)) = (first.get(), second.get()) else { return second };
    let family = Family::of(one.value);
    if family != Family::of(other.value) {
        return second;
    }
    out.push(
        Diagnostic::error(codes::DUPLICATE, format!("{} has two {family} addresses", c.title()))
            .at(other.span, "the second")
            .at(one.span, "the first")
            .help("keep the one at which the other peers reach it; one of the other family may stand beside it"),
    );
    Field::Bad
}

/// Refuses what no machine can have as its address.
fn usable(address: &Spanned<IpAddr>, value: &Value<'_>, out: &mut Mistakes) -> bool {
    let a = address.value;
    let why = match () {
        _ if a.is_unspecified() => "this is no machine's address",
        _ if a.is_multicast() => "this is the address of a multicast group",
        _ if a.is_loopback() => "this is the machine itself, which the other peers cannot reach",
        _ if matches!(a, IpAddr::V6(a) if a.is_unicast_link_local()) => {
            "a link-local address says nothing without its interface"
        }
        _ => return true,
    };
    out.push(
        value
            .wrong(codes::BAD_ADDRESS, format!("{a} cannot be a peer's address"), why)
            .help("write the address at which the other peers reach it, as in \"192.0.2.11\""),
    );
    false
}

pub(super) fn pace(c: &mut Cursor<'_>, out: &mut Mistakes) -> PaceDraft {
    let count = |v: &Value<'_>, out: &mut Mistakes, what: &str| {
        let n = v.number(what, 1..=255, out)?;
        Some(Spanned { value: u32::try_from(n.value).ok()?, span: n.span })
    };
    PaceDraft {
        every: setting(c, "every", out, |v, out| v.duration(PACE, out)),
        timeout: setting(c, "timeout", out, |v, out| v.duration(PACE, out)),
        fall: setting(c, "fall", out, |v, out| count(v, out, "fall")),
        rise: setting(c, "rise", out, |v, out| count(v, out, "rise")),
    }
}

/// How long a changed state has to last.
const DEBOUNCE: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);

fn debounce(c: &mut Cursor<'_>, out: &mut Mistakes) -> Field<Duration> {
    setting(c, "debounce", out, |v, out| v.duration(DEBOUNCE, out))
}

fn user(c: &mut Cursor<'_>, out: &mut Mistakes) -> Field<String> {
    setting(c, "user", out, |v, out| v.name(out))
}

/// What a check can look at.
const KINDS: &str =
    "write what it looks at: process, command, tcp, tls, http, ping, interface, systemd, or file for a weight";

/// The nodes of that.
const KIND_NODES: [&str; 9] = ["process", "command", "tcp", "tls", "http", "ping", "interface", "systemd", "file"];

/// Suffixes of systemd's units.
const UNITS: [&str; 11] =
    ["service", "socket", "target", "mount", "automount", "swap", "timer", "path", "slice", "scope", "device"];

pub(super) fn check(mut c: Cursor<'_>, out: &mut Mistakes) -> Option<CheckDraft> {
    let span = c.span();
    let name = identity(&mut c, out);
    let mut kinds: Vec<Spanned<Option<CheckKind>>> = Vec::new();
    for kind in KIND_NODES {
        for child in c.children(kind) {
            kinds.push(Spanned { span: child.span(), value: check_kind(child, out) });
        }
    }
    let pace = pace(&mut c, out);
    let debounce = debounce(&mut c, out);
    let user = user(&mut c, out);
    let title = c.title().to_owned();
    let misspelt = KIND_NODES.iter().any(|kind| c.misspelt().contains(kind));
    c.finish(out);
    let kind = match kinds.as_slice() {
        [] if misspelt => Field::Bad,
        [] => {
            out.push(
                Diagnostic::error(codes::MISSING, format!("{title} looks at nothing"))
                    .at(span, "no kind of check")
                    .help(KINDS),
            );
            Field::Bad
        }
        [one] => Field::present(one.value.clone().map(|value| Spanned { value, span: one.span })),
        [first, again, ..] => {
            out.push(
                Diagnostic::error(codes::DUPLICATE, format!("{title} looks at two things"))
                    .at(again.span, "the second")
                    .at(first.span, "the first")
                    .help("write a check for each, and track both"),
            );
            Field::Bad
        }
    };
    Some(CheckDraft { name: name?, kind, user, pace, debounce })
}

fn check_kind(mut c: Cursor<'_>, out: &mut Mistakes) -> Option<CheckKind> {
    let kind = match c.name() {
        "process" => texts(&mut c, out).map(|names| CheckKind::Process { names }),
        "command" => texts(&mut c, out).map(|argv| CheckKind::Command { argv, user: None }),
        "tcp" => only_argument(&mut c, out).and_then(|v| v.endpoint(out)).map(|t| CheckKind::Tcp { target: t.value }),
        "ping" => only_argument(&mut c, out)
            .and_then(|v| v.address(out).filter(|a| askable(a, &v, out)))
            .map(|a| CheckKind::Ping { target: a.value }),
        "interface" => {
            only_argument(&mut c, out).and_then(|v| v.interface(out)).map(|i| CheckKind::Interface { name: i.value })
        }
        "systemd" => only_argument(&mut c, out).and_then(|v| unit(&v, out)).map(|unit| CheckKind::Systemd { unit }),
        "file" => only_argument(&mut c, out).and_then(|v| watched(&v, out)).map(|path| CheckKind::File { path }),
        "tls" => only_argument(&mut c, out).and_then(|v| v.endpoint(out)).map(|t| CheckKind::Tls { target: t.value }),
        _ => http(&mut c, out),
    };
    let kind = kind.filter(|kind| program_is_absolute(kind, &c, out));
    c.finish(out);
    kind
}

/// Refuses to ping what is nobody's address.
fn askable(address: &Spanned<IpAddr>, value: &Value<'_>, out: &mut Mistakes) -> bool {
    let a = address.value;
    let nobody = a.is_unspecified() || a.is_multicast() || a == IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    if nobody {
        out.push(
            value
                .wrong(codes::BAD_ADDRESS, format!("{a} cannot be pinged"), "this is no machine's address")
                .help("write the address of one machine, as in `ping \"192.0.2.1\"`"),
        );
    }
    !nobody
}

/// A unit with its suffix, without wildcards, which `systemctl` would read as a pattern.
fn unit(v: &Value<'_>, out: &mut Mistakes) -> Option<String> {
    const UNIT: scalar::What = scalar::What { a: "a unit of systemd", example: "\"haproxy.service\"" };
    let text = v.text(UNIT, out)?.value;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@');
    let wrong = |label: &str| v.wrong(codes::BAD_NAME, format!("{} is not a unit of systemd", v.shown()), label);
    if text.is_empty() || text.len() > 255 || text.starts_with(['-', '.']) || !text.chars().all(fits) {
        out.push(
            wrong("a unit's name has letters, digits and `:-_.\\@`")
                .help(format!("write one unit as `systemctl list-units` shows it, as in {}", UNIT.example)),
        );
        return None;
    }
    match text.rsplit_once('.') {
        Some((name, suffix)) if !name.is_empty() && UNITS.contains(&suffix) => Some(text),
        _ => {
            out.push(wrong("without the suffix of a unit").help(format!("write \"{text}.service\"")));
            None
        }
    }
}

/// The file of a weight: its directory is listened to, so it cannot be a directory itself.
fn watched(v: &Value<'_>, out: &mut Mistakes) -> Option<String> {
    let path = v.path(out)?.value;
    if path.ends_with('/') || path.split('/').any(|part| part == "..") {
        out.push(
            v.wrong(
                codes::BAD_PATH,
                format!("{} is not the path of a file", v.shown()),
                "a directory, or through `..`",
            )
            .help("write the file itself, as in \"/run/ha.weight\""),
        );
        return None;
    }
    Some(path)
}

/// A command is started as it stands, without a shell and without a search path.
fn program_is_absolute(kind: &CheckKind, c: &Cursor<'_>, out: &mut Mistakes) -> bool {
    let CheckKind::Command { argv, .. } = kind else { return true };
    let Some(program) = argv.first().filter(|p| !p.starts_with('/')) else { return true };
    let diagnostic = Diagnostic::error(codes::BAD_PATH, format!("\"{program}\" is not an absolute path"))
        .at(c.span(), "a command is started without a search path and without a shell");
    out.push(match program.split_once(' ') {
        Some((head, rest)) => diagnostic.help(format!(
            "write each argument on its own: `command \"/usr/bin/{head}\" \"{}\"`",
            rest.split(' ').collect::<Vec<_>>().join("\" \"")
        )),
        None => diagnostic.help(format!("write where it is, as in \"/usr/bin/{program}\"")),
    });
    false
}

fn texts(c: &mut Cursor<'_>, out: &mut Mistakes) -> Option<Vec<String>> {
    let values = c.arguments();
    let texts: Vec<_> = values.iter().filter_map(|v| v.text(scalar::NAME, out)).collect();
    if let Some(bad) = texts.iter().find(|t| t.value.is_empty() || t.value.contains('\0')) {
        out.push(
            Diagnostic::error(codes::BAD_NAME, format!("{} has an empty argument", c.title())).at(bad.span, "empty"),
        );
        return None;
    }
    if values.is_empty() || values.len() > ARGUMENTS_LIMIT {
        out.push(
            Diagnostic::error(codes::MISSING, format!("{} needs one to {ARGUMENTS_LIMIT} values", c.title()))
                .at(c.span(), if values.is_empty() { "nothing follows" } else { "too many follow" })
                .help(format!(
                    "write `{} {}`",
                    c.name(),
                    if c.name() == "process" { "\"haproxy\"" } else { "\"/usr/local/sbin/check.sh\"" }
                )),
        );
        return None;
    }
    (texts.len() == values.len()).then(|| texts.into_iter().map(|t| t.value).collect())
}

fn http(c: &mut Cursor<'_>, out: &mut Mistakes) -> Option<CheckKind> {
    let url = only_argument(c, out).and_then(|v| url(&v, out));
    let expect = expect(c, out)?;
    let (target, path) = url?;
    Some(CheckKind::Http { target, path, expect })
}

/// The status that means health: 200 unless said.
pub(super) fn expect(c: &mut Cursor<'_>, out: &mut Mistakes) -> Option<u16> {
    match c.property("expect", out) {
        Some(v) => u16::try_from(v.number("a status of HTTP", 100..=599, out)?.value).ok(),
        None => Some(200),
    }
}

fn url(v: &Value<'_>, out: &mut Mistakes) -> Option<(SocketAddr, String)> {
    const URL: scalar::What<'_> = scalar::What { a: "a URL", example: "\"http://127.0.0.1:8008/primary\"" };
    let text = v.text(URL, out)?.value;
    let wrong = |label: &str| v.wrong(codes::BAD_URL, format!("\"{text}\" cannot be asked"), label);
    let Some(rest) = text.strip_prefix("http://") else {
        out.push(match text.strip_prefix("https://") {
            Some(rest) => {
                let host = rest.split('/').next().unwrap_or_default();
                let port = if host.contains(':') { "" } else { ":443" };
                wrong("https is not available in this version")
                    .help(format!("write `tls \"{host}{port}\"` to check that the handshake completes"))
            }
            None => wrong("a URL begins with http://").help(format!("write {}", URL.example)),
        });
        return None;
    };
    let (host, path) = rest.find(['/', '?']).map_or((rest, ""), |i| rest.split_at(i));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if !http_path(&path) {
        out.push(wrong("blanks and control characters cannot stand in a path").help("write %20 for a blank"));
        return None;
    }
    let target = host.parse::<SocketAddr>().ok().or_else(|| {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse().ok().map(|address| SocketAddr::new(address, 80))
    });
    match target.filter(|t| t.port() != 0) {
        Some(target) => Some((target, path)),
        None => {
            let port = host.rsplit_once(':').map_or("80", |(_, port)| port);
            out.push(
                wrong("names are not looked up; an address and a port stand there")
                    .help(format!("write \"http://127.0.0.1:{port}{path}\"")),
            );
            None
        }
    }
}

/// Whether a path can stand in a request as it is.
pub(super) fn http_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic())
}

pub(super) fn sysctl(mut c: Cursor<'_>, out: &mut Mistakes) -> Option<SysctlDraft> {
    let key = only_argument(&mut c, out).and_then(|v| sysctl_key(&v, out));
    let value = match c.argument() {
        None => {
            out.push(
                Diagnostic::error(codes::MISSING, "a sysctl needs its value")
                    .at(c.span(), "no value")
                    .help("write `sysctl \"net.ipv4.ip_nonlocal_bind\" 1`"),
            );
            None
        }
        Some(v) => sysctl_value(&v, out),
    };
    c.finish(out);
    Some(SysctlDraft { key: key?, value: value? })
}

fn sysctl_key(v: &Value<'_>, out: &mut Mistakes) -> Option<Spanned<String>> {
    const KEY: scalar::What<'_> = scalar::What { a: "a sysctl", example: "\"net.ipv4.ip_nonlocal_bind\"" };
    let key = v.text(KEY, out)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '*' | ':' | '@');
    let parts = key.value.split(['.', '/']);
    if key.value.chars().all(fits)
        && parts.clone().count() >= 2
        && parts.clone().all(|p| !p.is_empty())
        && !key.value.contains('*')
    {
        // As `sysctl -w` reads it: where the first separator is a slash, slashes separate and dots belong to names.
        return Some(match key.value.find(['.', '/']).and_then(|i| key.value.get(i..=i)) {
            Some("/") => {
                let swap = |c| match c {
                    '/' => '.',
                    '.' => '/',
                    c => c,
                };
                Spanned { value: key.value.chars().map(swap).collect(), span: key.span }
            }
            _ => key,
        });
    }
    out.push(
        v.wrong(codes::BAD_SYSCTL, format!("{} is not a sysctl", v.shown()), "no name of a sysctl")
            .help(format!("write its name as `sysctl -a` shows it, as in {}", KEY.example)),
    );
    None
}

fn sysctl_value(v: &Value<'_>, out: &mut Mistakes) -> Option<String> {
    if !v.plain(scalar::What { a: "a sysctl's value", example: "1" }, out) {
        return None;
    }
    match v.value {
        KdlValue::Integer(n) => Some(n.to_string()),
        KdlValue::String(s) if !s.is_empty() && s.len() <= 255 && !s.contains(['\n', '\0']) => Some(s.clone()),
        _ => {
            out.push(
                v.wrong(codes::WRONG_KIND, "a sysctl's value is a number or a text of one line", "neither")
                    .help("write 1, or \"10 20 30\""),
            );
            None
        }
    }
}

/// `defaults { … }`: any setting of a vip, a check, a service or a probe.
pub(super) fn defaults(mut c: Cursor<'_>, out: &mut Mistakes) -> Defaults {
    let mut defaults = Defaults { span: Some(c.span()), ..Defaults::default() };
    if let Some(mut v) = c.child("vip", out) {
        for own in ["address", "vrid"] {
            for child in v.children(own) {
                out.push(
                    Diagnostic::error(codes::UNKNOWN_NODE, format!("{own} cannot be the same for all vips"))
                        .at(child.span(), "belongs to one vip")
                        .help(format!("write {own} in each `vip \"NAME\" {{ … }}`")),
                );
            }
        }
        defaults.vip = vip::settings(&mut v, out);
        v.finish(out);
    }
    if let Some(mut k) = c.child("check", out) {
        defaults.check = pace(&mut k, out);
        defaults.check_user = user(&mut k, out);
        defaults.debounce = debounce(&mut k, out);
        k.finish(out);
    }
    if let Some(mut s) = c.child("service", out) {
        defaults.service = service::settings(&mut s, out);
        s.finish(out);
    }
    if let Some(p) = c.child("probe", out) {
        defaults.probe = service::probe(p, out);
    }
    c.finish(out);
    defaults
}

/// A flag with its opposite: `unicast` and `multicast`.
pub(super) fn either(c: &mut Cursor<'_>, yes: &'static str, no: &'static str, out: &mut Mistakes) -> Field<bool> {
    match (flag(c, yes, out), flag(c, no, out)) {
        (Field::Good(a), Field::Good(b)) => {
            out.push(
                Diagnostic::error(codes::DUPLICATE, format!("{} is both {yes} and {no}", c.title()))
                    .at(b.span, "one")
                    .at(a.span, "and the other")
                    .help("keep one of them"),
            );
            Field::Bad
        }
        (Field::Absent, Field::Good(b)) => Field::Good(Spanned { value: false, span: b.span }),
        (Field::Absent, other) => other,
        (first, _) => first,
    }
}
