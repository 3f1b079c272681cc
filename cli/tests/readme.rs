//! The README is true: every file in it is valid, every command in it works.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail anywhere")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Daemon, Segment};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let opening = format!("```{language}\n");
    text.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_file_in_the_readme_is_valid_and_without_a_warning() {
    let files = blocks("kdl");
    assert!(files.len() >= 2, "{} blocks", files.len());
    for text in files {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ha.kdl");
        std::fs::write(&file, &text).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_hactl")).arg("--file").arg(&file).arg("validate").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
    }
}

/// A machine of the README's first file.
struct Machine {
    segment: Segment,
    directory: tempfile::TempDir,
    daemon: Option<Daemon>,
}

impl Machine {
    fn new() -> Machine {
        let segment = Segment::new(1);
        let links = segment.machine(0).links().unwrap();
        links.address("eth0", "192.0.2.11/24".parse().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ha.kdl"), &blocks("kdl")[0]).unwrap();
        std::os::unix::fs::symlink(Path::new(ROOT).join("examples"), directory.path().join("examples")).unwrap();
        Machine { segment, directory, daemon: None }
    }

    fn hactl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hactl"));
        command.current_dir(self.directory.path()).env("VIP_AUTH_PASS", "secret");
        command.arg("--state").arg(self.directory.path().join("state")).args(arguments);
        command
    }

    /// Performs a line of a block and panics where it fails.
    fn perform(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            // `make test` is what this runs in: only that the target is there.
            ["make", target] => {
                let make = Command::new("make").args(["-n", target]).current_dir(ROOT).output().unwrap();
                assert!(make.status.success(), "{line}: {}", String::from_utf8_lossy(&make.stderr));
            }
            ["hactl", "run"] => {
                let daemon = Daemon::start(self.segment.machine(0), self.hactl(&["--json"]).arg("run"));
                let master = |lines: &[support::daemon::Line]| {
                    lines.iter().any(|line| line.1.contains(r#""to":"MASTER""#)).then_some(())
                };
                let became = daemon.output.wait(Duration::from_secs(20), master);
                assert!(became.is_some(), "{}", daemon.output.text());
                self.daemon = Some(daemon);
            }
            ["hactl", arguments @ ..] => {
                // The service ends before what it holds is taken back.
                if arguments[0] == "destroy" {
                    assert!(self.daemon.take().unwrap().stop().success());
                }
                let mut command = self.hactl(arguments);
                let output = self.segment.machine(0).run(|| command.stdin(Stdio::null()).output()).unwrap().unwrap();
                let said = [output.stdout, output.stderr].concat();
                assert!(output.status.success(), "{line}: {}\n{}", output.status, String::from_utf8_lossy(&said));
            }
            _ => panic!("nobody knows how to try `{line}`"),
        }
    }
}

#[test]
fn every_command_in_the_readme_works() {
    for block in blocks("sh") {
        let mut machine = Machine::new();
        for line in block.lines().filter(|line| !line.is_empty()) {
            machine.perform(line);
        }
    }
}
