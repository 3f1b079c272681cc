//! The machines from outside: booted, wired, cut, frozen, killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::SyncSender;

use model::units::Cidr;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::protocol::{Order, Report, Role};
use super::sandbox::own_program;
use super::topology::{Link, Machine, Topology, far_networks};
use super::world::Message;
use crate::child::hear_signals;
use crate::netns::{Links, Namespace, NetnsError};

/// Name of the machine that the clients are on: no peer can have it, a name of the file's has no blank in front.
pub const CLIENT: &str = "lab-client";

/// All machines of a laboratory.
pub struct Rooms {
    links: Links,
    topology: Topology,
    file: PathBuf,
    cases: BTreeMap<String, Case>,
    /// Pairs of machines that do not hear each other.
    apart: BTreeSet<(String, String)>,
    booted: u64,
    outbox: SyncSender<Message>,
}

/// One machine, alive: the process beside it and the way to talk to it.
struct Case {
    child: Child,
    orders: ChildStdin,
}

impl Rooms {
    /// Lays the segments. Machines are not booted yet.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(topology: Topology, file: PathBuf, outbox: SyncSender<Message>) -> Result<Rooms, NetnsError> {
        let links = Links::here()?;
        links.up("lo")?;
        for segment in 0..topology.segments.len() {
            links.bridge(&bridge(segment))?;
        }
        Ok(Rooms { links, topology, file, cases: BTreeMap::new(), apart: BTreeSet::new(), booted: 0, outbox })
    }

    /// What the rooms were built from.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Boots a machine; it reports [`Report::Room`] when it can be wired. The answer tells this boot from others.
    ///
    /// # Errors
    /// In words.
    pub fn boot(&mut self, name: &str) -> Result<u64, String> {
        let mut child = Command::new(own_program())
            .args(["lab-inside", "case", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // ^C at the terminal is for the world alone.
            .process_group(0)
            .spawn()
            .map_err(|e| format!("booting {name}: {e}"))?;
        self.booted += 1;
        let boot = self.booted;
        let (Some(orders), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(format!("booting {name}: its pipes are missing"));
        };
        self.listen((name, boot), output, |line| serde_json::from_str(&line).unwrap_or(Report::Log { line }));
        self.listen((name, boot), errors, |line| Report::Log { line });
        self.cases.insert(name.to_owned(), Case { child, orders });
        Ok(boot)
    }

    fn listen(&self, (name, boot): (&str, u64), from: impl Read + Send + 'static, read: fn(String) -> Report) {
        let (machine, outbox) = (name.to_owned(), self.outbox.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let message = Message::Report { machine: machine.clone(), boot, report: Box::new(read(line)) };
                if outbox.send(message).is_err() {
                    return;
                }
            }
            let _ = outbox.send(Message::Gone { machine, boot });
        });
    }

    /// Wires a machine that has its rooms, and tells it what it is.
    ///
    /// # Errors
    /// In words.
    pub fn furnish(&mut self, name: &str) -> Result<(), String> {
        self.plug(name).map_err(|e| format!("wiring {name}: {e}"))?;
        let role = match self.machine(name) {
            None => Role::Client {
                sources: self.topology.sources.clone(),
                probe: self.topology.vips.iter().flat_map(|(_, addresses)| addresses).copied().collect(),
            },
            Some(Machine { is_peer: false, serve, .. }) => Role::Host { serve: serve.clone() },
            Some(Machine { serve, checks, .. }) => Role::Peer {
                serve: serve.clone(),
                daemon: (self.file.clone(), name.to_owned()),
                checks: checks.clone(),
                secrets: self.topology.secrets.clone(),
            },
        };
        self.order(name, &Order::Be(Box::new(role)))
    }

    fn plug(&mut self, name: &str) -> Result<(), NetnsError> {
        let case = self.cases.get(name).map_or(0, |case| case.child.id());
        let space = Namespace::of_process(case)?;
        let inside = space.links()?;
        inside.up("lo")?;
        let links = self.wires(name);
        for link in &links {
            let port = self.port(name, link);
            self.links.veth(&port, &link.interface, &space)?;
            self.links.attach(&port, &bridge(link.segment))?;
            self.links.up(&port)?;
            for address in &link.addresses {
                inside.address(&link.interface, *address)?;
            }
            inside.up(&link.interface)?;
        }
        let Some(first) = links.first() else { return Ok(()) };
        for network in far_networks(&self.topology, &links) {
            inside.on_link(network, &first.interface)?;
        }
        Ok(())
    }

    /// Gives an order.
    ///
    /// # Errors
    /// In words, where the machine is off.
    pub fn order(&mut self, name: &str, order: &Order) -> Result<(), String> {
        let case = self.cases.get_mut(name).ok_or_else(|| format!("{name} is off: start {name}"))?;
        let line = serde_json::to_string(order).map_err(|e| e.to_string())?;
        writeln!(case.orders, "{line}").map_err(|e| format!("{name} does not listen: {e}"))
    }

    /// Cuts the power: every process ends at once, and the links are gone.
    ///
    /// # Errors
    /// In words, where the machine is off.
    pub fn kill(&mut self, name: &str) -> Result<(), String> {
        let mut case = self.cases.remove(name).ok_or_else(|| format!("{name} is off already"))?;
        // The links first, or the kernel would close every connection properly on behalf of the dead.
        for link in self.wires(name) {
            // The link may be gone already, with the namespace of its other end.
            let _ = self.links.delete(&self.port(name, &link));
        }
        // Nobody in it gets to say goodbye: SIGKILL reaches the first process, and with it the kernel ends all others.
        case.child.kill().and_then(|()| case.child.wait()).map_err(|e| e.to_string())?;
        self.heal(Some(name), None)
    }

    /// Stops every process of a machine and drops its frames; or lets both go on.
    ///
    /// # Errors
    /// In words, where the machine is off.
    pub fn freeze(&mut self, name: &str, frozen: bool) -> Result<(), String> {
        let case = self.cases.get(name).ok_or_else(|| format!("{name} is off"))?.child.id();
        let signal = if frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        if frozen {
            self.cut(name)?;
        }
        // Twice: a process may have been started while the first round went on.
        for _ in 0..2 {
            for pid in inhabitants(case) {
                // It may have ended by itself meanwhile.
                let _ = kill(pid, signal);
            }
        }
        if frozen { Ok(()) } else { self.reattach(name) }
    }

    /// Pulls a machine off the network; its carrier stays.
    ///
    /// # Errors
    /// In words.
    pub fn cut(&mut self, name: &str) -> Result<(), String> {
        for link in self.wires(name) {
            self.links.detach(&self.port(name, &link)).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Puts a machine back on the network.
    ///
    /// # Errors
    /// In words.
    pub fn reattach(&mut self, name: &str) -> Result<(), String> {
        for link in self.wires(name) {
            self.links.attach(&self.port(name, &link), &bridge(link.segment)).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Drops what passes between two machines, both ways.
    ///
    /// # Errors
    /// In words, where `nft` is missing or refuses.
    pub fn part(&mut self, one: &str, other: &str) -> Result<(), String> {
        self.apart.insert((one.to_owned(), other.to_owned()));
        self.filter()
    }

    /// Lets machines hear each other again: all, one and everybody, or a pair.
    ///
    /// # Errors
    /// In words.
    pub fn heal(&mut self, one: Option<&str>, other: Option<&str>) -> Result<(), String> {
        let is = |name: &str, (a, b): &(String, String)| a == name || b == name;
        let before = self.apart.len();
        self.apart.retain(|pair| !(one.is_none_or(|one| is(one, pair)) && other.is_none_or(|other| is(other, pair))));
        if before == self.apart.len() { Ok(()) } else { self.filter() }
    }

    /// Names of the machines that are on.
    pub fn alive(&self) -> Vec<String> {
        self.cases.keys().cloned().collect()
    }

    fn filter(&self) -> Result<(), String> {
        let mut rules = String::new();
        for (one, other) in &self.apart {
            for (a, b) in [(one, other), (other, one)] {
                for (from, to) in
                    self.wires(a).iter().flat_map(|x| self.wires(b).into_iter().map(move |y| (x.clone(), y)))
                {
                    let (from, to) = (self.port(a, &from), self.port(b, &to));
                    rules += &format!("    iifname \"{from}\" oifname \"{to}\" drop\n");
                }
            }
        }
        let chain = format!("  chain apart {{\n    type filter hook forward priority 0\n{rules}  }}\n");
        nft(&format!("table bridge lab {{}}\ndelete table bridge lab\ntable bridge lab {{\n{chain}}}\n"))
    }

    fn machine(&self, name: &str) -> Option<&Machine> {
        self.topology.machines.iter().find(|machine| machine.name == name)
    }

    fn wires(&self, name: &str) -> Vec<Link> {
        self.machine(name).map_or_else(|| self.topology.client.clone(), |machine| machine.links.clone())
    }

    fn port(&self, name: &str, link: &Link) -> String {
        let number = self.topology.machines.iter().position(|machine| machine.name == name);
        match number {
            Some(number) => format!("m{number}s{}", link.segment),
            None => format!("clients{}", link.segment),
        }
    }
}

fn bridge(segment: usize) -> String {
    format!("segment{segment}")
}

/// Loads rules in the network of the calling thread.
pub(super) fn nft(rules: &str) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("nft: {e}");
    let mut command = Command::new("nft");
    let mut child = hear_signals(&mut command)
        .args(["-f", "-"])
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(rules.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Processes of the namespace whose first one is the child of `case`.
fn inhabitants(case: u32) -> Vec<Pid> {
    let space = |path: PathBuf| std::fs::read_link(path).ok();
    let Some(theirs) = space(format!("/proc/{case}/ns/pid_for_children").into()) else { return vec![] };
    let Ok(all) = std::fs::read_dir("/proc") else { return vec![] };
    let pids = all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| space(Path::new("/proc").join(pid.to_string()).join("ns/pid")).as_ref() == Some(&theirs))
        .map(Pid::from_raw)
        .collect()
}

/// Addresses as people write them, without prefixes.
pub fn first_address(links: &[Link]) -> String {
    let first: Option<&Cidr> = links.iter().flat_map(|link| &link.addresses).next();
    first.map(|address| address.address().to_string()).unwrap_or_default()
}
