//! Two machines that hold addresses for each other, each with hactl or with keepalived, and a client.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use super::segment::address;
use super::{Daemon, Segment};

/// Machine of the client.
pub const CLIENT: usize = 2;

/// Which program a machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Software {
    /// The one under test.
    Hactl,
    /// Debian's.
    Keepalived,
}

/// What both are told, each in its language.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// 2, with a password, or 3.
    pub version: u8,
    /// In milliseconds.
    pub advert: u32,
    /// Unicast rather than multicast.
    pub unicast: bool,
    /// Virtual routers.
    pub routers: usize,
    /// Addresses of each.
    pub addresses: usize,
    /// keepalived logs every step.
    pub detailed_log: bool,
}

/// Two machines and a client on one segment. Machine 0 has the higher priority.
pub struct Cluster {
    /// Where they are.
    pub segment: Segment,
    /// What runs on each machine.
    pub daemons: [Option<Daemon>; 2],
    software: [Software; 2],
    setup: Setup,
    directory: tempfile::TempDir,
}

impl Cluster {
    /// Nothing runs yet.
    pub fn new(software: [Software; 2], setup: Setup) -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        Cluster { segment: Segment::new(3), daemons: [None, None], software, setup, directory }
    }

    /// Starts what the machine runs.
    pub fn start(&mut self, machine: usize) {
        let mut command = match self.software[machine] {
            Software::Hactl => self.hactl(machine),
            Software::Keepalived => self.keepalived(machine),
        };
        self.daemons[machine] = Some(Daemon::start(self.segment.machine(machine), &mut command));
    }

    /// What runs on the machine.
    pub fn daemon(&mut self, machine: usize) -> &mut Daemon {
        self.daemons[machine].as_mut().unwrap()
    }

    /// As if the plug had been pulled: off the segment at once, nothing left of it.
    pub fn power_off(&mut self, machine: usize) {
        self.segment.cut(machine);
        self.daemon(machine).kill();
        // /run is empty after a boot.
        for name in ["parent", "vrrp"] {
            let _ = std::fs::remove_file(self.pid_file(machine, name));
        }
        let _ = std::fs::remove_dir_all(self.state(machine));
        let own = format!("{}/16", address(machine));
        for arguments in [&["flush", "dev", "eth0"][..], &["add", &own, "dev", "eth0"]] {
            let mut ip = Command::new("ip");
            let done = self.segment.machine(machine).run(|| ip.args(["-4", "address"]).args(arguments).status());
            assert!(done.unwrap().unwrap().success());
        }
    }

    /// Back on the segment, and started.
    pub fn power_on(&mut self, machine: usize) {
        self.segment.heal(machine);
        self.start(machine);
    }

    fn hactl(&self, machine: usize) -> Command {
        let file = self.write("ha.kdl", &hactl_configuration(self.setup));
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        command.arg("--file").arg(file).args(["--node", ["a", "b"][machine], "--json", "--state"]);
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
        self.directory.path().join(format!("{machine}.{name}.pid"))
    }

    fn keepalived(&self, machine: usize) -> Command {
        let file = self.write(&format!("{machine}.conf"), &keepalived_configuration(self.setup, machine));
        let mut command = Command::new("keepalived");
        // Debian has it where ordinary users do not look.
        command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap()));
        command.args(["--dont-fork", "--log-console", "--vrrp", "--use-file"]).arg(file);
        command
            .arg("--pid")
            .arg(self.pid_file(machine, "parent"))
            .arg("--vrrp_pid")
            .arg(self.pid_file(machine, "vrrp"));
        if self.setup.detailed_log {
            command.arg("--log-detail");
        }
        command
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        // Whole at once: the other machine may be reading it.
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path
    }
}

impl Setup {
    /// Address number `n`, of all the routers.
    pub fn address(n: usize) -> String {
        format!("10.77.{}.{}", 1 + n / 250, 1 + n % 250)
    }

    fn addresses(self, router: usize) -> impl Iterator<Item = String> {
        (0..self.addresses).map(move |n| Setup::address(router * self.addresses + n))
    }
}

fn hactl_configuration(setup: Setup) -> String {
    let mut text = "cluster \"pair\"\n".to_owned();
    for (machine, name) in ["a", "b"].iter().enumerate() {
        writeln!(text, "peer \"{name}\" address=\"{}\"", address(machine)).unwrap();
    }
    for router in 0..setup.routers {
        writeln!(text, "vip \"v{router}\" {{").unwrap();
        for address in setup.addresses(router) {
            writeln!(text, "    address \"{address}/32\"").unwrap();
        }
        writeln!(text, "    interface \"eth0\"\n    vrid {}\n    priority a=150 b=100", router + 1).unwrap();
        writeln!(text, "    version {}\n    advertise \"{}ms\"", setup.version, setup.advert).unwrap();
        if setup.version == 2 {
            text.push_str("    auth-pass \"pass1234\"\n");
        }
        text.push_str(if setup.unicast { "    unicast\n}\n" } else { "}\n" });
    }
    text
}

fn keepalived_configuration(setup: Setup, machine: usize) -> String {
    let mut text = format!("global_defs {{\n    router_id machine{machine}\n}}\n");
    for router in 0..setup.routers {
        let priority = [150, 100][machine];
        writeln!(text, "vrrp_instance v{router} {{\n    state BACKUP\n    interface eth0").unwrap();
        writeln!(text, "    virtual_router_id {}\n    priority {priority}", router + 1).unwrap();
        writeln!(text, "    version {}\n    advert_int {}", setup.version, f64::from(setup.advert) / 1000.0).unwrap();
        if setup.version == 2 {
            text.push_str("    authentication {\n        auth_type PASS\n        auth_pass pass1234\n    }\n");
        }
        if setup.unicast {
            let (own, other) = (address(machine), address(1 - machine));
            writeln!(text, "    unicast_src_ip {own}\n    unicast_peer {{\n        {other}\n    }}").unwrap();
        }
        text.push_str("    virtual_ipaddress {\n");
        for address in setup.addresses(router) {
            writeln!(text, "        {address}/32").unwrap();
        }
        text.push_str("    }\n}\n");
    }
    text
}
