//! A program that runs on a machine, and what it says.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runtime::netns::Namespace;

/// A line and when it came.
pub type Line = (Instant, String);

/// Lines as they come, from any of a program's outputs.
#[derive(Clone, Default)]
pub struct Lines {
    shared: Arc<(Mutex<Vec<Line>>, Condvar)>,
}

impl Lines {
    fn follow(&self, output: impl Read + Send + 'static) {
        let lines = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                lines.shared.0.lock().unwrap().push((Instant::now(), line));
                lines.shared.1.notify_all();
            }
        });
    }

    /// Everything so far.
    pub fn all(&self) -> Vec<Line> {
        self.shared.0.lock().unwrap().clone()
    }

    /// Everything so far, as text.
    pub fn text(&self) -> String {
        self.all().into_iter().map(|(_, line)| line + "\n").collect()
    }

    /// Waits until `found` gives something for the lines so far.
    pub fn wait<T>(&self, patience: Duration, found: impl Fn(&[Line]) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut lines = self.shared.0.lock().unwrap();
        loop {
            if let Some(it) = found(&lines) {
                return Some(it);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            lines = self.shared.1.wait_timeout(lines, left).unwrap().0;
        }
    }
}

/// A running program. Killed, with its children, when dropped.
pub struct Daemon {
    child: Child,
    /// What it prints.
    pub output: Lines,
}

impl Daemon {
    /// Starts it in a machine's namespace.
    pub fn start(machine: &Namespace, command: &mut Command) -> Daemon {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A child is born into the namespace of the thread that starts it.
        let mut child = machine.run(|| command.spawn()).unwrap().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let output = Lines::default();
        output.follow(child.stdout.take().unwrap());
        output.follow(child.stderr.take().unwrap());
        Daemon { child, output }
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its process number and those of its children: keepalived is two processes.
    pub fn family(&self) -> Vec<u32> {
        let pid = self.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        std::iter::once(pid).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
    }

    /// Processor time that it has used so far, and its children.
    pub fn processor(&self) -> Duration {
        let tasks = |pid: &u32| std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let spent = |thread: std::fs::DirEntry| {
            // Nanoseconds on a processor, nanoseconds waiting, number of times.
            let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            text.split_whitespace().next().and_then(|nanoseconds| nanoseconds.parse().ok()).unwrap_or(0)
        };
        Duration::from_nanos(self.family().iter().flat_map(tasks).map(spent).sum())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // It may just have ended.
        let _ = kill(pid_of(self.pid()), signal);
    }

    /// SIGKILL to it and its children, none of which has a last word.
    pub fn kill(&mut self) {
        // Stopped first: a parent would start a dead child again, and a child would tidy up after a dead parent.
        let family = self.family();
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            for pid in &family {
                let _ = kill(pid_of(*pid), signal);
            }
        }
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap()
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill();
        }
    }
}

fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap())
}
