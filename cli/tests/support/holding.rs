//! Who holds an address, as the kernels of the machines tell it.

use std::process::Command;
use std::time::{Duration, Instant};

use super::daemon::Line;
use super::{Daemon, Segment};

/// Watches every machine of a segment for an address coming and going.
pub struct Holding {
    monitors: Vec<Daemon>,
    address: String,
}

impl Holding {
    /// Of this address, on the first so many machines, from now on.
    pub fn watch(segment: &Segment, machines: usize, address: &str) -> Holding {
        let monitors = (0..machines)
            .map(|n| {
                let machine = segment.machine(n);
                let mut command = Command::new("ip");
                let monitor = Daemon::start(machine, command.args(["-4", "-o", "monitor", "address"]));
                // What happens before it listens is lost: it does when it has heard of an address of this name.
                let links = machine.links().unwrap();
                let heard = (1..=200).any(|tick| {
                    links.address("lo", format!("127.1.1.{tick}/32").parse().unwrap()).unwrap();
                    monitor.output.wait(Duration::from_millis(25), |lines| lines.first().map(drop)).is_some()
                });
                assert!(heard, "ip monitor on machine {n} hears nothing");
                monitor
            })
            .collect();
        Holding { monitors, address: format!(" {address}/") }
    }

    /// When the machine got the address (`true`) and lost it (`false`), in order.
    pub fn changes(&self, machine: usize) -> Vec<(Instant, bool)> {
        self.changes_in(&self.monitors[machine].output.all())
    }

    /// Waits until the machine holds the address, or does not.
    pub fn wait(&self, machine: usize, held: bool, patience: Duration) -> bool {
        let output = &self.monitors[machine].output;
        output.wait(patience, |lines| (self.held_in(lines) == held).then_some(())).is_some()
    }

    /// Whether the machine holds the address now.
    pub fn held(&self, machine: usize) -> bool {
        self.held_in(&self.monitors[machine].output.all())
    }

    fn held_in(&self, lines: &[Line]) -> bool {
        self.changes_in(lines).last().is_some_and(|last| last.1)
    }

    /// An address that is only changed (its lifetime, its mark) is told again by the kernel and not counted twice.
    fn changes_in(&self, lines: &[Line]) -> Vec<(Instant, bool)> {
        let mut changes: Vec<(Instant, bool)> = Vec::new();
        for (at, line) in lines.iter().filter(|(_, line)| line.contains(&self.address)) {
            let held = !line.starts_with("Deleted");
            if changes.last().is_none_or(|last| last.1 != held) {
                changes.push((*at, held));
            }
        }
        changes
    }

    /// The longest time that two machines held it at once.
    pub fn overlap(&self) -> Duration {
        let mut moments: Vec<(Instant, i32)> = (0..self.monitors.len())
            .flat_map(|machine| self.changes(machine))
            .map(|(at, held)| (at, if held { 1 } else { -1 }))
            .collect();
        moments.sort();
        let (mut holders, mut since, mut longest) = (0, None, Duration::ZERO);
        for (at, change) in moments {
            holders += change;
            if let (true, Some(start)) = (holders < 2, since) {
                longest = longest.max(at - start);
                since = None;
            } else if holders > 1 {
                since.get_or_insert(at);
            }
        }
        since.map_or(longest, |start| longest.max(start.elapsed()))
    }
}
