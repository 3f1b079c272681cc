//! `hactl restart`: the service becomes the program on disk.

use std::thread::sleep;
use std::time::{Duration, Instant};

use model::vrrp::VipState;
use runtime::clock;
use runtime::control::{Reply, Request, StatusReport, ask};
use serde_json::json;

use super::drain::{asked, other_words};
use crate::args::Arguments;
use crate::report::{Exit, Failure, count};

/// How long the new program may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often it is asked.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Lets the service become the program on disk, and waits until that answers.
///
/// # Errors
/// No service, a program that cannot go on (the old one does), and one that ended.
pub fn restart(arguments: &Arguments) -> Result<Exit, Failure> {
    let begun = (clock::now(), Instant::now());
    let Reply::Restarting = asked(arguments, &Request::Restart)? else { return Err(other_words()) };
    while begun.1.elapsed() < PATIENCE {
        // While one program is no more and the other not yet, nobody answers.
        if let Ok(Reply::Status(report)) = ask(&arguments.state, &Request::Status)
            && report.resumed.is_some_and(|at| at >= begun.0)
        {
            tell(arguments, &report, begun.1.elapsed());
            return Ok(Exit::Done);
        }
        sleep(LOOK_AGAIN);
    }
    let what = format!("the service did not go on as another program within {} s", PATIENCE.as_secs());
    let help = vec!["hactl status, and its log (journalctl -u hactl), say what runs and why".into()];
    Err(Failure { exit: Exit::Failed, what, help })
}

fn tell(arguments: &Arguments, report: &StatusReport, took: Duration) {
    let masters: Vec<&str> =
        report.vips.iter().filter(|v| v.state == VipState::Master).map(|v| v.vip.as_str()).collect();
    if arguments.json {
        let (pid, program) = (report.pid, &report.program);
        let object = json!({ "pid": pid, "program": program, "master": masters, "seconds": took.as_secs_f64() });
        return anstream::println!("{object}");
    }
    anstream::println!(
        "hactl {} goes on as process {}, master of {}, after {:.2} s",
        report.program,
        report.pid,
        count(masters.len(), "vip", "vips"),
        took.as_secs_f64()
    );
}
