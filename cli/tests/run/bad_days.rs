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
fn what_a_run_holds_that_does_not_answer_is_nobodys_leftover() {
    alone(|| {
        let machine = Machine::with_link(VIP);
        let mut run = machine.run();
        run.until_state("MASTER");
        // It says so before the kernel has the address.
        let deadline = Instant::now() + PATIENCE;
        while !holds("10.0.0.100/24") && Instant::now() < deadline {}
        run.signal(Signal::SIGSTOP);
        for verb in [&["apply", "--yes"][..], &["destroy", "--yes"], &["plan"]] {
            let said = machine.hactl(verb).output().unwrap();
            let text = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
            assert_eq!(said.status.code(), Some(1), "{verb:?}");
            assert!(text.contains("hactl run does not answer"), "{verb:?}: {text}");
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
        nix::mount::mount(Some("full"), &state, Some("tmpfs"), flags, Some("size=4k,nr_inodes=100")).unwrap();
        fs::write(state.join("filler"), [0; 4096]).unwrap();
        let mut run = machine.run();
        run.until_state("MASTER");
        assert!(holds("10.0.0.100/24"));
        let status = machine.status().1;
        assert!(status["warnings"].to_string().contains("No space left"), "{status:#}");
        run.signal(Signal::SIGTERM);
        assert!(run.ends().success());
    });
}
