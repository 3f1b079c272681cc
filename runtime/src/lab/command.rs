//! The words that a laboratory understands, typed or from a script: one command a line, `#` begins a comment.

use std::time::Duration;

use model::units::parse_duration;

/// Every command with what it does: `help` prints this.
pub const HELP: &[(&str, &str)] = &[
    ("kill P", "cut the power of a machine: everything in it dies, its link is gone"),
    ("start P", "boot it afresh; or start `hactl run` again where only that was stopped"),
    ("stop P", "ask its `hactl run` to end (SIGTERM)"),
    ("reload P", "let its `hactl run` read the file again (SIGHUP)"),
    ("restart P", "let its `hactl run` become the program on disk (hactl restart)"),
    ("drain P [V]", "let its `hactl run` leave the vips, or one, to the others (hactl drain)"),
    ("undrain P [V]", "take that back"),
    ("failover V", "let the holder of vip V hand it over, once"),
    ("freeze P", "stop every process in it and drop its frames; the carrier stays"),
    ("thaw P", "let it go on"),
    ("cut P [Q]", "pull it off the network; with Q, only what passes between the two"),
    ("heal [P [Q]]", "undo cuts"),
    ("fail CHECK on P", "make a check fail there"),
    ("recover CHECK on P", "make it succeed again"),
    ("connect N [to SERVICE]", "open N long-lived connections through the vips"),
    ("wait 2s | wait settled [within 20s]", "let time pass; or until every vip has one holder that answers"),
    ("expect V on P [within 4s]", "the holder of vip V is P"),
    ("expect one master [of V] [within 4s]", "every vip has exactly one holder"),
    ("expect no master of V [within 4s]", "nobody holds it"),
    ("expect outage V < 4s", "the longest silence of vip V since the last disturbance, once it answers again"),
    ("expect survivors N | all", "at least N connections went on; or all whose backend lives"),
    ("expect lost < N", "fewer than N connections broke although their backend lives"),
    ("say TEXT", "print a line"),
    ("status", "who holds what, and what the client measures"),
    ("log P", "the last lines of a machine's log"),
    ("help", "this"),
    ("quit", "end the laboratory"),
];

/// P can be a name or this: whoever has it now.
const HOLDER: [&str; 2] = ["holder", "of"];

/// Or this: the machine that the last command was about.
const IT: &str = "it";

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// `kill P`
    Kill(Who),
    /// `start P`
    Start(Who),
    /// `stop P`
    Stop(Who),
    /// `reload P`
    Reload(Who),
    /// `restart P`, `drain P [V]`, `undrain P [V]`, `failover V`: a verb of hactl, asked of a machine's, with its arguments.
    Verb(Who, Vec<String>),
    /// `freeze P`
    Freeze(Who),
    /// `thaw P`
    Thaw(Who),
    /// `cut P [Q]`
    Cut(Who, Option<Who>),
    /// `heal [P [Q]]`
    Heal(Option<Who>, Option<Who>),
    /// `fail CHECK on P`
    Fail(String, Who),
    /// `recover CHECK on P`
    Recover(String, Who),
    /// `connect N [to SERVICE]`
    Connect(usize, Option<String>),
    /// `wait 2s`
    Wait(Duration),
    /// `wait settled [within D]`
    Settle(Duration),
    /// `expect …`
    Expect(Expect, Duration),
    /// `say TEXT`
    Say(String),
    /// `status`
    Status,
    /// `log P`
    Log(Who),
    /// `help`
    Help,
    /// `quit`
    Quit,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// By name.
    Named(String),
    /// `it`: the one that the last command was about.
    It,
    /// `holder of VIP`, when the command is carried out.
    Holder(String),
}

/// What is expected.
#[derive(Debug, Clone, PartialEq)]
pub enum Expect {
    /// `V on P`
    On(String, Who),
    /// `one master [of V]`
    OneMaster(Option<String>),
    /// `no master of V`
    NoMaster(String),
    /// `outage V < D`
    Outage(String, Duration),
    /// `survivors N`; `None`: all whose backend lives
    Survivors(Option<usize>),
    /// `lost < N`
    Lost(usize),
}

/// Connections that one `connect` opens at most: each is a file and a task of the client's.
pub const CONNECTIONS: usize = 5_000;

/// How long an expectation about what comes to rest waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Why a line is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct CommandError {
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub help: String,
}

/// Reads one line. `None`: blank, or a comment.
///
/// # Errors
/// Where it is no command, with the one that was meant.
pub fn parse(line: &str) -> Result<Option<Command>, CommandError> {
    let line = line.trim();
    if let Some(text) = line.strip_prefix("say ") {
        return Ok(Some(Command::Say(text.trim().to_owned())));
    }
    let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
    let Some((verb, rest)) = words.split_first() else { return Ok(None) };
    let mut words = Words { verb, rest };
    let command = words.command()?;
    match words.rest.first() {
        None => Ok(Some(command)),
        Some(extra) => Err(words.wrong(format!("\"{extra}\" is too much here"))),
    }
}

/// The words of a line that are still to be read.
struct Words<'a> {
    verb: &'a str,
    rest: &'a [&'a str],
}

impl<'a> Words<'a> {
    fn command(&mut self) -> Result<Command, CommandError> {
        let verb: &str = self.verb;
        Ok(match verb {
            "kill" => Command::Kill(self.who()?),
            "start" => Command::Start(self.who()?),
            "stop" => Command::Stop(self.who()?),
            "reload" => Command::Reload(self.who()?),
            "restart" => Command::Verb(self.who()?, vec![verb.to_owned()]),
            "drain" | "undrain" => {
                let who = self.who()?;
                let vip = self.perhaps(|words| words.word("a vip").map(str::to_owned))?;
                Command::Verb(who, [verb.to_owned()].into_iter().chain(vip).collect())
            }
            "failover" => {
                let vip = self.word("a vip")?.to_owned();
                Command::Verb(Who::Holder(vip.clone()), vec![verb.to_owned(), vip])
            }
            "freeze" => Command::Freeze(self.who()?),
            "thaw" => Command::Thaw(self.who()?),
            "cut" => Command::Cut(self.who()?, self.perhaps(Self::who)?),
            "heal" => Command::Heal(self.perhaps(Self::who)?, self.perhaps(Self::who)?),
            "fail" => self.check(Command::Fail)?,
            "recover" => self.check(Command::Recover)?,
            "connect" => self.connect()?,
            "wait" if self.take("settled") => Command::Settle(self.within()?.unwrap_or(PATIENCE)),
            "wait" => Command::Wait(self.duration()?),
            "expect" => self.expect()?,
            "say" => Command::Say(String::new()),
            "status" => Command::Status,
            "log" => Command::Log(self.who()?),
            "help" | "?" => Command::Help,
            "quit" | "exit" => Command::Quit,
            _ => return Err(self.unknown()),
        })
    }

    fn expect(&mut self) -> Result<Command, CommandError> {
        let expect = match self.word("what is expected")? {
            "one" if self.take("master") => Expect::OneMaster(self.of()?),
            "no" if self.take("master") => match self.of()? {
                Some(vip) => Expect::NoMaster(vip),
                None => return Err(self.wrong("of which vip?".into())),
            },
            "outage" => {
                let vip = self.word("a vip")?.to_owned();
                self.must("<")?;
                Expect::Outage(vip, self.duration()?)
            }
            "survivors" if self.take("all") => Expect::Survivors(None),
            "survivors" => Expect::Survivors(Some(self.number()?)),
            "lost" => {
                self.must("<")?;
                Expect::Lost(self.number()?)
            }
            vip if self.take("on") => Expect::On(vip.to_owned(), self.who()?),
            other => return Err(self.wrong(format!("\"{other}\" is not followed by \"on\""))),
        };
        // What is measured once things have come to rest needs time to; the others are true now or not.
        let patience = match expect {
            Expect::Outage(..) | Expect::Survivors(_) | Expect::Lost(_) => PATIENCE,
            Expect::On(..) | Expect::OneMaster(_) | Expect::NoMaster(_) => Duration::ZERO,
        };
        Ok(Command::Expect(expect, self.within()?.unwrap_or(patience)))
    }

    fn connect(&mut self) -> Result<Command, CommandError> {
        let count = self.number()?;
        if !(1..=CONNECTIONS).contains(&count) {
            return Err(self.wrong(format!("1 to {CONNECTIONS} connections can be opened at once")));
        }
        let service = if self.take("to") { Some(self.word("a service")?.to_owned()) } else { None };
        Ok(Command::Connect(count, service))
    }

    fn check(&mut self, command: fn(String, Who) -> Command) -> Result<Command, CommandError> {
        let check = self.word("a check")?.to_owned();
        self.must("on")?;
        Ok(command(check, self.who()?))
    }

    fn who(&mut self) -> Result<Who, CommandError> {
        let [holder, of] = HOLDER;
        let name = self.word("a machine, or: holder of VIP, or: it")?.to_owned();
        if name == holder && self.take(of) {
            return Ok(Who::Holder(self.word("a vip")?.to_owned()));
        }
        Ok(if name == IT { Who::It } else { Who::Named(name) })
    }

    fn of(&mut self) -> Result<Option<String>, CommandError> {
        if self.take("of") { self.word("a vip").map(|vip| Some(vip.to_owned())) } else { Ok(None) }
    }

    fn within(&mut self) -> Result<Option<Duration>, CommandError> {
        if self.take("within") { self.duration().map(Some) } else { Ok(None) }
    }

    fn perhaps<T>(&mut self, read: fn(&mut Self) -> Result<T, CommandError>) -> Result<Option<T>, CommandError> {
        if self.rest.is_empty() { Ok(None) } else { read(self).map(Some) }
    }

    fn number(&mut self) -> Result<usize, CommandError> {
        let word = self.word("a number")?;
        word.parse().map_err(|_| self.wrong(format!("\"{word}\" is not a number")))
    }

    fn duration(&mut self) -> Result<Duration, CommandError> {
        let word = self.word("a duration")?;
        parse_duration(word).map_err(|e| self.wrong(e.to_string()))
    }

    fn take(&mut self, expected: &str) -> bool {
        match self.rest.split_first() {
            Some((word, rest)) if *word == expected => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn must(&mut self, expected: &str) -> Result<(), CommandError> {
        if self.take(expected) { Ok(()) } else { Err(self.wrong(format!("\"{expected}\" is missing"))) }
    }

    fn word(&mut self, what: &str) -> Result<&'a str, CommandError> {
        let (word, rest) = self.rest.split_first().ok_or_else(|| self.wrong(format!("here belongs {what}")))?;
        self.rest = rest;
        Ok(word)
    }

    fn wrong(&self, what: String) -> CommandError {
        let forms: Vec<&str> = HELP
            .iter()
            .map(|(form, _)| *form)
            .filter(|form| form.split_whitespace().next() == Some(self.verb))
            .collect();
        CommandError { what, help: format!("write: {}", forms.join("\n       ")) }
    }

    fn unknown(&self) -> CommandError {
        let verbs = HELP.iter().filter_map(|(form, _)| form.split_whitespace().next());
        let near = verbs.map(|v| (strsim::damerau_levenshtein(v, self.verb), v)).min().filter(|(far, _)| *far <= 2);
        let help = match near {
            Some((_, verb)) => format!("did you mean \"{verb}\"?"),
            None => "\"help\" lists the commands".into(),
        };
        CommandError { what: format!("there is no command \"{}\"", self.verb), help }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Command {
        parse(line).unwrap().unwrap()
    }

    fn named(name: &str) -> Who {
        Who::Named(name.into())
    }

    #[test]
    fn commands_are_read_with_comments_and_blanks_around_them() {
        assert_eq!(parse("  # only words"), Ok(None));
        assert_eq!(parse(""), Ok(None));
        assert_eq!(read(" kill  pve1 # the power"), Command::Kill(named("pve1")));
        assert_eq!(read("kill holder of ui"), Command::Kill(Who::Holder("ui".into())));
        assert_eq!(read("cut holder of ui pve3"), Command::Cut(Who::Holder("ui".into()), Some(named("pve3"))));
        assert_eq!(read("heal"), Command::Heal(None, None));
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        assert_eq!(read("drain pve1"), Command::Verb(named("pve1"), words(&["drain"])));
        assert_eq!(read("undrain holder of ui ui"), Command::Verb(Who::Holder("ui".into()), words(&["undrain", "ui"])));
        assert_eq!(read("failover ui"), Command::Verb(Who::Holder("ui".into()), words(&["failover", "ui"])));
        assert_eq!(read("fail proxies on pve2"), Command::Fail("proxies".into(), named("pve2")));
        assert_eq!(read("connect 100"), Command::Connect(100, None));
        assert_eq!(read("wait 2s"), Command::Wait(Duration::from_secs(2)));
        assert_eq!(read("wait settled"), Command::Settle(PATIENCE));
        assert_eq!(read("say # is text here"), Command::Say("# is text here".into()));
    }

    #[test]
    fn expectations_are_read_with_their_patience() {
        let four = Duration::from_secs(4);
        let on = Expect::On("ui".into(), named("pve2"));
        assert_eq!(read("expect ui on pve2 within 4s"), Command::Expect(on, four));
        assert_eq!(read("expect one master"), Command::Expect(Expect::OneMaster(None), Duration::ZERO));
        assert_eq!(read("expect outage ui < 4s"), Command::Expect(Expect::Outage("ui".into(), four), PATIENCE));
        assert_eq!(read("expect survivors 67"), Command::Expect(Expect::Survivors(Some(67)), PATIENCE));
        assert_eq!(read("expect survivors all"), Command::Expect(Expect::Survivors(None), PATIENCE));
        assert_eq!(read("expect lost < 1"), Command::Expect(Expect::Lost(1), PATIENCE));
    }

    #[test]
    fn a_mistake_is_told_with_what_was_meant() {
        let told = |line: &str| parse(line).map_err(|e| (e.what, e.help)).unwrap_err();
        let both = |what: &str, help: &str| (what.to_owned(), help.to_owned());
        assert_eq!(told("kil pve1"), both("there is no command \"kil\"", "did you mean \"kill\"?"));
        assert_eq!(told("dance"), both("there is no command \"dance\"", "\"help\" lists the commands"));
        assert_eq!(told("kill pve1 pve2"), both("\"pve2\" is too much here", "write: kill P"));
        assert_eq!(told("fail proxies pve1"), both("\"on\" is missing", "write: fail CHECK on P"));
        assert_eq!(told("connect 0").0, "1 to 5000 connections can be opened at once");
        assert!(told("wait 3").0.contains("is not a duration"));
        assert_eq!(told("freeze").0, "here belongs a machine, or: holder of VIP, or: it");
        assert_eq!(read("start it"), Command::Start(Who::It));
    }
}
