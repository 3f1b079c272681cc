//! What the virtual routers of a machine do when it is to hand them over: all of them, or some.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Id, Name, Router};
use crate::units::{InterfaceName, Moment};
use crate::vrrp::input::Report;
use crate::vrrp::instance::Instance;
use crate::vrrp::turn::Turn;
use crate::vrrp::{Input, LinkState, Settings};

impl Router {
    pub(super) fn announced(&mut self, turn: &Turn, interface: &InterfaceName, address: IpAddr) {
        for id in self.on(interface) {
            self.with(id, |i| i.announced(turn.now, address));
        }
    }

    pub(super) fn drain(&mut self, turn: &mut Turn, vips: BTreeSet<String>) {
        self.drained = vips;
        let groups = self.instances.values().filter(|i| self.drained.contains(&i.settings.name));
        self.drained_groups = groups.filter_map(|i| i.settings.group.clone()).collect();
        self.drain_all(turn);
    }

    /// Leaves to others what is drained, and nothing else.
    pub(super) fn drain_all(&mut self, turn: &mut Turn) {
        for id in self.all() {
            let drained = self.instances.get(&id).is_some_and(|i| self.is_drained(&i.settings));
            self.with(id, |i| i.drain(turn, drained));
        }
    }

    /// By its own name, or that of another member of its group.
    pub(super) fn is_drained(&self, settings: &Settings) -> bool {
        let group = settings.group.as_ref();
        self.drained.contains(&settings.name) || group.is_some_and(|group| self.drained_groups.contains(group))
    }

    /// Both families of the vip.
    pub(super) fn step_down(&mut self, turn: &mut Turn, vip: &str) {
        let of = |id: &Id| self.instances.get(id).is_some_and(|i| i.settings.name == vip);
        for id in self.all().into_iter().filter(of).collect::<Vec<_>>() {
            self.with(id, |i| i.step_down_once(turn));
        }
    }

    /// Whether somebody is taking over what this machine answers for still.
    pub fn is_handing_over(&self) -> bool {
        self.instances.values().any(|i| i.lingering.is_some())
    }

    /// Those that the settings name, in the order of the file.
    pub(in crate::vrrp) fn named(&self) -> impl Iterator<Item = &Instance> {
        self.order.iter().filter_map(|name| self.by_name.get(name).and_then(|id| self.instances.get(id)))
    }

    pub(in crate::vrrp) fn each(&mut self, f: impl Fn(&mut Instance)) {
        for id in self.all() {
            self.with(id, &f);
        }
    }

    pub(in crate::vrrp) fn reports(&self) -> &BTreeMap<String, Report> {
        &self.checks
    }

    pub(in crate::vrrp) fn drained(&self) -> &BTreeSet<String> {
        &self.drained
    }

    /// One that was last awake in another process, and knows these checks and drains.
    pub(in crate::vrrp) fn heir(awake: Moment, checks: BTreeMap<String, Report>, drained: BTreeSet<String>) -> Router {
        Router { awake: Some(awake), born: Some(awake), checks, drained, ..Router::default() }
    }

    pub(in crate::vrrp) fn begin(&mut self, now: Moment, settings: Vec<Settings>) {
        self.load(&mut Turn::at(now), settings);
    }

    pub(super) fn stop(&mut self, turn: &mut Turn) {
        self.stopped = true;
        for id in self.all() {
            self.with(id, |i| i.stop(turn));
        }
    }

    /// Takes part no longer: who follows is listened to, and whoever asks twice does not wait.
    pub(super) fn handle_stopped(&mut self, turn: &mut Turn, input: Input) {
        match input {
            Input::Packet(packet) => self.packet(turn, &packet),
            Input::Announced { interface, address } => self.announced(turn, &interface, address),
            Input::Tick => self.tick(turn),
            Input::Link { interface, state } if !matches!(state, LinkState::Up { .. }) => {
                for id in self.on(&interface) {
                    self.with(id, |i| i.let_go(turn));
                }
            }
            Input::Done { vip, family, result } => {
                if let Some(id) = self.by_name.get(&Name { vip, family }).copied() {
                    self.with(id, |i| i.done(turn, result));
                }
            }
            Input::Stop => {
                for id in self.all() {
                    self.with(id, |i| i.let_go(turn));
                }
            }
            _ => {}
        }
    }

    fn all(&self) -> Vec<Id> {
        self.instances.keys().copied().collect()
    }
}
