//! `hactl lab` through its binary: what it builds, what it says, and that nothing of it stays.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// No laboratory of these tests may take longer.
const LONGEST: Duration = Duration::from_secs(90);

/// Nothing of a laboratory may be left after this, on the busiest machine.
const GONE: Duration = Duration::from_secs(5);

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

/// A directory that any user can read, with a copy of the binary, the example and a script.
struct Stage {
    directory: TempDir,
}

impl Stage {
    fn new(file: &str, script: &str) -> Stage {
        let directory = TempDir::new_in("/tmp").unwrap();
        let path = directory.path();
        // By another program: had this one the copy open for writing while another test starts something, that child would
        // have it open too, and the copy could not be run for a moment.
        let copied =
            Command::new("cp").args([env!("CARGO_BIN_EXE_hactl").as_ref(), path.join("hactl").as_path()]).status();
        assert!(copied.unwrap().success());
        fs::copy(example(file), path.join("ha.kdl")).unwrap();
        fs::write(path.join("story"), script).unwrap();
        for (name, mode) in [("hactl", 0o755), ("ha.kdl", 0o644), ("story", 0o644), ("", 0o755)] {
            fs::set_permissions(path.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        Stage { directory }
    }

    fn command(&self) -> Command {
        let mut command = self.lab();
        command.args(["ha.kdl", "--script", "story"]);
        command
    }

    fn lab(&self) -> Command {
        let mut command = Command::new(self.directory.path().join("hactl"));
        command.current_dir(self.directory.path()).env_remove("VIP_AUTH_PASS").arg("lab");
        command
    }

    /// Runs the story to its end: its exit, its facts, and what went to stderr.
    fn facts(&self) -> (ExitStatus, Vec<Value>, String) {
        let (status, out, err) = run(self.command().arg("--json"));
        (status, out.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), err)
    }
}

/// Runs a command to its end, or kills it after the longest time.
fn run(command: &mut Command) -> (ExitStatus, String, String) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, err) = (collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap()));
    let status = end(&mut child, LONGEST);
    (status, out.join().unwrap(), err.join().unwrap())
}

fn collect(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    })
}

fn end(child: &mut Child, within: Duration) -> ExitStatus {
    let begun = Instant::now();
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return status,
            None if begun.elapsed() > within => {
                child.kill().unwrap();
                panic!("still running after {within:?}");
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Starts a story in JSON and reads it up to its first command: then all machines stand.
fn begun(stage: &Stage) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = stage
        .command()
        .arg("--json")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut facts = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(r#""fact":"command""#) {
        line.clear();
        assert!(facts.read_line(&mut line).unwrap() > 0, "it ended before its first command");
    }
    (child, facts)
}

/// All processes below one, by what /proc says of parents.
fn descendants(root: u32) -> BTreeSet<u32> {
    let parent = |pid: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
    };
    let all: Vec<(u32, u32)> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut found = BTreeSet::from([root]);
    loop {
        let before = found.len();
        found.extend(all.iter().filter(|(_, parent)| found.contains(parent)).map(|(pid, _)| *pid).collect::<Vec<_>>());
        if found.len() == before {
            found.remove(&root);
            return found;
        }
    }
}

/// Waits until none of these processes is left; the dead that nobody has asked for yet do not count.
fn await_end_of(pids: &BTreeSet<u32>) {
    let lives = |pid: &&u32| {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.rsplit(") ").next().unwrap().starts_with('Z'))
    };
    let begun = Instant::now();
    while let Some(pid) = pids.iter().find(lives) {
        assert!(begun.elapsed() < GONE, "process {pid} outlives its laboratory");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn of<'a>(facts: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    facts.iter().filter(move |fact| fact["fact"] == kind)
}

#[test]
fn nothing_is_left_when_the_front_is_killed() {
    let stage = Stage::new("proxmox-ui.kdl", "wait 60s\n");
    let (mut child, _facts) = begun(&stage);
    let pids = descendants(child.id());
    assert!(pids.len() > 8, "three peers and a client are two processes each: {pids:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    await_end_of(&pids);
}

#[test]
fn nothing_is_left_when_the_world_is_killed_and_the_front_says_so() {
    let stage = Stage::new("proxmox-ui.kdl", "wait 60s\n");
    let (mut child, _facts) = begun(&stage);
    let said = collect(child.stderr.take().unwrap());
    let pids = descendants(child.id());
    let world = pids.iter().copied().find(|pid| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("lab-inside\0world")
    });
    kill(Pid::from_raw(world.unwrap().cast_signed()), Signal::SIGKILL).unwrap();
    assert_eq!(end(&mut child, GONE).code(), Some(1));
    await_end_of(&pids);
    let said = said.join().unwrap();
    assert!(said.contains("the laboratory ended before its summary") && said.contains("signal: 9"), "{said}");
}

#[test]
fn an_interrupt_ends_it_with_its_summary() {
    let stage = Stage::new("proxmox-ui.kdl", "wait 60s\n");
    let (mut child, facts) = begun(&stage);
    let pids = descendants(child.id());
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(end(&mut child, GONE).code(), Some(1));
    let last = facts.lines().map_while(Result::ok).last().unwrap();
    assert!(last.contains(r#""fact":"summary""#), "{last}");
    await_end_of(&pids);
}

#[test]
fn every_mistake_of_a_script_is_told_before_anything_is_built() {
    let stage =
        Stage::new("proxmox-ui.kdl", "wait settled\nkil pve1\nkill pve4\nfail proxy on pve1\nexpect gui on pve1\n");
    let (status, out, err) = run(&mut stage.command());
    assert_eq!((status.code(), out.as_str()), (Some(1), ""));
    for told in [
        r#"story:2: there is no command "kil" (did you mean "kill"?)"#,
        r#"story:3: there is no machine "pve4": did you mean "pve1"?"#,
        r#"story:4: there is no check "proxy": the file has proxies"#,
        r#"story:5: there is no vip "gui": did you mean "ui"?"#,
    ] {
        assert!(err.contains(told), "{told}\nis missing in\n{err}");
    }
    assert!(err.contains("the script has 4 mistakes") && !err.contains("help:"), "{err}");
}

#[test]
fn without_a_command_nothing_is_built_and_the_reason_is_told() {
    let stage = Stage::new("nginx-pair.kdl", "# a story to be written\n\n");
    let (status, out, err) = run(&mut stage.command());
    assert_eq!((status.code(), out.as_str()), (Some(1), ""));
    assert!(err.contains("story: there are no commands in it"), "{err}");
    let (status, out, err) = run(stage.lab().arg("ha.kdl"));
    assert_eq!((status.code(), out.as_str()), (Some(1), ""));
    assert!(err.contains("there are no commands: standard input has none"), "{err}");
}

#[test]
fn connections_without_a_service_are_a_mistake_of_the_script() {
    let (status, out, err) = run(&mut Stage::new("nginx-pair.kdl", "wait settled\nconnect 10\n").command());
    assert_eq!((status.code(), out.as_str()), (Some(1), ""));
    assert!(err.contains("story:2: the file has no service to connect to"), "{err}");
}

#[test]
fn what_a_script_that_breaks_off_did_not_try_is_counted_and_a_refused_command_disturbs_nothing() {
    let story = "wait settled\nexpect one master\nkill web2\nstop web2\nexpect web on web1\n";
    let (status, facts, _) = Stage::new("nginx-pair.kdl", story).facts();
    assert_eq!(status.code(), Some(1));
    let summary = of(&facts, "summary").next().unwrap();
    assert_eq!(summary["disturbances"].as_array().unwrap().len(), 1, "{summary}");
    assert_eq!((&summary["met"], &summary["left"]), (&Value::from(1), &serde_json::json!(["expect web on web1"])));
    let trouble = of(&facts, "trouble").next().unwrap();
    assert_eq!(trouble["what"], "web2 is off: start web2");
}

#[test]
fn backends_that_are_no_peers_have_machines_of_their_own() {
    let stage = Stage::new("postgres-swarm.kdl", "wait 100ms\n");
    let (status, facts, err) = stage.facts();
    assert!(status.success(), "{err}");
    let built = of(&facts, "built").next().unwrap();
    assert_eq!(built["peers"].as_array().unwrap().len(), 2);
    assert_eq!(built["hosts"].as_array().unwrap().len(), 5, "{built}");
}

/// The same as a user without any right, where these tests have more; else they are run by such a user already.
fn as_ordinary_user(stage: &Stage) -> Command {
    let all_users = fs::read_to_string("/proc/self/uid_map").unwrap().contains("4294967295");
    if !(nix::unistd::geteuid().is_root() && all_users) {
        let mut command = stage.command();
        command.arg("--json");
        return command;
    }
    let mut command = Command::new("su");
    let line = format!("cd {} && ./hactl lab ha.kdl --script story --json", stage.directory.path().display());
    command.args(["nobody", "-s", "/bin/sh", "-c", &line]);
    command
}

#[test]
fn an_ordinary_user_sees_the_address_move_when_its_holder_loses_its_power() {
    let story = fs::read_to_string(example("lab/failover.script")).unwrap();
    let stage = Stage::new("proxmox-ui.kdl", &story);
    let (status, out, err) = run(&mut as_ordinary_user(&stage));
    let facts: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = of(&facts, "summary").next().unwrap_or_else(|| panic!("no summary\n{err}"));
    assert!(status.success(), "{summary}\n{err}");
    assert_eq!(summary["unmet"].as_array().unwrap().len(), 0);
    let connections = &summary["connections"];
    assert_eq!((connections["opened"].as_u64(), connections["lost"].as_u64()), (Some(100), Some(0)), "{connections}");
    assert!(connections["alive"].as_u64().unwrap() > 0, "{connections}");
    let moved = &summary["disturbances"][0]["vips"]["ui"];
    let (before, after) = (moved[1].as_str().unwrap(), moved[2].as_str().unwrap());
    assert!(before.starts_with("pve") && after.starts_with("pve") && before != after, "{moved}");
    let outage = moved[0].as_f64().unwrap();
    assert!((1_000.0..4_000.0).contains(&outage), "an advert each second, three missed and the skew: {outage} ms");
}

#[test]
fn bad_days_of_the_holder_each_move_the_address() {
    let story = "wait settled\n\
        fail proxies on holder of ui\nwait 3s\nwait settled\nexpect one master\nrecover proxies on it\n\
        freeze holder of ui\nwait settled\nexpect one master\nthaw it\nwait settled\n\
        stop holder of ui\nwait settled\nexpect outage ui < 3s\nstart it\nwait settled\n\
        cut holder of ui\nwait settled\nheal\nwait settled\nexpect one master\n";
    let (status, facts, err) = Stage::new("proxmox-ui.kdl", story).facts();
    let told: Vec<String> = of(&facts, "expectation").chain(of(&facts, "trouble")).map(Value::to_string).collect();
    assert!(status.success(), "{told:#?}\n{err}");
    let summary = of(&facts, "summary").next().unwrap();
    for (number, what) in [(0, "fail"), (2, "freeze"), (4, "stop"), (6, "cut")] {
        let disturbance = &summary["disturbances"][number];
        let vip = &disturbance["vips"]["ui"];
        assert!(disturbance["what"].as_str().unwrap().starts_with(what), "{disturbance}");
        assert!(vip[1] != vip[2] && vip[2] != "", "{what} did not move the address: {disturbance}");
    }
}

#[test]
fn services_of_two_vips_ports_reach_backends_behind_http_and_tcp_probes() {
    let story = "wait settled\nwait 2s\nconnect 20\nexpect lost < 1\nstatus\n";
    let (status, facts, err) = Stage::new("postgres-swarm.kdl", story).facts();
    let connected = of(&facts, "connected").next().unwrap();
    assert_eq!(connected["open"], 20, "{connected}");
    assert!(status.success(), "{err}");
}

#[test]
fn an_expectation_that_is_not_met_ends_the_story_with_exit_1() {
    let stage = Stage::new("proxmox-ui.kdl", "wait settled\nexpect no master of ui\nsay never said\n");
    let (status, facts, _) = stage.facts();
    assert_eq!(status.code(), Some(1));
    assert_eq!(of(&facts, "said").count(), 0);
    let failed = of(&facts, "expectation").last().unwrap();
    assert_eq!(failed["met"], false);
    assert!(failed["saw"].as_str().unwrap().starts_with("ui on pve"), "{failed}");
}

/// Every kind of check that no example has, without a weight, and probes of both layers above TCP.
const KINDS: &str = r#"
cluster "kinds"
peer "a" address="192.0.2.11"
peer "b" address="192.0.2.12"
defaults { check { every "100ms"; fall 2; rise 1; } }
check "uplink" { interface "eth1"; }
check "gateway" { ping "192.0.2.1"; }
check "unit" { systemd "haproxy.service"; }
check "weight" { file "/run/ha.weight"; }
check "place" { file "/etc/ha/weight"; }
check "tls" { tls "127.0.0.1:8443"; }
check "web" { http "http://127.0.0.1:8080/health" expect=204; }
vip "v" {
    address "192.0.2.50/24"
    interface "eth0"
    vrid 51
    priority a=150 b=100
    advertise "100ms"
    track "uplink"; track "gateway"; track "unit"; track "weight"; track "place"; track "tls"; track "web"
}
service "secure" {
    listen vip="v" port=443
    backend "one" "192.0.2.21:443"
    probe { tls; every "200ms"; }
}
service "plain" {
    listen vip="v" port=80
    backend "two" "192.0.2.22:80"
    probe { http "/ready" expect=202; every "200ms"; }
}
"#;

#[test]
fn every_kind_of_check_fails_and_recovers_and_moves_the_address_each_time() {
    let checks = ["uplink", "gateway", "unit", "weight", "place", "tls", "web"];
    let each = |check: &str| {
        format!("fail {check} on a\nexpect v on b within 20s\nrecover {check} on a\nexpect v on a within 20s\n")
    };
    let story: String = checks.iter().map(|check| each(check)).collect();
    let stage = Stage::new("proxmox-ui.kdl", &format!("wait settled\nexpect v on a within 20s\n{story}"));
    fs::write(stage.directory.path().join("ha.kdl"), KINDS).unwrap();
    let (status, out, err) = run(&mut as_ordinary_user(&stage));
    let facts: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let unmet: Vec<&Value> = of(&facts, "expectation").filter(|e| e["met"] != true).collect();
    let troubles: Vec<&Value> = of(&facts, "trouble").collect();
    assert!(status.success() && unmet.is_empty() && troubles.is_empty(), "{unmet:#?} {troubles:#?}\n{err}\n{out}");
    for (backend, code) in [("one", "L6OK"), ("two", "L7OK HTTP 202")] {
        let found = facts.iter().any(|f| f.to_string().contains(backend) && f.to_string().contains(code));
        assert!(found, "{backend} is not {code}");
    }
}

#[test]
fn a_service_that_ends_unasked_fails_the_laboratory_with_the_end_of_its_log() {
    let stage = Stage::new("proxmox-ui.kdl", "wait settled\nwait 60s\n");
    let mut child = stage.command().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = collect(child.stdout.take().unwrap());
    let words = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
    let begun = Instant::now();
    let service = loop {
        let found = descendants(child.id()).into_iter().find(|pid| words(pid).contains("run --json --node pve2"));
        match found {
            Some(pid) => break pid,
            None => assert!(begun.elapsed() < LONGEST),
        }
    };
    // Until it has said something: its log is what is shown.
    std::thread::sleep(Duration::from_secs(1));
    kill(Pid::from_raw(service.try_into().unwrap()), Signal::SIGABRT).unwrap();
    let status = end(&mut child, LONGEST);
    let out = out.join().unwrap();
    assert_eq!(status.code(), Some(1), "{out}");
    assert!(out.contains("pve2: hactl run ended by itself: signal: 6 (SIGABRT)"), "{out}");
    assert!(out.contains("pve2: ") && out.contains(" INFO vip.ui "), "{out}");
}

#[test]
fn verbs_of_hactl_are_asked_of_a_machine_of_the_laboratory() {
    // Whoever is first: on a busy machine it is not always the best.
    let story = "wait settled\ndrain holder of ui\nwait settled\nexpect one master of ui\nexpect outage ui < 500ms\n\
                 undrain it\nfailover ui\nwait settled\nexpect one master of ui\nexpect outage ui < 500ms\n\
                 restart holder of ui\nwait settled\nexpect outage ui < 100ms\nfailover nobody\n";
    let (status, out, err) = run(&mut Stage::new("proxmox-ui.kdl", story).command());
    assert_eq!(status.code(), Some(1), "{out}{err}");
    assert!(err.contains("there is no vip \"nobody\""), "{err}");
    let story = story.replace("failover nobody\n", "");
    let (status, out, err) = run(&mut Stage::new("proxmox-ui.kdl", &story).command());
    println!("{out}");
    assert_eq!(status.code(), Some(0), "{out}{err}");
    for deed in ["drain holder of ui (", "undrain it", "failover ui (", "restart holder of ui ("] {
        assert!(out.lines().any(|line| line.starts_with(deed)), "{deed}: {out}");
    }
    assert_eq!(out.lines().filter(|line| line.contains(" -> pve") && line.contains("  ui   pve")).count(), 2, "{out}");
}

#[test]
fn a_group_with_a_vip_of_both_families_moves_as_one_and_the_client_measures_both() {
    let story = "wait settled\nexpect one master\nkill holder of v\nwait settled\nexpect one master\n\
                 expect outage v < 4s\nexpect outage w < 4s\n";
    let stage = Stage::new("nginx-pair.kdl", story);
    let file = r#"
cluster "both"
peer "a" address="10.0.0.1"
peer "b" address="10.0.0.2"
defaults { vip { interface "eth0"; priority a=150 b=100; advertise "500ms" } }
vip "v" { address "10.0.0.100/24"; address "2001:db8::100/64"; vrid 7 }
vip "w" { address "10.0.0.101/24"; vrid 8 }
group "g" { vip "v"; vip "w" }
"#;
    fs::write(stage.directory.path().join("ha.kdl"), file).unwrap();
    let (status, facts, err) = stage.facts();
    assert_eq!(status.code(), Some(0), "{facts:#?}{err}");
    let answered: BTreeSet<&str> = of(&facts, "measured")
        .filter(|fact| fact["answered"].as_u64() > Some(0))
        .map(|fact| fact["address"].as_str().unwrap())
        .collect();
    assert_eq!(answered, BTreeSet::from(["10.0.0.100", "10.0.0.101", "2001:db8::100"]));
    let holders = |fact: &Value| (fact["holders"]["v"].clone(), fact["holders"]["w"].clone());
    let settled: Vec<_> = of(&facts, "settled").map(holders).collect();
    assert!(settled.len() == 2 && settled.iter().all(|(v, w)| v == w), "{settled:?}");
    // At the start the worse machine may be first, and is relieved then: the group is told of as often as its vips are.
    let became = |key: &str, name: &str| {
        let master = |fact: &&Value| fact["event"][key] == name && fact["event"]["to"] == "MASTER";
        of(&facts, "event").filter(master).count()
    };
    assert!(became("group", "g") >= 2, "{facts:#?}");
    assert_eq!((became("vip", "v"), became("vip", "w")), (became("group", "g"), became("group", "g")), "{facts:#?}");
}
