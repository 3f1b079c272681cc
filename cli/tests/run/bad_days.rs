//! Days on which the run itself, its file or its disk is in trouble.

use super::*;

#[test]
fn a_reload_that_hangs_keeps_nobody_from_ending_it() {
    alone(|| {
        let machine = Machine::with_link(VIP);
        let mut run = machine.run();
        run.until_state("MASTER");
        fs::remove_file(machine.config()).unwrap();
        // Opening it waits for a writer, as a file of a dead network share waits for its server.
        nix::unistd::mkfifo(&machine.config(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        run.signal(Signal::SIGHUP);
        // The daemon answers nobody once the reload has begun.
        let deadline = Instant::now() + PATIENCE;
        while runtime::control::live(&machine.directory.path().join("state")).is_ok() && Instant::now() < deadline {}
        run.signal(Signal::SIGTERM);
        assert!(run.ends().success());
        assert!(!holds("10.0.0.100/24"));
    });
}

#[test]
fn a_hangup_before_it_listens_does_not_end_it() {
    alone(|| {
        let machine = Machine::with_link(VIP);
        fs::remove_file(machine.config()).unwrap();
        nix::unistd::mkfifo(&machine.config(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut run = machine.run();
        // Opens when the file is being read, which is before anything else is done.
        let mut file = fs::OpenOptions::new().write(true).open(machine.config()).unwrap();
        run.signal(Signal::SIGHUP);
        fs::remove_file(machine.config()).unwrap();
        machine.write(VIP);
        std::io::Write::write_all(&mut file, VIP.as_bytes()).unwrap();
        drop(file);
        run.until_event("reloaded");
    });
}

#[test]
fn what_a_run_holds_that_does_not_answer_is_nobodys_leftover() {
    alone(|| {
        let machine = Machine::with_link(VIP);
        let mut run = machine.run();
        run.until_state("MASTER");
        // It says so before the kernel has the address.
        let deadline = Instant::now() + PATIENCE;
        while !holds("10.0.0.100/24") && Instant::now() < deadline {}
        run.signal(Signal::SIGSTOP);
        for verb in [&["apply", "--yes"][..], &["destroy", "--yes"], &["plan"], &["status"]] {
            let asked = Instant::now();
            let said = machine.hactl(verb).output().unwrap();
            let text = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
            assert_eq!(said.status.code(), Some(1), "{verb:?}");
            assert!(text.contains(&format!("hactl run (pid {}) does not answer", run.child.id())), "{verb:?}: {text}");
            assert!(text.contains("kill -KILL"), "{verb:?}: {text}");
            assert!(asked.elapsed() < PATIENCE, "{verb:?}");
        }
        assert!(holds("10.0.0.100/24"));
        run.signal(Signal::SIGCONT);
    });
}

#[test]
fn a_tool_that_fights_over_an_address_does_not_fill_the_log() {
    alone(|| {
        let machine = Machine::with_link(VIP);
        let mut run = machine.run();
        run.until_state("MASTER");
        for _ in 0..40 {
            shell("ip addr replace 10.0.0.100/24 dev eth0");
            run.until_restored("the mark of");
        }
        run.signal(Signal::SIGTERM);
        assert!(run.ends().success());
        assert!(!holds("10.0.0.100/24"), "it carries our mark to the end");
        let mut log = String::new();
        run.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(log.matches("the mark of").count(), 9, "{log}");
        assert_eq!(log.matches("but not logged").count(), 1, "{log}");
    });
}

#[test]
fn a_second_run_with_another_state_directory_is_refused_too() {
    alone(|| {
        let machine = Machine::with_link(VIP);
        let mut run = machine.run();
        run.until_state("MASTER");
        let elsewhere = machine.directory.path().join("elsewhere");
        let mut second = Command::new(env!("CARGO_BIN_EXE_hactl"));
        second.args(["--node", "a", "run", "--file"]).arg(machine.config()).arg("--state").arg(&elsewhere);
        let said = second.output().unwrap();
        let words = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(6), "{words}");
        assert!(words.contains(&format!("process {}", run.child.id())), "{words}");
        run.child.kill().unwrap();
        let mut third = machine.run();
        third.until_state("MASTER");
    });
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    alone(|| {
        let machine = Machine::with_link(VIP);
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut run = Run::of(machine.hactl(&["run"]).stderr(full));
        run.until_state("MASTER");
        run.restores("was removed", || drop(shell("ip addr del 10.0.0.100/24 dev eth0")));
        run.signal(Signal::SIGTERM);
        assert!(run.ends().success());
        assert!(!holds("10.0.0.100/24"));
    });
}

#[test]
fn a_full_disk_under_the_state_directory_does_not_keep_it_from_holding() {
    alone(|| {
        let machine = Machine::with_link(&format!("{VIP}{SERVICE}"));
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
        nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let state = machine.directory.path().join("state");
        fs::create_dir(&state).unwrap();
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("full"), &state, Some("tmpfs"), flags, Some("size=64k,nr_inodes=100")).unwrap();
        fs::write(state.join("filler"), [0; 65536]).unwrap();
        let before = fs::read_to_string(FORWARDING).unwrap();
        let mut run = machine.run();
        run.until_state("MASTER");
        assert!(holds("10.0.0.100/24"));
        let (healthy, status) = machine.status();
        assert!(!healthy && status["problems"].to_string().contains("No space left"), "{status:#}");
        assert_eq!(fs::read_to_string(FORWARDING).unwrap(), before, "what could not be recorded was not changed");
        fs::remove_file(state.join("filler")).unwrap();
        run.signal(Signal::SIGHUP);
        run.until_event("reloaded");
        let status = machine.status().1;
        assert!(!status["problems"].to_string().contains("No space left"), "{status:#}");
        assert_eq!(fs::read_to_string(FORWARDING).unwrap().trim(), "1");
        run.signal(Signal::SIGTERM);
        assert!(run.ends().success());
    });
}

#[test]
fn a_start_that_fails_leaves_the_machine_as_it_was() {
    alone(|| {
        let machine = Machine::with_link(&format!("{VIP}{SERVICE}"));
        let bin = machine.directory.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let refuses = bin.join("nft");
        let looks = "#!/bin/sh\ncase \"$*\" in *-f*) echo broken >&2; exit 1;; esac\nexec /usr/sbin/nft \"$@\"\n";
        fs::write(&refuses, looks).unwrap();
        fs::set_permissions(&refuses, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let sysctls = "grep -rH . /proc/sys/net/ipv4/conf /proc/sys/net/ipv4/ip_* 2>/dev/null || true";
        let before = shell(sysctls);
        for path in ["/nonexistent".to_owned(), format!("{}:/usr/bin:/bin", bin.display())] {
            let said = machine.hactl(&["run"]).env("PATH", &path).output().unwrap();
            assert_eq!(said.status.code(), Some(1), "{path}");
            assert_eq!(shell(sysctls), before, "{path}");
        }
    });
}
