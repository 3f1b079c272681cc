//! The command line: verbs, flags and their help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::report::Exit;

const EXIT_CODES: &str = "\
Exit codes:
   0  done, or nothing to do
   1  failed
   2  changes pending (only with `plan --detailed-exitcode`)
   3  the same, and some of them interrupt traffic or delete
   4  the saved plan is stale
   5  verification failed and everything was rolled back
   6  someone else holds the lock; or `run` runs here already
  64  wrong usage";

const RUN: &str = "\
Signals:
  SIGTERM, SIGINT  hand over and end: say goodbye, and answer until the successor has announced
                   the addresses. With nobody to follow that takes one advert interval (at least
                   1 s with VRRP version 2) and 0.3 s; with a successor that does not announce,
                   2 s more. A second signal ends at once
  SIGHUP           read the file again, as `hactl apply` does
  SIGUSR2          become the program on disk, as `hactl restart` does";

const RESTART: &str = "\
For upgrades. The service asks the new program to check the file, writes down what it is at, and replaces itself (exec): \
addresses, rules, connections and the process number stay, checks keep their last word, and no vip moves. A program that \
cannot be started, or refuses the file, changes nothing: the old one goes on. `kill -USR2` does the same.";

/// Highly available addresses from one file.
#[derive(Debug, Parser)]
#[command(name = "hactl", version, about, after_help = EXIT_CODES)]
pub struct Arguments {
    /// The cluster's file (default: ha.kdl here, then /etc/hactl/ha.kdl; `-` is standard input)
    #[arg(short, long, global = true, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Which peer this machine is (default: by hostname, then by address)
    #[arg(long, global = true, value_name = "NAME")]
    pub node: Option<String>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Directory of the control socket, the lock, the journal and the record
    #[arg(long, global = true, value_name = "DIR", default_value = "/run/hactl")]
    pub state: PathBuf,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Check the file and report every mistake in it
    Validate,
    /// Show what would change on a machine, and why
    Plan(PlanArgs),
    /// Make this machine as the file says, after asking
    Apply(ApplyArgs),
    /// Take back everything that hactl put on this machine
    Destroy(DestroyArgs),
    /// Write out what each peer should hold, as text
    Render(RenderArgs),
    /// Record what this machine holds, for `plan --live`
    Snapshot(SnapshotArgs),
    /// Be the service: speak VRRP, check health, hold the addresses
    #[command(after_help = RUN)]
    Run,
    /// Tell what this machine holds and why
    Status(StatusArgs),
    /// Let the service become the program that is on disk now: nothing that it holds moves
    #[command(after_help = RESTART)]
    Restart,
    /// Leave vips to other machines until `undrain`: hand them over, be the last resort
    Drain(DrainArgs),
    /// Take a drain back
    Undrain(UndrainArgs),
    /// Hand one vip over, once
    Failover(FailoverArgs),
    /// Play scenarios, or every single failure, in simulation: no machine is touched
    Test(TestArgs),
    /// Try the whole cluster on this machine, in namespaces, without root
    Lab(LabArgs),
    /// A process of a laboratory's; `lab` itself starts them
    #[command(hide = true)]
    LabInside(LabInsideArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Plan every peer, from recordings or against empty machines
    #[arg(long)]
    pub all: bool,
    /// Directory of recordings made by `hactl snapshot`, one PEER.json each
    #[arg(long, value_name = "DIR")]
    pub live: Option<PathBuf>,
    /// Exit with 2 where changes are pending, 3 where some interrupt traffic or delete
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Wait this long for another apply to end
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    pub wait: String,
}

/// Arguments of `destroy`.
#[derive(Debug, Args)]
pub struct DestroyArgs {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Wait this long for another apply to end
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    pub wait: String,
}

/// Arguments of `render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// Every peer rather than this one
    #[arg(long)]
    pub all: bool,
    /// Directory to write to (default: standard output)
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write nothing; fail with the difference where the files in --out are not the same
    #[arg(long, requires = "out")]
    pub check: bool,
}

/// Arguments of `snapshot`.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// Directory to write PEER.json to (default: standard output)
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Redraw until interrupted
    #[arg(short, long)]
    pub watch: bool,
}

/// Arguments of `drain`.
#[derive(Debug, Args)]
#[command(after_help = "\
A drained vip takes part with priority 1 and displaces nobody. Where this machine holds it, it says goodbye and goes on \
answering until its successor has announced the addresses. Where nobody follows, it goes on holding it, and the exit code \
is 1. A drain lasts until `hactl undrain` or the end of --for; it survives a restart of the service, and not of the \
machine. The vips of a group move together.")]
pub struct DrainArgs {
    /// Which vips (default: all)
    #[arg(value_name = "VIP")]
    pub vips: Vec<String>,
    /// Why; `hactl status` shows it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// End it by itself after this long: 30m, 2h
    #[arg(long = "for", value_name = "DURATION")]
    pub lasts: Option<String>,
}

/// Arguments of `undrain`.
#[derive(Debug, Args)]
pub struct UndrainArgs {
    /// Which vips (default: all)
    #[arg(value_name = "VIP")]
    pub vips: Vec<String>,
}

/// Arguments of `failover`.
#[derive(Debug, Args)]
#[command(after_help = "\
The best of the other machines takes over, and this one leaves it alone for as long as it lives, whatever `preempt` says; \
`hactl failover` there, or a restart of the service here, brings it back. Where nobody follows, this machine goes on \
holding it, and the exit code is 1.")]
pub struct FailoverArgs {
    /// Which vip; its group moves along
    #[arg(value_name = "VIP")]
    pub vip: String,
}

/// Arguments of `test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Files of scenarios; NAME.test.kdl is about NAME.kdl beside it, unless -f names another cluster
    #[arg(value_name = "SCENARIOS")]
    pub scenarios: Vec<PathBuf>,
    /// Try every single failure of the cluster: each peer, each link, each check
    #[arg(long)]
    pub explore: bool,
}

/// Arguments of `lab`.
#[derive(Debug, Args)]
#[command(after_help = lab_commands())]
pub struct LabArgs {
    /// The cluster's file, as with -f
    #[arg(value_name = "FILE", conflicts_with = "file")]
    pub cluster: Option<PathBuf>,
    /// Take commands from this file instead of the terminal, and end with it
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
}

fn lab_commands() -> String {
    let lines = runtime::lab::command::HELP.iter().map(|(form, what)| format!("  {form}\n        {what}\n"));
    format!(
        "Commands, typed, from --script or from standard input; P and Q are machines, \"holder of VIP\",\nor \"it\", which the last command was about:\n{}",
        lines.collect::<String>()
    )
}

/// Arguments of a laboratory's own processes.
#[derive(Debug, Args)]
pub struct LabInsideArgs {
    /// What to be
    pub role: LabRole,
    /// The machine's name, or the cluster's file
    pub subject: PathBuf,
    /// The script, for the world
    #[arg(long)]
    pub script: Option<PathBuf>,
}

/// What a laboratory's process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LabRole {
    /// The first process, around all machines.
    World,
    /// The one beside a machine.
    Case,
    /// A machine's first.
    Machine,
    /// In the place of a process that a check looks for.
    StandIn,
}

/// Reads the command line. On a mistake, or after `--help`, everything has been printed and the exit code is given.
pub fn parse() -> Result<Arguments, Exit> {
    Arguments::try_parse().map_err(|error| {
        let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
        // Nothing is left to do if even this cannot be printed.
        let _ = error.print();
        exit
    })
}
