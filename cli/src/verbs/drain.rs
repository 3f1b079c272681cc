//! `hactl drain`, `hactl undrain`, `hactl failover`: asked of the running daemon, and told how it went.

use std::thread::sleep;
use std::time::{Duration, Instant};

use model::units::parse_duration;
use model::vrrp::{VipState, VipStatus};
use runtime::control::{AskError, Reply, Request, StatusReport, ask};
use serde_json::json;

use crate::args::{Arguments, DrainArgs, FailoverArgs, UndrainArgs};
use crate::report::{Exit, Failure};

/// How often the daemon is asked how far it is.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long a handover may take: the skew of the longest interval that there is, and the time to announce.
const PATIENCE: Duration = Duration::from_secs(300);

/// What became of one vip.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    vip: String,
    fate: Fate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// Nobody had to take it over.
    NotHeld,
    /// Somebody did: who, as far as it is known.
    Moved(Option<String>),
    /// This machine is its master still, or again.
    Kept,
    /// It is nobody's here, for this reason.
    Lost(String),
}

/// Leaves vips to others.
///
/// # Errors
/// No daemon, an unknown vip, a wrong time; and where nobody follows.
pub fn drain(arguments: &Arguments, args: &DrainArgs) -> Result<Exit, Failure> {
    let lasts = args.lasts.as_deref().map(parse_duration).transpose();
    let lasts = lasts.map_err(|e| Failure { exit: Exit::Usage, what: format!("--for: {e}"), help: vec![] })?;
    let seconds = lasts.map(|lasts| lasts.as_secs());
    let begun = Instant::now();
    let request = Request::Drain { vips: args.vips.clone(), reason: args.reason.clone(), seconds };
    let outcomes = settle(arguments, begin(arguments, &request)?)?;
    tell(arguments, &outcomes, "drained", begun.elapsed());
    kept(&outcomes, "the drain stands, and this machine is the last resort: is the other one up? hactl undrain ends it")
}

/// Takes drains back.
///
/// # Errors
/// No daemon, or an unknown vip.
pub fn undrain(arguments: &Arguments, args: &UndrainArgs) -> Result<Exit, Failure> {
    let (vips, _) = begin(arguments, &Request::Undrain { vips: args.vips.clone() })?;
    if arguments.json {
        anstream::println!("{}", json!({ "undrained": vips }));
    } else if vips.is_empty() {
        anstream::println!("nothing was drained");
    }
    for vip in vips.iter().filter(|_| !arguments.json) {
        anstream::println!("vip.{vip}: no longer drained; its priority is the file's again");
    }
    Ok(Exit::Done)
}

/// Hands a vip over once.
///
/// # Errors
/// No daemon, an unknown vip, one that is not held here; and where nobody follows.
pub fn failover(arguments: &Arguments, args: &FailoverArgs) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let outcomes = settle(arguments, begin(arguments, &Request::Failover { vip: args.vip.clone() })?)?;
    tell(arguments, &outcomes, "stepped down", begun.elapsed());
    kept(&outcomes, "this machine goes on holding it: is the other one up, and not drained? hactl status there says")
}

/// The vips that are concerned, and those of them that were held.
fn begin(arguments: &Arguments, request: &Request) -> Result<(Vec<String>, Vec<String>), Failure> {
    match asked(arguments, request)? {
        Reply::Begun { vips, held } => Ok((vips, held)),
        _ => Err(other_words()),
    }
}

/// Waits until every one of them is somewhere.
fn settle(arguments: &Arguments, begun: (Vec<String>, Vec<String>)) -> Result<Vec<Outcome>, Failure> {
    let end = Instant::now() + PATIENCE;
    let (vips, held) = begun;
    loop {
        let Reply::Status(report) = asked(arguments, &Request::Status)? else { return Err(other_words()) };
        let fates: Option<Vec<Outcome>> = vips.iter().map(|vip| outcome(&report, vip, held.contains(vip))).collect();
        match fates {
            Some(outcomes) => return Ok(outcomes),
            None if Instant::now() >= end => {
                let what = format!("the handover did not end within {} s", PATIENCE.as_secs());
                return Err(Failure { exit: Exit::Failed, what, help: vec!["hactl status shows where it is".into()] });
            }
            None => sleep(LOOK_AGAIN),
        }
    }
}

/// `None` while it is under way.
fn outcome(report: &StatusReport, vip: &str, held: bool) -> Option<Outcome> {
    let of = |fate| Some(Outcome { vip: vip.to_owned(), fate });
    if !held {
        return of(Fate::NotHeld);
    }
    // A reload may have taken it away meanwhile.
    let Some(status) = report.vips.iter().find(|v| v.vip == vip) else { return of(Fate::Lost("it left".into())) };
    match status.state {
        VipState::Master => of(Fate::Kept),
        VipState::Backup if status.lingering => None,
        VipState::Backup => of(Fate::Moved(master(status))),
        VipState::Fault | VipState::Init => of(Fate::Lost(status.why.clone().unwrap_or_default())),
    }
}

fn master(status: &VipStatus) -> Option<String> {
    status.master().filter(|(_, priority, _)| *priority > 0).map(|(address, _, _)| address.to_string())
}

fn tell(arguments: &Arguments, outcomes: &[Outcome], done: &str, took: Duration) {
    if arguments.json {
        let each = outcomes.iter().map(|o| match &o.fate {
            Fate::NotHeld => json!({ "vip": o.vip, "outcome": "not-held" }),
            Fate::Moved(to) => json!({ "vip": o.vip, "outcome": "moved", "master": to }),
            Fate::Kept => json!({ "vip": o.vip, "outcome": "kept" }),
            Fate::Lost(why) => json!({ "vip": o.vip, "outcome": "lost", "why": why }),
        });
        let each: Vec<_> = each.collect();
        return anstream::println!("{}", json!({ "vips": each, "seconds": took.as_secs_f64() }));
    }
    for o in outcomes {
        let how = match &o.fate {
            Fate::NotHeld => "it was not held here".to_owned(),
            Fate::Moved(Some(to)) => format!("{to} holds it now, after {:.2} s", took.as_secs_f64()),
            Fate::Moved(None) => "another machine holds it now".to_owned(),
            Fate::Kept => "nobody followed, and this machine goes on holding it".to_owned(),
            Fate::Lost(why) => format!("nobody holds it here: {why}"),
        };
        anstream::println!("vip.{}: {done}; {how}", o.vip);
    }
}

fn kept(outcomes: &[Outcome], help: &str) -> Result<Exit, Failure> {
    let kept: Vec<String> =
        outcomes.iter().filter(|o| o.fate == Fate::Kept).map(|o| format!("vip.{}", o.vip)).collect();
    if kept.is_empty() {
        return Ok(Exit::Done);
    }
    let what = format!("nobody follows this machine as master of {}", kept.join(", "));
    Err(Failure { exit: Exit::Failed, what, help: vec![help.to_owned()] })
}

pub(super) fn asked(arguments: &Arguments, request: &Request) -> Result<Reply, Failure> {
    let failed = |e: AskError| Failure { exit: Exit::Failed, what: e.to_string(), help: e.help() };
    match ask(&arguments.state, request).map_err(failed)? {
        Reply::Refused { what, help } => Err(Failure { exit: Exit::Failed, what, help }),
        reply => Ok(reply),
    }
}

pub(super) fn other_words() -> Failure {
    let help = vec!["is it of another version? hactl restart makes it the one that is installed".into()];
    Failure { exit: Exit::Failed, what: "the service answered something else than asked".into(), help }
}
