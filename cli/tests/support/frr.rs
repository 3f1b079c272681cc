//! FRR on a machine: zebra, vrrpd, and the macvlans with the virtual addresses that vrrpd wants to find.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use runtime::netns::Namespace;

use super::Daemon;
use super::cluster::{Setup, vrid, write};
use super::segment::set;

/// Where Debian has its daemons.
const PROGRAMS: &str = "/usr/lib/frr";

/// Everything that vrrpd needs, running.
pub struct Frr {
    directory: PathBuf,
    // Ends with it.
    _zebra: Daemon,
}

impl Frr {
    /// Makes the links of these virtual routers and starts zebra.
    pub fn prepare(machine: &Namespace, directory: &Path, configuration: &str, setup: Setup) -> Frr {
        let _ = std::fs::remove_dir_all(directory);
        std::fs::create_dir(directory).unwrap();
        write(&directory.join("zebra.conf"), "");
        write(&directory.join("vrrpd.conf"), configuration);
        // It wants its user to be in this group, and namespaces of an ordinary user have one group only.
        write(&directory.join("group"), "root:x:0:\nfrrvty:x:0:root\n");
        // The kernel answers for an address of any link, also of one that vrrpd took the carrier from.
        machine.run(|| set("ipv4/conf/all/arp_ignore", "1")).unwrap();
        for router in 0..setup.routers {
            let (v4, v6): (Vec<_>, Vec<_>) = (setup.addresses(router).collect(), setup.addresses6(router).collect());
            for (family, addresses) in [(1, v4), (2, v6)] {
                if !addresses.is_empty() {
                    macvlan(machine, family, vrid(router), &addresses);
                }
            }
        }
        let zebra = Daemon::start(machine, &mut program(directory, "zebra"));
        let (socket, deadline) = (directory.join("zserv.api"), Instant::now() + Duration::from_secs(20));
        // vrrpd tries again after ten seconds only.
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < deadline, "zebra does not listen\n{}", zebra.output.text());
            std::thread::yield_now();
        }
        Frr { directory: directory.to_owned(), _zebra: zebra }
    }

    /// How vrrpd is started.
    pub fn vrrpd(&self) -> Command {
        program(&self.directory, "vrrpd")
    }
}

fn program(directory: &Path, name: &str) -> Command {
    let file = |name: &str| directory.join(name).display().to_string();
    let start = format!(
        "mount --bind {group} /etc/group && exec {PROGRAMS}/{name} -u root -g root -f {configuration} -z {socket} \
         -i {pid} --vty_socket {directory} -P 0 --log stdout --log-level debug",
        group = file("group"),
        configuration = file(&format!("{name}.conf")),
        socket = file("zserv.api"),
        pid = file(&format!("{name}.pid")),
        directory = directory.display(),
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &start]);
    command
}

/// The link whose hardware address tells vrrpd which virtual router (family 1 is IPv4, 2 IPv6) it belongs to.
fn macvlan(machine: &Namespace, family: u8, vrid: u8, addresses: &[String]) {
    let prefix = if family == 1 { 32 } else { 128 };
    let name = format!("vrrp{family}-{vrid}");
    let addresses: String = addresses.iter().map(|a| format!("address replace {a}/{prefix} dev {name}\n")).collect();
    let batch = format!(
        "link add {name} link eth0 address 00:00:5e:00:{family:02}:{vrid:02x} type macvlan mode bridge\n\
         link set {name} addrgenmode random\n\
         link set {name} up\n{addresses}"
    );
    let there = machine.run(|| std::path::Path::new(&format!("/proc/sys/net/ipv4/conf/{name}")).exists()).unwrap();
    let batch = if there { addresses } else { batch };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), batch).unwrap();
    let done = machine.run(|| Command::new("ip").arg("-batch").arg(file.path()).status());
    assert!(done.unwrap().unwrap().success(), "{name}");
}
