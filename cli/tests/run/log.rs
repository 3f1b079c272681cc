//! What the log says, how often, and that it stands in nobody's way.

use std::io::Write;
use std::os::fd::OwnedFd;

use super::*;

impl Run {
    /// Everything that the run said for people; it has ended then.
    fn log(&mut self) -> String {
        self.signal(Signal::SIGTERM);
        assert!(self.ends().success());
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        log
    }
}

/// The writing end of a pipe that nobody reads and that is full.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_CLOEXEC).unwrap();
    let mut pipe = fs::File::from(write.try_clone().unwrap());
    for size in [4096, 1] {
        while pipe.write(&vec![b'x'; size]).is_ok() {}
    }
    nix::fcntl::fcntl(&write, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty())).unwrap();
    (read, write)
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    alone(|| {
        let machine = Machine::with_link(&format!("{VIP}{SERVICE}"));
        let (unread, pipe) = full_pipe();
        let mut run = Run::of(machine.hactl(&["run"]).env("HACTL_LOG", "debug").stderr(pipe));
        run.until_state("MASTER");
        let (one, two) = (listener(8081), listener(8082));
        run.until("both are up", |e| e["backend"] == "two" && e["up"] == true);
        drop((one, two));
        run.until("one is down", |e| e["backend"] == "two" && e["up"] == false);
        run.restores_at_once("was removed", || drop(shell("ip addr del 10.0.0.100/24 dev eth0")));
        assert_eq!(machine.status().1["vips"][0]["state"], "MASTER");
        run.signal(Signal::SIGHUP);
        run.until_event("reloaded");
        let asked = Instant::now();
        run.signal(Signal::SIGTERM);
        assert!(run.ends().success());
        println!("ended after {:?}", asked.elapsed());
        drop(unread);
    });
}

#[test]
fn a_link_that_flaps_is_told_of_one_by_one_at_first_and_then_by_the_count() {
    alone(|| {
        let machine = Machine::with_link(VIP);
        let mut run = machine.run();
        run.until_state("MASTER");
        let far = machine.other_end.links().unwrap();
        for _ in 0..6 {
            far.down("far").unwrap();
            run.until_state("FAULT");
            far.up("far").unwrap();
            run.until_state("BACKUP");
        }
        let log = run.log();
        let turns = log.lines().filter(|l| l.contains("vip.v ") && l.contains(" -> "));
        let (counted, single): (Vec<&str>, Vec<&str>) = turns.partition(|l| l.contains("(the last of "));
        assert_eq!((single.len(), counted.len()), (10, 1), "{log}");
    });
}

#[test]
fn a_backend_that_goes_down_is_a_warning_and_one_that_comes_back_is_none() {
    alone(|| {
        let machine = Machine::with_link(&format!("{VIP}{SERVICE}"));
        let one = listener(8081);
        let mut run = machine.run();
        run.until("it is up", |e| e["backend"] == "one" && e["up"] == true);
        drop(one);
        run.until("it is down", |e| e["backend"] == "one" && e["up"] == false);
        let _one = listener(8081);
        run.until("it is up again", |e| e["backend"] == "one" && e["up"] == true);
        let log = run.log();
        let level = |word: &str| {
            let said = format!("service.s backend one is {word}: ");
            let lines = log.lines().filter(|l| l.contains(&said)).map(|l| l.contains("WARN"));
            lines.collect::<Vec<_>>()
        };
        assert_eq!(level("DOWN"), [true], "{log}");
        assert_eq!(level("UP"), [false, false], "{log}");
    });
}

#[test]
fn a_reload_is_one_line() {
    alone(|| {
        let machine = Machine::with_link(VIP);
        let mut run = machine.run();
        run.until_state("MASTER");
        run.signal(Signal::SIGHUP);
        run.until_event("reloaded");
        machine.write(&VIP.replace("vrid 7", "vrid 300"));
        run.signal(Signal::SIGHUP);
        run.until_event("reload-refused");
        let log = run.log();
        let lines = |word: &str| log.lines().filter(|l| l.contains(word)).count();
        assert_eq!(lines("reload"), 2, "{log}");
    });
}

#[test]
fn a_damaged_record_is_tried_again_ever_more_slowly() {
    alone(|| {
        let machine = Machine::with_link(&format!("{VIP}{SERVICE}"));
        let mut run = machine.run();
        run.until_state("MASTER");
        let record = machine.directory.path().join("state/record.json");
        assert!(record.is_file(), "{:?}", shell(&format!("ls {}", machine.directory.path().join("state").display())));
        fs::write(&record, "{ damaged").unwrap();
        fs::write(FORWARDING, "0").unwrap();
        let trouble = |run: &mut Run| {
            at(&run.until("it says so", |e| e["event"] == "trouble" && e["what"].to_string().contains("record")))
        };
        let times = [(); 3].map(|()| trouble(&mut run));
        let (first, second) = (times[1].since(times[0]), times[2].since(times[1]));
        assert!(second > first * 3 / 2, "{first:?} {second:?}");
    });
}
