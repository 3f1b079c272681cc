//! `hactl run`.

use std::fmt;
use std::io::{IsTerminal, stderr};

use runtime::control::BindError;
use runtime::daemon::{self, Options, RunError, SetupError};
use runtime::lines::{FINISH, LOG, Log};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::args::Arguments;
use crate::report::{self, Exit, Failure};

/// Keeps this machine as the file says until it is asked to end.
///
/// # Errors
/// Why it did not start, or what ended it.
pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    log();
    let options = Options {
        file: arguments.file.clone(),
        node: arguments.node.clone(),
        state: arguments.state.clone(),
        json: arguments.json,
    };
    let ended = daemon::run(options);
    LOG.flush(FINISH);
    match ended {
        Ok(()) => Ok(Exit::Done),
        Err(RunError::Setup(SetupError::Load(e))) => Err(report::unloadable(e, arguments.json)),
        Err(e) => {
            let exit = match e {
                RunError::Bind(BindError::Running { .. } | BindError::Elsewhere { .. }) => Exit::Locked,
                _ => Exit::Failed,
            };
            Err(Failure { exit, what: e.to_string(), help: e.help() })
        }
    }
}

/// The log goes to stderr, whether anybody reads it or not; `HACTL_LOG=debug` says more.
fn log() {
    let filter = EnvFilter::try_from_env("HACTL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // Its own complaint of a log that cannot be written (a full disk, a journal that went away) would be a panic.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Log).log_internal_errors(false);
    // Set twice only by a test that runs the verb twice in one process.
    let _ = match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => builder.with_ansi(false).event_format(Journal).fmt_fields(DefaultFields::new()).try_init(),
        None => builder.with_ansi(stderr().is_terminal()).with_target(false).try_init(),
    };
    // Where it is told of otherwise, whoever does not read stderr would hold the process that should recover.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
}

/// journald takes a line's level from its front (sd-daemon(3)) and gives it the time itself.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(to, "<{level}>")?;
        context.field_format().format_fields(to.by_ref(), event)?;
        writeln!(to)
    }
}
