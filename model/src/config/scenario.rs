//! Scenarios beside a configuration: `scenario "pve1 dies" { kill "pve1"; expect vip="ui" on="pve2" within="3.6s" }`.

use std::collections::BTreeSet;
use std::time::Duration;

use kdl::KdlDocument;

use super::cursor::{Cursor, Value};
use super::file::{File, Spanned};
use super::mistakes::{Mistakes, did_you_mean};
use super::scalar::NAME;
use super::{Config, Diagnostic, Source, codes, read};

/// What happens to a cluster in a simulation, and what is expected of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// In order; each with the line it stands on.
    pub steps: Vec<(u32, Step)>,
}

/// One line of a scenario; peers, checks and vips by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `kill "pve1"`: the power of a machine is cut.
    Kill(String),
    /// `start "pve1"`: it boots.
    Start(String),
    /// `stop "pve1"`: its `run` is asked to end.
    Stop(String),
    /// `freeze "pve1"`: nothing on it goes on.
    Freeze(String),
    /// `thaw "pve1"`: it goes on.
    Thaw(String),
    /// `cut "pve1"` from everybody, or `cut "pve1" "pve2"` from each other.
    Cut(String, Option<String>),
    /// `unplug "pve1"`, or `unplug "pve1" interface="eth1"`: its interfaces lose their carrier; `plug` gives it back.
    Plug {
        /// The machine.
        on: String,
        /// Its name for the interface; `None`: all of them.
        interface: Option<String>,
        /// Whether there is a carrier from now on.
        up: bool,
    },
    /// `drain "pve1"`, or `drain "pve1" vip="ui"`: vips are left to others; `undrain` takes that back.
    Drain {
        /// The machine.
        on: String,
        /// The vip; `None`: all of them.
        vip: Option<String>,
        /// Whether they are to be left to others from now on.
        drained: bool,
    },
    /// `failover "ui"`: whoever holds a vip hands it over, once.
    Failover(String),
    /// `heal`: every machine is on, thawed, plugged and connected, every check is up. Drains stay.
    Heal,
    /// `fail "proxies" on="pve1"`: a check goes down there, `recover` brings it up.
    Check {
        /// The check.
        check: String,
        /// Where.
        on: String,
        /// Whether it is up from now on.
        up: bool,
    },
    /// `wait "5s"`.
    Wait(Duration),
    /// `expect vip="ui" on="pve2" within="3.6s"`.
    Expect(Expectation),
}

/// Who holds a vip, and how soon after the last disturbance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// The vip.
    pub vip: String,
    /// The only machine that holds it; `None` for nobody: `expect nobody vip="ui"`.
    pub on: Option<String>,
    /// At the latest then; without, when the cluster has settled.
    pub within: Option<Duration>,
}

/// Every step, as it is written.
const STEPS: [&str; 15] = [
    "kill", "start", "stop", "freeze", "thaw", "cut", "unplug", "plug", "drain", "undrain", "failover", "heal", "fail",
    "recover", "wait",
];
const EXPECT: &str = "expect";

/// The longest wait: a day of virtual time is simulated in seconds.
const TIME: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);

/// Reads the scenarios of one source for a cluster. Spans of diagnostics have the source's index 0.
#[must_use]
pub fn scenarios(source: &Source, config: &Config) -> (Vec<Scenario>, Vec<Diagnostic>) {
    let mut out = Mistakes::default();
    let mut file = File::new(0, source);
    let document = read::document(&mut file, &mut out);
    let reader = Reader { file: &file, config };
    let scenarios = document.map(|document| reader.document(&document, &mut out)).unwrap_or_default();
    out.sort();
    (scenarios, out.list)
}

/// What a name in a step is a name of.
#[derive(Clone, Copy)]
enum Kind {
    Peer,
    Check,
    Vip,
}

struct Reader<'f> {
    file: &'f File<'f>,
    config: &'f Config,
}

impl Reader<'_> {
    fn document(&self, document: &KdlDocument, out: &mut Mistakes) -> Vec<Scenario> {
        let mut scenarios: Vec<(Scenario, super::Span)> = Vec::new();
        for node in document.nodes() {
            let mut c = Cursor::new(self.file, node);
            if c.name() != "scenario" {
                out.push(
                    Diagnostic::error(codes::UNKNOWN_NODE, format!("there is no node {} beside scenarios", c.name()))
                        .at(c.span(), "unknown node")
                        .help("write `scenario \"NAME\" { … }`; steps stand in its block"),
                );
                continue;
            }
            let span = c.span();
            let name = self.required(&mut c, "a name", out);
            let steps = c.every_child().into_iter().filter_map(|step| self.step(step, out)).collect();
            c.finish(out);
            let Some(name) = name else { continue };
            match scenarios.iter().find(|(s, _)| s.name == name.value) {
                Some((_, first)) => out.duplicate(&format!("scenario \"{}\"", name.value), *first, span),
                None => scenarios.push((Scenario { name: name.value, steps }, span)),
            }
        }
        scenarios.into_iter().map(|(scenario, _)| scenario).collect()
    }

    fn step(&self, mut c: Cursor<'_>, out: &mut Mistakes) -> Option<(u32, Step)> {
        let line = self.file.place(c.span()).line;
        let step = match c.name() {
            "kill" => self.peer(&mut c, out).map(Step::Kill),
            "start" => self.peer(&mut c, out).map(Step::Start),
            "stop" => self.peer(&mut c, out).map(Step::Stop),
            "freeze" => self.peer(&mut c, out).map(Step::Freeze),
            "thaw" => self.peer(&mut c, out).map(Step::Thaw),
            "cut" => self.cut(&mut c, out),
            "unplug" => self.plug(&mut c, out, false),
            "plug" => self.plug(&mut c, out, true),
            "drain" => self.drain(&mut c, out, true),
            "undrain" => self.drain(&mut c, out, false),
            "failover" => {
                let vip = self.required(&mut c, "the name of a vip", out);
                vip.and_then(|name| self.known(Kind::Vip, name, out)).map(Step::Failover)
            }
            "heal" => Some(Step::Heal),
            "fail" => self.check(&mut c, out, false),
            "recover" => self.check(&mut c, out, true),
            "wait" => self.wait(&mut c, out),
            EXPECT => self.expect(&mut c, out),
            name => {
                let known = STEPS.into_iter().chain([EXPECT]);
                out.push(
                    Diagnostic::error(codes::UNKNOWN_NODE, format!("there is no step {name} in a scenario"))
                        .at(c.span(), "unknown step")
                        .helps(did_you_mean(name, known, str::to_owned)),
                );
                return None;
            }
        };
        c.finish(out);
        Some((line, step?))
    }

    /// The next argument, which must be there.
    fn required(&self, c: &mut Cursor<'_>, what: &str, out: &mut Mistakes) -> Option<Spanned<String>> {
        match c.argument() {
            Some(value) => value.text(NAME, out),
            None => {
                self.missing(c, what, out);
                None
            }
        }
    }

    fn missing(&self, c: &Cursor<'_>, what: &str, out: &mut Mistakes) {
        let example = match c.name() {
            "scenario" => "scenario \"pve1 dies\" { … }".to_owned(),
            check @ ("fail" | "recover") => format!("{check} \"proxies\" on=\"pve1\""),
            "wait" => "wait \"5s\"".to_owned(),
            "failover" => "failover \"ui\"".to_owned(),
            EXPECT => "expect vip=\"ui\" on=\"pve2\" within=\"4s\"".to_owned(),
            step => format!("{step} \"pve1\""),
        };
        out.push(
            Diagnostic::error(codes::MISSING, format!("{} needs {what}", c.name()))
                .at(c.span(), "here")
                .help(format!("as in `{example}`")),
        );
    }

    fn peer(&self, c: &mut Cursor<'_>, out: &mut Mistakes) -> Option<String> {
        let name = self.required(c, "the name of a peer", out)?;
        self.known(Kind::Peer, name, out)
    }

    /// A name that the configuration has.
    fn known(&self, kind: Kind, name: Spanned<String>, out: &mut Mistakes) -> Option<String> {
        let config = self.config;
        let (what, code, names): (_, _, Vec<&str>) = match kind {
            Kind::Peer => ("peer", codes::UNKNOWN_PEER, config.peers.iter().map(|p| p.name.as_str()).collect()),
            Kind::Check => ("check", codes::UNKNOWN_CHECK, config.checks.iter().map(|c| c.name.as_str()).collect()),
            Kind::Vip => ("vip", codes::UNKNOWN_VIP, config.vips.iter().map(|v| v.name.as_str()).collect()),
        };
        if names.contains(&name.value.as_str()) {
            return Some(name.value);
        }
        let title = format!("there is no {what} \"{}\" in cluster {}", name.value, config.cluster.value);
        let help = match names.is_empty() {
            true => vec![format!("the cluster has no {what}")],
            false => did_you_mean(&name.value, names.into_iter(), |n| format!("\"{n}\"")),
        };
        out.push(Diagnostic::error(code, title).at(name.span, "unknown").helps(help));
        None
    }

    fn cut(&self, c: &mut Cursor<'_>, out: &mut Mistakes) -> Option<Step> {
        let first = self.peer(c, out)?;
        let second = match c.argument() {
            None => None,
            Some(value) => {
                let name = value.text(NAME, out)?;
                Some(self.known(Kind::Peer, name, out)?)
            }
        };
        Some(Step::Cut(first, second))
    }

    fn plug(&self, c: &mut Cursor<'_>, out: &mut Mistakes, up: bool) -> Option<Step> {
        let on = self.peer(c, out);
        let interface = match c.property("interface", out) {
            None => None,
            Some(value) => Some(self.interface(on.as_deref()?, value.text(NAME, out)?, out)?),
        };
        Some(Step::Plug { on: on?, interface, up })
    }

    fn drain(&self, c: &mut Cursor<'_>, out: &mut Mistakes, drained: bool) -> Option<Step> {
        let on = self.peer(c, out);
        let vip = match c.property("vip", out) {
            None => None,
            Some(value) => Some(self.known(Kind::Vip, value.text(NAME, out)?, out)?),
        };
        Some(Step::Drain { on: on?, vip, drained })
    }

    /// An interface that vips of this peer are on.
    fn interface(&self, peer: &str, name: Spanned<String>, out: &mut Mistakes) -> Option<String> {
        let own = self.config.peers.iter().find(|p| p.name == peer).and_then(|p| p.interface.as_ref());
        let vips = self.config.vips.iter().filter(|vip| vip.priorities.contains_key(peer));
        let names: BTreeSet<&str> = vips.map(|vip| own.unwrap_or(&vip.interface).value.as_str()).collect();
        if names.contains(name.value.as_str()) {
            return Some(name.value);
        }
        let title = format!("peer \"{peer}\" has no vip on an interface \"{}\"", name.value);
        let known = did_you_mean(&name.value, names.into_iter(), |n| format!("\"{n}\""));
        out.push(Diagnostic::error(codes::UNKNOWN_INTERFACE, title).at(name.span, "unknown").helps(known));
        None
    }

    fn named(&self, c: &mut Cursor<'_>, property: &str, out: &mut Mistakes) -> Option<Spanned<String>> {
        match c.property(property, out) {
            Some(value) => value.text(NAME, out),
            None => {
                self.missing(c, &format!("{property}="), out);
                None
            }
        }
    }

    fn on(&self, name: Option<Spanned<String>>, out: &mut Mistakes) -> Option<String> {
        self.known(Kind::Peer, name?, out)
    }

    fn check(&self, c: &mut Cursor<'_>, out: &mut Mistakes, up: bool) -> Option<Step> {
        let check = self.required(c, "the name of a check", out);
        let on = self.named(c, "on", out);
        let check = check.and_then(|name| self.known(Kind::Check, name, out));
        let on = self.on(on, out);
        Some(Step::Check { check: check?, on: on?, up })
    }

    fn wait(&self, c: &mut Cursor<'_>, out: &mut Mistakes) -> Option<Step> {
        match c.argument() {
            Some(value) => Some(Step::Wait(value.duration(TIME, out)?.value)),
            None => {
                self.missing(c, "a duration", out);
                None
            }
        }
    }

    fn expect(&self, c: &mut Cursor<'_>, out: &mut Mistakes) -> Option<Step> {
        let nobody = match c.argument() {
            None => false,
            // A wrong word is reported, and stands for `nobody`, so that what follows it is judged as well.
            Some(value) => value.word("expectation", &[("nobody", true)], out).is_none_or(|word| word.value),
        };
        let vip = self.named(c, "vip", out);
        let on = if nobody { None } else { Some(self.named(c, "on", out)) };
        let within: Option<Value<'_>> = c.property("within", out);
        let vip = vip.and_then(|name| self.known(Kind::Vip, name, out));
        let on = match on {
            None => None,
            Some(name) => Some(self.on(name, out)?),
        };
        let within = match within {
            None => None,
            Some(value) => Some(value.duration(TIME, out)?.value),
        };
        Some(Step::Expect(Expectation { vip: vip?, on, within }))
    }
}
