//! `hactl status`: from the running daemon; where none runs, from the kernel, and it says so.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use model::observed::{OUR_MARK, Observed, Wanted};
use runtime::control::{AskError, Reply, Request, STATUS_VERSION, StatusReport, ask};
use runtime::kernel::Kernel;
use runtime::kernel::linux::Linux;
use serde_json::json;

use crate::args::{Arguments, StatusArgs};
use crate::report::{Exit, Failure};
use crate::status;

/// How often `--watch` redraws.
const REDRAW: Duration = Duration::from_secs(1);

/// Tells what this machine holds and why; exit status 0 where all is well.
///
/// # Errors
/// The daemon runs and may not be asked, or does not answer.
pub fn status(arguments: &Arguments, args: &StatusArgs) -> Result<Exit, Failure> {
    loop {
        let (page, exit) = page(arguments)?;
        if !args.watch {
            anstream::print!("{page}");
            return Ok(exit);
        }
        // To the corner and clear below: the page is redrawn without flicker. Programs get a line each time.
        let clear = if arguments.json { "" } else { "\x1b[H\x1b[2J" };
        let mut out = anstream::stdout().lock();
        // Whoever watched has gone: there is nobody to draw for.
        if write!(out, "{clear}{page}").and_then(|()| out.flush()).is_err() {
            return Ok(exit);
        }
        drop(out);
        std::thread::sleep(REDRAW);
    }
}

fn page(arguments: &Arguments) -> Result<(String, Exit), Failure> {
    let failed = |what: String, help: Vec<String>| Failure { exit: Exit::Failed, what, help };
    match ask(&arguments.state, &Request::Status) {
        Ok(Reply::Status(report)) => Ok(running(&report, arguments.json)),
        Ok(Reply::Refused { what, help }) => Err(failed(what, help)),
        Ok(_) => Err(failed("the daemon answered something else than asked".into(), vec!["same version?".into()])),
        Err(AskError::NotRunning(_)) => Ok((down(&arguments.state, arguments.json), Exit::Failed)),
        Err(e) => Err(failed(e.to_string(), e.help())),
    }
}

fn running(report: &StatusReport, json: bool) -> (String, Exit) {
    let problems = status::problems(report);
    let exit = if problems.is_empty() { Exit::Done } else { Exit::Failed };
    if !json {
        return (status::text(report), exit);
    }
    let mut object = serde_json::to_value(report).unwrap_or_default();
    if let Some(object) = object.as_object_mut() {
        object.insert("running".into(), true.into());
        object.insert("healthy".into(), problems.is_empty().into());
        object.insert("problems".into(), problems.into());
    }
    (format!("{object}\n"), exit)
}

/// What the kernel holds of ours while nobody looks after it.
fn down(state: &Path, json: bool) -> String {
    let observed = Linux::new(state).observe(&Wanted::default());
    match (observed, json) {
        (Ok(observed), true) => format!(
            "{}\n",
            json!({
                "version": STATUS_VERSION,
                "running": false,
                "healthy": false,
                "problems": ["hactl run is not running"],
                "addresses": observed.addresses.iter().filter(|a| a.mark == OUR_MARK).collect::<Vec<_>>(),
                "tables": observed.tables.keys().collect::<Vec<_>>(),
                "sysctls": observed.record.sysctls,
            })
        ),
        (Err(e), true) => {
            let problems = ["hactl run is not running".to_owned(), e.to_string()];
            format!(
                "{}\n",
                json!({"version": STATUS_VERSION, "running": false, "healthy": false, "problems": problems})
            )
        }
        (Ok(observed), false) => format!("{}{}", not_running(state), holds(&observed)),
        (Err(e), false) => format!("{}What the kernel holds of hactl's cannot be read: {e}\n", not_running(state)),
    }
}

fn not_running(state: &Path) -> String {
    format!(
        "hactl is not running on this machine: nobody listens on {}\n  help: start it with `systemctl start hactl`, or \
         `hactl run`\n\n",
        runtime::control::socket(state).display()
    )
}

fn holds(observed: &Observed) -> String {
    let mut lines = vec![];
    for address in observed.addresses.iter().filter(|a| a.mark == OUR_MARK) {
        lines.push(format!(
            "  address {} on {}: held by nobody, and in the way of the peer that takes over",
            address.cidr, address.interface
        ));
    }
    lines.extend(observed.tables.keys().map(|name| format!("  nftables {name}: its backends are not probed")));
    for (key, sysctl) in observed.record.sysctls.iter().filter(|(_, s)| s.before != s.ours) {
        lines.push(format!("  sysctl {key} = {} (was {})", sysctl.ours, sysctl.before));
    }
    match lines.is_empty() {
        true => "The kernel holds nothing of hactl's.\n".into(),
        false => format!("The kernel still holds:\n{}\n", lines.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use model::observed::{Address, Record, SysctlBefore};

    #[test]
    fn what_a_dead_run_left_is_told() {
        let address = |mark| Address {
            interface: "eth0".parse().unwrap(),
            cidr: format!("192.0.2.{mark}/24").parse().unwrap(),
            mark,
            secondary: false,
        };
        let sysctl = SysctlBefore { before: "0".into(), ours: "1".into() };
        let observed = Observed {
            addresses: [address(0), address(OUR_MARK)].into(),
            tables: BTreeMap::from([("ip hactl".into(), "table ip hactl {\n}".into())]),
            record: Record {
                sysctls: BTreeMap::from([("net.ipv4.conf.eth0.forwarding".into(), sysctl)]),
                ..Record::default()
            },
            ..Observed::default()
        };
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../../../snapshots/status");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let page = format!("{}{}", not_running(Path::new("/run/hactl")), holds(&observed));
        settings.bind(|| insta::assert_snapshot!("down", page));
    }
}
