//! `hactl test`: scenarios and single failures in simulation.

use std::path::{Path, PathBuf};

use model::config::scenario::scenarios;
use model::config::{Config, Severity};
use model::sim::{Outcome, Rehearsal, explore};
use runtime::sources;
use serde_json::json;

use crate::args::{Arguments, TestArgs};
use crate::report::{self, Exit, Failure, count};
use crate::words::test as words;

/// Plays the scenarios of each file, or with `--explore` every single failure.
///
/// # Errors
/// A file cannot be read or has mistakes; an expectation that is not met is no error but exit code 1.
pub fn test(arguments: &Arguments, args: &TestArgs) -> Result<Exit, Failure> {
    if args.scenarios.is_empty() && !args.explore {
        return Err(Failure {
            exit: Exit::Usage,
            what: "no file of scenarios is named".into(),
            help: vec!["name one: hactl test ha.test.kdl; or try every single failure: hactl test --explore".into()],
        });
    }
    let mut good = true;
    for file in &args.scenarios {
        good &= play(arguments, file)?;
    }
    if args.explore {
        let cluster = args.scenarios.first().and_then(|file| beside(file));
        good &= explored(arguments, &load(arguments, cluster)?);
    }
    Ok(if good { Exit::Done } else { Exit::Failed })
}

/// The cluster's file of a scenario's: `ha.test.kdl` stands beside `ha.kdl`.
fn beside(scenario: &Path) -> Option<PathBuf> {
    let name = scenario.file_name()?.to_str()?.strip_suffix(".test.kdl")?;
    Some(scenario.with_file_name(format!("{name}.kdl")))
}

fn load(arguments: &Arguments, beside: Option<PathBuf>) -> Result<Config, Failure> {
    let path = arguments.file.clone().or(beside);
    let loaded = sources::load(path.as_deref()).map_err(|e| report::unloadable(e, arguments.json))?;
    Ok(loaded.config)
}

fn play(arguments: &Arguments, file: &Path) -> Result<bool, Failure> {
    let config = load(arguments, beside(file))?;
    let source = sources::read(file).map_err(|e| report::unloadable(e, arguments.json))?;
    let (scenarios, found) = scenarios(&source, &config);
    let name = source.name.clone();
    report::diagnostics(&[source], &found, arguments.json);
    let mistakes = found.iter().filter(|d| d.severity == Severity::Error).count();
    if mistakes > 0 {
        let what = format!("{name} has {}", count(mistakes, "mistake", "mistakes"));
        return Err(Failure { exit: Exit::Failed, what, help: vec![] });
    }
    let mut good = true;
    for scenario in &scenarios {
        let outcomes = Rehearsal::new(&config).play(scenario);
        good &= outcomes.iter().all(|outcome| outcome.met);
        match arguments.json {
            true => anstream::println!("{}", scenario_json(&name, &scenario.name, &outcomes)),
            false => anstream::print!("{}", words::scenario(&name, &scenario.name, &outcomes)),
        }
    }
    Ok(good)
}

fn scenario_json(file: &str, scenario: &str, outcomes: &[Outcome]) -> serde_json::Value {
    let one = |outcome: &Outcome| {
        json!({
            "line": outcome.line,
            "vip": outcome.expected.vip,
            "on": outcome.expected.on,
            "within": outcome.expected.within.map(|time| time.as_secs_f64()),
            "met": outcome.met,
            "after": outcome.after.as_secs_f64(),
            "holders": outcome.holders,
            "timeline": outcome.timeline,
        })
    };
    json!({
        "version": 1,
        "file": file,
        "scenario": scenario,
        "met": outcomes.iter().all(|outcome| outcome.met),
        "expectations": outcomes.iter().map(one).collect::<Vec<_>>(),
    })
}

fn explored(arguments: &Arguments, config: &Config) -> bool {
    let rows = explore::explore(config);
    if arguments.json {
        for row in &rows {
            let object = json!({
                "version": 1,
                "failure": row.failure,
                "vip": row.vip,
                "before": row.before,
                "after": row.after,
                "outage": row.outage.as_secs_f64(),
                "healed": row.healed,
                "bad": row.is_bad(),
            });
            anstream::println!("{object}");
        }
    } else {
        anstream::print!("{}", words::explored(&rows));
    }
    rows.iter().all(|row| !row.is_bad())
}
