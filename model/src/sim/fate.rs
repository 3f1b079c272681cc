//! What befalls one machine.

use std::collections::BTreeSet;

use super::node::{Known, Node};
use crate::units::{Cidr, InterfaceName};
use crate::vrrp::{Input, LinkState, Settings};

/// What befalls one machine.
#[derive(Debug, Clone)]
pub enum Fate {
    /// Power on, or restart of a process that is gone.
    Start,
    /// Power off.
    Crash,
    /// SIGKILL: the process is gone, its addresses stay until it is started again.
    Kill,
    /// SIGTERM; a second one ends it at once.
    Stop,
    /// SIGSTOP, a frozen virtual machine, a stalled disk.
    Pause,
    /// SIGCONT.
    Resume,
    /// One of its interfaces goes up or down.
    Link(InterfaceName, bool),
    /// Its macvlans are there, or somebody has deleted them.
    Macvlans(bool),
    /// One of its checks goes up or down.
    Check(String, bool),
    /// The number in one of its tracked files.
    Weigh(String, i16),
    /// These vips are to be left to others.
    Drain(BTreeSet<String>),
    /// It is asked to be master of a vip no longer, once.
    StepDown(String),
    /// Its kernel refuses Holds from now on, or does not.
    Refuse(bool),
    /// Its kernel refuses Releases from now on, or does not.
    Cling(bool),
    /// Somebody puts a copy of the first address of the file there, or takes it away.
    Occupy(bool),
    /// Somebody deletes an address that it holds.
    LoseAddress,
    /// The same, and the kernel's word of it is lost (a full netlink socket).
    LoseAddressUnseen,
    /// The driver reads its addresses again, as it does after words were lost.
    Reread,
    /// A new configuration.
    Reload(Vec<Settings>),
}

impl Node {
    /// Meets its fate; what there is to say of it, `None` where that changes nothing.
    pub fn meet(&mut self, fate: Fate) -> Option<String> {
        let does = |yes: bool, what: [&str; 2]| what.get(usize::from(!yes)).map(|w| (*w).to_owned());
        match fate {
            Fate::Start if self.router.is_some() && !self.stopping => None,
            Fate::Start => {
                self.crash();
                self.start();
                Some("starts".into())
            }
            Fate::Crash => {
                self.crash();
                Some("crashes".into())
            }
            Fate::Kill => {
                let held = std::mem::take(&mut self.held);
                self.crash();
                self.held = held;
                Some("has its process killed".into())
            }
            Fate::Stop => {
                let again = self.stopping;
                self.stopping = self.router.is_some();
                does(again, ["is stopped again", "is stopped"])
            }
            Fate::Pause => {
                self.paused = true;
                Some("is paused".into())
            }
            Fate::Resume => {
                self.paused = false;
                Some("goes on".into())
            }
            Fate::Refuse(refuses) => {
                self.refuses = refuses;
                does(refuses, ["has a kernel that refuses addresses", "has a kernel that takes addresses"])
            }
            Fate::Cling(clings) => {
                self.clings = clings;
                does(clings, ["has a kernel that keeps addresses", "has a kernel that lets go of addresses"])
            }
            Fate::Occupy(there) => self.occupy(there),
            Fate::LoseAddress => self.lose(true),
            Fate::LoseAddressUnseen => self.lose(false),
            Fate::Reread => Some(self.reread()),
            other => Some(self.hear_of(other)),
        }
    }

    /// What its router is told of.
    fn hear_of(&mut self, fate: Fate) -> String {
        let up_or_down = |up: bool| if up { "up" } else { "down" };
        match fate {
            Fate::Link(interface, up) => {
                match up {
                    true => self.down.remove(&interface),
                    false => self.down.insert(interface.clone()),
                };
                self.tell_links();
                format!("has its {interface} {}", up_or_down(up))
            }
            Fate::Macvlans(there) => {
                self.macvlans = there;
                self.tell_macvlans();
                format!("has its macvlans {}", if there { "again" } else { "deleted" })
            }
            Fate::Check(check, up) => {
                self.give(Input::Check { name: check.clone(), up });
                let line = format!("has its check {check} {}", up_or_down(up));
                self.checks.insert(check, Known::Up(up));
                line
            }
            Fate::Weigh(file, weight) => {
                self.give(Input::Weight { name: file.clone(), weight });
                let line = format!("has {weight} in its {file}");
                self.checks.insert(file, Known::Number(weight));
                line
            }
            Fate::Drain(vips) => {
                self.drained.clone_from(&vips);
                let line = format!("is drained of {vips:?}");
                self.give(Input::Drain(vips));
                line
            }
            Fate::StepDown(vip) => {
                let line = format!("is asked to step down from {vip}");
                self.give(Input::StepDown { vip });
                self.stepped_down = true;
                line
            }
            Fate::Reload(settings) => {
                let before: BTreeSet<_> = self.file.iter().map(|s| s.interface.clone()).collect();
                self.file.clone_from(&settings);
                // As its driver does of the interfaces that a file brings.
                for interface in settings.iter().map(|s| &s.interface).filter(|i| !before.contains(*i)) {
                    self.tell_foreign_on(interface);
                    self.tell_link(interface);
                }
                self.tell_macvlans();
                self.give(Input::Reload(settings));
                "is reloaded".into()
            }
            _ => String::new(),
        }
    }

    fn reread(&mut self) -> String {
        for (vip, cidr) in self.unseen.clone() {
            self.tell_lost(&vip, cidr);
        }
        "reads its addresses again".to_owned()
    }

    /// Somebody deletes an address that it holds, and its driver hears of it or does not.
    fn lose(&mut self, heard: bool) -> Option<String> {
        let (vip, cidr) = self.held.pop_first()?;
        self.stuck.remove(&(vip.clone(), cidr));
        self.announced.remove(&(vip.clone(), cidr));
        if heard {
            self.tell_lost(&vip, cidr);
            return Some(format!("loses {cidr} to somebody else"));
        }
        self.unseen.insert((vip, cidr));
        Some(format!("loses {cidr} to somebody else and does not hear of it"))
    }

    /// What the router holds, or believes to, is made its own again by its driver: nothing comes of that.
    fn occupy(&mut self, there: bool) -> Option<String> {
        let first = self.file.first().and_then(|s| Some((s.interface.clone(), *s.addresses.first()?)));
        let ours = |a: &Cidr| self.held.iter().chain(&self.unseen).any(|(_, held)| held == a);
        let foreign: BTreeSet<_> = first.filter(|(_, a)| there && !ours(a)).into_iter().collect();
        if self.foreign == foreign {
            return None;
        }
        let line = match foreign.first() {
            Some((_, cidr)) => format!("has {cidr} of somebody else's"),
            None => "has no address of somebody else's any more".to_owned(),
        };
        self.foreign = foreign;
        self.tell_foreign();
        Some(line)
    }

    pub(super) fn tell_foreign(&mut self) {
        for interface in self.ports.keys().cloned().collect::<Vec<_>>() {
            self.tell_foreign_on(&interface);
        }
    }

    fn tell_foreign_on(&mut self, interface: &InterfaceName) {
        let there = self.foreign.iter().filter(|(on, _)| on == interface).map(|(_, a)| *a);
        self.give(Input::Foreign { interface: interface.clone(), addresses: there.collect() });
    }

    fn tell_lost(&mut self, vip: &str, cidr: Cidr) {
        if let Some(interface) = self.interface_of(vip) {
            self.give(Input::AddressLost { interface, cidr });
        }
    }

    /// Queues word of the links as they are.
    pub(super) fn tell_links(&mut self) {
        for interface in self.ports.keys().cloned().collect::<Vec<_>>() {
            self.tell_link(&interface);
        }
    }

    fn tell_link(&mut self, interface: &InterfaceName) {
        let state = if self.is_up(interface) { self.up() } else { LinkState::Down };
        self.give(Input::Link { interface: interface.clone(), state });
    }

    /// Queues word of the macvlans of its file as they are: down, unless somebody has deleted them.
    pub(super) fn tell_macvlans(&mut self) {
        let names: BTreeSet<InterfaceName> = self.file.iter().filter_map(|s| s.virtual_mac.clone()).collect();
        for interface in names {
            let state = if self.macvlans { LinkState::Down } else { LinkState::Absent };
            self.give(Input::Link { interface, state });
        }
    }
}
