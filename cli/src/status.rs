//! `status` in words: the verdict, a row for each vip, check and backend, and a footer only where something is wrong.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use model::units::{Family, Moment};
use model::vrrp::{VipState, VipStatus};
use runtime::control::{BackendStatus, DrainStatus, Health, ServiceStatus, StatusReport};

use crate::report::count;

mod table;

use table::{Cell, head, paint, plain, table};

/// Silence of a living master that is told of, in thousandths of the down interval: two adverts in a row were lost.
const NEAR_FAILOVER: u16 = 667;

/// Lateness of the VRRP thread that is told of: a tenth of the shortest advert interval.
const LATE: Duration = Duration::from_millis(1);

/// What is wrong, each for the footer; none is what exit status 0 says.
pub fn problems(report: &StatusReport) -> Vec<String> {
    let mut found = report.troubles.clone();
    for vip in &report.vips {
        match vip.state {
            VipState::Fault | VipState::Init => {
                let why = vip.why.as_deref().unwrap_or("it has just started");
                found.push(format!("vip.{} is in {}: {why}", vip.vip, state(vip.state)));
            }
            VipState::Backup => {
                found.extend(unheard(vip).map(|what| format!("vip.{} has no {what} that is heard", vip.vip)));
            }
            VipState::Master => {}
        }
    }
    for check in report.checks.iter().filter(|c| c.health.up == Some(false)) {
        found.push(format!("check {} is down: {} {}", check.check, check.health.code, check.health.detail));
    }
    for service in &report.services {
        let down = |b: &&BackendStatus| b.health.as_ref().is_some_and(|h| h.up == Some(false));
        let n = service.backends.iter().filter(down).count();
        if n == service.backends.len() {
            found.push(format!("service.{} has no backend that is up", service.service));
        }
        for backend in service.backends.iter().filter(down) {
            let said = backend.health.as_ref().map(|h| format!("{} {}", h.code, h.detail)).unwrap_or_default();
            found.push(format!("service.{} backend {} is down: {said}", service.service, backend.backend));
        }
    }
    if let Some(refused) = &report.reload {
        let ago = ago(report.now, refused.at);
        found.push(format!("the file on disk is not what runs: the reload {ago} ago was refused"));
        found.extend(refused.what.iter().map(|line| format!("  {line}")));
    }
    found.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// What is worth knowing and nothing is wrong with.
fn notes(report: &StatusReport) -> Vec<String> {
    let mut notes = report.warnings.clone();
    if !report.restored.is_empty() {
        let each: Vec<String> = report
            .restored
            .iter()
            .map(|(kind, n)| {
                let many = if kind == "address" { "addresses".to_owned() } else { format!("{kind}s") };
                count(usize::try_from(*n).unwrap_or(usize::MAX), kind, &many)
            })
            .collect();
        notes.push(format!("put back after somebody else changed them: {}", each.join(", ")));
    }
    notes.extend(report.drains.iter().map(|drain| drained(report, drain)));
    for vip in report.vips.iter().filter(|vip| vip.lingering) {
        notes.push(format!("vip.{}: answered here until the new master has announced it", vip.vip));
    }
    for vip in &report.vips {
        if vip.state == VipState::Backup && vip.nearest_failover >= NEAR_FAILOVER {
            let percent = vip.nearest_failover / 10;
            notes.push(format!("vip.{}: the master was once silent for {percent} % of a failover", vip.vip));
        }
        if let (VipState::Backup, Some(why)) = (vip.state, &vip.why) {
            notes.push(format!("vip.{}: {why}", vip.vip));
        }
        if !vip.unlisted.is_empty() {
            let n = count(vip.unlisted.len(), "address is", "addresses are");
            notes.push(format!("vip.{}: {n} beyond what an advert can list, and held all the same", vip.vip));
        }
        notes.extend(vip.dropped.iter().map(|(cause, n)| format!("vip.{}: {}", vip.vip, dropped(cause, *n))));
    }
    for (interface, causes) in &report.strangers {
        notes.extend(causes.iter().map(|(cause, n)| format!("{interface}: {}", dropped(cause, *n))));
    }
    let late = Duration::from_micros(report.thread.max_lateness_us);
    if !report.thread.realtime {
        notes.push(format!(
            "the VRRP thread has no real-time priority (CAP_SYS_NICE); it woke at most {} late",
            span(late)
        ));
    } else if late > LATE {
        notes.push(format!("the VRRP thread once woke {} late", span(late)));
    }
    notes
}

/// How many packets were dropped, and what was wrong with them.
fn dropped(cause: &str, n: u64) -> String {
    let why = match cause {
        "ttl" => "they came through a router, their TTL was not 255 (ttl)",
        "length" => "shorter or longer than they say (length)",
        "version" => "of another version of VRRP than the file's (version)",
        "type" => "no adverts (type)",
        "vrid" => "for no vip of this machine on that interface (vrid)",
        "checksum" => "damaged on the way (checksum)",
        "authentication" => "without the right password (authentication)",
        "source" => "from a sender that is no member of the vip (source)",
        "interval" => "with another advert interval than the file's (interval)",
        "addresses" => "without any address (addresses)",
        "own" => "our own, sent back to us by the network (own)",
        other => other,
    };
    let packets = count(usize::try_from(n).unwrap_or(usize::MAX), "packet", "packets");
    format!("{packets} dropped: {why}")
}

/// `vip.ui: drained 3m 5s ago, for another 1h 57m: new kernel`.
fn drained(report: &StatusReport, drain: &DrainStatus) -> String {
    let left = drain.until.map(|until| format!(", for another {}", span(until.since(report.now)))).unwrap_or_default();
    let why = drain.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let kept = report.vips.iter().any(|v| v.vip == drain.vip && v.state == VipState::Master);
    let kept = if kept { "; nobody else holds it, so this machine does" } else { "" };
    format!("vip.{}: drained {} ago{left}{why}{kept}", drain.vip, ago(report.now, drain.since))
}

/// The whole page.
pub fn text(report: &StatusReport) -> String {
    let problems = problems(report);
    let bold = Style::new().bold();
    let verdict = match problems.is_empty() {
        true => paint("healthy", AnsiColor::Green),
        false => paint(
            &count(problems.iter().filter(|p| !p.starts_with(' ')).count(), "problem", "problems"),
            AnsiColor::Red,
        ),
    };
    let mut page = format!("{bold}{} · {}{bold:#} · {verdict} · ", report.cluster, report.peer);
    // Writing to a String cannot fail.
    let _ = writeln!(page, "up {}", ago(report.now, report.started));
    let _ = writeln!(page, "{}, fingerprint {}", report.config, report.fingerprint);
    page.push_str(&table(vips(report)));
    page.push_str(&table(checks(report)));
    page.push_str(&table(services(report)));
    let footer: Vec<String> = problems
        .iter()
        .map(|p| format!("{} {p}\n", paint("!", AnsiColor::Red)))
        .chain(notes(report).iter().map(|n| format!("{} {n}\n", paint("-", AnsiColor::Yellow))))
        .collect();
    if !footer.is_empty() {
        page.push('\n');
        page.push_str(&footer.concat());
    }
    page
}

fn vips(report: &StatusReport) -> Vec<Vec<Cell>> {
    let grouped = report.vips.iter().any(|vip| vip.group.is_some());
    let group = |cell: Cell| grouped.then_some(cell);
    let mut names = head(&["vip", "state", "since", "priority", "master", "on", "addresses"]);
    names.splice(1..1, group(plain("group")));
    let mut rows = vec![names];
    for vip in &report.vips {
        let colour = match vip.state {
            VipState::Master => AnsiColor::Green,
            VipState::Backup => AnsiColor::Cyan,
            VipState::Fault => AnsiColor::Red,
            VipState::Init => AnsiColor::Yellow,
        };
        let mut masters = masters(vip).into_iter();
        let mut addresses = vip.addresses.iter().map(ToString::to_string);
        let mut links = links(vip).into_iter();
        let mut rest = || [masters.next(), links.next(), addresses.next()];
        let mut first = vec![
            plain(&vip.vip),
            (state(vip.state).into(), Some(colour)),
            plain(ago(report.now, vip.since)),
            plain(priority(vip)),
        ];
        first.splice(1..1, group(plain(vip.group.as_deref().unwrap_or("-"))));
        let empty = first.iter().map(|_| plain("")).collect::<Vec<_>>();
        first.extend(rest().map(|cell| plain(cell.unwrap_or_default())));
        rows.push(first);
        // What a vip has more than one of stands below the first.
        loop {
            let more = rest();
            if more.iter().all(Option::is_none) {
                break;
            }
            rows.push(empty.iter().cloned().chain(more.map(|cell| plain(cell.unwrap_or_default()))).collect());
        }
    }
    rows
}

/// The interface, and the macvlans on it.
fn links(vip: &VipStatus) -> Vec<String> {
    let macvlans = vip.virtual_macs.iter().map(|name| format!("+ {name}"));
    std::iter::once(vip.interface.to_string()).chain(macvlans).collect()
}

fn priority(vip: &VipStatus) -> String {
    match vip.priority == vip.configured_priority {
        true => vip.priority.to_string(),
        false => format!("{} of {}", vip.priority, vip.configured_priority),
    }
}

/// Who is master, in each family.
fn masters(vip: &VipStatus) -> Vec<String> {
    if vip.state == VipState::Master {
        return vec!["this machine".into()];
    }
    let heard = vip.masters.values().map(|(address, priority, _)| format!("{address} ({priority})"));
    let heard: Vec<String> = heard.collect();
    if heard.is_empty() { vec!["-".into()] } else { heard }
}

/// Families of a vip whose master is not heard.
fn unheard(vip: &VipStatus) -> Option<&'static str> {
    let families: BTreeSet<Family> = vip.addresses.iter().map(|a| a.family()).collect();
    let silent: Vec<&Family> = families.iter().filter(|family| !vip.masters.contains_key(family)).collect();
    match silent.as_slice() {
        _ if vip.masters.is_empty() => Some("master"),
        [] => None,
        [Family::V4, ..] => Some("IPv4 master"),
        [Family::V6, ..] => Some("IPv6 master"),
    }
}

fn checks(report: &StatusReport) -> Vec<Vec<Cell>> {
    let mut rows = vec![head(&["check", "state", "since", "result", "what"])];
    rows.extend(report.checks.iter().map(|check| {
        let h = &check.health;
        vec![plain(&check.check), health(h), plain(ago(report.now, h.since)), plain(result(h)), plain(&check.what)]
    }));
    rows
}

fn services(report: &StatusReport) -> Vec<Vec<Cell>> {
    let mut rows = vec![head(&["service", "backend", "state", "since", "slots", "result", "address"])];
    for service in &report.services {
        for (i, backend) in service.backends.iter().enumerate() {
            let name = if i == 0 { title(service) } else { String::new() };
            let (state, since, last) = match &backend.health {
                Some(h) => (health(h), ago(report.now, h.since), result(h)),
                None => (("UP".into(), Some(AnsiColor::Green)), "-".into(), "no probe".into()),
            };
            rows.push(vec![
                plain(name),
                plain(&backend.backend),
                state,
                plain(since),
                plain(format!("{}/{}", backend.slots, backend.of_slots)),
                plain(last),
                plain(backend.target.to_string()),
            ]);
        }
    }
    rows
}

fn title(service: &ServiceStatus) -> String {
    format!("{} on {}:{}", service.service, service.vip, service.port)
}

/// HAProxy's words: `UP`, `UP 1/3` on the way down, `DOWN 1/2` on the way up.
/// Of a file it is the number.
fn health(h: &Health) -> Cell {
    if let Some(weight) = h.weight {
        let colour = match (h.up, weight) {
            (Some(false), _) => AnsiColor::Red,
            (_, 0) => AnsiColor::Green,
            _ => AnsiColor::Yellow,
        };
        return (if weight == 0 { "0".into() } else { format!("{weight:+}") }, Some(colour));
    }
    let (word, colour) = match h.up {
        Some(true) if h.against == 0 => ("UP", AnsiColor::Green),
        Some(true) => ("UP", AnsiColor::Yellow),
        Some(false) => ("DOWN", AnsiColor::Red),
        None => ("no result yet", AnsiColor::Yellow),
    };
    let way = if h.against > 0 { format!(" {}/{}", h.against, h.needed) } else { String::new() };
    (format!("{word}{way}"), Some(colour))
}

fn result(h: &Health) -> String {
    if h.weight.is_some() {
        // `-30`, or `0: there is no such file`.
        return h.detail.split_once(": ").map_or("read", |(_, why)| why).to_owned();
    }
    match h.code.as_str() {
        "" => "-".into(),
        code => format!("{code} {}", span(Duration::from_micros(h.took_us))),
    }
}

fn state(state: VipState) -> &'static str {
    match state {
        VipState::Init => "INIT",
        VipState::Backup => "BACKUP",
        VipState::Master => "MASTER",
        VipState::Fault => "FAULT",
    }
}

/// `850us`, `12ms`, `4s`, `3m 5s`, `2h 3m`, `9d 4h`: two units at most.
fn span(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0 if d.as_millis() == 0 => format!("{}us", d.as_micros()),
        0 => format!("{}ms", d.as_millis()),
        1..60 => format!("{s}s"),
        60..3600 => format!("{}m {}s", s / 60, s % 60),
        3600..86400 => format!("{}h {}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d {}h", s / 86400, s % 86400 / 3600),
    }
}

fn ago(now: Moment, then: Moment) -> String {
    span(now.since(then))
}

#[cfg(test)]
mod tests;
