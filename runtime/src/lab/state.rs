//! What is known of the laboratory at this moment, and whether an expectation is true of it. Time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use model::vrrp::{Event, VipState};

use super::client::PERIOD;
use super::command::{Expect, Who};
use super::fact::{Disturbance, Tally};
use super::protocol::Measured;

/// Everything has come to rest when nothing was amiss for this long.
pub const CALM: Duration = Duration::from_millis(300);

/// A vip whose last answered probe is older than this does not answer. Measurements arrive every 50 ms.
const FRESH: Duration = Duration::from_millis(150);

/// An outage belongs to a disturbance when it began at most this long before: the last answered probe is older than
/// the deed.
const LATE: Duration = Duration::from_millis(50);

/// A daemon that was started may take this long until it is known to run.
const STARTING: Duration = Duration::from_secs(2);

/// Measurements kept for the picture, 50 ms each.
const HISTORY: usize = 240;

/// Lines of a machine's log that are kept.
const LOG: usize = 200;

/// The whole.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The cluster's name.
    pub cluster: String,
    /// Monotonic nanoseconds when it began.
    pub began: u64,
    /// Peers in the order of the file, then hosts.
    pub machines: Vec<MachineState>,
    /// In the order of the file.
    pub vips: Vec<VipView>,
    /// By number.
    pub connections: BTreeMap<usize, Connection>,
    /// When the round trips of the connections were last told.
    pub trips_at: u64,
    /// When the cluster was last disturbed.
    pub disturbed_at: u64,
    /// All is well since.
    pub calm_since: Option<u64>,
    /// Everything has come to rest at least once.
    pub rested: bool,
    /// The machine that the last command was about.
    pub it: Option<String>,
    /// What was done to the cluster so far.
    pub disturbances: Vec<Disturbance>,
}

/// A machine's power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Power {
    /// It is not there.
    #[default]
    Off,
    /// It runs.
    On,
    /// Its processes are stopped.
    Frozen,
}

/// What is known of a machine.
#[derive(Debug, Clone, Default)]
pub struct MachineState {
    /// Its name.
    pub name: String,
    /// Its first address.
    pub address: String,
    /// Whether it runs hactl.
    pub is_peer: bool,
    /// Vips that it is a member of.
    pub member_of: Vec<String>,
    /// Its power.
    pub power: Power,
    /// Whether it is off the network.
    pub cut: bool,
    /// Whether its daemon runs.
    pub runs: bool,
    /// Whether its daemon was told to start or to end and has not done so yet.
    pub pending: bool,
    /// State and priority by vip, as its daemon told.
    pub vips: BTreeMap<String, (VipState, u8)>,
    /// Checks that were made to fail.
    pub failing: Vec<String>,
    /// The last lines of its log.
    pub log: VecDeque<String>,
}

impl MachineState {
    /// Whether the client could reach it.
    pub fn is_reachable(&self) -> bool {
        self.power == Power::On && !self.cut
    }

    /// Keeps a line of its log.
    pub fn note(&mut self, line: String) {
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }
}

/// What the client sees of a vip.
#[derive(Debug, Clone, Default)]
pub struct VipView {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Sending time of the last answered probe, by address; 0 for none.
    pub answered: BTreeMap<IpAddr, u64>,
    /// Sending time of the last probe.
    pub probed: u64,
    /// Share of answered probes, 0–100, of each 50 ms.
    pub history: VecDeque<u8>,
    /// Longest outage since the last disturbance, in nanoseconds.
    pub worst: u64,
    /// Who held it before the last disturbance.
    pub held_by: String,
}

/// One connection of the client's.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// Its backend, once it told.
    pub backend: Option<String>,
    /// Why it broke.
    pub broken: Option<String>,
    /// Its backend went away under it.
    pub doomed: bool,
    /// No answer lately.
    pub silent: bool,
}

/// Whether an expectation is true, with what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Met(String),
    /// It may become so.
    NotYet(String),
    /// It can no longer become so.
    Never(String),
}

impl State {
    /// A machine by name.
    pub fn machine(&mut self, name: &str) -> Option<&mut MachineState> {
        self.machines.iter_mut().find(|machine| machine.name == name)
    }

    /// Reachable machines whose daemon says that they hold a vip.
    pub fn holders(&self, vip: &str) -> Vec<&str> {
        let holds = |m: &&MachineState| m.vips.get(vip).is_some_and(|(state, _)| *state == VipState::Master);
        self.machines.iter().filter(|m| m.is_reachable()).filter(holds).map(|m| m.name.as_str()).collect()
    }

    /// Enters what a daemon told.
    pub fn hear(&mut self, peer: &str, event: &Event) {
        let Event::State { vip, to, priority, .. } = event else { return };
        if let Some(machine) = self.machine(peer) {
            machine.vips.insert(vip.clone(), (*to, priority.get()));
        }
    }

    /// Enters what the client measured.
    pub fn measure(&mut self, measured: &Measured) {
        for vip in &mut self.vips {
            vip.probed = measured.at;
            let (mut sent, mut answered) = (0, 0);
            for address in &vip.addresses {
                let Some((s, a, last)) = measured.addresses.get(address) else { continue };
                (sent, answered) = (sent + s, answered + a);
                vip.answered.insert(*address, *last);
            }
            if vip.history.len() == HISTORY {
                vip.history.pop_front();
            }
            vip.history.push_back(u8::try_from(answered.min(sent) * 100 / sent.max(1)).unwrap_or(0));
        }
    }

    /// Enters an outage that ended: its vip, and how long it was.
    pub fn outage(&mut self, address: IpAddr, from: u64, to: u64) -> Option<(String, Duration)> {
        let disturbed = self.disturbed_at;
        let vip = self.vips.iter_mut().find(|vip| vip.addresses.contains(&address))?;
        let long = less_period(to.saturating_sub(from));
        let begun = from.saturating_add(u64::try_from(LATE.as_nanos()).unwrap_or(0));
        let mine = if begun >= disturbed { long } else { to.saturating_sub(disturbed) };
        vip.worst = vip.worst.max(mine);
        // It is an earlier disturbance's; to the last it counts from there on.
        let before = self.disturbances.iter_mut().rev().skip(1).find(|d| d.at <= begun);
        if begun < disturbed
            && let Some((worst, ..)) = before.and_then(|earlier| earlier.vips.get_mut(&vip.name))
        {
            *worst = worst.max(long as f64 / 1e6);
        }
        Some((vip.name.clone(), Duration::from_nanos(long)))
    }

    /// Something is done to the cluster: outages count from here.
    pub fn disturb(&mut self, what: String, now: u64) {
        self.close();
        let held: Vec<String> = self.vips.iter().map(|vip| self.holders(&vip.name).join("+")).collect();
        for (vip, holder) in self.vips.iter_mut().zip(held) {
            (vip.worst, vip.held_by) = (0, holder);
        }
        (self.disturbed_at, self.calm_since) = (now, None);
        self.disturbances.push(Disturbance { what, at: now, vips: BTreeMap::new() });
    }

    /// Writes down what came of the last disturbance.
    pub fn close(&mut self) {
        let told: BTreeMap<_, _> = self
            .vips
            .iter()
            .map(|vip| {
                let ms = vip.worst.max(self.open_gap(vip)) as f64 / 1e6;
                (vip.name.clone(), (ms, vip.held_by.clone(), self.holders(&vip.name).join("+")))
            })
            .collect();
        if let Some(last) = self.disturbances.last_mut() {
            last.vips = told;
        }
    }

    /// Marks connections that go down with a machine.
    pub fn doom(&mut self, machine: &str) {
        let with = |c: &&mut Connection| c.broken.is_none() && c.backend.as_deref() == Some(machine);
        self.connections.values_mut().filter(with).for_each(|connection| connection.doomed = true);
    }

    /// Looks at the whole again, as often as time passes.
    pub fn refresh(&mut self, now: u64) {
        match (self.is_well(), self.calm_since) {
            (true, None) => self.calm_since = Some(now),
            (false, _) => self.calm_since = None,
            (true, Some(_)) => {}
        }
        self.rested |= self.is_settled(now);
    }

    /// Whether everything has come to rest.
    pub fn is_settled(&self, now: u64) -> bool {
        let calm = u64::try_from(CALM.as_nanos()).unwrap_or(u64::MAX);
        self.calm_since.is_some_and(|since| now.saturating_sub(since) >= calm)
    }

    /// Whether no daemon runs that could change anything, and none was told to start a moment ago.
    pub fn is_dead(&self, now: u64) -> bool {
        let moment = u64::try_from(STARTING.as_nanos()).unwrap_or(u64::MAX);
        now.saturating_sub(self.disturbed_at) > moment && !self.machines.iter().any(|m| m.is_reachable() && m.runs)
    }

    fn is_well(&self) -> bool {
        let told = |m: &MachineState| {
            !m.pending
                && (!(m.is_reachable() && m.runs)
                    || m.member_of.iter().all(|vip| m.vips.get(vip).is_some_and(|(state, _)| *state != VipState::Init)))
        };
        self.machines.iter().all(told) && self.vips.iter().all(|vip| self.holders(&vip.name).len() == 1 && answers(vip))
    }

    /// How long a vip has not been answering, in nanoseconds.
    pub fn open_gap(&self, vip: &VipView) -> u64 {
        let last = vip.answered.values().copied().min().unwrap_or(0).max(self.disturbed_at);
        if answers(vip) { 0 } else { less_period(vip.probed.saturating_sub(last)) }
    }

    /// Whether a connection's backend is gone, so that nothing could have saved it.
    pub fn is_doomed(&self, connection: &Connection) -> bool {
        let gone = |name: &str| self.machines.iter().any(|m| m.name == name && !m.is_reachable());
        connection.doomed || connection.backend.as_deref().is_some_and(gone)
    }

    /// Counts the connections.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for connection in self.connections.values() {
            let counter = match connection {
                Connection { backend: None, broken: Some(_), .. } => {
                    tally.refused += 1;
                    continue;
                }
                Connection { backend: None, .. } => continue,
                c if (c.broken.is_some() || c.silent) && self.is_doomed(c) => &mut tally.with_backend,
                Connection { broken: Some(_), .. } => &mut tally.lost,
                Connection { silent: true, .. } => &mut tally.silent,
                Connection { .. } => &mut tally.alive,
            };
            *counter += 1;
            tally.opened += 1;
        }
        tally
    }

    /// The machine that is meant.
    ///
    /// # Errors
    /// In words, where nobody holds the vip.
    pub fn resolve(&self, who: &Who) -> Result<String, String> {
        match who {
            Who::Named(name) => Ok(name.clone()),
            Who::It => self.it.clone().ok_or_else(|| "nothing was done to a machine yet".to_owned()),
            Who::Holder(vip) => match self.holders(vip).as_slice() {
                [] => Err(format!("nobody holds {vip} now")),
                [holder, ..] => Ok((*holder).to_owned()),
            },
        }
    }

    /// Puts an expectation to the test.
    pub fn judge(&self, expect: &Expect, now: u64) -> Verdict {
        let yes_or_no = |met: bool, saw: String| if met { Verdict::Met(saw) } else { Verdict::NotYet(saw) };
        let shown = |vip: &str| match self.holders(vip).as_slice() {
            [] => format!("nobody holds {vip}"),
            holders => format!("{vip} on {}", holders.join(" and ")),
        };
        match expect {
            Expect::On(vip, who) => {
                let wanted = self.resolve(who).unwrap_or_default();
                yes_or_no(self.holders(vip) == [wanted.as_str()], shown(vip))
            }
            Expect::NoMaster(vip) => yes_or_no(self.holders(vip).is_empty(), shown(vip)),
            Expect::OneMaster(of) => {
                let vips: Vec<&str> = self
                    .vips
                    .iter()
                    .map(|v| v.name.as_str())
                    .filter(|v| of.as_ref().is_none_or(|of| of == v))
                    .collect();
                let saw: Vec<String> = vips.iter().map(|vip| shown(vip)).collect();
                yes_or_no(vips.iter().all(|vip| self.holders(vip).len() == 1), saw.join(", "))
            }
            Expect::Outage(name, limit) => self.judge_outage(name, *limit, now),
            Expect::Survivors(_) | Expect::Lost(_) => self.judge_connections(expect, now),
        }
    }

    fn judge_outage(&self, name: &str, limit: Duration, now: u64) -> Verdict {
        let Some(vip) = self.vips.iter().find(|vip| vip.name == name) else {
            return Verdict::Never(format!("there is no vip {name}"));
        };
        let worst = Duration::from_nanos(vip.worst.max(self.open_gap(vip)));
        let saw = format!("{:.0} ms", worst.as_secs_f64() * 1e3);
        match (worst < limit, self.is_settled(now)) {
            (false, _) => Verdict::Never(saw),
            (true, true) => Verdict::Met(saw),
            (true, false) => Verdict::NotYet(format!("{saw} so far, and not at rest")),
        }
    }

    fn judge_connections(&self, expect: &Expect, now: u64) -> Verdict {
        let tally = self.tally();
        let Tally { opened, alive, with_backend, lost, silent, .. } = tally;
        let saw =
            format!("of {opened}: {alive} alive, {with_backend} gone with their backend, {lost} lost, {silent} silent");
        // Round trips are told after they have been silent for a while: what was said before is of another time.
        let fresh = self.trips_at > self.disturbed_at.saturating_add(1_000_000_000) || self.disturbances.is_empty();
        let undecided = silent > 0 || !fresh || !self.is_settled(now);
        let met = match expect {
            Expect::Survivors(Some(wanted)) => alive >= *wanted,
            Expect::Survivors(None) => opened > 0 && lost == 0 && silent == 0,
            _ => matches!(expect, Expect::Lost(limit) if lost < *limit),
        };
        match (undecided, met) {
            (true, _) => Verdict::NotYet(saw),
            (false, true) => Verdict::Met(saw),
            (false, false) => Verdict::Never(saw),
        }
    }
}

/// A vip's state as people know it.
pub fn word(state: VipState) -> &'static str {
    match state {
        VipState::Init => "INIT",
        VipState::Backup => "BACKUP",
        VipState::Master => "MASTER",
        VipState::Fault => "FAULT",
    }
}

fn answers(vip: &VipView) -> bool {
    let fresh = u64::try_from(FRESH.as_nanos()).unwrap_or(u64::MAX);
    vip.probed > 0
        && vip.addresses.iter().all(|a| vip.answered.get(a).is_some_and(|at| vip.probed.saturating_sub(*at) <= fresh))
}

fn less_period(gap: u64) -> u64 {
    gap.saturating_sub(u64::try_from(PERIOD.as_nanos()).unwrap_or(0))
}

#[cfg(test)]
mod tests;
