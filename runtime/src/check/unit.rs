//! Whether a unit of systemd is active, as `systemctl` says: it knows its manager's socket and words of every version.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::Outcome;
use super::command::{Ended, Program, run};

/// There where systemd is the first process (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// What `systemctl is-active` ends with where there is no such unit.
const NO_SUCH_UNIT: i32 = 4;

/// Active, or active and reloading.
pub(super) async fn active(unit: &str, timeout: Duration) -> Outcome {
    if !Path::new(BOOTED).is_dir() {
        let why = format!("systemd does not run this machine (there is no {BOOTED}): check the process instead");
        return Outcome::bad("UNITERR", why);
    }
    let program = Program {
        argv: ["systemctl", "is-active", "--", unit].map(str::to_owned).to_vec(),
        user: None,
        environment: BTreeMap::from([("LC_ALL".into(), "C".into())]),
    };
    judge(unit, run(&program, timeout).await)
}

fn judge(unit: &str, ended: Ended) -> Outcome {
    match ended {
        Ended::Exited(status, word) if status.success() => Outcome::good("UNITOK", word),
        Ended::Exited(status, _) if status.code() == Some(NO_SUCH_UNIT) => {
            Outcome::bad("UNITERR", format!("systemd knows no unit {unit}"))
        }
        Ended::Exited(status, word) if word.is_empty() => Outcome::bad("UNITERR", format!("systemctl: {status}")),
        Ended::Exited(_, word) => Outcome::bad("UNITERR", format!("{unit} is {word}")),
        Ended::Killed => Outcome::bad("UNITTOUT", "systemd did not answer in time"),
        Ended::NotStarted(why) => Outcome::bad("UNITERR", why),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn said(code: i32, word: &str) -> Outcome {
        judge("x.service", Ended::Exited(ExitStatus::from_raw(code << 8), word.into()))
    }

    #[test]
    fn the_words_of_systemctl_are_told_apart() {
        assert_eq!(said(0, "active"), Outcome::good("UNITOK", "active"));
        assert_eq!(said(3, "failed"), Outcome::bad("UNITERR", "x.service is failed"));
        assert_eq!(said(4, "inactive"), Outcome::bad("UNITERR", "systemd knows no unit x.service"));
        assert_eq!(said(1, ""), Outcome::bad("UNITERR", "systemctl: exit status: 1"));
        assert_eq!(judge("x.service", Ended::Killed).code, "UNITTOUT");
    }
}
