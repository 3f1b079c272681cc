use std::path::{Path, PathBuf};

use model::config::scenario::{Scenario, scenarios};
use model::config::{Config, Source};
use model::sim::{Rehearsal, explore};

use super::*;
use crate::report::diagnostic_text;

fn golden(folder: &str, name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(format!("../../../../snapshots/{folder}"));
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name.to_owned(), text));
}

fn cluster(path: &Path) -> Config {
    runtime::sources::load(Some(path)).unwrap().config
}

fn proxmox() -> Config {
    cluster(Path::new("../examples/proxmox-ui.kdl"))
}

fn written(text: &str) -> Vec<Scenario> {
    let source = Source { name: "ha.test.kdl".into(), text: text.into() };
    let (scenarios, mistakes) = scenarios(&source, &proxmox());
    assert_eq!(mistakes, []);
    scenarios
}

fn shipped() -> Vec<(PathBuf, Source)> {
    let files = std::fs::read_dir("../examples").unwrap().map(|entry| entry.unwrap().path());
    let tests = files.filter(|path| path.to_str().unwrap().ends_with(".test.kdl"));
    tests.map(|path| (path.clone(), runtime::sources::read(&path).unwrap())).collect()
}

#[test]
fn every_shipped_scenario_comes_true() {
    let files = shipped();
    assert!(!files.is_empty());
    for (path, source) in files {
        let name = path.file_name().unwrap().to_str().unwrap().strip_suffix(".test.kdl").unwrap().to_owned();
        let config = cluster(&path.with_file_name(format!("{name}.kdl")));
        let (scenarios, mistakes) = scenarios(&source, &config);
        assert_eq!(mistakes, []);
        let mut text = String::new();
        for one in &scenarios {
            let outcomes = Rehearsal::new(&config).play(one);
            assert!(outcomes.iter().all(|outcome| outcome.met), "{outcomes:#?}");
            text += &scenario(&format!("{name}.test.kdl"), &one.name, &outcomes);
        }
        golden("trace", &format!("scenarios_{name}"), &text);
    }
}

#[test]
fn an_expectation_that_is_not_met_is_shown_with_what_happened_since_the_last_disturbance() {
    let text = r#"
        scenario "pve1 comes back as master" {
            kill "pve1"
            expect vip="ui" on="pve2" within="3s"
            start "pve1"
            expect vip="ui" on="pve1"
        }
    "#;
    let outcomes = Rehearsal::new(&proxmox()).play(&written(text)[0]);
    assert_eq!(outcomes.iter().map(|o| o.met).collect::<Vec<_>>(), [false, false]);
    golden("trace", "scenario_failed", &scenario("ha.test.kdl", "pve1 comes back as master", &outcomes));
}

#[test]
fn a_scenario_plays_twice_alike() {
    let text =
        r#"scenario "s" { cut "pve1" "pve2"; wait "10s"; expect nobody vip="ui"; heal; expect vip="ui" on="pve1" }"#;
    let play = || Rehearsal::new(&proxmox()).play(&written(text)[0]);
    assert_eq!(play(), play());
}

#[test]
fn every_single_failure_is_told_of_with_its_outage() {
    let rows = explore::explore(&proxmox());
    assert!(rows.iter().all(|row| !row.is_bad()));
    golden("trace", "explore_proxmox-ui", &explored(&rows));
}

#[test]
fn a_vip_is_drained_handed_over_and_unplugged_without_anybody_without_it() {
    let text = r#"
        scenario "maintenance" {
            drain "pve1"
            expect vip="ui" on="pve2" within="500ms"
            undrain "pve1"
            expect vip="ui" on="pve2"
            failover "ui"
            expect vip="ui" on="pve1" within="500ms"
            unplug "pve1" interface="wlp2s0"
            expect vip="ui" on="pve2" within="3.6s"
            plug "pve1"
            expect vip="ui" on="pve2"
            drain "pve2" vip="ui"
            kill "pve1"; kill "pve3"
            expect vip="ui" on="pve2"
            heal
            expect vip="ui" on="pve2"
        }"#;
    for scenario in written(text) {
        let outcomes = Rehearsal::new(&proxmox()).play(&scenario);
        assert!(outcomes.iter().all(|outcome| outcome.met), "{outcomes:#?}");
    }
}

#[test]
fn each_mistake_of_a_scenario_is_told_with_its_place_and_its_remedy() {
    let text = r#"scenario "one" {
    kil "pve1"
    kill "pve4"
    kill
    fail "proxy" on="pve1"
    fail "proxies"
    expect vip="uj" on="pve2" within=3
    expect vip="ui" on="pve2" witin="3s"
    expect anybody vip="ui"
    wait "5 seconds"
    unplug "pve1" interface="eth9"
    drain "pve1" vip="iu"
    undrain
    failover "pve1"
}
scenario "one" { heal }
vip "ui"
"#;
    let source = Source { name: "ha.test.kdl".into(), text: text.into() };
    let (_, mistakes) = scenarios(&source, &proxmox());
    assert!(mistakes.iter().all(|mistake| !mistake.labels.is_empty() && !mistake.help.is_empty()));
    let sources = [source];
    let words: Vec<String> =
        mistakes.iter().map(|m| anstream::adapter::strip_str(&diagnostic_text(&sources, m)).to_string()).collect();
    golden("error", "scenario_mistakes", &words.join("\n\n"));
}
