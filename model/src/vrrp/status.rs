//! What a router says of itself: one row for each vip, whatever its families.

use super::instance::{Instance, Listening, State};
use super::router::Router;
use super::{Settings, VipState, VipStatus};

impl Instance {
    pub(super) fn name(&self) -> VipState {
        match &self.state {
            State::Init => VipState::Init,
            State::Backup(_) => VipState::Backup,
            State::Master(_) => VipState::Master,
            State::Fault => VipState::Fault,
        }
    }

    /// Why it is not master although it might be, where that is so.
    fn bears(&self) -> Option<String> {
        let State::Backup(l) = &self.state else { return None };
        if let Some(ripe) = &l.ripe {
            return Some(format!("waits for the others of its group to take over ({ripe})"));
        }
        let Listening { preempt_at: Some(_), .. } = l else { return None };
        let words = &self.forbearance.as_ref()?.words;
        Some(format!("taking over from a living master has to wait, the addresses could not be held: {words}"))
    }

    pub(super) fn status(&self) -> VipStatus {
        let (s, c) = (&self.settings, &self.counters);
        let listed = s.listed();
        VipStatus {
            vip: s.name.clone(),
            state: self.name(),
            why: self.why.clone().or_else(|| self.bears()).or_else(|| self.holds_back_words()),
            since: self.since,
            became_master: c.terms,
            priority: self.priority(),
            configured_priority: s.priority,
            interface: s.interface.clone(),
            virtual_macs: s.virtual_mac.iter().cloned().collect(),
            group: s.group.clone(),
            addresses: s.addresses.clone(),
            unlisted: s.addresses.iter().filter(|a| !listed.contains(&a.address())).copied().collect(),
            masters: self.heard.iter().map(|heard| (s.family, *heard)).collect(),
            sent: c.sent,
            received: c.received,
            dropped: c.drops.by_name(),
            restored: c.restored,
            nearest_failover: c.nearest,
            anomalies: self.anomalies.list(matches!(self.state, State::Master(_))),
            drained: self.drained,
            lingering: self.lingering.is_some(),
        }
    }
}

impl VipStatus {
    /// Adds the vip's other virtual router: they are always of one state.
    pub(super) fn add(&mut self, other: VipStatus) {
        self.why = self.why.take().or(other.why);
        self.virtual_macs.extend(other.virtual_macs);
        self.addresses.extend(other.addresses);
        self.unlisted.extend(other.unlisted);
        self.masters.extend(other.masters);
        self.sent += other.sent;
        self.received += other.received;
        for (cause, n) in other.dropped {
            *self.dropped.entry(cause).or_default() += n;
        }
        self.restored += other.restored;
        self.nearest_failover = self.nearest_failover.max(other.nearest_failover);
        self.anomalies.extend(other.anomalies);
        self.lingering |= other.lingering;
    }
}

impl Router {
    /// Each virtual router with its state, for a judge.
    pub(crate) fn states(&self) -> impl Iterator<Item = (&Settings, VipState)> {
        self.by_name.values().filter_map(|id| self.instances.get(id)).map(|i| (&i.settings, i.name()))
    }

    /// The most that any virtual router has in a queue, for a judge.
    pub(crate) fn longest_queue(&self) -> usize {
        self.instances.values().map(|i| i.pending.len()).max().unwrap_or(0)
    }

    /// Apart, where a judge is to be shown to notice it.
    #[cfg(test)]
    pub(crate) fn pretend_to_be_one_group(&mut self) {
        self.instances.values_mut().for_each(|i| i.settings.group = Some("g".to_owned()));
    }
}
