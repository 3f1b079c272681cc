//! Commands, carried out on the world.

use std::time::Duration;

use super::command::{Command, Expect, HELP, Who};
use super::fact::Fact;
use super::protocol::{Order, now};
use super::rooms::CLIENT;
use super::state::{Connection, MachineState, Power, word};
use super::topology::Topology;
use super::world::{Until, World, nanoseconds};

/// Until connections that were asked for stand or are given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// Until a verb has been answered: longer than it may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(25);

/// Until a machine that was started stands.
const BOOT_TIMEOUT: Duration = Duration::from_secs(10);

impl World<'_> {
    /// Begins a command; what it waits for is left in `until`.
    pub(super) fn carry_out(&mut self, command: Command, text: &str) -> Result<(), String> {
        self.known(&command)?;
        let at = now();
        match command {
            Command::Kill(who) => self.kill(&who, text),
            Command::Start(who) => self.start(&who, text),
            Command::Stop(who) => self.disturb_daemon(&who, text, &Order::Stop),
            Command::Reload(who) => self.disturb_daemon(&who, text, &Order::Reload),
            Command::Verb(who, words) => self.verb(&who, text, words),
            Command::Freeze(who) => self.freeze(&who, text, true),
            Command::Thaw(who) => self.freeze(&who, text, false),
            Command::Cut(who, None) => self.cut(&who, text),
            Command::Cut(one, Some(other)) => self.part(&one, &other, text),
            Command::Heal(one, other) => self.heal(one.as_ref(), other.as_ref(), text),
            Command::Fail(check, who) => self.check(&Order::Fail { check }, &who, text),
            Command::Recover(check, who) => self.check(&Order::Recover { check }, &who, text),
            Command::Connect(count, service) => self.connect(count, service.as_deref()),
            Command::Wait(long) => self.wait(Until::Time(at.saturating_add(nanoseconds(long)))),
            Command::Settle(within) => self.wait(Until::Settled(at.saturating_add(nanoseconds(within)))),
            Command::Expect(expect, within) => {
                let deadline = at.saturating_add(nanoseconds(within));
                let expect = self.pin(expect)?;
                self.wait(Until::Expected { expect, text: text.to_owned(), deadline })
            }
            Command::Say(text) => self.show(Fact::Said { text }),
            Command::Status => {
                let lines = self.status();
                self.show(Fact::Lines { lines })
            }
            Command::Log(who) => {
                let name = self.state.resolve(&who)?;
                let lines = self.state.machine(&name).map(|m| m.log.iter().cloned().collect()).unwrap_or_default();
                self.show(Fact::Lines { lines })
            }
            Command::Help => {
                let lines = HELP.iter().map(|(form, what)| format!("{form:<38} {what}")).collect();
                self.show(Fact::Lines { lines })
            }
            Command::Quit => {
                self.quit();
                Ok(())
            }
        }
    }

    fn known(&self, command: &Command) -> Result<(), String> {
        unknown(command, self.rooms.topology(), self.config).map_or(Ok(()), Err)
    }

    fn wait(&mut self, until: Until) -> Result<(), String> {
        self.until = Some(until);
        Ok(())
    }

    fn show(&mut self, fact: Fact) -> Result<(), String> {
        self.tell(fact);
        Ok(())
    }

    /// Whoever is meant by "holder" is so now, not when the expectation comes true.
    fn pin(&self, expect: Expect) -> Result<Expect, String> {
        match expect {
            Expect::On(vip, who @ (Who::Holder(_) | Who::It)) => {
                Ok(Expect::On(vip, Who::Named(self.state.resolve(&who)?)))
            }
            other => Ok(other),
        }
    }

    fn kill(&mut self, who: &Who, text: &str) -> Result<(), String> {
        let name = self.state.resolve(who)?;
        self.disturb(text, &name);
        self.forget(&name);
        self.rooms.kill(&name)?;
        self.state.doom(&name);
        if let Some(machine) = self.state.machine(&name) {
            (machine.power, machine.runs, machine.cut, machine.pending) = (Power::Off, false, false, false);
            machine.vips.clear();
            machine.failing.clear();
        }
        self.show(Fact::Machine { name, now: "off" })
    }

    fn start(&mut self, who: &Who, text: &str) -> Result<(), String> {
        let name = self.state.resolve(who)?;
        match self.state.machine(&name).map(|machine| (machine.power, machine.is_peer)) {
            Some((Power::Off, _)) => {
                self.disturb(text, &name);
                self.boot(&name)?;
                let deadline = now().saturating_add(nanoseconds(BOOT_TIMEOUT));
                self.wait(Until::Started { machine: name, deadline })
            }
            Some((Power::On, true)) => self.disturb_daemon(who, text, &Order::Start),
            Some((Power::On, false)) => Err(format!("{name} is on already")),
            Some((Power::Frozen, _)) => Err(format!("{name} is frozen: thaw {name}")),
            None => Err(format!("there is no machine {name}")),
        }
    }

    fn disturb_daemon(&mut self, who: &Who, text: &str, order: &Order) -> Result<(), String> {
        let name = self.state.resolve(who)?;
        if let Some(why) = self.state.machine(&name).and_then(|machine| refusal(machine, order)) {
            return Err(why);
        }
        self.disturb(text, &name);
        self.rooms.order(&name, order)?;
        if let Some(machine) = self.state.machine(&name) {
            machine.pending = !matches!(order, Order::Reload | Order::Verb { .. });
        }
        Ok(())
    }

    fn verb(&mut self, who: &Who, text: &str, words: Vec<String>) -> Result<(), String> {
        self.disturb_daemon(who, text, &Order::Verb { words })?;
        self.wait(Until::Answered(now().saturating_add(nanoseconds(ANSWER_TIMEOUT))))
    }

    fn freeze(&mut self, who: &Who, text: &str, frozen: bool) -> Result<(), String> {
        let name = self.state.resolve(who)?;
        let power = self.state.machine(&name).map_or(Power::Off, |machine| machine.power);
        match (power, frozen) {
            (Power::Frozen, true) => return Err(format!("{name} is frozen already")),
            (Power::On, false) => return Err(format!("{name} is not frozen")),
            (Power::Off, _) => return Err(format!("{name} is off: start {name}")),
            (Power::On, true) | (Power::Frozen, false) => {}
        }
        self.disturb(text, &name);
        self.rooms.freeze(&name, frozen)?;
        if let Some(machine) = self.state.machine(&name) {
            machine.power = if frozen { Power::Frozen } else { Power::On };
            machine.cut = false;
        }
        self.show(Fact::Machine { name, now: if frozen { "frozen" } else { "thawed" } })
    }

    fn cut(&mut self, who: &Who, text: &str) -> Result<(), String> {
        let name = self.state.resolve(who)?;
        if self.state.machine(&name).is_none_or(|machine| machine.power == Power::Off) {
            return Err(format!("{name} is off"));
        }
        self.disturb(text, &name);
        self.rooms.cut(&name)?;
        if let Some(machine) = self.state.machine(&name) {
            machine.cut = true;
        }
        self.show(Fact::Machine { name, now: "cut" })
    }

    fn part(&mut self, one: &Who, other: &Who, text: &str) -> Result<(), String> {
        let (one, other) = (self.state.resolve(one)?, self.state.resolve(other)?);
        if one == other {
            return Err(format!("{one} cannot be cut off from itself"));
        }
        self.disturb(text, &one);
        self.rooms.part(&one, &other)
    }

    fn heal(&mut self, one: Option<&Who>, other: Option<&Who>, text: &str) -> Result<(), String> {
        let one = one.map(|who| self.state.resolve(who)).transpose()?;
        let other = other.map(|who| self.state.resolve(who)).transpose()?;
        self.disturb(text, one.as_deref().unwrap_or_default());
        self.rooms.heal(one.as_deref(), other.as_deref())?;
        if other.is_some() {
            return Ok(());
        }
        let cut = |m: &&MachineState| m.cut && one.as_ref().is_none_or(|one| *one == m.name);
        let names: Vec<String> = self.state.machines.iter().filter(cut).map(|m| m.name.clone()).collect();
        for name in names {
            self.rooms.reattach(&name)?;
            if let Some(machine) = self.state.machine(&name) {
                machine.cut = false;
            }
            self.tell(Fact::Machine { name, now: "healed" });
        }
        Ok(())
    }

    fn check(&mut self, order: &Order, who: &Who, text: &str) -> Result<(), String> {
        let name = self.state.resolve(who)?;
        self.disturb(text, &name);
        if let Some(machine) = self.state.machine(&name) {
            match order {
                Order::Fail { check } => machine.failing.push(check.clone()),
                Order::Recover { check } => machine.failing.retain(|failing| failing != check),
                _ => {}
            }
        }
        self.rooms.order(&name, order)
    }

    fn connect(&mut self, count: usize, service: Option<&str>) -> Result<(), String> {
        let wanted = |name: &str| service.is_none_or(|service| service == name);
        let targets: Vec<_> = self.services.iter().filter(|(n, _)| wanted(n)).map(|(_, target)| *target).collect();
        let first = self.state.connections.keys().next_back().map_or(0, |last| last + 1);
        self.state.connections.extend((first..first + count).map(|id| (id, Connection::default())));
        self.rooms.order(CLIENT, &Order::Connect { count, first, targets })?;
        self.wait(Until::Connected(now().saturating_add(nanoseconds(CONNECT_TIMEOUT))))
    }

    /// Outages count from here; `text` with the machine that "holder" stood for.
    fn disturb(&mut self, text: &str, name: &str) {
        let what = if name.is_empty() || text.contains(name) { text.to_owned() } else { format!("{text} ({name})") };
        self.state.it = (!name.is_empty()).then(|| name.to_owned()).or(self.state.it.take());
        self.state.disturb(what, now());
    }

    fn status(&self) -> Vec<String> {
        let mut lines = vec![];
        for machine in &self.state.machines {
            let power = match (machine.power, machine.cut) {
                (Power::Off, _) => "off",
                (Power::Frozen, _) => "frozen",
                (Power::On, true) => "cut",
                (Power::On, false) => "on",
            };
            let vips = machine.vips.iter().map(|(vip, (state, priority))| format!("{vip} {} {priority}", word(*state)));
            lines.push(format!(
                "{:<12} {:<16} {power:<7} {}",
                machine.name,
                machine.address,
                vips.collect::<Vec<_>>().join(", ")
            ));
        }
        for vip in &self.state.vips {
            let ms = vip.worst.max(self.state.open_gap(vip)) as f64 / 1e6;
            lines.push(format!("vip {:<8} longest outage since the last disturbance: {ms:.0} ms", vip.name));
        }
        let tally = self.state.tally();
        if tally.opened > 0 {
            lines.push(format!("connections: {} of {} alive", tally.alive, tally.opened));
        }
        lines
    }
}

/// Why a machine's daemon cannot do this now.
fn refusal(machine: &MachineState, order: &Order) -> Option<String> {
    let name = &machine.name;
    match (order, machine.power, machine.runs || machine.pending) {
        _ if !machine.is_peer => Some(format!("{name} has no hactl run: it is no peer")),
        (_, Power::Off, _) => Some(format!("{name} is off: start {name}")),
        (Order::Start, _, true) => Some(format!("{name} runs its hactl already")),
        (Order::Stop | Order::Reload | Order::Verb { .. }, _, false) => {
            Some(format!("{name} does not run its hactl: start {name}"))
        }
        _ => None,
    }
}

/// What a command speaks of and the file does not have, in words; `None`: all is known.
pub fn unknown(command: &Command, topology: &Topology, config: &model::config::Config) -> Option<String> {
    let machines: Vec<&str> = topology.machines.iter().map(|m| m.name.as_str()).collect();
    let vips: Vec<&str> = topology.vips.iter().map(|(name, _)| name.as_str()).collect();
    let checks: Vec<&str> = config.checks.iter().map(|check| check.name.as_str()).collect();
    let services: Vec<&str> = config.services.iter().map(|service| service.name.as_str()).collect();
    let vip = |name: &String| missing("vip", name, &vips);
    let who = |who: &Who| match who {
        Who::Named(name) => missing("machine", name, &machines),
        Who::Holder(name) => vip(name),
        Who::It => None,
    };
    match command {
        Command::Kill(w) | Command::Start(w) | Command::Stop(w) | Command::Reload(w) => who(w),
        Command::Verb(w, words) => who(w).or_else(|| words.get(1).and_then(vip)),
        Command::Freeze(w) | Command::Thaw(w) | Command::Log(w) => who(w),
        Command::Cut(one, other) => who(one).or_else(|| who(other.as_ref()?)),
        Command::Heal(one, other) => who(one.as_ref()?).or_else(|| who(other.as_ref()?)),
        Command::Fail(check, w) | Command::Recover(check, w) => missing("check", check, &checks)
            .or_else(|| who(w))
            .or_else(|| check_is_elsewhere(check, w, topology, config)),
        Command::Connect(_, None) if services.is_empty() => Some("the file has no service to connect to".to_owned()),
        Command::Connect(_, Some(service)) => missing("service", service, &services),
        Command::Expect(Expect::On(v, w), _) => vip(v).or_else(|| who(w)),
        Command::Expect(Expect::NoMaster(v) | Expect::Outage(v, _) | Expect::OneMaster(Some(v)), _) => vip(v),
        _ => None,
    }
}

/// A check of another machine cannot be made to fail for one peer alone.
fn check_is_elsewhere(name: &str, who: &Who, topology: &Topology, config: &model::config::Config) -> Option<String> {
    let Who::Named(machine) = who else { return None };
    let machine = topology.machines.iter().find(|m| m.name == *machine)?;
    if !machine.is_peer {
        return Some(format!("{} runs no checks: kill it instead", machine.name));
    }
    let check = config.checks.iter().find(|check| check.name == name)?;
    let target = super::topology::target_of(check)?;
    let here = machine.serve.iter().any(|listener| listener.at == target);
    (!here).then(|| format!("check \"{name}\" looks at {target}, another machine: kill or cut that one instead"))
}

fn missing(kind: &str, name: &str, known: &[&str]) -> Option<String> {
    if known.contains(&name) {
        return None;
    }
    let near = known.iter().map(|k| (strsim::damerau_levenshtein(k, name), k)).min().filter(|(far, _)| *far <= 2);
    Some(match near {
        Some((_, near)) => format!("there is no {kind} \"{name}\": did you mean \"{near}\"?"),
        None if known.is_empty() => format!("there is no {kind} \"{name}\": the file has none"),
        None => format!("there is no {kind} \"{name}\": the file has {}", known.join(", ")),
    })
}
