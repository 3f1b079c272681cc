//! plan, render and snapshot through the binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::path::Path;
use std::process::{Command, Output};

use runtime::netns::{Links, Namespace, isolate};

fn hactl(state: &Path, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_hactl"))
        .arg("--state")
        .arg(state)
        .args(args)
        .env_remove("CLICOLOR_FORCE")
        .env("VIP_AUTH_PASS", "tests")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

const PROXMOX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/proxmox-ui.kdl");

#[test]
fn a_plan_of_all_peers_needs_no_machine_and_says_what_is_pending() {
    let dir = tempfile::tempdir().unwrap();
    let (exit, out, err) = hactl(dir.path(), &["-f", PROXMOX, "plan", "--all"]);
    assert_eq!((exit, err.as_str()), (0, ""));
    assert_eq!(out.matches("Plan: 6 to add, 0 to change, 0 to remove. No traffic is interrupted.").count(), 3, "{out}");
    assert!(!out.contains('\u{1b}'), "colours where there is no terminal");
    assert_eq!(hactl(dir.path(), &["-f", PROXMOX, "plan", "--all", "--detailed-exitcode"]).0, 2);
    let (exit, out, _) = hactl(dir.path(), &["-f", PROXMOX, "plan", "--all", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((exit, value["version"].as_u64()), (0, Some(1)));
    assert_eq!(value["plans"].as_array().unwrap().len(), 3);
    assert_eq!(value["plans"][0]["summary"]["add"], 6);
}

#[test]
fn rendered_files_are_checked_against_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("rendered");
    let out = out.to_str().unwrap();
    let render = |more: &[&str]| {
        let args: Vec<&str> = ["-f", PROXMOX, "render", "--all", "--out", out].iter().chain(more).copied().collect();
        hactl(dir.path(), &args)
    };
    assert_eq!(render(&["--check"]).0, 1);
    assert_eq!(render(&[]).0, 0);
    assert_eq!(render(&["--check"]), (0, String::new(), String::new()));
    let path = Path::new(out).join("pve2/sysctl.conf");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("forwarding = 1", "forwarding = 0")).unwrap();
    let (exit, diff, err) = render(&["--check"]);
    assert_eq!(exit, 1);
    assert!(diff.contains("-net.ipv4.conf.wlp2s0.forwarding = 0\n+net.ipv4.conf.wlp2s0.forwarding = 1\n"), "{diff}");
    assert!(err.contains("1 of the files"), "{err}");
}

#[test]
fn a_plan_against_a_recording_is_the_plan_of_the_machine() {
    isolate().unwrap();
    let far = Namespace::new().unwrap();
    Links::here().unwrap().veth("wlp2s0", "far", &far).unwrap();
    Links::here().unwrap().up("wlp2s0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let live = live.to_str().unwrap();
    let (exit, _, err) = hactl(dir.path(), &["-f", PROXMOX, "plan", "--node", "pve1", "--live", live]);
    assert_eq!(exit, 1);
    assert!(err.contains("hactl snapshot --out"), "{err}");
    let (exit, _, err) = hactl(dir.path(), &["-f", PROXMOX, "snapshot", "--node", "pve1", "--out", live]);
    assert_eq!((exit, err.as_str()), (0, ""));
    let here = hactl(dir.path(), &["-f", PROXMOX, "plan", "--node", "pve1"]);
    let recorded = hactl(dir.path(), &["-f", PROXMOX, "plan", "--node", "pve1", "--live", live]);
    assert_eq!(here, recorded);
    assert!(here.1.contains("`hactl run` is not running here"), "{}", here.1);
}

#[test]
fn a_node_that_is_nobody_is_told_who_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let (exit, _, err) = hactl(dir.path(), &["-f", PROXMOX, "plan", "--node", "pve9"]);
    assert_eq!(exit, 1);
    assert!(err.contains("no peer \"pve9\"") && err.contains("pve1, pve2, pve3"), "{err}");
}

#[test]
fn a_node_that_is_nobody_or_contradicts_all_is_refused_by_every_verb() {
    let dir = tempfile::tempdir().unwrap();
    let (exit, _, err) = hactl(dir.path(), &["-f", PROXMOX, "validate", "--node", "zzz"]);
    assert!(exit == 1 && err.contains("no peer \"zzz\""), "{err}");
    for verb in ["plan", "render"] {
        let (exit, out, err) = hactl(dir.path(), &["-f", PROXMOX, verb, "--all", "--node", "pve1"]);
        assert!(exit == 64 && out.is_empty() && err.contains("--all is every peer"), "{out}{err}");
    }
}

#[test]
fn files_of_a_peer_that_is_no_more_are_found_and_the_remedy_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("held");
    let out = out.to_str().unwrap();
    let render = |more: &[&str]| {
        let args: Vec<&str> = ["-f", PROXMOX, "render", "--all", "--out", out].iter().chain(more).copied().collect();
        hactl(dir.path(), &args)
    };
    render(&[]);
    let gone = Path::new(out).join("pve9");
    std::fs::create_dir(&gone).unwrap();
    std::fs::write(gone.join("vips.txt"), "").unwrap();
    let (exit, said, err) = render(&["--check"]);
    assert!(exit == 1 && said.contains("pve9/vips.txt should not be there"), "{said}{err}");
    assert!(err.contains(&format!("hactl -f {PROXMOX} render --all --out {out}")), "{err}");
    render(&[]);
    assert!(!gone.exists());
    assert_eq!(render(&["--check"]).0, 0);
}

#[test]
fn a_recording_under_another_peers_name_is_not_taken_for_that_peers() {
    isolate().unwrap();
    let far = Namespace::new().unwrap();
    let links = Links::here().unwrap();
    links.veth("wlp2s0", "far", &far).unwrap();
    links.address("wlp2s0", "192.168.31.11/24".parse().unwrap()).unwrap();
    links.up("wlp2s0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let at = live.to_str().unwrap();
    assert_eq!(hactl(dir.path(), &["-f", PROXMOX, "snapshot", "--out", at]).0, 0);
    std::fs::copy(live.join("pve1.json"), live.join("pve2.json")).unwrap();
    let (exit, _, err) = hactl(dir.path(), &["-f", PROXMOX, "plan", "--node", "pve2", "--live", at]);
    assert!(exit == 1 && err.contains("pve2.json is a recording of pve1, not of pve2"), "{err}");
}

#[test]
fn standard_input_has_a_name_and_a_missing_include_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ha.kdl");
    std::fs::write(&path, "cluster \"c\"\n\ninclude \"nodes.kdl\"\n").unwrap();
    let path = path.to_str().unwrap();
    let (exit, _, err) = hactl(dir.path(), &["-f", path, "validate"]);
    assert!(exit == 1 && err.contains("ha.kdl:3 includes \"nodes.kdl\", and there is no such file"), "{err}");
    // Standard input is at its end: the cluster's name is missing in it.
    let (exit, _, err) = hactl(dir.path(), &["-f", "-", "validate"]);
    assert!(exit == 1 && err.contains("standard input has "), "{err}");
}
