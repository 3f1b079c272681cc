//! `hactl lab`: the cluster of a file tried on this machine, shown live, as lines or as JSON.

mod prompt;
mod screen;
mod timeline;
mod words;

use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use runtime::lab::front::front;
use runtime::lab::sandbox::{self, SandboxError};
use runtime::lab::topology::{Topology, lay_out};
use runtime::lab::world::{self, Face, Message, Outcome, Plan};
use runtime::lab::{command, machine, standin, unknown};
use runtime::sources::{self, Loaded};

use crate::args::{Arguments, LabArgs, LabInsideArgs, LabRole};
use crate::report::{self, Exit, Failure};

/// Lines that a script may have: far more than a story, and they wait in memory.
const SCRIPT_LINES: usize = 2_000;

/// Performs the verb.
///
/// # Errors
/// The file or the script has mistakes, or this machine forbids namespaces.
pub fn lab(arguments: &Arguments, args: &LabArgs) -> Result<Exit, Failure> {
    let named = args.cluster.as_ref().or(arguments.file.as_ref());
    let path = named.map(|path| within_reach(path)).transpose()?;
    let loaded = sources::load(path.as_deref()).map_err(|e| report::unloadable(e, arguments.json))?;
    report::diagnostics(&loaded.sources, &loaded.warnings, arguments.json);
    let topology = lay_out(&loaded.config).map_err(|e| failed(e.to_string(), vec![]))?;
    let mut forwarded: Vec<OsString> = vec![loaded.path.clone().into()];
    if let Some(script) = &args.script {
        // Read again by the world: what is wrong with it is told before anything is built.
        read_script(script, &loaded, &topology).map(|_| ())?;
        forwarded.extend(["--script".into(), script.into()]);
    }
    if arguments.json {
        forwarded.push("--json".into());
    }
    match front(&forwarded).map_err(forbidden)? {
        0 => Ok(Exit::Done),
        _ => Ok(Exit::Failed),
    }
}

/// Is one of a laboratory's own processes.
///
/// # Errors
/// In words that the laboratory shows.
pub fn inside(arguments: &Arguments, args: &LabInsideArgs) -> Result<Exit, Failure> {
    let name = args.subject.to_string_lossy();
    let done = match args.role {
        LabRole::World => return be_world(arguments, args),
        LabRole::Case => machine::case(&name),
        LabRole::Machine => machine::machine(&name),
        LabRole::StandIn => {
            standin::stand_in();
            Ok(())
        }
    };
    done.map(|()| Exit::Done).map_err(|what| failed(what, vec![]))
}

fn be_world(arguments: &Arguments, args: &LabInsideArgs) -> Result<Exit, Failure> {
    let script = args.script.as_deref();
    // Read before /run is covered: a script may be there.
    let loaded = sources::load(Some(&args.subject)).map_err(|e| report::unloadable(e, arguments.json))?;
    let topology = lay_out(&loaded.config).map_err(|e| failed(e.to_string(), vec![]))?;
    let lines = script.map(|script| read_script(script, &loaded, &topology)).transpose()?;
    let signals = sandbox::hold_signals().map_err(forbidden)?;
    sandbox::settle("hactl-lab").map_err(forbidden)?;
    let (outbox, inbox) = world::channel();
    let ending = outbox.clone();
    std::thread::spawn(move || while signals.wait().is_ok() && ending.send(Message::Interrupt).is_ok() {});
    let live = std::io::stdout().is_terminal() && !arguments.json;
    let typed = lines.is_none() && live && std::io::stdin().is_terminal();
    let prompt = prompt::Prompt::default();
    let first = match (&lines, typed) {
        (None, false) => first_line()?,
        _ => None,
    };
    listen((first, lines), typed.then(|| prompt.clone()), outbox.clone());
    let mut face: Box<dyn Face> = match (arguments.json, live) {
        (true, _) => Box::new(timeline::Json),
        (false, true) => Box::new(screen::Screen::new(typed.then_some(prompt))),
        (false, false) => Box::new(timeline::Timeline::new(std::io::stdout())),
    };
    let plan = Plan { file: args.subject.clone(), config: &loaded.config, topology, strict: !typed };
    let outcome = world::run(plan, &mut *face, (outbox, inbox));
    drop(face);
    match outcome.map_err(|what| failed(what, vec![]))? {
        Outcome::Good => Ok(Exit::Done),
        Outcome::Bad => Ok(Exit::Failed),
    }
}

/// The first command of standard input, where one is there already. Where standard input has ended without any, nothing
/// is built; where it says nothing yet, its commands come later.
fn first_line() -> Result<Option<String>, Failure> {
    let input = std::io::stdin();
    let mut waiting = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    if !matches!(poll(&mut waiting, PollTimeout::ZERO), Ok(1..)) {
        return Ok(None);
    }
    let first = input.lock().lines().map_while(Result::ok).find(|line| says_something(line));
    first.map(Some).ok_or_else(|| failed(world::NO_COMMANDS.into(), vec![]))
}

/// Blank lines and comments say nothing: with nothing else, there is nothing to build for.
fn says_something(line: &str) -> bool {
    !matches!(command::parse(line), Ok(None))
}

/// Sends the lines of the script, what is typed, or what comes in after its first line.
fn listen(
    (first, lines): (Option<String>, Option<Vec<String>>),
    prompt: Option<prompt::Prompt>,
    outbox: SyncSender<Message>,
) {
    std::thread::spawn(move || match (lines, prompt) {
        (Some(lines), _) => {
            let sent = lines.into_iter().try_for_each(|line| outbox.send(Message::Line(line)));
            // Whoever no longer hears has ended.
            let _ = sent.and_then(|()| outbox.send(Message::NoMoreLines));
        }
        (None, Some(prompt)) => prompt.listen(&outbox),
        (None, None) => {
            let rest = std::io::stdin().lock().lines().map_while(Result::ok).filter(|line| says_something(line));
            for line in first.into_iter().chain(rest) {
                if outbox.send(Message::Line(line)).is_err() {
                    return;
                }
            }
            let _ = outbox.send(Message::NoMoreLines);
        }
    });
}

/// The file as every machine will find it.
fn within_reach(path: &Path) -> Result<PathBuf, Failure> {
    if path == Path::new("-") {
        return Err(failed(
            "the machines of a laboratory each read the file, standard input can be read once".into(),
            vec!["write it to a file first".into()],
        ));
    }
    match path.canonicalize() {
        Ok(real) if real.starts_with("/run") || real.starts_with("/proc") => Err(failed(
            format!("{} is out of the laboratory's sight: its machines have a /run of their own", path.display()),
            vec!["copy the file elsewhere, for example to /tmp".into()],
        )),
        _ => Ok(path.to_owned()),
    }
}

/// Reads a script; every mistake in it is reported with its line.
fn read_script(path: &Path, loaded: &Loaded, topology: &Topology) -> Result<Vec<String>, Failure> {
    let text = if path == Path::new("-") {
        // The world is handed the same standard input: it cannot be looked at twice.
        return Err(failed(
            "a script cannot be standard input".into(),
            vec!["leave --script out: without a terminal, commands are read from standard input".into()],
        ));
    } else {
        let mut text = String::new();
        let read = std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text));
        let what = |e| format!("the script {} cannot be read: {e}", path.display());
        read.map_err(|e| failed(what(e), vec!["--script names a file with a command a line".into()]))?;
        text
    };
    let mut lines = vec![];
    let mut mistakes: Vec<String> = vec![];
    for (number, line) in (1..).zip(text.lines()) {
        let told = |what: &str, help: &str| {
            let help = if help.is_empty() { String::new() } else { format!(" ({})", help.replace('\n', " or")) };
            format!("{}:{number}: {what}{help}", path.display())
        };
        match command::parse(line) {
            Ok(None) => {}
            Ok(Some(command)) => {
                mistakes.extend(unknown(&command, topology, &loaded.config).map(|what| told(&what, "")));
                lines.push(line.to_owned());
            }
            Err(e) => mistakes.push(told(&e.what, &e.help)),
        }
    }
    if lines.is_empty() && mistakes.is_empty() {
        return Err(failed(
            format!("{}: there are no commands in it", path.display()),
            vec!["write some: hactl lab --help lists them".into()],
        ));
    }
    if lines.len() > SCRIPT_LINES {
        mistakes.push(format!("{}: a script has at most {SCRIPT_LINES} commands", path.display()));
    }
    match mistakes.as_slice() {
        [] => Ok(lines),
        [only] => Err(failed(only.clone(), vec![])),
        several => {
            let all = several.iter().map(|mistake| format!("\n  {mistake}")).collect::<String>();
            Err(failed(format!("the script has {} mistakes{all}", several.len()), vec![]))
        }
    }
}

fn failed(what: String, help: Vec<String>) -> Failure {
    Failure { exit: Exit::Failed, what, help }
}

fn forbidden(error: SandboxError) -> Failure {
    failed(error.to_string(), error.help)
}
