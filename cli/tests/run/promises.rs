//! What `run` promises the programs it starts, the manager that starts it, and whoever watches.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use super::*;

/// A program that anybody may run, and a directory beside it that anybody may write to.
struct Script {
    path: String,
    desk: PathBuf,
}

impl Script {
    /// `body` with `DESK` replaced by the directory.
    fn new(machine: &Machine, body: &str) -> Script {
        let directory = machine.directory.path();
        let desk = directory.join("desk");
        fs::create_dir(&desk).unwrap();
        let path = directory.join("script");
        fs::write(&path, format!("#!/bin/sh\n{}\n", body.replace("DESK", desk.to_str().unwrap()))).unwrap();
        for (path, mode) in [(directory, 0o755), (&desk, 0o777), (&path, 0o755)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        Script { path: path.display().to_string(), desk }
    }

    /// What it left on its desk, once it has.
    fn left(&self, name: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(self.desk.join(name)).unwrap_or_default();
            if text.ends_with('\n') {
                return text;
            }
            assert!(Instant::now() < deadline, "no {name}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn is_gone(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    // Whether a dead orphan is reaped is init's affair.
    stat.is_empty() || stat.contains(") Z")
}

fn until_gone(pid: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !is_gone(pid) {
        assert!(Instant::now() < deadline, "process {pid} lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn tracking(check: &str) -> String {
    format!("{}check \"c\" {{ {check} }}\n", VIP.replace("vrid 7", "vrid 7; track \"c\""))
}

#[test]
fn a_command_of_another_user_has_nothing_left_of_ours() {
    alone(|| {
        let machine = Machine::with_link("");
        let facts = "grep -E '^(Uid|Gid|Groups|SigBlk|CapEff|CapPrm):' /proc/self/status > DESK/new\n\
            env | sort | cut -d= -f1 >> DESK/new; mv DESK/new DESK/who";
        let script = Script::new(&machine, facts);
        machine.write(&tracking(&format!("command \"{}\"; user \"nobody\"; every \"1s\"", script.path)));
        let mut run = Run::of(machine.hactl(&["run"]).env("SECRET", "sesame"));
        // Where only one user is known, as in an ordinary user's namespace, nobody else can be become.
        let known = fs::read_to_string("/proc/self/uid_map").unwrap();
        if !known.contains("4294967295") {
            let down = run.until_event("check");
            assert!(down["up"] == false && down["why"].to_string().contains("cannot start"), "{down}");
            return;
        }
        run.until_state("MASTER");
        let who = script.left("who");
        let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
        let of = |what: &str| {
            let line = who.lines().find(|l| l.starts_with(what)).unwrap_or_else(|| panic!("{who}"));
            line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(of("Uid:"), vec![nobody.uid.to_string(); 4]);
        assert_eq!(of("Gid:"), vec![nobody.gid.to_string(); 4]);
        assert_eq!(of("Groups:"), Vec::<String>::new(), "root's own groups are dropped");
        for mask in ["SigBlk:", "CapEff:", "CapPrm:"] {
            assert_eq!(of(mask), ["0000000000000000"], "{mask}");
        }
        let environment: Vec<&str> = who.lines().filter(|l| !l.contains(':')).collect();
        assert!(environment.contains(&"PATH") && !environment.contains(&"SECRET"), "{environment:?}");
    });
}

#[test]
fn a_hanging_command_is_killed_with_its_whole_group() {
    alone(|| {
        let machine = Machine::with_link("");
        let body = "sleep 600 & echo $! > DESK/child; trap '' TERM; sleep 600";
        let script = Script::new(&machine, body);
        machine.write(&tracking(&format!("command \"{}\"; every \"600ms\"; timeout \"500ms\"", script.path)));
        let mut run = machine.run();
        let down = run.until_event("check");
        assert_eq!(down["why"], "PROCTOUT it did not end in time and was killed");
        until_gone(&script.left("child"));
        run.until_state("FAULT");
        run.signal(Signal::SIGTERM);
        assert!(run.ends().success());
        until_gone(&script.left("child"));
    });
}

#[test]
fn notify_is_told_in_order_with_keepaliveds_arguments_and_the_facts() {
    alone(|| {
        let machine = Machine::with_link("");
        // The first runs are the slowest: order is not left to luck.
        let body = "[ -e DESK/slow ] || { touch DESK/slow; sleep 0.3; }\n\
            { echo \"$#: $*\"; env | grep ^HACTL_ | sort; } >> DESK/heard";
        let script = Script::new(&machine, body);
        let file = VIP.replace("vrid 7", &format!("vrid 7; notify \"{}\"", script.path));
        machine.write(&file);
        let mut run = machine.run();
        run.until_state("MASTER");
        run.signal(Signal::SIGTERM);
        assert!(run.ends().success());
        let heard = script.left("heard");
        let state = |state: &str, from: &str, why: &str| {
            format!(
                "4: INSTANCE v {state} 150\nHACTL_ADDRESSES=10.0.0.100/24\nHACTL_FROM={from}\nHACTL_INTERFACE=eth0\n\
                 HACTL_PRIORITY=150\nHACTL_STATE={state}\nHACTL_VIP=v\nHACTL_VRID=7\nHACTL_WHY={why}\n"
            )
        };
        let first = state("BACKUP", "STOP", "started, listening for a master");
        let rest = heard.strip_prefix(&first).unwrap_or_else(|| panic!("{heard}"));
        let (second, third) = rest.split_at(rest.rfind("4: INSTANCE").unwrap());
        assert!(second.starts_with("4: INSTANCE v MASTER 150\n") && second.contains("HACTL_FROM=BACKUP\n"), "{heard}");
        assert_eq!(third, state("STOP", "MASTER", "hactl was stopped"));
    });
}

#[test]
fn a_hanging_notify_program_delays_nobody_and_does_not_outlive_the_run() {
    alone(|| {
        let machine = Machine::with_link("");
        let script = Script::new(&machine, "echo $$ > DESK/pid; sleep 600");
        machine.write(&VIP.replace("vrid 7", &format!("vrid 7; notify \"{}\"", script.path)));
        let mut run = machine.run();
        let backup = run.until_state("BACKUP");
        let pid = script.left("pid");
        let master = run.until_state("MASTER");
        let took = at(&master).since(at(&backup));
        assert!(took < Duration::from_secs(5), "three adverts of 100 ms and the skew: {took:?}");
        assert!(machine.status().0 && !is_gone(&pid), "it hangs, and nobody minds");
        run.signal(Signal::SIGTERM);
        assert!(run.ends().success());
        assert!(!holds("10.0.0.100/24"));
        until_gone(&pid);
    });
}

/// Waits for a message to the service manager that has this line.
fn told(manager: &UnixDatagram, line: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        manager.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
        let length = manager.recv(&mut buffer).unwrap_or_else(|e| panic!("no {line}: {e}"));
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        if text.lines().any(|l| l == line) {
            return text;
        }
    }
}

#[test]
fn the_service_manager_is_told_of_start_reload_life_and_stop() {
    alone(|| {
        let machine = Machine::with_link(VIP);
        let socket = machine.directory.path().join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        let mut command = machine.hactl(&["run"]);
        let mut run = Run::of(command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "400000"));
        told(&manager, "READY=1");
        told(&manager, "STATUS=master of v");
        let first = Instant::now();
        told(&manager, "WATCHDOG=1");
        told(&manager, "WATCHDOG=1");
        assert!(first.elapsed() < Duration::from_secs(5), "half of 400 ms apart");
        run.signal(Signal::SIGHUP);
        let reloading = told(&manager, "RELOADING=1");
        assert!(reloading.lines().any(|l| l.starts_with("MONOTONIC_USEC=")), "{reloading}");
        told(&manager, "READY=1");
        run.signal(Signal::SIGTERM);
        told(&manager, "STOPPING=1");
        assert!(run.ends().success());
    });
}

#[test]
fn a_watched_status_goes_on_while_the_run_ends_and_comes_back_and_ends_with_its_reader() {
    alone(|| {
        let machine = Machine::with_link(VIP);
        let mut run = machine.run();
        run.until_state("MASTER");
        let mut watch = machine.hactl(&["status", "--watch"]).spawn().unwrap();
        let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let mut until = |running: bool| {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let status: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
                if status["running"] == running {
                    return status;
                }
                assert!(Instant::now() < deadline, "{status}");
            }
        };
        assert_eq!(until(true)["vips"][0]["state"], "MASTER");
        run.signal(Signal::SIGTERM);
        run.ends();
        assert_eq!(until(false)["problems"][0], "hactl run is not running");
        let mut run = machine.run();
        run.until_event("ready");
        until(true);
        drop(lines);
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match watch.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(Instant::now() < deadline, "it goes on for nobody"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut said = String::new();
        watch.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(status.code() != Some(101) && !said.contains("panicked"), "{status}: {said}");
    });
}

#[test]
fn programs_are_told_of_each_vip_and_then_of_their_group_and_at_the_end_of_the_stop() {
    alone(|| {
        let machine = Machine::with_link(VIP);
        let script = Script::new(&machine, "echo \"$1 $2 $3 $4 $HACTL_FROM $HACTL_GROUP $HACTL_VIPS\" >> DESK/told");
        let notify = format!("notify \"{}\"", script.path);
        let first = VIP.replace("vrid 7", &format!("vrid 7; {notify}"));
        let second = format!(
            "vip \"w\" {{ address \"10.0.0.101/24\"; interface \"eth0\"; vrid 8; priority a=150 b=100; advertise \"100ms\"; {notify} }}"
        );
        machine.write(&format!("{first}{second}\ngroup \"g\" {{ vip \"v\"; vip \"w\"; {notify} }}\n"));
        let mut run = machine.run();
        run.until("all are master", |e| e["event"] == "group" && e["to"] == "MASTER");
        run.signal(Signal::SIGTERM);
        assert!(run.ends().success());
        let told = script.left("told");
        let states = ["BACKUP STOP", "MASTER BACKUP"];
        for (i, state) in states.iter().enumerate() {
            let (to, from) = state.split_once(' ').unwrap();
            let part: Vec<&str> = told.lines().skip(i * 3).take(3).collect();
            let (mut instances, group) = (part[..2].to_vec(), part[2]);
            instances.sort_unstable();
            let wanted = ["v", "w"].map(|vip| format!("INSTANCE {vip} {to} 150 {from} g "));
            assert_eq!(instances, wanted, "{told}");
            assert_eq!(group, format!("GROUP g {to} 0 {from} g v w"), "{told}");
        }
        assert_eq!(
            told.lines().last().unwrap().split(' ').take(3).collect::<Vec<_>>(),
            ["GROUP", "g", "STOP"],
            "{told}"
        );
    });
}
