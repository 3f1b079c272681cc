//! plan → apply → plan → destroy through the program, each in a network namespace of its own; and the bad days.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use model::plan::Operation;
use runtime::apply::Lock;
use runtime::control;
use runtime::kernel::Kernel;
use runtime::kernel::linux::Linux;
use runtime::netns::{Links, Namespace, isolate};

const FILE: &str = r#"
cluster "test"
peer "a" address="192.0.2.1"
peer "b" address="192.0.2.2"
vip "web" {
    address "192.0.2.10/24"
    interface "eth0"
    vrid 7
    priority a=150 b=100
}
service "web" {
    listen vip="web" port=80
    backend "a" port=8080
    backend "b" port=8080
    probe { tcp; }
}
sysctl "net.ipv4.ip_nonlocal_bind" 1
"#;

const NONLOCAL: &str = "/proc/sys/net/ipv4/ip_nonlocal_bind";

/// Peer `a`, alone in its network.
struct Host {
    dir: tempfile::TempDir,
    _far: Namespace,
}

impl Host {
    fn new() -> Host {
        isolate().unwrap();
        let far = Namespace::new().unwrap();
        let links = Links::here().unwrap();
        links.veth("eth0", "far", &far).unwrap();
        links.up("eth0").unwrap();
        links.address("eth0", "192.0.2.1/24".parse().unwrap()).unwrap();
        let host = Host { dir: tempfile::tempdir().unwrap(), _far: far };
        fs::write(host.file(), FILE).unwrap();
        host
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("ha.kdl")
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        command.arg("-f").arg(self.file()).args(["--node", "a", "--state"]).arg(self.state()).args(args);
        command.stdin(Stdio::null());
        command
    }

    fn hactl(&self, args: &[&str]) -> Said {
        self.command(args).said()
    }

    /// Everything that hactl may change, as other programs see it.
    fn machine(&self) -> String {
        shell(
            "ip -o address | grep -v ' lo ' | sed 's/valid_lft.*//'; nft list ruleset; \
             grep -rH . /proc/sys/net/ipv4/conf /proc/sys/net/ipv4/ip_* 2>/dev/null",
        )
    }

    /// A PATH on which this script comes before the real `nft`.
    fn with_nft(&self, script: &str) -> String {
        let bin = self.dir.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join("nft"), format!("#!/bin/sh\n{script}\nexec /usr/sbin/nft \"$@\"\n")).unwrap();
        fs::set_permissions(bin.join("nft"), PermissionsExt::from_mode(0o755)).unwrap();
        format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display())
    }
}

/// A running service, ended with the test.
struct Service(Child);

impl Service {
    fn start(host: &Host) -> Service {
        let mut command = host.command(&["run"]);
        let service = Service(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(20);
        while !matches!(control::live(&host.state()), Ok(Some(_))) {
            assert!(Instant::now() < deadline, "the service does not answer");
            std::thread::yield_now();
        }
        service
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How the program ended and what it said.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Said {
    /// Keeps what was said, without what differs from run to run.
    fn golden(self, name: &str) -> Said {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../../snapshots/error");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        for (pattern, put) in [
            (r"/[^ ]*/\.tmp[^/]+/", "DIR/"),
            (r" {2,}DIR/", "  DIR/"),
            (r"pid \d+", "pid PID"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
            (r"user .*, since", "user USER, since"),
        ] {
            settings.add_filter(pattern, put);
        }
        // The plan itself has goldens of its own.
        let past = self.out.split_once("\nPlan: ").and_then(|(_, rest)| rest.split_once('\n'));
        let out = past.map_or(self.out.as_str(), |(_, done)| done);
        settings.bind(|| insta::assert_snapshot!(name, format!("exit {:?}\n{out}---\n{}", self.code, self.err)));
        self
    }

    #[track_caller]
    fn exits(self, code: i32) -> Said {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

trait Speaks {
    fn said(&mut self) -> Said;
}

impl Speaks for Command {
    fn said(&mut self) -> Said {
        Said::from(self.output().unwrap())
    }
}

fn shell(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn value(path: &str) -> String {
    fs::read_to_string(path).unwrap().trim().to_owned()
}

#[test]
fn what_is_planned_is_applied_and_destroyed_without_a_trace() {
    let host = Host::new();
    shell("nft 'table ip other { chain c { ip saddr 192.0.2.99 drop; }; }'");
    let before = host.machine();
    host.hactl(&["validate"]).exits(0);
    host.hactl(&["plan", "--detailed-exitcode"]).exits(2);
    assert_eq!(host.machine(), before, "a plan changes nothing");

    let said = host.hactl(&["apply", "--yes"]).exits(0);
    assert!(said.out.contains("nftables ip hactl"), "{}", said.out);
    assert_eq!(value(NONLOCAL), "1");
    assert!(host.machine().contains("table ip hactl"));

    host.hactl(&["plan", "--detailed-exitcode"]).exits(0);
    let after = host.machine();
    host.hactl(&["apply", "--yes"]).exits(0);
    assert_eq!(host.machine(), after, "a second apply has nothing to do");

    host.hactl(&["destroy", "--yes"]).exits(0);
    assert_eq!(host.machine(), before);
    let mut nameless = Command::new(env!("CARGO_BIN_EXE_hactl"));
    nameless.arg("-f").arg(host.file()).arg("--state").arg(host.state()).args(["destroy", "--yes"]);
    assert_eq!(nameless.said().exits(0).out, "Nothing on a is hactl's.\n", "by the name that the file gives it");
}

#[test]
fn without_a_terminal_it_wants_yes_and_changes_nothing() {
    let host = Host::new();
    for verb in ["apply", "destroy"] {
        let before = host.machine();
        let said = host.hactl(&[verb]).exits(64).golden(&format!("{verb}_without_terminal"));
        assert!(said.err.contains("--yes"), "{}", said.err);
        assert_eq!(host.machine(), before);
        host.hactl(&["apply", "--yes"]).exits(0);
    }
}

#[test]
fn on_a_terminal_only_yes_is_taken_for_it() {
    let host = Host::new();
    let before = host.machine();
    let line = format!("{:?}", host.command(&["apply"])).replace('"', "");
    let type_in = |answer: &str| shell(&format!("echo {answer} | script -qec '{line}' /dev/null"));
    let said = type_in("y");
    assert!(said.contains("Nothing was done"), "{said}");
    assert_eq!(host.machine(), before);
    let said = type_in("yes");
    assert!(said.contains("done"), "{said}");
    assert_eq!(value(NONLOCAL), "1");
}

#[test]
fn a_step_that_fails_takes_the_earlier_ones_back() {
    let host = Host::new();
    let before = host.machine();
    let path = host.with_nft("[ \"$*\" = '-f -' ] && { echo 'Error: Could not process rule: Busy' >&2; exit 1; }");
    let said = host.command(&["apply", "--yes"]).env("PATH", path).said().exits(5).golden("apply_rolled_back");
    assert!(said.err.contains("Could not process rule: Busy") && said.err.contains("as before"), "{}", said.err);
    assert_eq!(host.machine(), before);
    host.hactl(&["apply", "--yes"]).exits(0);
}

#[test]
fn a_machine_that_lies_is_found_out_and_everything_taken_back() {
    let host = Host::new();
    let before = host.machine();
    let path = host.with_nft("[ \"$*\" = '-f -' ] && { cat >/dev/null; exit 0; }");
    let said = host.command(&["apply", "--yes"]).env("PATH", path).said().exits(5).golden("apply_unverified");
    assert!(said.err.contains("not as planned: nftables ip hactl"), "{}", said.err);
    assert_eq!(host.machine(), before);
}

#[test]
fn after_a_killed_apply_the_next_says_so_and_ends_the_work() {
    let host = Host::new();
    let before = host.machine();
    let path = host.with_nft("[ \"$*\" = '-f -' ] && { kill -9 $PPID; exit 1; }");
    let said = host.command(&["apply", "--yes"]).env("PATH", path).said();
    assert_eq!(said.code, None, "killed: {said:?}");
    let said = host.hactl(&["apply", "--yes"]).exits(0).golden("apply_after_killed");
    assert!(said.out.contains("did not end") && said.out.contains("nftables ip hactl"), "{}", said.out);
    host.hactl(&["plan", "--detailed-exitcode"]).exits(0);
    host.hactl(&["destroy", "--yes"]).exits(0);
    assert_eq!(host.machine(), before);
}

#[test]
fn what_a_killed_run_left_is_removed_and_what_is_not_ours_stays() {
    let host = Host::new();
    let (interface, cidr) = ("eth0".parse().unwrap(), "192.0.2.10/24".parse().unwrap());
    Linux::new(&host.state()).perform(&Operation::AddAddress { interface, cidr }).unwrap();
    host.hactl(&["apply", "--yes"]).exits(0);
    let there = shell("ip -o -4 address show dev eth0");
    assert!(!there.contains("192.0.2.10/") && there.contains("192.0.2.1/24"), "{there}");
}

#[test]
fn a_second_apply_is_refused_with_the_holder_or_waits() {
    let host = Host::new();
    let lock = Lock::take(&host.state(), "apply", Duration::ZERO).unwrap();
    let said = host.hactl(&["apply", "--yes"]).exits(6).golden("apply_locked");
    let holder = format!("pid {}, user ", std::process::id());
    assert!(said.err.contains(&holder) && said.err.contains("since 20"), "{}", said.err);
    host.hactl(&["destroy", "--yes"]).exits(6);
    let mut waiting = host.command(&["apply", "--yes", "--wait", "60s"]);
    let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(lock);
    Said::from(waiting.wait_with_output().unwrap()).exits(0);
}

#[test]
fn without_rights_nothing_is_changed_and_root_is_asked_for() {
    let host = Host::new();
    let before = host.machine();
    let line = host.command(&["apply", "--yes"]);
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps", "-net_admin", "--bounding-set", "-net_admin"]);
    let said = command.arg(line.get_program()).args(line.get_args()).said().exits(1).golden("apply_not_root");
    assert!(said.err.contains("permission denied") && said.err.contains("root"), "{}", said.err);
    assert_eq!(host.machine(), before);
}

#[test]
fn without_nft_nothing_is_changed_and_its_package_is_named() {
    let host = Host::new();
    let before = host.machine();
    let said = host.command(&["apply", "--yes"]).env("PATH", "").said().exits(1).golden("apply_without_nft");
    assert!(said.err.contains("nft is not installed") && said.err.contains("nftables"), "{}", said.err);
    assert_eq!(host.machine(), before);
}

#[test]
fn without_services_nft_is_not_needed() {
    let host = Host::new();
    let (vip, _) = FILE.split_once("service").unwrap();
    fs::write(host.file(), vip).unwrap();
    for verb in ["apply", "destroy"] {
        host.command(&[verb, "--yes"]).env("PATH", "").said().exits(0);
    }
}

#[test]
fn a_full_disk_is_found_before_anything_is_changed() {
    let host = Host::new();
    let before = host.machine();
    fs::create_dir(host.state()).unwrap();
    let line = host.command(&["apply", "--yes"]);
    for size in ["4k", "16k", "64k"] {
        let script = format!("mount -t tmpfs -o size={size} tmpfs '{}' && exec \"$@\"", host.state().display());
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script, "sh"]).arg(line.get_program()).args(line.get_args());
        let said = command.said().exits(1);
        assert!(said.err.contains("No space left") && said.err.contains("--state"), "{size}: {}", said.err);
        assert_eq!(host.machine(), before);
        if size == "64k" {
            said.golden("apply_full_disk");
        }
    }
}

#[test]
fn a_damaged_record_is_named_and_nothing_is_changed() {
    let host = Host::new();
    host.hactl(&["apply", "--yes"]).exits(0);
    let before = host.machine();
    fs::write(host.state().join("record.json"), "{").unwrap();
    for verb in [&["plan"][..], &["apply", "--yes"], &["destroy", "--yes"]] {
        let said = host.hactl(verb).exits(1).golden(&format!("{}_damaged_record", verb[0]));
        assert!(said.err.contains("record.json") && said.err.contains("mv "), "{}", said.err);
        assert_eq!(host.machine(), before);
    }
}

#[test]
fn an_address_that_is_somebody_elses_stands_in_the_way() {
    let host = Host::new();
    shell("ip address add 192.0.2.10/24 dev eth0");
    let before = host.machine();
    let said = host.hactl(&["apply", "--yes"]).exits(1);
    assert!(said.err.contains("192.0.2.10/24 on eth0"), "{}", said.err);
    assert_eq!(host.machine(), before);
}

#[test]
fn json_says_what_was_done() {
    let host = Host::new();
    let said = host.hactl(&["--json", "apply", "--yes"]).exits(0);
    let facts: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(facts["result"], "done");
    let steps = facts["steps"].as_array().unwrap();
    assert_eq!(steps.len(), facts["plan"]["steps"].as_array().unwrap().len());
    assert!(steps.iter().all(|step| step["result"] == "done"), "{}", said.out);
}

#[test]
fn a_running_service_performs_the_plan_itself() {
    let host = Host::new();
    let _service = Service::start(&host);
    fs::write(host.file(), FILE.replace("priority a=150", "priority a=120") + "sysctl \"net.ipv4.ip_early_demux\" 0\n")
        .unwrap();
    let said = host.hactl(&["apply", "--yes"]).exits(0);
    assert!(said.out.contains("done    ~   vip.web"), "{}", said.out);
    assert_eq!(value("/proc/sys/net/ipv4/ip_early_demux"), "0");
    host.hactl(&["plan", "--detailed-exitcode"]).exits(0);
    host.hactl(&["apply", "--yes"]).exits(0);
    fs::write(host.file(), FILE.replace("priority a=150", "priority a=130")).unwrap();
    let mut by_name = Command::new(env!("CARGO_BIN_EXE_hactl"));
    by_name.current_dir(host.dir.path()).args(["-f", "ha.kdl", "--node", "a", "--state", "state", "apply", "--yes"]);
    assert!(by_name.said().exits(0).out.contains("done    ~   vip.web"));
}

#[test]
fn with_a_service_that_runs_another_file_nothing_is_applied() {
    let host = Host::new();
    let _service = Service::start(&host);
    let other = host.dir.path().join("other.kdl");
    fs::write(&other, FILE.replace("150", "120")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
    command.arg("-f").arg(&other).args(["--node", "a", "--state"]).arg(host.state()).args(["apply", "--yes"]);
    let said = command.said().exits(1).golden("apply_another_file");
    assert!(said.err.contains("ha.kdl says, not") && said.err.contains("other.kdl"), "{}", said.err);
    let record = fs::read_to_string(host.state().join("record.json")).unwrap_or_default();
    assert!(!record.contains("120"), "{record}");
    let said = host.hactl(&["destroy", "--yes"]).exits(1).golden("destroy_while_running");
    assert!(said.err.contains("stop"), "{}", said.err);
}
