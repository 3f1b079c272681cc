//! What happens, told: JSON lines on standard output for programs, the log for people.

use model::units::Moment;
use model::vrrp::{Event, VipState};
use serde::Serialize;

use crate::clock;
use crate::lines::{FINISH, Lines};

/// What the daemon itself tells beside the router's [`Event`]s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Said {
    /// Everything is started.
    Ready {
        /// This machine's name in the file.
        peer: String,
    },
    /// A check of this machine turned.
    Check {
        /// Its name.
        check: String,
        /// Whether it is up now.
        up: bool,
        /// The last result.
        why: String,
    },
    /// The number in a tracked file became another.
    Weight {
        /// Name of the check.
        check: String,
        /// The number now.
        weight: i16,
        /// What was read.
        why: String,
    },
    /// A backend turned: it left the slots, or is back in them.
    Backend {
        /// The service's name.
        service: String,
        /// The backend's name.
        backend: String,
        /// Whether it is up now.
        up: bool,
        /// The last result.
        why: String,
    },
    /// Every vip of a group has changed its state.
    Group {
        /// Its name.
        group: String,
        /// Before.
        from: VipState,
        /// Now.
        to: VipState,
    },
    /// A valid file is in force.
    Reloaded {
        /// How many steps were performed.
        steps: usize,
    },
    /// A file with mistakes changed nothing.
    ReloadRefused {
        /// Every mistake with its place.
        what: Vec<String>,
    },
    /// Something that needs a person's eye.
    Trouble {
        /// What, for people.
        what: String,
    },
}

/// The new number of a file; what is no number may be a slip of the pen.
pub(super) fn weight(check: &str, why: &str) -> Told {
    let warn = why.contains(": ") && !why.ends_with("no such file");
    Told { warn, object: format!("check {check}"), what: format!("check {check} says {why}") }
}

#[derive(Serialize)]
struct Line<'a, T> {
    at: Moment,
    #[serde(flatten)]
    what: &'a T,
}

/// Standard output, behind a thread of its own: a run never waits for who watches it.
#[derive(Debug)]
pub(super) struct Out(Option<Lines>);

impl Out {
    /// Silent unless `json`.
    pub fn new(json: bool) -> Self {
        let missing = |n| line(clock::now(), &Said::Trouble { what: format!("{n} events are missing here: unread") });
        let words = move |n| String::from_utf8(missing(n)).unwrap_or_default();
        Out(json.then(|| Lines::open(std::io::stdout(), words)))
    }

    /// One line.
    pub fn tell(&self, at: Moment, what: &impl Serialize) {
        if let Some(lines) = &self.0 {
            lines.tell(line(at, what));
        }
    }

    /// Waits until everything told so far is written, or [`FINISH`].
    pub fn finish(&self) {
        let _ = self.0.as_ref().is_some_and(|lines| lines.flush(FINISH));
    }
}

fn line(at: Moment, what: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(&Line { at, what }).unwrap_or_default();
    line.push(b'\n');
    line
}

/// A line of the log.
#[derive(Debug)]
pub(super) struct Told {
    /// Whether it needs an eye.
    pub warn: bool,
    /// What it is about: whatever turns again and again under this name is told of ever less.
    pub object: String,
    /// The line.
    pub what: String,
}

impl Told {
    /// As it is.
    pub fn log(&self) {
        if self.warn { tracing::warn!("{}", self.what) } else { tracing::info!("{}", self.what) }
    }
}

/// A router's event in the log.
pub(super) fn words(event: &Event) -> Told {
    match event {
        Event::State { vip, from, to, priority, why } => Told {
            warn: *to == VipState::Fault,
            object: format!("vip.{vip}"),
            what: format!("vip.{vip} {} -> {}, priority {priority}: {why}", word(*from), word(*to)),
        },
        Event::Dropped { subject, source, cause, count } => {
            plain(format!("{subject}: packets from {source} dropped ({cause}), {count} so far"))
        }
        Event::Warning { vip, what } => plain(format!("vip.{vip}: {what}")),
        Event::Restored { vip, what } => plain(format!("{}somebody else changed what is ours: {what}", subject(vip))),
    }
}

fn plain(what: String) -> Told {
    Told { warn: true, object: what.clone(), what }
}

/// The front of a line: a vip by its name, an object of the file as it is, and nothing for a sysctl, which the line names.
fn subject(of: &str) -> String {
    match of {
        "" | "sysctl" => String::new(),
        object if object.contains('.') => format!("{object}: "),
        vip => format!("vip.{vip}: "),
    }
}

fn word(state: VipState) -> &'static str {
    match state {
        VipState::Init => "INIT",
        VipState::Backup => "BACKUP",
        VipState::Master => "MASTER",
        VipState::Fault => "FAULT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_begins_with_its_object_in_one_form() {
        let fronts = ["site", "vip.site", "service.web", "sysctl", ""].map(subject);
        assert_eq!(fronts, ["vip.site: ", "vip.site: ", "service.web: ", "", ""]);
    }
}
