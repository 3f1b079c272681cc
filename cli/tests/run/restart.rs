//! `hactl restart`: what is held for services stays as it is.

use super::*;

/// The table with its handles: one that is loaded anew has others.
fn table() -> String {
    shell("nft --handle --stateless list table ip hactl")
}

#[test]
fn a_restart_leaves_rules_gate_and_backends_as_they_are() {
    alone(|| {
        let machine = Machine::with_link(&format!("{VIP}{SERVICE}"));
        let _one = listener(8081);
        let mut run = machine.run();
        run.until_state("MASTER");
        let deadline = Instant::now() + PATIENCE;
        while slots("10.0.0.1 . 8082") > 0 || !shell("nft list set ip hactl active").contains("10.0.0.100") {
            assert!(Instant::now() < deadline, "{}", table());
        }
        let (before, status) = (table(), machine.status().1);
        let output = machine.hactl(&["restart"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&answer["pid"], &answer["master"]), (&status["pid"], &serde_json::json!(["v"])));
        // What is tried again and found as it was changes nothing either.
        let again = machine.hactl(&["plan", "--detailed-exitcode"]).status().unwrap();
        assert_eq!(again.code(), Some(0));
        let after = machine.status().1;
        assert_eq!(table(), before);
        assert!(holds("10.0.0.100/24"));
        for backend in 0..2 {
            let health = |status: &Value| status["services"][0]["backends"][backend]["health"]["up"].clone();
            assert_eq!(health(&after), health(&status));
        }
        assert!(!run.seen.iter().any(|e| e["from"] == "MASTER"));
        run.signal(Signal::SIGTERM);
        assert!(run.ends().success());
        assert!(!run.events.try_iter().any(|e| e["event"] == "backend" || e["to"] == "BACKUP"), "a check turned");
    });
}
