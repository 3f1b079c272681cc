//! Machines that hold addresses for each other, each with hactl, keepalived or FRR, and a client.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::configuration;
use super::daemon::Lines;
use super::frr::Frr;
use super::segment::{address, address6};
use super::{Daemon, Router, Segment};

/// Machine of the client of two machines.
pub const CLIENT: usize = 2;

/// keepalived's options that name files with process numbers.
const PID_FILES: [&str; 4] = ["pid", "vrrp_pid", "checkers_pid", "bfd_pid"];

/// Which program a machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Software {
    /// The one under test.
    Hactl,
    /// Debian's.
    Keepalived,
    /// Debian's vrrpd, and the zebra that it needs.
    Frr,
}

/// What all are told, each in its language.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// 2 or 3.
    pub version: u8,
    /// In milliseconds.
    pub advert: u32,
    /// Unicast rather than multicast.
    pub unicast: bool,
    /// Virtual routers.
    pub routers: usize,
    /// Addresses of each, and of each family.
    pub addresses: usize,
    /// keepalived logs every step.
    pub detailed_log: bool,
    /// Adverts carry a password.
    pub password: bool,
    /// IPv4 addresses.
    pub v4: bool,
    /// IPv6 addresses.
    pub v6: bool,
    /// All virtual routers change state together.
    pub group: bool,
    /// keepalived uses the virtual router's own hardware address, as vrrpd does always.
    pub virtual_mac: bool,
}

/// Machines and a client on one segment. The lower a machine's number, the higher its priority.
pub struct Cluster {
    /// Where they are.
    pub segment: Segment,
    /// What runs on each machine.
    pub daemons: Vec<Option<Daemon>>,
    outputs: Vec<Vec<Lines>>,
    frr: Vec<Option<Frr>>,
    software: Vec<Software>,
    setup: Setup,
    directory: tempfile::TempDir,
}

impl Cluster {
    /// Nothing runs yet.
    pub fn new(software: impl Into<Vec<Software>>, setup: Setup) -> Cluster {
        let (software, directory) = (software.into(), tempfile::tempdir().unwrap());
        let segment = Segment::new(software.len() + 1);
        let daemons = software.iter().map(|_| None).collect();
        let outputs = software.iter().map(|_| Vec::new()).collect();
        let frr = software.iter().map(|_| None).collect();
        Cluster { segment, daemons, outputs, frr, software, setup, directory }
    }

    /// The machine that only asks.
    pub fn client(&self) -> usize {
        self.software.len()
    }

    /// What each machine runs.
    pub fn software(&self) -> &[Software] {
        &self.software
    }

    /// Starts what the machine runs.
    pub fn start(&mut self, machine: usize) {
        let mut command = match self.software[machine] {
            Software::Hactl => self.hactl(machine),
            Software::Keepalived => self.keepalived(machine),
            Software::Frr => {
                let directory = self.directory.path().join(format!("frr{machine}"));
                let configuration = configuration::frr(self.setup, priority(machine));
                let frr = Frr::prepare(self.segment.machine(machine), &directory, &configuration, self.setup);
                let vrrpd = frr.vrrpd();
                self.frr[machine] = Some(frr);
                vrrpd
            }
        };
        let daemon = Daemon::start(self.segment.machine(machine), &mut command);
        self.outputs[machine].push(daemon.output.clone());
        self.daemons[machine] = Some(daemon);
    }

    /// What runs on the machine.
    pub fn daemon(&mut self, machine: usize) -> &mut Daemon {
        self.daemons[machine].as_mut().unwrap()
    }

    /// What everything that ever ran on the machine said.
    pub fn said(&self, machine: usize) -> String {
        self.outputs[machine].iter().map(Lines::text).collect()
    }

    /// Ends what runs on the machine in good order. Whether it says that it did.
    pub fn stop(&mut self, machine: usize) -> bool {
        let success = self.daemon(machine).stop().success();
        self.frr[machine] = None;
        success
    }

    /// As if the plug had been pulled: off the segment at once, nothing left of it.
    pub fn power_off(&mut self, machine: usize) {
        self.segment.cut(machine);
        self.daemon(machine).kill();
        self.frr[machine] = None;
        // /run is empty after a boot.
        for name in PID_FILES {
            let _ = std::fs::remove_file(self.pid_file(machine, name));
        }
        let _ = std::fs::remove_dir_all(self.state(machine));
        let (own, own6) = (format!("{}/16", address(machine)), format!("{}/64", address6(machine)));
        let steps = [
            &["-4", "address", "flush", "dev", "eth0"][..],
            &["-4", "address", "add", &own, "dev", "eth0"],
            &["-6", "address", "flush", "dev", "eth0", "scope", "global"],
            &["-6", "address", "add", &own6, "dev", "eth0"],
        ];
        for arguments in steps {
            self.ip(machine, arguments);
        }
        self.delete_macvlans(machine);
    }

    /// Back on the segment, and started.
    pub fn power_on(&mut self, machine: usize) {
        self.segment.heal(machine);
        self.start(machine);
    }

    /// The virtual routers as the wire knows them.
    pub fn routers(&self) -> Vec<Router> {
        let of_family = |v6| (0..self.setup.routers).map(move |n| Router { vrid: vrid(n), v6 });
        let v4 = of_family(false).filter(|_| self.setup.v4);
        v4.chain(of_family(true).filter(|_| self.setup.v6)).collect()
    }

    fn ip(&self, machine: usize, arguments: &[&str]) {
        let done = self.segment.machine(machine).run(|| Command::new("ip").args(arguments).status());
        assert!(done.unwrap().unwrap().success(), "ip {arguments:?}");
    }

    fn delete_macvlans(&self, machine: usize) {
        let list = || Command::new("ip").args(["-o", "link", "show", "type", "macvlan"]).output();
        let output = self.segment.machine(machine).run(list).unwrap().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let names = text.lines().filter_map(|line| line.split(": ").nth(1)?.split('@').next());
        for name in names {
            self.ip(machine, &["link", "delete", name]);
        }
    }

    /// Starts another copy of the program under test on the machine.
    pub fn start_program(&mut self, machine: usize, program: &Path) {
        let mut command = Command::new(program);
        command.args(self.hactl(machine).get_args());
        let daemon = Daemon::start(self.segment.machine(machine), &mut command);
        self.outputs[machine].push(daemon.output.clone());
        self.daemons[machine] = Some(daemon);
    }

    fn hactl(&self, machine: usize) -> Command {
        let file = self.write("ha.kdl", &configuration::hactl(self.setup, self.software.len()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        command.arg("--file").arg(file).args(["--node", NAMES[machine], "--json", "--state"]);
        command.arg(self.state(machine)).arg("run");
        command
    }

    /// State directory of hactl on the machine.
    pub fn state(&self, machine: usize) -> PathBuf {
        self.directory.path().join(format!("state{machine}"))
    }

    /// The file of every hactl.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ha.kdl")
    }

    fn pid_file(&self, machine: usize, name: &str) -> PathBuf {
        self.directory.path().join(format!("{machine}.{name}"))
    }

    fn keepalived(&self, machine: usize) -> Command {
        let text = configuration::keepalived(self.setup, machine, self.software.len());
        let file = self.write(&format!("{machine}.conf"), &text);
        let mut command = Command::new("keepalived");
        // Debian has it where ordinary users do not look.
        command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap()));
        command.args(["--dont-fork", "--log-console", "--vrrp", "--use-file"]).arg(file);
        // All of them: it locks also those of the processes that it does not start, and gives up where another keepalived
        // has one of its default files at that moment.
        for name in PID_FILES {
            command.arg(format!("--{name}")).arg(self.pid_file(machine, name));
        }
        if self.setup.detailed_log {
            command.arg("--log-detail");
        }
        command
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        write(&self.directory.path().join(name), text)
    }
}

/// Writes a file whole at once: another machine may be reading it.
pub fn write(path: &Path, text: &str) -> PathBuf {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
    path.to_owned()
}

/// Names of the machines in hactl's file.
pub const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A machine's priority.
pub fn priority(machine: usize) -> u8 {
    150 - 50 * u8::try_from(machine).unwrap().min(2)
}

/// A virtual router's number.
pub fn vrid(router: usize) -> u8 {
    u8::try_from(router + 1).unwrap()
}

impl Setup {
    /// Version 3 over multicast, an address.
    pub const PLAIN: Setup = Setup {
        version: 3,
        advert: 100,
        unicast: false,
        routers: 1,
        addresses: 1,
        detailed_log: false,
        password: false,
        v4: true,
        v6: false,
        group: false,
        virtual_mac: false,
    };

    /// Address number `n`, of all the routers.
    pub fn address(n: usize) -> String {
        format!("10.77.{}.{}", 1 + n / 250, 1 + n % 250)
    }

    /// IPv6 address number `n`, of all the routers.
    pub fn address6(n: usize) -> String {
        format!("fd77::1:{:x}", n + 1)
    }

    /// The first address of the first router.
    pub fn first(self) -> std::net::IpAddr {
        let address = if self.v4 { Setup::address(0) } else { Setup::address6(0) };
        address.parse().unwrap()
    }

    /// Addresses of a router, IPv4.
    pub fn addresses(self, router: usize) -> impl Iterator<Item = String> {
        (0..self.addresses * usize::from(self.v4)).map(move |n| Setup::address(router * self.addresses + n))
    }

    /// Addresses of a router, IPv6.
    pub fn addresses6(self, router: usize) -> impl Iterator<Item = String> {
        (0..self.addresses * usize::from(self.v6)).map(move |n| Setup::address6(router * self.addresses + n))
    }
}
