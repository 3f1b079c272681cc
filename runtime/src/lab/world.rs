//! The world: machines around a network, commands carried out on them, and what came of it.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use model::config::Config;
use model::vrrp::Event;

use super::command::{self, Command, Expect};
use super::fact::{Fact, Stamped, Summary};
use super::protocol::{Order, Report, now};
use super::rooms::{CLIENT, Rooms, first_address};
use super::state::{Connection, MachineState, Power, State, Verdict, VipView};
use super::topology::Topology;

mod ending;
mod news;

/// Messages that may wait for the world; then those who send them wait.
const WAITING: usize = 4_096;

/// The world looks at itself and the picture is drawn this often.
const TICK: Duration = Duration::from_millis(50);

/// Until the last machine must stand.
const BUILD_TIMEOUT: Duration = Duration::from_secs(20);

/// An outage shorter than this is measured and not told at once: a busy machine has such without any cause.
const NOTABLE: Duration = Duration::from_millis(20);

/// Why nothing is built for nobody.
pub const NO_COMMANDS: &str = "there are no commands: standard input has none, and it is no terminal";

/// What arrives at the world.
#[derive(Debug)]
pub enum Message {
    /// A machine reports.
    Report {
        /// Its name.
        machine: String,
        /// Which boot of it.
        boot: u64,
        /// What.
        report: Box<Report>,
    },
    /// A machine closed its end.
    Gone {
        /// Its name.
        machine: String,
        /// Which boot of it.
        boot: u64,
    },
    /// A person or a script wrote a line.
    Line(String),
    /// No more lines will come: end when all are carried out.
    NoMoreLines,
    /// End now.
    Interrupt,
}

/// Shows what happens.
pub trait Face {
    /// Something happened.
    fn tell(&mut self, stamped: &Stamped, state: &State);
    /// Time passed.
    fn tick(&mut self, state: &State);
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All commands were carried out, all expectations met.
    Good,
    /// Some expectation was not met, some command of a script could not be carried out, or it was interrupted.
    Bad,
}

/// What the current command waits for.
pub(super) enum Until {
    Time(u64),
    Settled(u64),
    Expected {
        expect: Expect,
        text: String,
        deadline: u64,
    },
    Connected(u64),
    /// A verb of hactl's has ended, or this deadline.
    Answered(u64),
    Started {
        machine: String,
        deadline: u64,
    },
}

/// The world.
pub struct World<'a> {
    pub(super) rooms: Rooms,
    pub(super) state: State,
    pub(super) config: &'a Config,
    pub(super) services: Vec<(String, std::net::SocketAddrV4)>,
    face: &'a mut dyn Face,
    inbox: Receiver<Message>,
    boots: BTreeMap<String, u64>,
    pub(super) queue: VecDeque<String>,
    pub(super) until: Option<Until>,
    /// Whether a mistake ends everything: lines come from a script.
    strict: bool,
    /// Whether all machines stood at the same time once.
    built: bool,
    ending: bool,
    pub(super) summary: Summary,
    failed: bool,
}

/// A way to the world and the world's ear.
pub fn channel() -> (SyncSender<Message>, Receiver<Message>) {
    sync_channel(WAITING)
}

/// What a world is made of.
pub struct Plan<'a> {
    /// The file, for the daemons.
    pub file: PathBuf,
    /// What it says.
    pub config: &'a Config,
    /// What is to be built.
    pub topology: Topology,
    /// Whether lines come from a script: its first mistake ends everything.
    pub strict: bool,
}

/// Builds the world of a plan, carries out what arrives at `inbox`, and ends.
///
/// # Errors
/// In words, where it cannot be built.
pub fn run(
    plan: Plan<'_>,
    face: &mut dyn Face,
    (outbox, inbox): (SyncSender<Message>, Receiver<Message>),
) -> Result<Outcome, String> {
    let services = plan.topology.services.clone();
    let state = first_state(plan.config, &plan.topology);
    let rooms = Rooms::new(plan.topology, plan.file, outbox).map_err(|e| e.to_string())?;
    let mut world = World {
        rooms,
        state,
        config: plan.config,
        services,
        face,
        inbox,
        boots: BTreeMap::new(),
        queue: VecDeque::new(),
        until: None,
        strict: plan.strict,
        built: false,
        ending: false,
        summary: Summary::default(),
        failed: false,
    };
    world.build()?;
    world.live();
    Ok(world.end())
}

fn first_state(config: &Config, topology: &Topology) -> State {
    let member_of = |name: &str| {
        let of = config.vips.iter().filter(|vip| vip.priorities.contains_key(name));
        of.map(|vip| vip.name.clone()).collect()
    };
    let machines = topology.machines.iter().map(|machine| MachineState {
        name: machine.name.clone(),
        address: first_address(&machine.links),
        is_peer: machine.is_peer,
        member_of: if machine.is_peer { member_of(&machine.name) } else { vec![] },
        ..MachineState::default()
    });
    let vips = topology.vips.iter().map(|(name, addresses)| VipView {
        name: name.clone(),
        addresses: addresses.clone(),
        ..VipView::default()
    });
    let began = now();
    State {
        cluster: config.cluster.value.clone(),
        began,
        disturbed_at: began,
        machines: machines.collect(),
        vips: vips.collect(),
        ..State::default()
    }
}

impl World<'_> {
    fn build(&mut self) -> Result<(), String> {
        let names: Vec<String> = self.state.machines.iter().map(|machine| machine.name.clone()).collect();
        for name in names.iter().map(String::as_str).chain([CLIENT]) {
            self.boot(name)?;
        }
        let deadline = now().saturating_add(nanoseconds(BUILD_TIMEOUT));
        while self.state.machines.iter().any(|machine| machine.power != Power::On) {
            self.turn();
            if self.failed {
                return Err("the laboratory was not built: it was interrupted, or a machine could not be made".into());
            }
            if self.ending {
                return Err(NO_COMMANDS.into());
            }
            if now() > deadline {
                let missing = self.state.machines.iter().filter(|m| m.power != Power::On).map(|m| m.name.as_str());
                return Err(format!("not every machine came up: {}", missing.collect::<Vec<_>>().join(", ")));
            }
        }
        // All at once: with equal chances, priorities decide who is first.
        for name in self.state.machines.iter().filter(|m| m.is_peer).map(|m| m.name.clone()).collect::<Vec<_>>() {
            self.rooms.order(&name, &Order::Start)?;
        }
        self.built = true;
        let named = |is_peer: bool| {
            self.state.machines.iter().filter(|m| m.is_peer == is_peer).map(|m| m.name.clone()).collect()
        };
        self.tell(Fact::Built {
            cluster: self.state.cluster.clone(),
            peers: named(true),
            hosts: named(false),
            ordinary_user: std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !map.contains("4294967295")),
        });
        Ok(())
    }

    pub(super) fn boot(&mut self, name: &str) -> Result<(), String> {
        let boot = self.rooms.boot(name)?;
        self.boots.insert(name.to_owned(), boot);
        Ok(())
    }

    /// Carries out lines until there are no more, or a mistake ends it.
    fn live(&mut self) {
        while !(self.ending || (self.failed && self.strict)) {
            if self.until.is_none() {
                self.next();
            }
            self.turn();
        }
    }

    fn next(&mut self) {
        let Some(line) = self.queue.pop_front() else { return };
        let done = match command::parse(&line) {
            Ok(None) => return,
            Ok(Some(command)) => {
                if !matches!(command, Command::Say(_) | Command::Quit) {
                    self.tell(Fact::Command { text: line.trim().to_owned() });
                }
                self.carry_out(command, line.trim()).map_err(|what| (what, String::new()))
            }
            Err(e) => Err((e.what, e.help)),
        };
        if let Err((what, help)) = done {
            self.tell(Fact::Trouble { subject: line.trim().to_owned(), what, help });
            self.failed |= self.strict;
        }
    }

    /// Hears what arrived, looks at the whole, and at what the current command waits for.
    fn turn(&mut self) {
        match self.inbox.recv_timeout(TICK) {
            Ok(message) => self.hear(message),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.ending = true,
        }
        for _ in 0..WAITING {
            let Ok(message) = self.inbox.try_recv() else { break };
            self.hear(message);
        }
        self.state.refresh(now());
        self.look();
        self.face.tick(&self.state);
    }

    fn look(&mut self) {
        let at = now();
        let Some(until) = self.until.take() else { return };
        match until {
            Until::Time(due) if at >= due => {}
            Until::Settled(_) if self.state.is_settled(at) => {
                let holders = self.state.vips.iter().map(|v| (v.name.clone(), self.state.holders(&v.name).join("+")));
                let holders = holders.collect();
                let calm = self.state.calm_since.unwrap_or(at);
                let after_ms = calm.saturating_sub(self.state.disturbed_at) as f64 / 1e6;
                self.tell(Fact::Settled { holders, after_ms });
            }
            Until::Settled(_) if self.state.is_dead(at) => {
                self.expected("settled", false, "no hactl run is alive".to_owned());
            }
            Until::Settled(deadline) if at >= deadline => self.expected("settled", false, self.standing()),
            Until::Expected { ref expect, ref text, deadline } => match self.state.judge(expect, at) {
                Verdict::Met(saw) => self.expected(&text.clone(), true, saw),
                Verdict::Never(saw) => self.expected(&text.clone(), false, saw),
                Verdict::NotYet(saw) if at >= deadline => self.expected(&text.clone(), false, saw),
                Verdict::NotYet(_) => self.until = Some(until),
            },
            Until::Connected(deadline) => {
                let open = |c: &&Connection| c.backend.is_some() && c.broken.is_none();
                let waiting = |c: &Connection| c.backend.is_none() && c.broken.is_none();
                if self.state.connections.values().any(waiting) && at < deadline {
                    self.until = Some(until);
                    return;
                }
                let mut backends = BTreeMap::new();
                for connection in self.state.connections.values().filter(open) {
                    *backends.entry(connection.backend.clone().unwrap_or_default()).or_default() += 1;
                }
                self.tell(Fact::Connected { open: backends.values().sum(), backends });
            }
            Until::Started { ref machine, deadline } => {
                let up = self.state.machines.iter().any(|m| m.name == *machine && m.power == Power::On);
                if !up && at < deadline {
                    self.until = Some(until);
                }
            }
            Until::Answered(deadline) if at >= deadline => {}
            Until::Time(_) | Until::Settled(_) | Until::Answered(_) => self.until = Some(until),
        }
    }

    fn expected(&mut self, text: &str, met: bool, saw: String) {
        if met {
            self.summary.met += 1;
        } else {
            self.summary.unmet.push(text.to_owned());
            self.failed = true;
        }
        self.tell(Fact::Expectation { text: text.to_owned(), met, saw });
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Line(line) => self.queue.push_back(line),
            // It is said by the one who sent the lines, after the last.
            Message::NoMoreLines if self.queue.is_empty() && self.until.is_none() => self.ending = true,
            Message::NoMoreLines => self.queue.push_back("quit".into()),
            Message::Interrupt => (self.ending, self.failed) = (true, true),
            Message::Report { machine, boot, report } if self.boots.get(&machine) == Some(&boot) => {
                self.report(&machine, *report);
            }
            Message::Gone { machine, boot } if self.boots.get(&machine) == Some(&boot) => self.gone(&machine),
            // Words of a machine that has been killed since.
            Message::Report { .. } | Message::Gone { .. } => {}
        }
    }

    /// A machine is no more, and nobody killed it.
    fn gone(&mut self, name: &str) {
        self.boots.remove(name);
        let log: Vec<String> = self.state.machine(name).map(|m| m.log.iter().cloned().collect()).unwrap_or_default();
        let what = format!("the machine ended by itself{}", log.last().map(|l| format!(": {l}")).unwrap_or_default());
        self.tell(Fact::Trouble { subject: name.to_owned(), what, help: String::new() });
        let _ = self.rooms.kill(name);
        if let Some(machine) = self.state.machine(name) {
            (machine.power, machine.runs) = (Power::Off, false);
        }
        self.failed = true;
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.boots.remove(name);
    }

    fn report(&mut self, name: &str, report: Report) {
        match report {
            Report::Room => {
                if let Err(what) = self.rooms.furnish(name) {
                    self.tell(Fact::Trouble { subject: name.to_owned(), what, help: String::new() });
                    self.failed = true;
                }
            }
            Report::Ready => self.ready(name),
            Report::Event { line } => self.event(name, &line),
            Report::Log { line } => {
                if let Some(machine) = self.state.machine(name) {
                    machine.note(line);
                }
            }
            Report::Started => self.daemon(name, None),
            Report::Ended { how, asked } => self.daemon(name, Some((how, !asked))),
            Report::Answer { lines, good } => self.answered(name, &lines, good),
            Report::Trouble { what } => {
                // What it was told to do will not happen.
                self.state.machine(name).into_iter().for_each(|machine| machine.pending = false);
                self.tell(Fact::Trouble { subject: name.to_owned(), what, help: String::new() });
            }
            Report::Measured(measured) => {
                self.state.measure(&measured);
                for (vip, address) in self.addresses() {
                    let Some((sent, answered, _)) = measured.addresses.get(&address).copied() else { continue };
                    self.tell(Fact::Measured { vip, address, sent, answered });
                }
            }
            Report::Gap { address, from, to } => {
                let Some((vip, long)) = self.state.outage(address, from, to) else { return };
                // Until everything has come to rest for the first time, nothing is out: it is not there yet.
                let begun = self.state.rested || !self.state.disturbances.is_empty();
                if long >= NOTABLE && begun {
                    self.tell(Fact::Outage { vip, address, ms: long.as_secs_f64() * 1e3 });
                }
            }
            Report::Opened { id, backend } => {
                self.state.connections.entry(id).or_default().backend = Some(backend);
            }
            Report::Broken { id, why } => self.broken(id, why),
            Report::Trips { silent, at } => {
                self.state.trips_at = at;
                for (id, connection) in &mut self.state.connections {
                    connection.silent = silent.contains(id);
                }
            }
        }
    }

    fn addresses(&self) -> Vec<(String, std::net::IpAddr)> {
        let of = |vip: &VipView| vip.addresses.iter().map(|a| (vip.name.clone(), *a)).collect::<Vec<_>>();
        self.state.vips.iter().flat_map(of).collect()
    }

    fn ready(&mut self, name: &str) {
        let Some(machine) = self.state.machine(name) else { return };
        machine.power = Power::On;
        let is_peer = machine.is_peer;
        self.tell(Fact::Machine { name: name.to_owned(), now: "on" });
        if is_peer
            && self.built
            && let Err(what) = self.rooms.order(name, &Order::Start)
        {
            self.tell(Fact::Trouble { subject: name.to_owned(), what, help: String::new() });
        }
    }

    fn event(&mut self, name: &str, line: &str) {
        let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else {
            return self.report(name, Report::Log { line: line.to_owned() });
        };
        if let Ok(event) = serde_json::from_value::<Event>(event.clone()) {
            self.state.hear(name, &event);
        }
        self.tell(Fact::Event { peer: name.to_owned(), event });
    }

    /// Who holds what, in a line.
    pub(super) fn standing(&self) -> String {
        let of = |vip: &VipView| match self.state.holders(&vip.name).as_slice() {
            [] => format!("nobody holds {}", vip.name),
            holders => format!("{} on {}", vip.name, holders.join(" and ")),
        };
        self.state.vips.iter().map(of).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn tell(&mut self, fact: Fact) {
        let ms = now().saturating_sub(self.state.began) as f64 / 1e6;
        self.face.tell(&Stamped { ms, fact }, &self.state);
    }

    pub(super) fn quit(&mut self) {
        self.ending = true;
    }
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
