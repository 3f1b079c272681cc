//! `hactl run` through the binary, each time in a network namespace of the test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use model::units::Moment;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runtime::clock;
use runtime::netns::{Links, Namespace, isolate};
use serde_json::Value;

mod bad_days;
mod checks;
mod log;
mod promises;
mod restart;

/// How long an event may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the issue allows for putting right what somebody else changed.
const AT_ONCE: Duration = Duration::from_millis(50);

const FORWARDING: &str = "/proc/sys/net/ipv4/conf/eth0/forwarding";

const VIP: &str = r#"
cluster "t"
peer "a" address="10.0.0.1"
peer "b" address="10.0.0.2"
vip "v" {
    address "10.0.0.100/24"
    interface "eth0"
    vrid 7
    priority a=150 b=100
    advertise "100ms"
}
"#;

const SERVICE: &str = r#"
service "s" {
    listen vip="v" port=80
    backend "one" "10.0.0.1:8081"
    backend "two" "10.0.0.1:8082"
    probe { tcp; every "100ms"; timeout "100ms"; fall 2; rise 1 }
}
"#;

/// A machine: a namespace with eth0, a state directory and a file.
struct Machine {
    directory: tempfile::TempDir,
    other_end: Namespace,
}

impl Machine {
    /// The calling thread's namespace from now on.
    fn new(config: &str) -> Machine {
        isolate().unwrap();
        let machine = Machine { directory: tempfile::tempdir().unwrap(), other_end: Namespace::new().unwrap() };
        machine.write(config);
        machine
    }

    fn with_link(config: &str) -> Machine {
        let machine = Machine::new(config);
        machine.plug();
        machine
    }

    fn plug(&self) {
        let links = Links::here().unwrap();
        links.veth("eth0", "far", &self.other_end).unwrap();
        links.up("eth0").unwrap();
        links.address("eth0", "10.0.0.1/24".parse().unwrap()).unwrap();
        self.other_end.links().unwrap().up("far").unwrap();
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("ha.kdl")
    }

    fn write(&self, config: &str) {
        fs::write(self.config(), config).unwrap();
    }

    fn hactl(&self, verb: &[&str]) -> Command {
        let mut command = self.command(verb);
        command.args(["--node", "a"]);
        command
    }

    fn command(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        command.args(verb).arg("--json");
        command.arg("--file").arg(self.config()).arg("--state").arg(self.directory.path().join("state"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self) -> Run {
        Run::of(&mut self.hactl(&["run"]))
    }

    fn status(&self) -> (bool, Value) {
        let output = self.hactl(&["status"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text} {words}")))
    }
}

/// A running `hactl run`; killed with the test.
struct Run {
    child: Child,
    events: Receiver<Value>,
    seen: Vec<Value>,
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Run {
    fn of(command: &mut Command) -> Run {
        let mut child = command.spawn().unwrap();
        let (sender, events) = channel();
        let out = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        Run { child, events, seen: vec![] }
    }

    fn until(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(event) = self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.seen.push(event.clone());
            if is(&event) {
                return event;
            }
        }
        let _ = self.child.kill();
        let mut log = String::new();
        let _ = self.child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut log));
        panic!("{what} did not come; {:#?}\n{log}", self.seen)
    }

    fn until_event(&mut self, name: &str) -> Value {
        self.until(name, |e| e["event"] == name)
    }

    fn until_state(&mut self, state: &str) -> Value {
        self.until(state, |e| e["event"] == "state" && e["to"] == state)
    }

    fn until_restored(&mut self, what: &str) -> Value {
        self.until(what, |e| e["event"] == "restored" && e["what"].as_str().unwrap().contains(what))
    }

    /// Puts `what` wrong and says how long after that it was right again.
    fn restores(&mut self, what: &str, wrong: impl FnOnce()) -> Duration {
        wrong();
        let done = clock::now();
        let event = self.until_restored(what);
        let took = at(&event).since(done);
        println!("{what}: {took:?} {}", event["what"]);
        took
    }

    /// Three times; the best counts, for other tests share the machine.
    fn restores_at_once(&mut self, what: &str, wrong: impl Fn()) {
        let took: Vec<Duration> = (0..3).map(|_| self.restores(what, &wrong)).collect();
        assert!(took.iter().any(|t| *t < AT_ONCE), "{took:?}");
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    fn ends(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not end");
    }
}

fn at(event: &Value) -> Moment {
    Moment(event["at"].as_u64().unwrap())
}

fn shell(command: &str) -> String {
    let output = Command::new("sh").args(["-ec", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn holds(cidr: &str) -> bool {
    shell("ip -4 addr show dev eth0").contains(cidr)
}

fn listener(port: u16) -> TcpListener {
    let listener = TcpListener::bind(("10.0.0.1", port)).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(4096).unwrap()).unwrap();
    listener
}

/// Slots of the service by backend, as the kernel has them.
fn slots(backend: &str) -> usize {
    shell("nft list map ip hactl s_slots").matches(backend).count()
}

/// In a namespace and a thread of the test's own.
fn alone(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        if let Err(panic) = scope.spawn(test).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn a_lone_node_becomes_master_and_hands_over_when_asked_to_end() {
    alone(|| {
        let machine = Machine::with_link(VIP);
        let mut run = machine.run();
        run.until_state("MASTER");
        let (healthy, status) = machine.status();
        assert!(healthy && holds("10.0.0.100/24"), "{status:#}");
        assert_eq!((&status["vips"][0]["state"], &status["peer"]), (&Value::from("MASTER"), &Value::from("a")));
        run.signal(Signal::SIGTERM);
        assert!(run.ends().success());
        assert!(!holds("10.0.0.100/24"));
        let (healthy, status) = machine.status();
        assert!(!healthy && status["running"] == false, "{status:#}");
    });
}

#[test]
fn a_held_address_that_somebody_removes_is_back_at_once() {
    alone(|| {
        let machine = Machine::with_link(VIP);
        let mut run = machine.run();
        run.until_state("MASTER");
        run.restores_at_once("10.0.0.100", || {
            assert!(holds("10.0.0.100/24"));
            shell("ip addr del 10.0.0.100/24 dev eth0");
        });
        assert!(holds("10.0.0.100/24"));
        assert_eq!(machine.status().1["restored"]["address"], 3);
        assert!(!run.seen.iter().any(|e| e["from"] == "MASTER"), "it stayed master");
    });
}

#[test]
fn a_flushed_table_and_a_sysctl_set_back_are_put_right_at_once() {
    alone(|| {
        let machine = Machine::with_link(&format!("{VIP}{SERVICE}"));
        let (_one, _two) = (listener(8081), listener(8082));
        let mut run = machine.run();
        run.until_state("MASTER");
        assert!(machine.status().0);
        run.restores_at_once("nftables ip hactl", || drop(shell("nft flush ruleset")));
        let deadline = Instant::now() + PATIENCE;
        // Ours are set again by the VRRP thread, a moment after the table stands.
        while !shell("nft list set ip hactl active").contains("10.0.0.100") {
            assert!(Instant::now() < deadline, "the gate stays shut");
        }
        run.restores_at_once("eth0.forwarding", || {
            assert_eq!(fs::read_to_string(FORWARDING).unwrap().trim(), "1");
            fs::write(FORWARDING, "0").unwrap();
        });
        assert_eq!(fs::read_to_string(FORWARDING).unwrap().trim(), "1");
        let status = machine.status().1;
        assert_eq!((&status["restored"]["table"], &status["restored"]["sysctl"]), (&Value::from(3), &Value::from(3)));
    });
}

#[test]
fn a_deleted_rule_is_put_back() {
    alone(|| {
        let machine = Machine::with_link(&format!("{VIP}{SERVICE}"));
        let mut run = machine.run();
        run.until_state("MASTER");
        run.restores("nftables ip hactl", || drop(shell("nft flush chain ip hactl dnat_pre")));
        assert!(shell("nft list chain ip hactl dnat_pre").contains("vmap"));
    });
}

#[test]
fn a_tool_that_fights_on_is_named_and_does_not_eat_the_processor() {
    alone(|| {
        let machine = Machine::with_link(&format!("{VIP}{SERVICE}"));
        let mut run = machine.run();
        run.until_state("MASTER");
        let stop = Instant::now() + PATIENCE;
        let fight = loop {
            assert!(Instant::now() < stop, "no end of the fight: {:#?}", run.seen);
            fs::write(FORWARDING, "0").unwrap();
            run.seen.extend(run.events.try_iter());
            if let Some(said) = run.seen.iter().find(|e| e["event"] == "trouble") {
                break said.clone();
            }
            std::thread::yield_now();
        };
        assert!(fight["what"].as_str().unwrap().contains("undone by somebody else"), "{fight}");
    });
}

#[test]
fn a_reload_with_mistakes_changes_nothing_and_a_valid_one_only_what_differs() {
    alone(|| {
        let machine = Machine::with_link(VIP);
        let mut run = machine.run();
        run.until_state("MASTER");
        machine.write(&VIP.replace("vrid 7", "vrid 700"));
        run.signal(Signal::SIGHUP);
        let refused = run.until_event("reload-refused");
        assert!(refused["what"][0].as_str().unwrap().contains("ha.kdl:8"), "{refused}");
        let (healthy, status) = machine.status();
        assert!(!healthy && status["reload"]["what"][0].as_str().unwrap().contains("ha.kdl:8"), "{status:#}");
        fs::remove_file(machine.config()).unwrap();
        run.signal(Signal::SIGHUP);
        run.until_event("reload-refused");
        machine.write(&format!(
            "{VIP}{}",
            VIP.split_once("vip")
                .unwrap()
                .1
                .replace("\"v\"", "vip \"w\"")
                .replace("vrid 7", "vrid 8")
                .replace(".100/", ".101/")
        ));
        run.signal(Signal::SIGHUP);
        run.until_event("reloaded");
        run.until("w is master", |e| e["vip"] == "w" && e["to"] == "MASTER");
        machine.write(VIP);
        run.signal(Signal::SIGHUP);
        run.until("w is left", |e| e["vip"] == "w" && e["from"] == "MASTER");
        let deadline = Instant::now() + PATIENCE;
        while holds("10.0.0.101/24") {
            assert!(Instant::now() < deadline, "the address of the vip that is gone stays");
        }
        assert!(machine.status().0 && holds("10.0.0.100/24"));
        assert!(!run.seen.iter().any(|e| e["vip"] == "v" && e["from"] == "MASTER"), "v did not flap");
    });
}

#[test]
fn the_leftovers_of_a_killed_run_are_taken_back_at_the_next_start() {
    alone(|| {
        let machine = Machine::with_link(&format!("{VIP}{SERVICE}"));
        let mut run = machine.run();
        run.until_state("MASTER");
        run.signal(Signal::SIGKILL);
        run.ends();
        let (healthy, status) = machine.status();
        assert!(!healthy && status["addresses"][0]["cidr"] == "10.0.0.100/24", "{status:#}");
        assert_eq!(status["tables"][0], "ip hactl");
        // Moved to another vip's address: the old one belongs to nobody now.
        machine.write(&format!("{VIP}{SERVICE}").replace(".100/24", ".102/24"));
        let mut run = machine.run();
        run.until_state("MASTER");
        assert!(holds("10.0.0.102/24") && !holds("10.0.0.100/24"));
    });
}

#[test]
fn a_second_run_is_refused_with_the_pid_of_the_first() {
    alone(|| {
        let machine = Machine::with_link(VIP);
        let mut run = machine.run();
        run.until_event("ready");
        let second = machine.hactl(&["run"]).output().unwrap();
        let words = String::from_utf8(second.stderr).unwrap();
        assert_eq!(second.status.code(), Some(6), "{words}");
        assert!(words.contains(&format!("process {}", run.child.id())), "{words}");
    });
}

#[test]
fn a_backend_that_fails_its_probe_leaves_the_slots_and_comes_back() {
    alone(|| {
        let machine = Machine::with_link(&format!("{VIP}{SERVICE}"));
        // Full queues of a listener that accepts nobody would be down, too: these take more than the test lasts.
        let _one = listener(8081);
        let two = listener(8082);
        let mut run = machine.run();
        run.until("two is up", |e| e["event"] == "backend" && e["backend"] == "two" && e["up"] == true);
        run.until_state("MASTER");
        assert!(slots("10.0.0.1 . 8082") > 100);
        drop(two);
        run.until("two is down", |e| e["event"] == "backend" && e["backend"] == "two" && e["up"] == false);
        let deadline = Instant::now() + PATIENCE;
        while slots("10.0.0.1 . 8082") > 0 {
            assert!(Instant::now() < deadline, "it keeps its slots");
        }
        let (healthy, status) = machine.status();
        assert!(!healthy && status["services"][0]["backends"][1]["slots"] == 0, "{status:#}");
        let _two = listener(8082);
        run.until("two is up", |e| e["event"] == "backend" && e["backend"] == "two" && e["up"] == true);
        while slots("10.0.0.1 . 8082") == 0 {
            assert!(Instant::now() < deadline, "it gets no slots back");
        }
        assert!(machine.status().0);
        assert!(
            !run.seen.iter().any(|e| e["event"] == "restored"),
            "our own edits are no foreign hand: {:#?}",
            run.seen
        );
    });
}

#[test]
fn a_missing_interface_is_fault_with_its_reason_until_it_appears() {
    alone(|| {
        let machine = Machine::new(VIP);
        let mut run = machine.run();
        run.until_event("ready");
        let (healthy, status) = machine.status();
        assert!(!healthy && status["problems"][0].as_str().unwrap().contains("eth0"), "{status:#}");
        machine.plug();
        run.until_state("MASTER");
    });
}

#[test]
fn a_failing_check_is_fault_and_the_notify_program_hears_of_it() {
    alone(|| {
        let machine = Machine::with_link("");
        let directory = machine.directory.path().display().to_string();
        let hook = format!("{directory}/hook");
        fs::write(&hook, format!("#!/bin/sh\necho \"$1 $2 $3 $4 $HACTL_FROM\" >> {directory}/heard\n")).unwrap();
        shell(&format!("chmod +x {hook}; touch {directory}/ok"));
        let check = format!(
            "check \"c\" {{ command \"/usr/bin/test\" \"-e\" \"{directory}/ok\"; every \"200ms\"; timeout \"200ms\"; fall 2; rise 1 }}"
        );
        machine.write(&format!("{}{check}", VIP.replace("vrid 7", &format!("vrid 7; track \"c\"; notify \"{hook}\""))));
        let mut run = machine.run();
        run.until_state("MASTER");
        fs::remove_file(format!("{directory}/ok")).unwrap();
        run.until_state("FAULT");
        fs::write(format!("{directory}/ok"), "").unwrap();
        run.until_state("MASTER");
        run.signal(Signal::SIGTERM);
        assert!(run.ends().success());
        let heard = fs::read_to_string(format!("{directory}/heard")).unwrap();
        let states: Vec<&str> = heard.lines().map(|l| l.split(' ').nth(2).unwrap()).collect();
        assert!(heard.starts_with("INSTANCE v "), "{heard}");
        let turns: Vec<&&str> = states.iter().filter(|s| **s != "BACKUP").collect();
        assert_eq!(turns, [&"MASTER", &"FAULT", &"MASTER", &"STOP"], "{heard}");
    });
}

#[test]
fn a_password_of_nine_bytes_is_refused_without_being_shown() {
    alone(|| {
        let machine = Machine::with_link(
            &VIP.replace("vrid 7", "vrid 7; version 2; auth-pass (env)\"PASS\"").replace("100ms", "1s"),
        );
        let said = |verb: &[&str], password: &str| {
            let output = machine.hactl(verb).env("PASS", password).output().unwrap();
            let words = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            (output.status.code(), words.into_owned())
        };
        for verb in [&["run"][..], &["plan"], &["apply", "--yes"]] {
            let (code, words) = said(verb, "sesame123");
            assert_eq!(code, Some(1), "{verb:?}: {words}");
            assert!(words.contains("PASS") && words.contains("8 bytes"), "{verb:?}: {words}");
            assert!(!words.contains("sesame"), "{verb:?}: {words}");
        }
        assert!(said(&["plan"], "").1.contains("PASS is empty"));
        assert_eq!(said(&["plan"], "sesame").0, Some(0));
        let all = machine.command(&["plan", "--all"]).env("PASS", "sesame123").output().unwrap();
        assert!(all.status.success(), "a review needs no secrets");
    });
}
